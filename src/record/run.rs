//! Runs a take on threads, from the devices on the bus to the finished files.

use crate::clock::Clock;
use crate::config::Plan;
use crate::error::{Error, Result};
use crate::record::members::{engine, members};
use crate::record::output::Place;
use crate::record::status::Status;
use crate::record::summary;
use crate::record::take::{Member, Recorded, Surroundings, Take};
use crate::stage;
use crate::usb::Bus;
use genlock_formats::k4a;
use genlock_formats::take::Take as TakeFile;
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
    let mut place = Place::create(&plan.output)?;
    let started = jiff::Timestamp::now();
    let mut threads = Threads::default();
    let take = Take::start(
        members,
        plan.triggers,
        Surroundings {
            engine,
            clock: clock.clone(),
            place: &mut |serial| place.file(serial),
            launch: &mut |stages| {
                threads.recorders.push(stage::spawn(stages.recorder)?);
                for source in stages.sources {
                    threads.sources.push(stage::spawn(source)?);
                }
                Ok(())
            },
            written: written(started),
        },
    );
    let take = match take {
        Ok(take) => take,
        Err(cause) => {
            // The sources were told to stop; their lanes close, and nothing has been written.
            threads.join_all();
            return Err(cause);
        }
    };
    let failure = watch_over(&take, &mut threads, stop, watch);
    // What the watch saw is the cause; that stages then failed is what came of it.
    let of_stages = threads.join_all();
    let failure = failure.or(of_stages);
    let (recorded, stopped) = take.finish();
    let failure = failure.or(stopped.err());
    let take = conclude(plan, started, &recorded, failure.as_ref(), &mut place)?;
    Ok(Outcome { take, failure })
}

#[derive(Default)]
struct Threads {
    recorders: Vec<JoinHandle<Result<()>>>,
    sources: Vec<JoinHandle<Result<()>>>,
    failure: Option<Error>,
}

impl Threads {
    /// Collects the threads that have ended; the first failure is kept.
    fn collect(&mut self) {
        for threads in [&mut self.recorders, &mut self.sources] {
            let ended = threads.extract_if(.., |thread| thread.is_finished());
            for thread in ended {
                let failed = stage::join(thread).err();
                self.failure = self.failure.take().or(failed);
            }
        }
    }

    fn join_all(&mut self) -> Option<Error> {
        for thread in self.recorders.drain(..).chain(self.sources.drain(..)) {
            let failed = stage::join(thread).err();
            self.failure = self.failure.take().or(failed);
        }
        self.failure.take()
    }
}

/// Watches a take until its recorders are done. Gives what went wrong beside the stages' own
/// failures.
fn watch_over(
    take: &Take,
    threads: &mut Threads,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Status),
) -> Option<Error> {
    let started = Instant::now();
    let mut ending: Option<Instant> = None;
    let mut silence = Silence::default();
    let mut failure = None;
    while !threads.recorders.is_empty() {
        std::thread::sleep(LOOK);
        let status = take.status(started.elapsed());
        watch(&status);
        threads.collect();
        if ending.is_none() && failure.is_none() {
            failure = never_began(take, &status).or_else(|| silence.of(&status));
        }
        let over = failure.is_some() || threads.failure.is_some() || stop.load(Ordering::Acquire);
        if over && ending.is_none() {
            take.end_soon();
            ending = Some(Instant::now());
        }
        if ending.is_some_and(|since| since.elapsed() > ENDING_MAX) || failure.is_some() {
            take.end_now();
        }
    }
    take.end_now();
    failure
}

fn never_began(take: &Take, status: &Status) -> Option<Error> {
    let waiting = take.waiting();
    if waiting.is_empty() {
        return None;
    }
    let all_subordinate = status.devices.iter().all(|device| device.waiting_for_master);
    let limit = if all_subordinate { MASTER_MAX } else { FIRST_FRAME_MAX };
    (status.elapsed > limit).then(|| {
        Error::Device(format!(
            "{}: no frames within {} s; check the sync cable from its sync-in to the device \
             before it, that the master runs with color on, and the USB 3 connection",
            waiting.join(", "),
            limit.as_secs()
        ))
    })
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

/// Writes `take.toml` where the take is a folder, and leaves nothing where nothing was recorded.
fn conclude(
    plan: &Plan,
    started: jiff::Timestamp,
    recorded: &[Recorded],
    failure: Option<&Error>,
    place: &mut Place,
) -> Result<TakeFile> {
    let take = summary::of(plan, started, recorded, failure);
    if recorded.iter().any(|recorded| recorded.report.is_some()) {
        place.conclude(&take)?;
    }
    Ok(take)
}
