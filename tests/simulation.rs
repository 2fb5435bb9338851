//! The whole chain under virtual time: emulated devices, stages stepped by a seeded scheduler,
//! faults from the seed. What must hold whatever happens: every trigger of every track is a frame
//! or a loss with a cause, files open and are in step, nothing waits for ever, and a seed gives the
//! same bytes each time.

use genlock::clock::Clock;
use genlock::config::{ColorControls, DeviceConfig, Opening};
use genlock::device::{self, Device, EngineLibrary};
use genlock::error::Result;
use genlock::frame::TrackName;
use genlock::record::{Disk, Job, Member, Recorded, Surroundings, Take};
use genlock::stage::{Stage, Step};
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::raw::SensorMode;
use genlock_emulator::{Cable, Faults, Kinect, Setup, View};
use genlock_formats::k4a::{self, DepthMode, Recording, Role};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A small generator of numbers (xorshift64*): the same on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Files in memory, by serial.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct MemoryDisk {
    serial: String,
    files: Files,
}

impl MemoryDisk {
    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut files = self.files.lock().expect("no test thread panicked");
        change(files.entry(self.serial.clone()).or_default());
    }
}

impl Disk for MemoryDisk {
    fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        self.with(|file| pieces.iter().for_each(|piece| file.extend_from_slice(piece)));
        Ok(())
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let at = usize::try_from(at).expect("a small file");
        self.with(|file| file[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a seed stands for.
struct Scenario {
    seed: u64,
    devices: usize,
    faulty: bool,
    /// Longest time in nanoseconds for which a stage may be kept from its turn.
    stall_ns_max: u64,
}

struct Ran {
    recorded: Vec<Recorded>,
    files: BTreeMap<String, Vec<u8>>,
}

const TRIGGERS: u64 = 12;

/// Scenes rendered once for all runs.
fn view(seed: u64) -> View {
    static VIEWS: Mutex<BTreeMap<u64, View>> = Mutex::new(BTreeMap::new());
    let mut views = VIEWS.lock().expect("no test thread panicked");
    let render = || {
        let mut view = View::scene(seed, "000000000001");
        assert!(view.prepare_color("720p".parse().expect("a mode")));
        assert!(view.prepare_depth(SensorMode::LongThrow));
        view
    };
    views.entry(seed).or_insert_with(render).clone()
}

fn kinects(scenario: &Scenario) -> Vec<Kinect> {
    let cable = Cable::default();
    let make = |i: usize| {
        let mut setup = Setup::new(&format!("{:012}", i + 1), scenario.seed + i as u64);
        setup.view = view(i as u64 + scenario.seed % 3);
        if scenario.devices > 1 {
            setup.sync_out = Some(cable.clone());
            setup.sync_in = (i > 0).then(|| cable.clone());
        }
        if scenario.faulty {
            setup.faults = Faults::seeded(scenario.seed + i as u64, 30);
        }
        setup.faults.clock_ppm = (scenario.seed % 97) as f64 - 48.0;
        Kinect::new(setup)
    };
    (0..scenario.devices).map(make).collect()
}

fn member(bus: &EmulatedBus, found: &device::Found, place: usize, devices: usize) -> Member {
    let role = match (devices, place) {
        (1, _) => Role::Standalone,
        (_, 0) => Role::Master,
        _ => Role::Subordinate,
    };
    let config = DeviceConfig {
        color: Some("720p".parse().expect("a mode")),
        depth: Some(DepthMode::Nfov2x2Binned),
        role,
        depth_delay_us: 160 * place as i32,
        ..DeviceConfig::default()
    };
    let device = Device::open(bus, found).expect("an emulated device opens");
    Member { device, name: None, config, controls: ColorControls::default() }
}

fn run(scenario: &Scenario) -> Ran {
    let clock = Clock::simulated();
    let bus = EmulatedBus::new(kinects(scenario), clock.clone());
    let found = device::find(&bus).expect("emulated devices are found");
    let members = (0..).zip(&found).map(|(i, f)| member(&bus, f, i, found.len())).collect();
    let files = Files::default();
    let mut stages = Vec::new();
    let take = Take::start(
        members,
        Some(TRIGGERS),
        Opening::default(),
        Surroundings {
            engine: Some(EngineLibrary::emulated().expect("the emulator's engine")),
            clock: clock.clone(),
            place: &mut |serial| {
                Ok(Box::new(MemoryDisk { serial: serial.to_owned(), files: Arc::clone(&files) }))
            },
            launch: &mut |job| {
                stages.push(match job {
                    Job::Recorder(stage) => (stage, true),
                    Job::Source(stage) | Job::Monitor(stage) => (stage, false),
                });
                Ok(())
            },
            written: k4a::About {
                writing_app: "simulation".to_owned(),
                date_utc_ns: None,
                uid_seed: scenario.seed,
            },
        },
    );
    let mut take = take.expect("an emulated take starts");
    turns(scenario, &mut take, stages, &clock, &bus);
    let (recorded, stopped) = take.finish();
    stopped.expect("emulated devices stop");
    let files = files.lock().expect("no test thread panicked").clone();
    Ran { recorded, files }
}

/// Gives turns until every stage is done.
fn turns(
    scenario: &Scenario,
    take: &mut Take,
    mut stages: Vec<(Box<dyn Stage>, bool)>,
    clock: &Clock,
    bus: &EmulatedBus,
) {
    const LONGEST_NS: u64 = 60_000_000_000;
    let mut random = Random::new(scenario.seed);
    let mut held_until = vec![0; stages.len()];
    let mut last_event_ns = 0;
    while !stages.is_empty() {
        let now_ns = clock.now_ns();
        assert!(now_ns < LONGEST_NS, "seed {}: a minute has passed", scenario.seed);
        let mut worked = false;
        let mut turn = random.below(stages.len() as u64) as usize;
        for _ in 0..stages.len() {
            turn = (turn + 1) % stages.len();
            if held_until[turn] > now_ns {
                continue;
            }
            if scenario.stall_ns_max > 0 && random.one_in(400) {
                held_until[turn] = now_ns + random.below(scenario.stall_ns_max);
                continue;
            }
            let step = stages[turn].0.step(Duration::ZERO);
            match step.unwrap_or_else(|cause| panic!("seed {}: {cause}", scenario.seed)) {
                Step::Worked => worked = true,
                Step::Idle => {}
                Step::Done => {
                    stages.remove(turn);
                    held_until.remove(turn);
                    worked = true;
                    break;
                }
            }
        }
        if stages.iter().all(|(_, is_recorder)| !is_recorder) {
            take.end_now();
        }
        // Time moves only after a sweep in which nobody worked.
        if !worked {
            let event = bus.next_event_ns().unwrap_or(u64::MAX).min(now_ns + 5_000_000);
            last_event_ns = event.max(last_event_ns + 1_000);
            clock.move_to(last_event_ns);
        }
    }
}

/// Checks what must hold of every run.
fn check(scenario: &Scenario, ran: &Ran) {
    let seed = scenario.seed;
    let mut firsts = Vec::new();
    for recorded in &ran.recorded {
        let report = recorded.report.as_ref().expect("every file is finished");
        assert_eq!(report.trigger_count, TRIGGERS, "seed {seed}");
        firsts.push(report.first_trigger);
        let Some(file) = ran.files.get(recorded.device.serial()) else {
            // So slow a stage that not one frame came through: then all of them are missing.
            let lost: u64 = report.missing.iter().map(|m| m.triggers.end - m.triggers.start).sum();
            assert_eq!(lost, 4 * TRIGGERS, "seed {seed}");
            continue;
        };
        let recording = Recording::open(file).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut images = BTreeMap::<TrackName, u64>::new();
        for capture in recording.captures() {
            let capture = capture.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let tracks = [
                (TrackName::Color, capture.color.is_some()),
                (TrackName::Depth, capture.depth.is_some()),
                (TrackName::Ir, capture.ir.is_some()),
            ];
            tracks.iter().filter(|t| t.1).for_each(|t| *images.entry(t.0).or_default() += 1);
        }
        for track in [TrackName::Color, TrackName::Depth, TrackName::Ir] {
            let missing = report.missing.iter().filter(|missing| missing.track == track);
            let lost: u64 = missing.map(|m| m.triggers.end - m.triggers.start).sum();
            let there = images.get(&track).copied().unwrap_or(0);
            assert_eq!(there + lost, TRIGGERS, "seed {seed}: {track} of {:?}", report.missing);
        }
        let sound = !scenario.faulty && scenario.stall_ns_max == 0;
        assert!(!sound || report.missing.is_empty(), "seed {seed}: {:?}", report.missing);
        let imu = recording.imu().map(|sample| sample.expect("a sound sample"));
        let times: Vec<_> = imu.map(|sample| sample.accelerometer_ns).collect();
        assert!(times.is_sorted(), "seed {seed}: IMU samples out of order");
        let gap = times.windows(2).any(|pair| pair[1] - pair[0] > 3_000_000);
        let told = report.missing.iter().any(|missing| missing.track == TrackName::Imu);
        assert!(told || !gap, "seed {seed}: samples are missing and nobody says so");
        assert!(!sound || times.len() > 600, "seed {seed}: {} samples", times.len());
    }
    assert!(firsts.iter().all(|first| *first == firsts[0]), "seed {seed}: {firsts:?}");
}

#[test]
fn a_sound_rig_loses_nothing() {
    for seed in 0..100 {
        let devices = 1 + (seed % 3) as usize;
        let scenario = Scenario { seed, devices, faulty: false, stall_ns_max: 0 };
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn every_trigger_is_a_frame_or_a_loss_whatever_the_devices_send() {
    for seed in 1000..1150 {
        let devices = 1 + (seed % 2) as usize;
        let scenario = Scenario { seed, devices, faulty: true, stall_ns_max: 0 };
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn every_trigger_is_a_frame_or_a_loss_however_slow_a_stage_is() {
    for seed in 2000..2100 {
        let devices = 1 + (seed % 2) as usize;
        let stall_ns_max = 50_000_000 << (seed % 6);
        let scenario = Scenario { seed, devices, faulty: seed % 3 == 0, stall_ns_max };
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn a_seed_gives_the_same_bytes_each_time() {
    for seed in 3000..3010 {
        let scenario = Scenario { seed, devices: 2, faulty: true, stall_ns_max: 200_000_000 };
        assert!(run(&scenario).files == run(&scenario).files, "seed {seed}");
    }
    let other = |seed| run(&Scenario { seed, devices: 1, faulty: false, stall_ns_max: 0 }).files;
    assert!(other(1) != other(2), "two seeds see two scenes");
}
