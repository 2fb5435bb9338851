//! The whole chain under virtual time: emulated devices, stages stepped by a seeded scheduler, a
//! clock that moves when nobody has work.

use genlock::clock::Clock;
use genlock::config::{ColorControls, DeviceConfig, Opening};
use genlock::device::{self, Device, EngineLibrary};
use genlock::error::{Error, Result};
use genlock::record::{Disk, Job, Member, Recorded, Surroundings, Take};
use genlock::stage::{Stage, Step};
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::raw::SensorMode;
use genlock_emulator::{Cable, Exposure, Faults, Kinect, Setup, View};
use genlock_formats::k4a::{self, DepthMode, Role};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A small generator of numbers (xorshift64*): the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u64) as usize]
    }
}

/// Files in memory, by serial.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct MemoryDisk {
    serial: String,
    files: Files,
    keeps: bool,
    clock: Clock,
    /// When the oldest byte was appended that was not synced since.
    unsynced_ns: Option<u64>,
    /// The longest time that a byte of any file was not synced.
    unsynced_ns_max: Arc<AtomicU64>,
    /// Room that is kept for the end of the file, and that the end then has.
    kept: u64,
    room: u64,
}

impl MemoryDisk {
    fn synced(&mut self) {
        let waited = |since_ns| self.clock.now_ns() - since_ns;
        let longest_ns = self.unsynced_ns.take().map_or(0, waited);
        self.unsynced_ns_max.fetch_max(longest_ns, Ordering::Relaxed);
    }

    fn with(&self, change: impl FnOnce(&mut Vec<u8>)) {
        if !self.keeps {
            return;
        }
        let mut files = self.files.lock().expect("no test thread panicked");
        change(files.entry(self.serial.clone()).or_default());
    }
}

impl Disk for MemoryDisk {
    fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(self.kept > 0 || len as u64 <= self.room, "no room was kept for the end");
        self.with(|file| pieces.iter().for_each(|piece| file.extend_from_slice(piece)));
        self.unsynced_ns.get_or_insert(self.clock.now_ns());
        Ok(())
    }

    fn keep(&mut self, bytes: u64) {
        (self.room, self.kept) = (self.kept, bytes);
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let at = usize::try_from(at).expect("a small file");
        self.with(|file| file[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.synced();
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        self.synced();
    }
}

/// What a seed stands for.
pub struct Scenario {
    pub seed: u64,
    /// A device each, the first being the master.
    pub faults: Vec<Faults>,
    /// Whether depth is on; color always is, but for a device alone with `depth_alone`.
    pub depth: bool,
    /// One device with its color camera off: nothing resets its clock.
    pub depth_alone: bool,
    pub triggers: u64,
    /// Longest time in nanoseconds for which a stage may be kept from its turn.
    pub stall_ns_max: u64,
    /// Whether the jacks are looked at during the take.
    pub look_at_cables: bool,
    /// Whether what is written is kept, to be read.
    pub keep_files: bool,
    /// How often what is written is made durable.
    pub sync_every: Duration,
}

impl Scenario {
    /// Sound devices with depth.
    pub fn sound(seed: u64, devices: usize, triggers: u64) -> Self {
        Self {
            seed,
            faults: vec![Faults::default(); devices],
            depth: true,
            depth_alone: false,
            triggers,
            stall_ns_max: 0,
            look_at_cables: false,
            keep_files: true,
            sync_every: Duration::from_secs(1),
        }
    }

    pub fn config(&self, place: usize) -> DeviceConfig {
        let role = match (self.faults.len(), place) {
            (1, _) => Role::Standalone,
            (_, 0) => Role::Master,
            _ => Role::Subordinate,
        };
        DeviceConfig {
            color: (!self.depth_alone).then(|| "720p".parse().expect("a mode")),
            depth: self.depth.then_some(DepthMode::Nfov2x2Binned),
            role,
            depth_delay_us: if self.depth { 160 * place as i32 } else { 0 },
            subordinate_delay_us: if role == Role::Subordinate {
                self.seed as u32 % 900
            } else {
                0
            },
            ..DeviceConfig::default()
        }
    }
}

/// What came of a scenario.
pub struct Ran {
    pub recorded: Vec<Recorded>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Every exposure as it was, by serial.
    pub exposures: BTreeMap<String, Vec<Exposure>>,
    /// Alarms, with the virtual time at which they were raised.
    pub alarms: Vec<(u64, String)>,
    /// What ended stages before their time.
    pub failures: Vec<Error>,
    /// The longest time that a byte of any file was not synced.
    pub unsynced_max: Duration,
}

/// Scenes rendered once for all runs.
fn view(seed: u64, depth: bool) -> View {
    static VIEWS: Mutex<BTreeMap<(u64, bool), View>> = Mutex::new(BTreeMap::new());
    let mut views = VIEWS.lock().expect("no test thread panicked");
    let render = || {
        let mut view = View::scene(seed, "000000000001");
        assert!(view.prepare_color("720p".parse().expect("a mode")));
        assert!(!depth || view.prepare_depth(SensorMode::LongThrow));
        view
    };
    views.entry((seed, depth)).or_insert_with(render).clone()
}

fn kinects(scenario: &Scenario) -> Vec<Kinect> {
    let (cable, count) = (Cable::default(), scenario.faults.len());
    let make = |(i, faults): (usize, &Faults)| {
        let mut setup = Setup::new(&format!("{:012}", i + 1), scenario.seed + i as u64);
        setup.view = view(i as u64 + scenario.seed % 3, scenario.depth);
        if count > 1 {
            setup.sync_out = Some(cable.clone());
            setup.sync_in = (i > 0).then(|| cable.clone());
        }
        setup.faults = faults.clone();
        setup.exposures_max = 100_000;
        Kinect::new(setup)
    };
    scenario.faults.iter().enumerate().map(make).collect()
}

/// Runs a scenario.
pub fn run(scenario: &Scenario) -> Ran {
    let clock = Clock::simulated();
    let bus = EmulatedBus::new(kinects(scenario), clock.clone());
    let found = device::find(&bus).expect("emulated devices are found");
    let member = |(place, found): (usize, &device::Found)| Member {
        device: Device::open(&bus, found).expect("an emulated device opens"),
        name: None,
        config: scenario.config(place),
        controls: ColorControls::default(),
    };
    let members = found.iter().enumerate().map(member).collect();
    let files = Files::default();
    let unsynced_ns_max = Arc::new(AtomicU64::new(0));
    let mut stages = Vec::new();
    let take = Take::start(
        members,
        Some(scenario.triggers),
        Opening::default(),
        Surroundings {
            engine: Some(EngineLibrary::emulated().expect("the emulator's engine")),
            clock: clock.clone(),
            place: &mut |serial| {
                Ok(Box::new(MemoryDisk {
                    serial: serial.to_owned(),
                    files: Arc::clone(&files),
                    keeps: scenario.keep_files,
                    clock: clock.clone(),
                    unsynced_ns: None,
                    unsynced_ns_max: Arc::clone(&unsynced_ns_max),
                    kept: 0,
                    room: 0,
                }))
            },
            launch: &mut |job| {
                stages.push(match job {
                    Job::Recorder(stage) => (stage, true),
                    Job::Source(stage) | Job::Monitor(stage) => (stage, false),
                });
                Ok(())
            },
            sync_every: scenario.sync_every,
            written: k4a::About {
                writing_app: "simulation".to_owned(),
                date_utc_ns: None,
                uid_seed: scenario.seed,
            },
        },
    );
    let mut take = take.expect("an emulated take starts");
    let (alarms, failures) = turns(scenario, &mut take, stages, &clock, &bus);
    let (recorded, stopped) = take.finish();
    assert!(stopped.is_ok() || !failures.is_empty(), "emulated devices stop");
    let files = files.lock().expect("no test thread panicked").clone();
    let exposures = found.iter().map(|f| (f.serial.clone(), bus.exposures(&f.serial))).collect();
    let unsynced_max = Duration::from_nanos(unsynced_ns_max.load(Ordering::Relaxed));
    Ran { recorded, files, exposures, alarms, failures, unsynced_max }
}

/// Gives turns until every stage is done.
fn turns(
    scenario: &Scenario,
    take: &mut Take,
    mut stages: Vec<(Box<dyn Stage>, bool)>,
    clock: &Clock,
    bus: &EmulatedBus,
) -> (Vec<(u64, String)>, Vec<Error>) {
    let longest_ns = 60_000_000_000 + scenario.triggers * 200_000_000;
    let mut random = Random::new(scenario.seed);
    let mut held_until = vec![0; stages.len()];
    let (mut last_event_ns, mut looked_ns, mut failed_ns) = (0, 0, u64::MAX);
    let (mut alarms, mut failures) = (Vec::new(), Vec::new());
    while !stages.is_empty() {
        let now_ns = clock.now_ns();
        assert!(now_ns < longest_ns, "seed {}: it does not end", scenario.seed);
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
            match step {
                Ok(Step::Worked) => worked = true,
                Ok(Step::Idle) => {}
                ended => {
                    if let Err(failure) = ended {
                        failures.push(failure);
                        failed_ns = failed_ns.min(now_ns);
                    }
                    stages.remove(turn);
                    held_until.remove(turn);
                    worked = true;
                    break;
                }
            }
        }
        if scenario.look_at_cables && now_ns >= looked_ns + 500_000_000 {
            looked_ns = now_ns;
            take.look_at_cables();
        }
        let status = take.status(Duration::ZERO);
        alarms.extend(status.alarms.into_iter().map(|alarm| (now_ns, alarm)));
        if stages.iter().all(|(_, is_recorder)| !is_recorder) {
            take.end_now();
        }
        // Time moves only after a sweep in which nobody worked.
        if !worked {
            let event = bus.next_event_ns().unwrap_or(u64::MAX).min(now_ns + 5_000_000);
            last_event_ns = event.max(last_event_ns + 1_000);
            clock.move_to(last_event_ns);
            // As the watch of a real take does: it looks every 50 ms, and the frames before an
            // agreed end have three seconds to come.
            if now_ns >= failed_ns.saturating_add(50_000_000) {
                take.end_soon();
            }
            if now_ns >= failed_ns.saturating_add(3_000_000_000) {
                take.end_now();
            }
        }
    }
    (alarms, failures)
}
