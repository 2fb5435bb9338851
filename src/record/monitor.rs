//! The monitor stage: what every device has for every trigger, and whether subordinates follow.
//!
//! It hears of every frame that a recorder takes in. It is none of the capture path: a note that
//! finds its lane full is lost, and costs the take some of its evidence and no frame.

use crate::error::Result;
use crate::frame::TrackName;
use crate::lane::{Received, Receiver, Sender};
use crate::record::ledger::Missing;
use crate::stage::{Stage, Step};
use crate::sync::{Change, ClockLine, LagWatch, OUT_OF_STEP, Pair, Span, Watch};
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
    /// A device is in the take again, from this trigger on, with its clock set to another time.
    Joined {
        /// Place of the device in the take.
        device: usize,
        /// The trigger.
        trigger: u64,
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

    /// Frames that came and are not in the file, as a failing disk leaves them out, are none.
    pub fn leave_out(&mut self, first: u64, missing: &[Missing]) {
        for missing in missing {
            let Some(times) = self.of_mut(missing.track) else { continue };
            for trigger in missing.triggers.clone() {
                let place = trigger.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                if let Some(time) = place.and_then(|place| times.get_mut(place)) {
                    *time = 0;
                }
            }
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
    /// The newest leading frames, as trigger and stamp, each where its trigger falls. Those of
    /// before the take count too: the longer a line is known, the sooner who leaves it is seen.
    ring: Vec<(u64, u64)>,
    /// The latest leading trigger.
    latest: u64,
    /// The next trigger to pair with the master's.
    next_pair: u64,
    /// When its clock is next held against the master's by arrival.
    next_check: u64,
    /// The latest trigger when its cable was last in.
    plugged_until: u64,
    free_since: Option<u64>,
    unplugged_since: Option<u64>,
    jumped_since: Option<(u64, u64)>,
    /// From where on its stamps, or the master's, are of one clock; none while that is from the
    /// start.
    joined: Option<u64>,
}

/// Seconds of a take before clocks are compared by arrival.
const KNOWN_S: u64 = 3;

/// Leading frames that are remembered: several seconds of them.
const RING: usize = 256;

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
                ring: vec![(u64::MAX, 0); RING],
                latest: 0,
                next_pair: 0,
                next_check: 0,
                plugged_until: 0,
                free_since: None,
                unplugged_since: None,
                jumped_since: None,
                joined: None,
            }
        };
        let devices = devices.into_iter().map(device).collect();
        Self { notes, alarms, report, span, devices, master }
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Frame { device: place, track, trigger, stamp_us, arrived_ns } => {
                let first = self.span.first();
                let Some(device) = self.devices.get_mut(place) else { return };
                let arrived_us = arrived_ns / 1000;
                if let Some(first) = first {
                    device.keep(track, trigger, first, stamp_us, arrived_us);
                }
                // Frames that were held come twice.
                if track != device.about.leading || trigger <= device.latest {
                    return;
                }
                device.remember(trigger, stamp_us);
                if let Some(by_us) = device.lag.frame(stamp_us, arrived_us) {
                    let ms = (by_us + 500) / 1000;
                    device.jumped_since = device.jumped_since.or(Some((trigger, ms)));
                    let serial = &device.about.serial;
                    let text = format!(
                        "{serial}: its clock jumped ahead by {ms} ms at trigger {trigger}; its \
                         triggers are not the master's from there on"
                    );
                    self.alarm(text);
                }
                self.pair_up();
            }
            Note::Cable { device, plugged } => self.look_at_cable(device, plugged),
            Note::Joined { device, trigger } => self.begin_anew(device, trigger),
        }
    }

    /// What was known of a clock is of no use from here on; of the master's, for nobody.
    fn begin_anew(&mut self, place: usize, trigger: u64) {
        let first = self.span.first();
        for (other, device) in self.devices.iter_mut().enumerate() {
            if other != place && (self.master != Some(place) || device.about.delay_us.is_none()) {
                continue;
            }
            device.joined = Some(trigger);
            device.watch = Watch::new(device.about.rate.fps());
            if let Some(since) = device.free_since.take() {
                device.raise(since, trigger.saturating_sub(1), first, OUT_OF_STEP);
            }
            if other == place {
                device.lag = LagWatch::new(device.about.rate.fps());
                device.ring.fill((u64::MAX, 0));
            }
        }
    }

    /// Compares what has come of the subordinates with what has come of the master.
    fn pair_up(&mut self) {
        let Some(place) = self.master else { return };
        // Taken out, so that the others can be changed while it is read.
        let ring = std::mem::take(&mut self.devices[place].ring);
        let latest = self.devices[place].latest;
        for device in 0..self.devices.len() {
            while let Some(change) = self.devices[device].next_change(&ring, latest) {
                self.tell_change(device, change);
            }
        }
        self.devices[place].ring = ring;
        for device in 0..self.devices.len() {
            self.check_clock(device, place);
        }
    }

    fn tell_change(&mut self, device: usize, change: Change) {
        let first = self.span.first();
        let device = &mut self.devices[device];
        let serial = &device.about.serial;
        let text = match change {
            Change::Moved(_) => {
                let counts = first.is_some() && device.joined.is_none();
                device.evidence.moves += u64::from(counts);
                return;
            }
            Change::Left(trigger) => {
                let text = format!(
                    "{serial}: {OUT_OF_STEP} from trigger {trigger} on; check its sync cable"
                );
                device.free_since = Some(trigger);
                text
            }
            Change::Returned(trigger) => {
                let text = format!("{serial}: in step again from trigger {trigger} on");
                let since = device.free_since.take().unwrap_or(trigger);
                device.raise(since, trigger.saturating_sub(1), first, OUT_OF_STEP);
                text
            }
        };
        self.alarm(text);
    }

    /// Holds a subordinate's clock against the master's by when frames arrive: who runs free from
    /// the start leaves no line of stamps.
    fn check_clock(&mut self, place: usize, master: usize) {
        let (device, first) = (&self.devices[place], self.span.first());
        let Some(begun) = first else { return };
        let first = device.joined.unwrap_or(begun);
        let told = device.free_since.is_some() || device.jumped_since.is_some();
        let known = device.latest.saturating_sub(first);
        let long = known >= KNOWN_S * u64::from(device.about.rate.fps());
        if device.latest < device.next_check || told || !long || device.about.delay_us.is_none() {
            return;
        }
        let Some(drift_ppm) = device.watch.drift_ppm() else { return };
        let from = usize::try_from(first.saturating_sub(begun)).unwrap_or(usize::MAX);
        let line = |device: &Device| {
            let stamps = device.evidence.of(device.about.leading);
            ClockLine::of(stamps.get(from..)?, device.evidence.arrived.get(from..)?)
        };
        let both = line(device).zip(line(&self.devices[master]));
        let free = both.is_some_and(|(ours, theirs)| ours.runs_free_of(&theirs, drift_ppm));
        let device = &mut self.devices[place];
        // The longer the take, the rarer: a look reads all of it.
        device.next_check = device.latest + known / 8 + u64::from(device.about.rate.fps());
        if free {
            device.watch.leave();
            device.free_since = Some(first);
            let serial = &device.about.serial;
            let text = format!(
                "{serial}: {OUT_OF_STEP}: its frames come by its own clock; check its sync cable"
            );
            self.alarm(text);
        }
    }

    fn look_at_cable(&mut self, device: usize, plugged: bool) {
        let first = self.span.first();
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
                device.raise(since, device.latest, first, UNPLUGGED);
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
            let jumped = device.jumped_since.take();
            let words = jumped.map(|(_, ms)| format!("its clock had jumped ahead by {ms} ms"));
            let open = [
                (device.free_since.take(), OUT_OF_STEP),
                (device.unplugged_since.take(), UNPLUGGED),
                (jumped.map(|(since, _)| since), words.as_deref().unwrap_or_default()),
            ];
            for (since, what) in open {
                if let Some(since) = since.filter(|since| *since < end) {
                    device.raise(since, end - 1, Some(first), what);
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
    /// Keeps what came as evidence.
    fn keep(&mut self, track: TrackName, trigger: u64, first: u64, stamp_us: u64, arrived_us: u64) {
        let place = trigger.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some(at) = place else { return };
        if let Some(times) = self.evidence.of_mut(track) {
            put(times, at, stamp_us);
        }
        if self.evidence.arrived.get(at).is_none_or(|time| *time == 0) {
            // The host's clock begins with the program; 0 stands for no frame.
            put(&mut self.evidence.arrived, at, arrived_us.max(1));
        }
    }

    fn remember(&mut self, trigger: u64, stamp_us: u64) {
        self.ring[slot(trigger)] = (trigger, stamp_us);
        if self.latest == 0 {
            self.next_pair = trigger;
        }
        self.latest = trigger;
    }

    /// Follows the pairs that are complete; gives the first change that they show.
    fn next_change(&mut self, master: &[(u64, u64)], latest: u64) -> Option<Change> {
        let delay_us = self.about.delay_us?;
        let until = latest.min(self.latest);
        // What the rings have forgotten cannot be paired any more.
        let oldest = latest.max(self.latest).saturating_sub(RING as u64 - 1);
        self.next_pair = self.next_pair.max(oldest);
        while self.next_pair <= until {
            let trigger = self.next_pair;
            self.next_pair += 1;
            let (of_master, ours) = (master[slot(trigger)], self.ring[slot(trigger)]);
            if of_master.0 != trigger || ours.0 != trigger {
                continue;
            }
            let apart = i128::from(ours.1) - i128::from(of_master.1);
            let apart_us = apart as f64 - delay_us;
            let pair = Pair { trigger, master_us: of_master.1, apart_us };
            if let Some(change) = self.watch.pair(pair) {
                return Some(change);
            }
        }
        None
    }

    /// Notes an alarm for the triggers of it that are the take's; `first` is the take's first, once
    /// it is known.
    fn raise(&mut self, since: u64, until: u64, first: Option<u64>, what: &str) {
        let Some(first) = first.filter(|first| *first <= until) else { return };
        let (first_trigger, what) = (since.max(first), what.to_owned());
        let last_trigger = until.max(first_trigger);
        self.evidence.alarms.push(Alarm { first_trigger, last_trigger, what });
    }
}

fn slot(trigger: u64) -> usize {
    (trigger % RING as u64) as usize
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
