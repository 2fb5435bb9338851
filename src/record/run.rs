//! Runs a take on threads, from the devices on the bus to the finished files.

use crate::clock::Clock;
use crate::config::Plan;
use crate::error::{Error, Result};
use crate::record::evidence;
use crate::record::job::Job;
use crate::record::members::{engine, members};
use crate::record::output::{Place, TRIGGERS};
use crate::record::room::Room;
use crate::record::status::{DeviceStatus, Status, Waiting};
use crate::record::summary::{self, About};
use crate::record::take::{Member, Recorded, Surroundings, Take};
use crate::stage;
use crate::usb::Bus;
use genlock_formats::k4a::{self, Role};
use genlock_formats::take::{File, Host, Outcome as Ending, Take as TakeFile};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What came of a take.
#[derive(Debug)]
pub struct Outcome {
    /// What `take.toml` says.
    pub take: TakeFile,
    /// What ended it before its time.
    pub failure: Option<Error>,
    /// A device that did not stop as it should, when all was recorded.
    pub unstopped: Option<Error>,
}

/// How often a take is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long the first frame may take: Microsoft's functional tests allow 10 s (usb-protocol.md
/// 10.5), and a lone subordinate waits for a master that a person starts.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(10);
const MASTER_MAX: Duration = Duration::from_secs(60);

/// How long a device may be silent in mid-take before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How often the sync cables are looked at: a pulled one is to be told of within two seconds.
const LOOK_AT_CABLES: Duration = Duration::from_millis(500);

/// How long the frames before an agreed end may take to arrive.
const ENDING_MAX: Duration = Duration::from_secs(3);

/// What a take hears from outside.
pub struct Cue<'a> {
    /// Set when it is to end: a person asks, or the coordinator of a rig that spans machines.
    pub stop: &'a AtomicBool,
    /// Before which trigger it is then to end; `u64::MAX` leaves it to the take.
    pub end: &'a AtomicU64,
    /// Returns when whatever gives pulses may start; called when everybody waits for them.
    pub armed: &'a mut dyn FnMut() -> Result<()>,
}

/// Records one take as `plan` says, until it is complete or `stop` is set. `watch` is told how it
/// goes.
///
/// # Errors
/// When the take could not begin. What ends a take that has begun is in the [`Outcome`].
pub fn run(
    plan: &Plan,
    bus: &Arc<dyn Bus>,
    clock: &Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Status),
) -> Result<Outcome> {
    let members = members(plan, bus.as_ref())?;
    let cue = Cue { stop, end: &AtomicU64::new(u64::MAX), armed: &mut || Ok(()) };
    run_opened(plan, bus, members, clock, cue, watch)
}

/// The same with devices that were opened, and checked, before.
///
/// # Errors
/// When the take could not begin. What ends a take that has begun is in the [`Outcome`].
pub fn run_opened(
    plan: &Plan,
    bus: &Arc<dyn Bus>,
    members: Vec<Member>,
    clock: &Clock,
    cue: Cue<'_>,
    watch: &mut dyn FnMut(&Status),
) -> Result<Outcome> {
    let engine = engine(plan, &members)?;
    let place = Place::create(&plan.output)?;
    let started = jiff::Timestamp::now();
    let host = HostClock::begin(clock);
    let mut threads = Threads::default();
    let take = Take::start(
        members,
        plan.triggers,
        plan.opening,
        Surroundings {
            bus: Arc::clone(bus),
            keeping: plan.keeping.clone(),
            storing: plan.storing,
            engine,
            clock: clock.clone(),
            place: &mut |serial| place.file(serial),
            launch: &mut |job| threads.launch(job),
            armed: cue.armed,
            written: written(started),
        },
    );
    let mut take = match take {
        Ok(take) => take,
        Err(cause) => {
            // The sources were told to stop; their lanes close, and nothing has been written.
            threads.join_all();
            return Err(cause);
        }
    };
    let room = Room::of(&plan.output);
    let (failure, room) =
        Watch::new(&mut take, &mut threads, room).until_done((cue.stop, cue.end), watch);
    // What the watch saw is the cause; that stages then failed is what came of it.
    let of_stages = threads.join_all();
    let failure = failure.or(of_stages).or_else(|| take.all_lost());
    let (recorded, stopped) = take.finish();
    let failure = failure.or_else(|| nothing_of(&recorded));
    let failure = failure.or_else(|| unfinished(&recorded));
    let about = About { started, host: host.end(clock), failure: failure.as_ref() };
    // What it held is for what is written now.
    drop(room);
    let (take, unwritten) = conclude(plan, &about, &recorded, &place);
    Ok(Outcome { take, failure: first_of(failure, unwritten), unstopped: stopped.err() })
}

/// A take of which every frame was lost is none.
fn nothing_of(recorded: &[Recorded]) -> Option<Error> {
    let nothing = |one: &Recorded| one.report.as_ref().is_none_or(|report| report.bytes == 0);
    recorded.iter().all(nothing).then(|| {
        Error::Device("not one frame of the take could be recorded; its losses say why".to_owned())
    })
}

/// Every frame is in a file that could not be finished: no loss tells of it.
fn unfinished(recorded: &[Recorded]) -> Option<Error> {
    let all_there = |one: &&Recorded| one.outages.is_empty();
    recorded.iter().filter(all_there).find_map(|one| one.failure.clone())
}

/// The host's monotonic clock against UTC, at the beginning of a take.
struct HostClock {
    utc_at_zero_ns: i128,
}

impl HostClock {
    fn begin(clock: &Clock) -> Self {
        Self { utc_at_zero_ns: utc_at_zero_ns(clock) }
    }

    /// What `take.toml` says of it, at the end of the take.
    fn end(&self, clock: &Clock) -> Host {
        let moved_ns = utc_at_zero_ns(clock) - self.utc_at_zero_ns;
        let zero = jiff::Timestamp::from_nanosecond(self.utc_at_zero_ns).unwrap_or_default();
        Host {
            utc_at_zero: zero.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            utc_moved_us: (moved_ns as f64 / 100.0).round() / 10.0,
        }
    }
}

/// UTC when the monotonic clock was 0. Of several looks the one counts that took least time.
fn utc_at_zero_ns(clock: &Clock) -> i128 {
    let look = |_| {
        let before_ns = clock.now_ns();
        let utc_ns = jiff::Timestamp::now().as_nanosecond();
        let took_ns = clock.now_ns() - before_ns;
        (took_ns, utc_ns - i128::from(before_ns + took_ns / 2))
    };
    (0..5).map(look).min().map_or(0, |(_, zero_ns)| zero_ns)
}

/// The threads of a take.
#[derive(Default)]
struct Threads {
    /// With the places of their devices.
    recorders: Vec<(usize, JoinHandle<Result<()>>)>,
    sources: Vec<(usize, JoinHandle<Result<()>>)>,
    helpers: Vec<JoinHandle<Result<()>>>,
    /// The first failure of a recorder or helper: faults of this program.
    fault: Option<Error>,
}

impl Threads {
    fn launch(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Recorder(place, stage) => self.recorders.push((place, stage::spawn(stage)?)),
            Job::Source(place, stage) => self.sources.push((place, stage::spawn(stage)?)),
            Job::Helper(stage) => self.helpers.push(stage::spawn(stage)?),
        }
        Ok(())
    }

    /// Collects the threads that have ended; gives what ended sources, with their devices.
    fn collect(&mut self) -> Vec<(usize, Error)> {
        let mut faults = Vec::new();
        let ended = self.recorders.extract_if(.., |(_, thread)| thread.is_finished());
        faults.extend(ended.filter_map(|(_, thread)| stage::join(thread).err()));
        let ended = self.helpers.extract_if(.., |thread| thread.is_finished());
        faults.extend(ended.filter_map(|thread| stage::join(thread).err()));
        self.fault = self.fault.take().or(faults.into_iter().next());
        let ended = self.sources.extract_if(.., |(_, thread)| thread.is_finished());
        ended.filter_map(|(place, thread)| Some((place, stage::join(thread).err()?))).collect()
    }

    /// Waits for all threads; gives the first fault.
    fn join_all(&mut self) -> Option<Error> {
        let recorders = self.recorders.drain(..).map(|(_, thread)| thread);
        for thread in recorders.chain(self.helpers.drain(..)) {
            let failed = stage::join(thread).err();
            self.fault = self.fault.take().or(failed);
        }
        for (_, thread) in self.sources.drain(..) {
            // What ends a source when the take is over, or was given up, is nobody's concern.
            let _ = stage::join(thread);
        }
        self.fault.take()
    }
}

/// Watches a take until its recorders are done.
struct Watch<'a> {
    take: &'a mut Take,
    threads: &'a mut Threads,
    room: Room,
    /// Why the take was stopped while there was still room to finish it.
    full: Option<Error>,
    recorders: usize,
    silence: Silence,
    failure: Option<Error>,
    started: Instant,
    looked_at_cables: Instant,
    all_there: Option<Instant>,
    /// Since when the take has been ending.
    ending: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(take: &'a mut Take, threads: &'a mut Threads, room: Room) -> Self {
        let started = Instant::now();
        Self {
            recorders: threads.recorders.len(),
            take,
            threads,
            room,
            full: None,
            silence: Silence::default(),
            failure: None,
            started,
            looked_at_cables: started,
            all_there: None,
            ending: None,
        }
    }

    /// Gives what ended the take before its time, beside faults of stages, and the room that is
    /// held for what is written after it.
    fn until_done(
        mut self,
        (stop, end): (&AtomicBool, &AtomicU64),
        watch: &mut dyn FnMut(&Status),
    ) -> (Option<Error>, Room) {
        while !self.threads.recorders.is_empty() {
            std::thread::sleep(LOOK);
            let status = self.take.status(self.started.elapsed());
            watch(&status);
            self.look(&status);
            // What has not begun has written nothing.
            let full = self.room.look(&status).filter(|_| self.take.has_begun());
            self.full = self.full.take().or(full);
            let stopped = stop.load(Ordering::Acquire) || self.full.is_some();
            self.end_in_time(stopped, end.load(Ordering::Acquire));
        }
        self.take.end_now();
        (self.failure.or(self.full), self.room)
    }

    fn fail(&mut self, failed: Result<()>) {
        if let Err(failure) = failed {
            self.failure.get_or_insert(failure);
        }
    }

    /// Looks after the devices.
    fn look(&mut self, status: &Status) {
        for (place, why) in self.threads.collect() {
            let lost = self.take.lost(place, why);
            self.fail(lost);
        }
        if self.looked_at_cables.elapsed() >= LOOK_AT_CABLES {
            self.take.look_at_cables();
            self.looked_at_cables = Instant::now();
        }
        if self.ending.is_some() || self.failure.is_some() {
            return;
        }
        if self.take.has_begun() {
            for (place, why) in self.silence.of(status) {
                let lost = match status.lost_master() {
                    Some(master) => Err(without_pulses(master, &status.devices[place])),
                    None => self.take.lost(place, why),
                };
                self.fail(lost);
            }
        } else {
            self.failure = never_began(status);
        }
        if status.devices.iter().all(|device| device.waiting.is_none()) {
            let since = *self.all_there.get_or_insert_with(Instant::now);
            let opened = self.take.open_after(since.elapsed());
            self.fail(opened);
        }
        let tended = self.take.tend(&mut |job| self.threads.launch(job));
        self.fail(tended);
        self.failure = self.failure.take().or_else(|| self.take.all_lost());
    }

    fn end_in_time(&mut self, stopped: bool, end: u64) {
        let faulty = self.threads.fault.is_some();
        if stopped && !self.take.has_begun() && !faulty {
            let text = "stopped before the take began: nothing was recorded";
            self.failure.get_or_insert(Error::Device(text.to_owned()));
        }
        let left = &self.threads.recorders;
        // The others' files are finished: this one has the frames until then to come.
        let some_done = left.len() < self.recorders;
        if (self.failure.is_some() || faulty || stopped) && self.ending.is_none() {
            match end {
                u64::MAX => self.take.end_soon(),
                end => self.take.end_before(end),
            }
        }
        if self.failure.is_some() || faulty || stopped || some_done {
            self.ending.get_or_insert_with(Instant::now);
        }
        let only_away = some_done && left.iter().all(|(place, _)| self.take.is_away(*place));
        let late = self.ending.is_some_and(|since| since.elapsed() > ENDING_MAX);
        if late || only_away || self.failure.is_some() {
            self.take.end_now();
        }
    }
}

/// That devices have not delivered in time, and what to do.
fn never_began(status: &Status) -> Option<Error> {
    let waiting = || status.devices.iter().filter(|device| device.waiting.is_some());
    let pulses = |device: &DeviceStatus| device.waiting == Some(Waiting::Pulses);
    let all_for_pulses = waiting().all(pulses) && waiting().count() == status.devices.len();
    let limit = if all_for_pulses { MASTER_MAX } else { FIRST_FRAME_MAX };
    if waiting().next().is_none() || status.elapsed <= limit {
        return None;
    }
    let seconds = limit.as_secs();
    let one = |device: &DeviceStatus| {
        let serial = &device.serial;
        if device.stale {
            format!(
                "{serial}: its timestamps did not roll back to zero within {seconds} s; stop \
                 whatever else uses it, and check the cable in its sync-in"
            )
        } else if pulses(device) {
            format!(
                "{serial}: the master's pulses did not come within {seconds} s; check the sync \
                 cable from its sync-in to the device before it, and that the master runs with \
                 color on"
            )
        } else {
            format!("{serial}: no frames within {seconds} s; check its power and USB 3 connection")
        }
    };
    let all: Vec<_> = waiting().map(one).collect();
    Some(Error::Device(all.join("\n       ")))
}

/// That a take ends because nothing triggers its devices any more.
fn without_pulses(master: &DeviceStatus, subordinate: &DeviceStatus) -> Error {
    Error::Device(format!(
        "the master {} did not come back, and {} gets no pulses: the take was ended",
        master.serial, subordinate.serial
    ))
}

/// Who has been silent, since when.
#[derive(Default)]
struct Silence(Vec<(u64, Duration)>);

impl Silence {
    /// The devices that have been silent for too long, with what to say of them. While the master
    /// is away and looked for, its subordinates get no pulses and are silent for a good reason.
    fn of(&mut self, status: &Status) -> Vec<(usize, Error)> {
        self.0.resize(status.devices.len(), (0, Duration::ZERO));
        let excused = |device: &DeviceStatus| {
            device.waiting == Some(Waiting::Return)
                || (device.role == Role::Subordinate
                    && status.master_is_out()
                    && status.lost_master().is_none())
        };
        let mut silent = Vec::new();
        let devices = status.devices.iter().zip(&mut self.0).enumerate();
        for (place, (device, (count, since))) in devices {
            let joining = device.waiting == Some(Waiting::Trigger);
            if (device.heard != *count && !joining) || device.is_done || excused(device) {
                (*count, *since) = (device.heard, status.elapsed);
            } else if status.elapsed.saturating_sub(*since) > SILENCE_MAX {
                *since = status.elapsed;
                let (serial, seconds) = (&device.serial, SILENCE_MAX.as_secs());
                let what = match joining {
                    true => "its cameras' clocks have not come together within",
                    false => "no frames for",
                };
                let text = format!("{serial}: {what} {seconds} s; check its power and cables");
                silent.push((place, Error::Device(text)));
            }
        }
        silent
    }
}

fn written(started: jiff::Timestamp) -> k4a::About {
    /// Seconds from the Unix epoch to 2001-01-01T00:00:00Z, where Matroska's dates begin.
    const MATROSKA_EPOCH_S: i64 = 978_307_200;
    k4a::About {
        writing_app: format!("genlock-{}", env!("CARGO_PKG_VERSION")),
        date_utc_ns: Some((started.as_second() - MATROSKA_EPOCH_S) * 1_000_000_000),
        uid_seed: started.as_nanosecond() as u64,
    }
}

/// Writes `triggers.csv` and `take.toml` where the take is a folder, and leaves nothing where
/// nothing was recorded. Gives why they could not be written, too.
fn conclude(
    plan: &Plan,
    about: &About<'_>,
    recorded: &[Recorded],
    place: &Place,
) -> (TakeFile, Option<Error>) {
    let mut take = summary::of(plan, about, recorded);
    let is_there = about.failure.is_none() || take.devices.iter().any(|one| one.file.is_some());
    if !is_there {
        return (take, None);
    }
    let triggers = evidence::triggers(recorded).to_csv();
    take.files.push(File::of(TRIGGERS, triggers.as_bytes()));
    let unwritten = place.conclude(&take, &triggers).err();
    if let (None, Some(cause)) = (about.failure, &unwritten) {
        // The recordings are whole; the take, which nothing describes, is not.
        take.outcome = Ending::Failed;
        take.reason = Some(cause.to_string());
    }
    (take, unwritten)
}

/// What ended the take is told before what then failed.
fn first_of(failure: Option<Error>, then: Option<Error>) -> Option<Error> {
    match (failure, then) {
        (Some(first), Some(then)) => Some(Error::Disk(format!("{first}; then {then}"))),
        (first, then) => first.or(then),
    }
}
