//! The whole chain under virtual time: emulated devices, stages stepped by a seeded scheduler, a
//! clock that moves when nobody has work.

use genlock::clock::Clock;
use genlock::config::{ColorControls, DeviceConfig, Keeping, Opening, Storing};
use genlock::device::{self, Device, EngineLibrary};
use genlock::error::{Error, Result};
use genlock::record::{Disk, Job, Member, Recorded, Surroundings, Take};
use genlock::stage::Step;
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

/// Until when the disk under all files is busy, and until when each recorder, by serial, waits for
/// what it has written.
#[derive(Default)]
struct Busy {
    until_ns: u64,
    waits: BTreeMap<String, u64>,
    longest: Duration,
}

struct MemoryDisk {
    serial: String,
    files: Files,
    keeps: bool,
    slow: Option<SlowDisk>,
    busy: Arc<Mutex<Busy>>,
    clock: Clock,
    /// Calls that still succeed; none is no limit.
    calls_left: Option<u64>,
    /// When the oldest byte was appended that was not synced since.
    unsynced_ns: Option<u64>,
    /// The longest time that a byte of any file was not synced.
    unsynced_ns_max: Arc<AtomicU64>,
    /// Room that is kept for the end of the file, and that the end then has.
    kept: u64,
    room: u64,
}

/// A disk that takes its time.
#[derive(Debug, Clone, Copy)]
pub struct SlowDisk {
    /// What it writes in a second, of all files together.
    pub bytes_per_s: u64,
    /// When it is slow, in nanoseconds of virtual time.
    pub from_ns: u64,
    /// See `from_ns`.
    pub until_ns: u64,
}

impl MemoryDisk {
    /// Counts a call, which fails when there have been so many.
    fn call(&mut self) -> Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(Error::Disk(format!("cannot write {}: out of order", self.serial))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

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
        self.call()?;
        let now_ns = self.clock.now_ns();
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(self.kept > 0 || len as u64 <= self.room, "no room was kept for the end");
        if let Some(slow) = self.slow.filter(|s| (s.from_ns..s.until_ns).contains(&now_ns)) {
            let mut busy = self.busy.lock().expect("no test thread panicked");
            let takes_ns = len as u64 * 1_000_000_000 / slow.bytes_per_s;
            busy.until_ns = busy.until_ns.max(now_ns) + takes_ns;
            let until_ns = busy.until_ns;
            busy.longest = busy.longest.max(Duration::from_nanos(until_ns - now_ns));
            busy.waits.insert(self.serial.clone(), until_ns);
        }
        self.with(|file| pieces.iter().for_each(|piece| file.extend_from_slice(piece)));
        self.unsynced_ns.get_or_insert(self.clock.now_ns());
        Ok(())
    }

    fn keep(&mut self, bytes: u64) {
        (self.room, self.kept) = (self.kept, bytes);
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.call()?;
        let at = usize::try_from(at).expect("a small file");
        self.with(|file| file[at..at + bytes.len()].copy_from_slice(bytes));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.call()?;
        self.synced();
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        self.call()
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        self.synced();
    }
}

/// What a seed stands for.
#[derive(Clone)]
pub struct Scenario {
    pub seed: u64,
    /// A device each, the first being the master.
    pub faults: Vec<Faults>,
    /// The mode of the color cameras.
    pub color: &'static str,
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
    /// How the take is kept from harm.
    pub keeping: Keeping,
    /// How the take is stored.
    pub storing: Storing,
    /// When the disk is slow.
    pub slow: Option<SlowDisk>,
    /// The disk call of the second device's file from which on all of them fail.
    pub second_fails_at: Option<u64>,
}

impl Scenario {
    /// Sound devices with depth.
    pub fn sound(seed: u64, devices: usize, triggers: u64) -> Self {
        Self {
            seed,
            faults: vec![Faults::default(); devices],
            color: "720p",
            depth: true,
            depth_alone: false,
            triggers,
            stall_ns_max: 0,
            look_at_cables: false,
            keep_files: true,
            keeping: Keeping::default(),
            storing: Storing::default(),
            slow: None,
            second_fails_at: None,
        }
    }

    pub fn config(&self, place: usize) -> DeviceConfig {
        let role = match (self.faults.len(), place) {
            (1, _) => Role::Standalone,
            (_, 0) => Role::Master,
            _ => Role::Subordinate,
        };
        DeviceConfig {
            color: (!self.depth_alone).then(|| self.color.parse().expect("a mode")),
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
    /// Stages that bring frames into the form of the profile.
    pub encoders: usize,
    /// Every exposure as it was, by serial.
    pub exposures: BTreeMap<String, Vec<Exposure>>,
    /// Alarms, with the virtual time at which they were raised.
    pub alarms: Vec<(u64, String)>,
    /// What ended stages before their time.
    pub failures: Vec<Error>,
    /// The longest time that a byte of any file was not synced.
    pub unsynced_max: Duration,
    /// The longest time that a file waited for what was appended to it.
    pub longest_append: Duration,
}

/// Scenes rendered once for all runs.
fn view(seed: u64, color: &'static str, depth: bool) -> View {
    type Key = (u64, &'static str, bool);
    static VIEWS: Mutex<BTreeMap<Key, View>> = Mutex::new(BTreeMap::new());
    let mut views = VIEWS.lock().expect("no test thread panicked");
    let render = || {
        let mut view = View::scene(seed, "000000000001");
        assert!(view.prepare_color(color.parse().expect("a mode")));
        assert!(!depth || view.prepare_depth(SensorMode::LongThrow));
        view
    };
    views.entry((seed, color, depth)).or_insert_with(render).clone()
}

fn kinects(scenario: &Scenario) -> Vec<Kinect> {
    let (cable, count) = (Cable::default(), scenario.faults.len());
    let make = |(i, faults): (usize, &Faults)| {
        let mut setup = Setup::new(&format!("{:012}", i + 1), scenario.seed + i as u64);
        setup.view = view(i as u64 + scenario.seed % 3, scenario.color, scenario.depth);
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
    let bus = Arc::new(EmulatedBus::new(kinects(scenario), clock.clone()));
    let found = device::find(bus.as_ref()).expect("emulated devices are found");
    let member = |(place, found): (usize, &device::Found)| Member {
        device: Device::open(bus.as_ref(), found).expect("an emulated device opens"),
        name: None,
        config: scenario.config(place),
        controls: ColorControls::default(),
    };
    let members = found.iter().enumerate().map(member).collect();
    let files = Files::default();
    let busy = Arc::<Mutex<Busy>>::default();
    let unsynced_ns_max = Arc::new(AtomicU64::new(0));
    let mut stages = Vec::new();
    let take = Take::start(
        members,
        Some(scenario.triggers),
        Opening::default(),
        Surroundings {
            bus: bus.clone(),
            keeping: scenario.keeping.clone(),
            storing: scenario.storing,
            engine: Some(EngineLibrary::emulated().expect("the emulator's engine")),
            clock: clock.clone(),
            place: &mut |serial| {
                Ok(Box::new(MemoryDisk {
                    serial: serial.to_owned(),
                    files: Arc::clone(&files),
                    keeps: scenario.keep_files,
                    slow: scenario.slow,
                    busy: Arc::clone(&busy),
                    clock: clock.clone(),
                    calls_left: scenario.second_fails_at.filter(|_| serial.ends_with('2')),
                    unsynced_ns: None,
                    unsynced_ns_max: Arc::clone(&unsynced_ns_max),
                    kept: 0,
                    room: 0,
                }))
            },
            armed: &mut || Ok(()),
            launch: &mut |job| {
                stages.push(job);
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
    let of_encoder = |job: &&Job| {
        let (Job::Source(_, stage) | Job::Recorder(_, stage) | Job::Helper(stage)) = job;
        stage.name().contains("encoder")
    };
    let encoders = stages.iter().filter(of_encoder).count();
    let (alarms, failures) = turns(scenario, &mut take, stages, (&clock, &bus, &busy));
    let (recorded, stopped) = take.finish();
    assert!(stopped.is_ok() || !failures.is_empty(), "emulated devices stop");
    let files = files.lock().expect("no test thread panicked").clone();
    let exposures = found.iter().map(|f| (f.serial.clone(), bus.exposures(&f.serial))).collect();
    let unsynced_max = Duration::from_nanos(unsynced_ns_max.load(Ordering::Relaxed));
    let longest_append = busy.lock().expect("no test thread panicked").longest;
    Ran { recorded, files, encoders, exposures, alarms, failures, unsynced_max, longest_append }
}

/// Stages that get turns, until all are done.
struct Turns<'a> {
    scenario: &'a Scenario,
    random: Random,
    /// With the time until which each is kept from its turn.
    stages: Vec<(Job, u64)>,
    recorders: usize,
    looked_ns: u64,
    ending_ns: u64,
    alarms: Vec<(u64, String)>,
    failures: Vec<Error>,
}

/// Gives turns until every stage is done.
fn turns(
    scenario: &Scenario,
    take: &mut Take,
    stages: Vec<Job>,
    (clock, bus, busy): (&Clock, &EmulatedBus, &Mutex<Busy>),
) -> (Vec<(u64, String)>, Vec<Error>) {
    let longest_ns = 60_000_000_000 + scenario.triggers * 200_000_000;
    let mut turns = Turns {
        scenario,
        random: Random::new(scenario.seed),
        stages: stages.into_iter().map(|job| (job, 0)).collect(),
        recorders: 0,
        looked_ns: 0,
        ending_ns: u64::MAX,
        alarms: Vec::new(),
        failures: Vec::new(),
    };
    turns.recorders = turns.recorders_left().len();
    let mut last_event_ns = 0;
    while !turns.stages.is_empty() {
        let now_ns = clock.now_ns();
        assert!(now_ns < longest_ns, "seed {}: it does not end", scenario.seed);
        let worked = turns.sweep(take, now_ns) | turns.tend(take, now_ns);
        turns.wait_for_disk(busy);
        turns.end_in_time(take, now_ns);
        // Time moves only after a sweep in which nobody worked.
        if !worked {
            let event = bus.next_event_ns().unwrap_or(u64::MAX).min(now_ns + 5_000_000);
            last_event_ns = event.max(last_event_ns + 1_000);
            clock.move_to(last_event_ns);
        }
    }
    turns.failures.extend(take.all_lost());
    (turns.alarms, turns.failures)
}

impl Turns<'_> {
    /// Places of the devices whose recorders have not finished.
    fn recorders_left(&self) -> Vec<usize> {
        let place = |(job, _): &(Job, u64)| match job {
            Job::Recorder(place, _) => Some(*place),
            Job::Source(..) | Job::Helper(_) => None,
        };
        self.stages.iter().filter_map(place).collect()
    }

    /// A turn for every stage, from any of them on. Says whether one worked.
    fn sweep(&mut self, take: &mut Take, now_ns: u64) -> bool {
        let mut worked = false;
        let mut turn = self.random.below(self.stages.len() as u64) as usize;
        for _ in 0..self.stages.len() {
            turn = (turn + 1) % self.stages.len();
            if self.stages[turn].1 > now_ns {
                continue;
            }
            if self.scenario.stall_ns_max > 0 && self.random.one_in(400) {
                self.stages[turn].1 = now_ns + self.random.below(self.scenario.stall_ns_max);
                continue;
            }
            let (Job::Source(_, stage) | Job::Recorder(_, stage) | Job::Helper(stage)) =
                &mut self.stages[turn].0;
            match stage.step(Duration::ZERO) {
                Ok(Step::Worked) => worked = true,
                Ok(Step::Idle) => {}
                ended => {
                    let lost = match (self.stages.remove(turn).0, ended) {
                        (Job::Source(place, _), Err(why)) => take.lost(place, why),
                        (_, ended) => ended.map(|_| ()),
                    };
                    self.failures.extend(lost.err());
                    return true;
                }
            }
        }
        worked
    }

    /// Recorders wait for what they have written.
    fn wait_for_disk(&mut self, busy: &Mutex<Busy>) {
        let busy = busy.lock().expect("no test thread panicked");
        for (job, held_ns) in &mut self.stages {
            let Job::Recorder(_, stage) = job else { continue };
            let serial = stage.name().split(' ').next().unwrap_or_default();
            *held_ns = (*held_ns).max(busy.waits.get(serial).copied().unwrap_or(0));
        }
    }

    /// Looks after the devices, as the watch of a real take does. Says whether one came back.
    fn tend(&mut self, take: &mut Take, now_ns: u64) -> bool {
        if self.scenario.look_at_cables && now_ns >= self.looked_ns + 500_000_000 {
            self.looked_ns = now_ns;
            take.look_at_cables();
        }
        let before = self.stages.len();
        let tended = take.tend(&mut |job| {
            self.stages.push((job, 0));
            Ok(())
        });
        tended.expect("there are always turns to be had");
        let status = take.status(Duration::ZERO);
        self.alarms.extend(status.alarms.into_iter().map(|alarm| (now_ns, alarm)));
        self.stages.len() > before
    }

    /// As the watch of a real take does: it looks every 50 ms, and the frames before an agreed end
    /// have three seconds to come.
    fn end_in_time(&mut self, take: &mut Take, now_ns: u64) {
        let left = self.recorders_left();
        let some_done = left.len() < self.recorders;
        let failed = !self.failures.is_empty() || take.all_lost().is_some();
        if failed || some_done {
            self.ending_ns = self.ending_ns.min(now_ns);
        }
        if failed && now_ns >= self.ending_ns.saturating_add(50_000_000) {
            take.end_soon();
        }
        let only_away = some_done && left.iter().all(|place| take.is_away(*place));
        if only_away || now_ns >= self.ending_ns.saturating_add(3_000_000_000) {
            take.end_now();
        }
    }
}
