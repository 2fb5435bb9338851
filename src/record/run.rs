//! Runs a take on threads, from the devices on the bus to the finished files.

use crate::clock::Clock;
use crate::config::Plan;
use crate::error::{Error, Result};
use crate::record::evidence;
use crate::record::members::{engine, members};
use crate::record::output::Place;
use crate::record::room::Room;
use crate::record::status::{DeviceStatus, Status, Waiting};
use crate::record::summary::{self, About};
use crate::record::take::{Job, Member, Recorded, Surroundings, Take};
use crate::stage;
use crate::usb::Bus;
use genlock_formats::k4a;
use genlock_formats::take::{File, Host, Outcome as Ending, Take as TakeFile};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What came of a take.
#[derive(Debug)]
pub struct Outcome {
    /// What `take.toml` says.
    pub take: TakeFile,
    /// What ended it before its time.
    pub failure: Option<Error>,
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

/// Records one take as `plan` says, until it is complete or `stop` is set. `watch` is told how it
/// goes.
///
/// # Errors
/// When the take could not begin. What ends a take that has begun is in the [`Outcome`].
pub fn run(
    plan: &Plan,
    bus: &dyn Bus,
    clock: &Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Status),
) -> Result<Outcome> {
    run_opened(plan, members(plan, bus)?, clock, stop, watch)
}

/// The same with devices that were opened, and checked, before.
///
/// # Errors
/// When the take could not begin. What ends a take that has begun is in the [`Outcome`].
pub fn run_opened(
    plan: &Plan,
    members: Vec<Member>,
    clock: &Clock,
    stop: &AtomicBool,
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
            engine,
            clock: clock.clone(),
            place: &mut |serial| place.file(serial),
            launch: &mut |job| {
                match job {
                    Job::Recorder(stage) => threads.recorders.push(stage::spawn(stage)?),
                    Job::Source(stage) | Job::Monitor(stage) => {
                        threads.others.push(stage::spawn(stage)?);
                    }
                }
                Ok(())
            },
            sync_every: plan.keeping.sync_every,
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
    let mut room = Room::of(&plan.output);
    let failure = watch_over(&mut take, &mut threads, &mut room, stop, watch);
    // What the watch saw is the cause; that stages then failed is what came of it.
    let of_stages = threads.join_all();
    let failure = failure.or(of_stages);
    let (recorded, stopped) = take.finish();
    let failure = failure.or(stopped.err()).or_else(|| nothing_of(&recorded));
    let about = About { started, host: host.end(clock), failure: failure.as_ref() };
    // What it held is for what is written now.
    drop(room);
    let (take, unwritten) = conclude(plan, &about, &recorded, &place);
    Ok(Outcome { take, failure: first_of(failure, unwritten) })
}

/// A take of which every frame was lost is none.
fn nothing_of(recorded: &[Recorded]) -> Option<Error> {
    let nothing = |one: &Recorded| one.report.as_ref().is_none_or(|report| report.bytes == 0);
    recorded.iter().all(nothing).then(|| {
        Error::Device("not one frame of the take could be recorded; its losses say why".to_owned())
    })
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

#[derive(Default)]
struct Threads {
    recorders: Vec<JoinHandle<Result<()>>>,
    others: Vec<JoinHandle<Result<()>>>,
    /// The first failure of a source.
    cause: Option<Error>,
    /// The first failure of a recorder, which may be what came of the other.
    outcome: Option<Error>,
}

impl Threads {
    /// Collects the threads that have ended, or waits for all of them.
    fn collect(&mut self, wait: bool) {
        let ended = |threads: &mut Vec<JoinHandle<Result<()>>>, failure: &mut Option<Error>| {
            for thread in threads.extract_if(.., |thread| wait || thread.is_finished()) {
                let failed = stage::join(thread).err();
                *failure = failure.take().or(failed);
            }
        };
        ended(&mut self.recorders, &mut self.outcome);
        ended(&mut self.others, &mut self.cause);
    }

    fn has_failed(&self) -> bool {
        self.cause.is_some() || self.outcome.is_some()
    }

    fn join_all(&mut self) -> Option<Error> {
        self.collect(true);
        self.cause.take().or(self.outcome.take())
    }
}

/// Watches a take until its recorders are done. Gives what went wrong beside the stages' own
/// failures.
fn watch_over(
    take: &mut Take,
    threads: &mut Threads,
    room: &mut Room,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Status),
) -> Option<Error> {
    let started = Instant::now();
    let (mut ending, mut all_there) = (None::<Instant>, None::<Instant>);
    let mut looked_at_cables = started;
    let mut silence = Silence::default();
    let (mut failure, mut full) = (None, None);
    while !threads.recorders.is_empty() {
        std::thread::sleep(LOOK);
        let status = take.status(started.elapsed());
        watch(&status);
        threads.collect(false);
        if looked_at_cables.elapsed() >= LOOK_AT_CABLES {
            take.look_at_cables();
            looked_at_cables = Instant::now();
        }
        if ending.is_none() && failure.is_none() {
            failure = never_began(&status).or_else(|| silence.of(&status));
            if status.devices.iter().all(|device| device.waiting.is_none()) {
                let since = *all_there.get_or_insert_with(Instant::now);
                failure = failure.or(take.open_after(since.elapsed()).err());
            }
        }
        // What has not begun has written nothing.
        full = full.or(room.look(&status).filter(|_| take.has_begun()));
        let stopped = stop.load(Ordering::Acquire) || full.is_some();
        if stopped && !take.has_begun() && !threads.has_failed() {
            let text = "stopped before the take began: nothing was recorded";
            failure = failure.or(Some(Error::Device(text.to_owned())));
        }
        if (failure.is_some() || threads.has_failed() || stopped) && ending.is_none() {
            take.end_soon();
            ending = Some(Instant::now());
        }
        if ending.is_some_and(|since| since.elapsed() > ENDING_MAX) || failure.is_some() {
            take.end_now();
        }
    }
    take.end_now();
    failure.or(full)
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

/// Who has been silent, since when.
#[derive(Default)]
struct Silence(Vec<(u64, Duration)>);

impl Silence {
    fn of(&mut self, status: &Status) -> Option<Error> {
        self.0.resize(status.devices.len(), (0, Duration::ZERO));
        for (device, (frames, heard)) in status.devices.iter().zip(&mut self.0) {
            if device.frames != *frames || device.frames == 0 {
                (*frames, *heard) = (device.frames, status.elapsed);
            } else if status.elapsed.saturating_sub(*heard) > SILENCE_MAX {
                return Some(Error::Device(format!(
                    "{}: no frames for {} s; the take was ended: check its power and cables",
                    device.serial,
                    SILENCE_MAX.as_secs()
                )));
            }
        }
        None
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
    take.files.push(File::of("triggers.csv", triggers.as_bytes()));
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
