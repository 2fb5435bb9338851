//! The monitor stage: what every device has for every trigger, and whether subordinates follow.
//!
//! It hears of every frame that a recorder takes in. It is none of the capture path: a note that
//! finds its lane full is lost, and costs the take some of its evidence and no frame.

use crate::error::Result;
use crate::frame::TrackName;
use crate::lane::{Received, Receiver, Sender};
use crate::stage::{Stage, Step};
use crate::sync::{Change, LagWatch, OUT_OF_STEP, Pair, Span, Watch};
use genlock_formats::k4a::Rate;
use genlock_formats::take::Alarm;
use std::sync::Arc;
use std::time::Duration;

/// What a recorder, or the take, tells the monitor.
#[derive(Debug, Clone, Copy)]
pub enum Note {
    /// A frame of the take came in.
    Frame {
        /// Place of the device in the take.
        device: usize,
        /// Its track; an image.
        track: TrackName,
        /// The trigger that it answers.
        trigger: u64,
        /// Device time in microseconds.
        stamp_us: u64,
        /// When it arrived, in nanoseconds of the host's monotonic clock.
        arrived_ns: u64,
    },
    /// The sync cable of a device was looked at.
    Cable {
        /// Place of the device in the take.
        device: usize,
        /// Whether the cable that its role needs is in.
        plugged: bool,
    },
}

/// What a take has of one device: for each trigger, from the take's first on, a time in
/// microseconds, or 0 for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Device times of color frames.
    pub color: Vec<u64>,
    /// Device times of depth frames.
    pub depth: Vec<u64>,
    /// Device times of IR frames.
    pub ir: Vec<u64>,
    /// Host times at which the first frame of each trigger arrived.
    pub arrived: Vec<u64>,
    /// What was noticed.
    pub alarms: Vec<Alarm>,
    /// How often the middle of its exposures moved against the master's.
    pub moves: u64,
}

/// Triggers that fit without growing: an hour at 30 fps.
const TRIGGERS: usize = 108_000;

impl Evidence {
    /// The times of an image track.
    #[must_use]
    pub fn of(&self, track: TrackName) -> &[u64] {
        match track {
            TrackName::Color => &self.color,
            TrackName::Depth => &self.depth,
            TrackName::Ir => &self.ir,
            TrackName::Imu => &[],
        }
    }

    fn of_mut(&mut self, track: TrackName) -> Option<&mut Vec<u64>> {
        match track {
            TrackName::Color => Some(&mut self.color),
            TrackName::Depth => Some(&mut self.depth),
            TrackName::Ir => Some(&mut self.ir),
            TrackName::Imu => None,
        }
    }
}

/// What the monitor must know of a device.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Serial number.
    pub serial: String,
    /// The track that leads: color, or depth or IR where there is none.
    pub leading: TrackName,
    /// Every image track.
    pub tracks: Vec<TrackName>,
    /// How much later than the master's color its leading exposures are planned, in microseconds;
    /// none of a device that follows no master of the take.
    pub delay_us: Option<f64>,
    /// Triggers per second.
    pub rate: Rate,
}

struct Device {
    about: Watched,
    evidence: Evidence,
    watch: Watch,
    lag: LagWatch,
    /// The next trigger to pair with the master's, from the take's first on.
    next_pair: usize,
    /// The latest trigger seen.
    latest: u64,
    /// The latest trigger when its cable was last in.
    plugged_until: u64,
    free_since: Option<u64>,
    unplugged_since: Option<u64>,
}

/// Notes that wait at most: several seconds of a rig of eight.
pub const NOTES_MAX: usize = 8192;

/// Collects the evidence of a take.
pub struct Monitor {
    notes: Receiver<Note>,
    alarms: Sender<String>,
    report: Sender<Vec<Evidence>>,
    span: Arc<Span>,
    devices: Vec<Device>,
    master: Option<usize>,
}

/// What `take.toml` calls it.
const UNPLUGGED: &str = "its sync cable was out";

impl Monitor {
    /// A monitor of these devices, of which `master` gives the pulses. Alarms go out as they are
    /// raised, the evidence when all recorders are gone.
    #[must_use]
    pub fn new(
        devices: Vec<Watched>,
        master: Option<usize>,
        span: Arc<Span>,
        notes: Receiver<Note>,
        (alarms, report): (Sender<String>, Sender<Vec<Evidence>>),
    ) -> Self {
        let device = |about: Watched| {
            let mut evidence = Evidence::default();
            evidence.arrived.reserve(TRIGGERS);
            for track in &about.tracks {
                if let Some(times) = evidence.of_mut(*track) {
                    times.reserve(TRIGGERS);
                }
            }
            Device {
                watch: Watch::new(about.rate.fps()),
                lag: LagWatch::new(about.rate.fps()),
                about,
                evidence,
                next_pair: 0,
                latest: 0,
                plugged_until: 0,
                free_since: None,
                unplugged_since: None,
            }
        };
        let devices = devices.into_iter().map(device).collect();
        Self { notes, alarms, report, span, devices, master }
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Frame { device, track, trigger, stamp_us, arrived_ns } => {
                let Some(first) = self.span.first() else { return };
                let Some(device) = self.devices.get_mut(device) else { return };
                let arrived_us = arrived_ns / 1000;
                device.take(track, trigger, first, stamp_us, arrived_us);
                if device.about.leading == track
                    && let Some(by_us) = device.lag.frame(stamp_us, arrived_us)
                {
                    let ms = (by_us + 500) / 1000;
                    device.raise(trigger, trigger, &format!("its clock jumped ahead by {ms} ms"));
                    let serial = &device.about.serial;
                    let text = format!("{serial}: its clock jumped ahead by {ms} ms at {trigger}");
                    self.alarm(text);
                }
                self.pair_up();
            }
            Note::Cable { device, plugged } => self.look_at_cable(device, plugged),
        }
    }

    /// Compares what has come of the subordinates with what has come of the master.
    fn pair_up(&mut self) {
        let Some(master) = self.master else { return };
        let first = self.span.first().unwrap_or(0);
        let mut stamps = std::mem::take(&mut self.devices[master].evidence.color);
        for place in 0..self.devices.len() {
            while let Some(change) = self.devices[place].next_change(first, &stamps) {
                let device = &mut self.devices[place];
                match change {
                    Change::Left(trigger) => {
                        device.free_since = Some(trigger);
                        let text = format!(
                            "{}: {OUT_OF_STEP} from trigger {trigger} on; check its sync cable",
                            device.about.serial
                        );
                        self.alarm(text);
                    }
                    Change::Moved(_) => device.evidence.moves += 1,
                    Change::Returned(trigger) => {
                        let since = device.free_since.take().unwrap_or(first);
                        device.raise(since, trigger.saturating_sub(1), OUT_OF_STEP);
                        let text = format!(
                            "{}: in step again from trigger {trigger} on",
                            device.about.serial
                        );
                        self.alarm(text);
                    }
                }
            }
        }
        std::mem::swap(&mut self.devices[master].evidence.color, &mut stamps);
    }

    fn look_at_cable(&mut self, device: usize, plugged: bool) {
        let first = self.span.first().unwrap_or(0);
        let Some(device) = self.devices.get_mut(device) else { return };
        let text = match (device.unplugged_since, plugged) {
            (None, true) => {
                device.plugged_until = device.latest;
                return;
            }
            (Some(_), false) => return,
            (None, false) => {
                device.unplugged_since = Some(device.plugged_until);
                format!("{}: its sync cable is out: plug it in", device.about.serial)
            }
            (Some(since), true) => {
                device.unplugged_since = None;
                device.raise(since.max(first), device.latest, UNPLUGGED);
                format!("{}: its sync cable is in again", device.about.serial)
            }
        };
        self.alarm(text);
    }

    fn alarm(&self, text: String) {
        // Whoever does not listen finds the alarm in take.toml.
        let _ = self.alarms.send(text);
    }

    fn finish(&mut self) {
        let first = self.span.first().unwrap_or(0);
        let end = self.span.end().unwrap_or(first).max(first);
        let count = usize::try_from(end - first).unwrap_or(0);
        let finished = |device: &mut Device| {
            let open = [
                (device.free_since.take(), OUT_OF_STEP),
                (device.unplugged_since.take(), UNPLUGGED),
            ];
            for (since, what) in open {
                if let Some(since) = since.filter(|since| *since < end) {
                    device.raise(since.max(first), end - 1, what);
                }
            }
            let mut evidence = std::mem::take(&mut device.evidence);
            for track in device.about.tracks.iter().copied() {
                if let Some(times) = evidence.of_mut(track) {
                    times.resize(count, 0);
                }
            }
            evidence.arrived.resize(count, 0);
            evidence
        };
        let evidence = self.devices.iter_mut().map(finished).collect();
        // The lane has room for the one report.
        let _ = self.report.send(evidence);
    }
}

impl Device {
    fn take(&mut self, track: TrackName, trigger: u64, first: u64, stamp_us: u64, arrived_us: u64) {
        let place = trigger.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some(at) = place else { return };
        if let Some(times) = self.evidence.of_mut(track) {
            put(times, at, stamp_us);
        }
        if self.evidence.arrived.get(at).is_none_or(|time| *time == 0) {
            // The host's clock begins with the program; 0 stands for no frame.
            put(&mut self.evidence.arrived, at, arrived_us.max(1));
        }
        self.latest = self.latest.max(trigger);
    }

    /// Follows the pairs that are complete; gives the first change that they show.
    fn next_change(&mut self, first: u64, master: &[u64]) -> Option<Change> {
        let delay_us = self.about.delay_us?;
        loop {
            let at = self.next_pair;
            let ours = self.evidence.of(self.about.leading);
            let both = (master.get(at).copied(), ours.get(at).copied());
            let (Some(master_us), Some(our_us)) = both else { return None };
            // A 0 within what has come is no frame, as long as later ones are there.
            let last = at + 1 == master.len() || at + 1 == ours.len();
            if (master_us == 0 || our_us == 0) && last {
                return None;
            }
            self.next_pair += 1;
            if master_us == 0 || our_us == 0 {
                continue;
            }
            let apart = i128::from(our_us) - i128::from(master_us);
            let trigger = first.saturating_add(at as u64);
            let pair = Pair { trigger, master_us, apart_us: apart as f64 - delay_us };
            if let Some(change) = self.watch.pair(pair) {
                return Some(change);
            }
        }
    }

    fn raise(&mut self, first_trigger: u64, last_trigger: u64, what: &str) {
        let what = what.to_owned();
        let last_trigger = last_trigger.max(first_trigger);
        self.evidence.alarms.push(Alarm { first_trigger, last_trigger, what });
    }
}

/// Puts a time at a place, which may be beyond what is there.
fn put(times: &mut Vec<u64>, at: usize, time_us: u64) {
    if times.len() <= at {
        times.resize(at + 1, 0);
    }
    times[at] = time_us;
}

impl Stage for Monitor {
    fn name(&self) -> &str {
        "monitor"
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.notes.receive(wait) {
            Received::Value(note) => {
                self.hear(note);
                Ok(Step::Worked)
            }
            Received::Nothing => Ok(Step::Idle),
            Received::Closed => {
                self.finish();
                Ok(Step::Done)
            }
        }
    }
}
