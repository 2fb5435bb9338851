//! The recorder stage: everything that one device delivers, numbered, in order, onto the disk.

mod join;

pub use join::Outage;

use crate::error::{Error, Result};
use crate::frame::{Cause, Frame, Loss, LostAt, TrackName};
use crate::lane::{Received, Receiver, Sender};
use crate::record::cameras::{Cameras, Judged};
use crate::record::counters::{Counters, Presence};
use crate::record::file::{CLUSTER_FRAMES_MAX, RecordingFile};
use crate::record::ledger::{Ledger, Missing, Place};
use crate::record::monitor::Note;
use crate::record::shed::Shedder;
use crate::record::window::Window;
use crate::stage::{Stage, Step};
use crate::sync::{Lead, Span};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Records one device. The take begins with the first trigger after every camera of every device
/// has delivered; what a device sends between its own readiness and the last one's is held.
pub struct Recorder {
    name: String,
    place: usize,
    part: Part,
    /// None while the device is away.
    feed: Option<Feed>,
    returns: Receiver<Feed>,
    span: Arc<Span>,
    shedder: Arc<Shedder>,
    cameras: Cameras,
    /// What is added to the device's times, in microseconds, since it came back.
    moved_us: i64,
    /// How often the master's pulses had begun when this device began to count by them.
    beginnings: u64,
    tracks: Vec<TrackName>,
    file: RecordingFile,
    counters: Arc<Counters>,
    report: Sender<Report>,
    notes: Sender<Note>,
    phase: Phase,
}

/// The part that a device has in the synchronization of a take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Others count by its pulses.
    Leads {
        /// Whether the firmware of one of them is not its own.
        other_firmware: bool,
    },
    /// It counts by the master's pulses.
    Follows {
        /// Whether its firmware is not the master's, so that their clocks begin at other times.
        other_firmware: bool,
    },
    /// No other device of the take has to do with it.
    Alone,
}

/// What comes of a device for as long as it is connected: closed when its stages are gone.
pub struct Feed {
    /// Frames of all tracks.
    pub frames: Receiver<Frame>,
    /// What the stages before the recorder lost.
    pub losses: Receiver<Loss>,
}

/// What the recorder reads and tells.
pub struct Lanes {
    /// What comes of the device.
    pub feed: Feed,
    /// The same for each time that the device is opened once more; closed when it will not be, as
    /// the take is over.
    pub returns: Receiver<Feed>,
    /// Where it puts its report when it is done.
    pub report: Sender<Report>,
    /// Where it tells of every frame.
    pub notes: Sender<Note>,
}

/// What a finished file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// First trigger of the take.
    pub first_trigger: u64,
    /// Triggers of the take.
    pub trigger_count: u64,
    /// Frames written, a track each; of the IMU, samples.
    pub frames: Vec<(TrackName, u64)>,
    /// Frames that are missing.
    pub missing: Vec<Missing>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its CRC-32; none where there is no file, or none that could be finished.
    pub crc32: Option<u32>,
    /// When the device, or its file, was out of the take.
    pub outages: Vec<Outage>,
}

enum Phase {
    /// Waiting for the take to begin. Frames are held from when the device is ready.
    Gathering { held: VecDeque<Frame>, ready: bool, counts_by_master: bool },
    /// In the take.
    Rolling(Box<Rolling>),
    /// The file is finished.
    Finished,
}

struct Rolling {
    first: u64,
    /// When it began, by the host's clock.
    begun_ns: u64,
    /// Since when the recorder is behind.
    behind_since_ns: Option<u64>,
    /// Frames of earlier triggers are left out: the take's first, or that with which the device
    /// came back.
    from: u64,
    window: Window,
    ledger: Ledger,
    open: Vec<TrackName>,
    /// Device time of the last IMU sample that came since the device is in the take.
    imu_us: Option<u64>,
    /// The first trigger of which no IMU sample has come before that.
    imu_next: u64,
    /// Device time of the last IMU sample in the file.
    imu_written_us: Option<u64>,
    /// The cameras of a device that is back, until its frames are numbered.
    joining: Option<Box<Cameras>>,
    outages: Vec<Outage>,
    /// Whether the file takes nothing more.
    unwritable: bool,
}

/// IMU samples are 600 us apart (usb-protocol.md 7.1): so long a pause is a lost packet.
const IMU_GAP_US: u64 = 3000;

/// Room for the frames that are held while the take has not begun: two thirds of a second of every
/// track with its IMU packets. Older ones are let go, so that the pools never run dry, and the take
/// begins later.
const HELD_MAX: usize = 288;

impl Recorder {
    /// A recorder for the device with `serial`, which has this place among the devices of the take.
    #[must_use]
    pub fn new(
        (serial, place, part): (&str, usize, Part),
        cameras: Cameras,
        lanes: Lanes,
        (span, shedder): (Arc<Span>, Arc<Shedder>),
        file: RecordingFile,
        counters: Arc<Counters>,
    ) -> Self {
        let tracks = cameras.tracks().collect();
        let held = VecDeque::with_capacity(HELD_MAX);
        let counts_by_master = !matches!(part, Part::Follows { .. });
        Self {
            name: format!("{serial} recorder"),
            place,
            part,
            feed: Some(lanes.feed),
            returns: lanes.returns,
            moved_us: 0,
            beginnings: 0,
            span,
            shedder,
            cameras,
            tracks,
            file,
            counters,
            report: lanes.report,
            notes: lanes.notes,
            phase: Phase::Gathering { held, ready: false, counts_by_master },
        }
    }

    /// Judges a frame by its time.
    fn admit(&mut self, mut frame: Frame) -> Result<()> {
        // Frames that come after the others have agreed belong to the take.
        self.begin_if_decided()?;
        if let Phase::Rolling(rolling) = &self.phase {
            if rolling.joining.is_some() {
                return self.join(frame);
            }
            if self.master_began_anew() {
                self.begin_anew("the master was started anew".to_owned());
                return self.join(frame);
            }
        }
        frame.move_by(self.moved_us);
        let trigger = match self.cameras.judge(&frame) {
            Ok(Judged::Trigger(trigger)) => trigger,
            Ok(Judged::Implausible) => {
                self.lose(&frame, Cause::Malformed);
                return Ok(());
            }
            Err(why) => {
                self.begin_anew(why);
                return Ok(());
            }
        };
        match &self.phase {
            Phase::Gathering { .. } => {
                self.gather(frame)?;
                self.begin_if_decided()
            }
            Phase::Rolling(_) => self.roll(frame, trigger),
            Phase::Finished => Ok(()),
        }
    }

    /// A frame of before the take. When every camera has delivered, and a subordinate counts by its
    /// master, the take may begin with the next trigger.
    fn gather(&mut self, frame: Frame) -> Result<()> {
        if let Part::Leads { other_firmware } = self.part
            && let Some(reference) = self.cameras.reference(other_firmware)
        {
            self.span.set_reference(reference);
            self.span.set_lead(Lead::Leads);
        }
        self.count_by_master()?;
        let Phase::Gathering { held, ready, counts_by_master } = &mut self.phase else {
            return Ok(());
        };
        if *ready {
            return self.hold(frame);
        }
        let leads = matches!(self.part, Part::Leads { .. });
        let leads_unmeasured = leads && self.span.reference().is_none();
        let latest = self.cameras.latest_of_all();
        if latest.is_some() && *counts_by_master && !leads_unmeasured {
            if !matches!(self.part, Part::Follows { .. }) {
                self.cameras.depth_counts_by_color();
            }
            let latest = self.cameras.latest_of_all().unwrap_or(0);
            *ready = true;
            held.clear();
            // What was lost before the take is none of its losses.
            self.forget_losses();
            self.span.saw(latest);
            self.span.propose(latest + 1);
            self.counters.set_presence(Presence::Recording);
        }
        Ok(())
    }

    fn count_by_master(&mut self) -> Result<()> {
        let (Part::Follows { other_firmware }, Some(reference)) =
            (self.part, self.span.reference())
        else {
            return Ok(());
        };
        let Phase::Gathering { counts_by_master, .. } = &mut self.phase else {
            return Ok(());
        };
        if *counts_by_master {
            return Ok(());
        }
        let followed = self.cameras.follow(reference, other_firmware);
        *counts_by_master = followed == Ok(true);
        followed.map(|_| ()).map_err(|text| self.failed(&text))
    }

    fn hold(&mut self, frame: Frame) -> Result<()> {
        let trigger = self.cameras.nearest(frame.track, frame.stamp_us);
        self.span.saw(trigger);
        self.note(&frame, trigger);
        let oldest = trigger.saturating_sub(self.cameras.held_max());
        let Phase::Gathering { held, .. } = &mut self.phase else {
            return Ok(());
        };
        while let Some(front) = held.front() {
            let of_front = self.cameras.nearest(front.track, front.stamp_us);
            if of_front >= oldest && held.len() < HELD_MAX {
                break;
            }
            if !self.span.raise(of_front + 1) {
                // The take has just begun, and with what is held.
                self.begin_if_decided()?;
                return self.roll(frame, trigger);
            }
            held.pop_front();
        }
        held.push_back(frame);
        Ok(())
    }

    /// Tells the monitor of an image. A full lane costs the take this piece of evidence, and no
    /// frame.
    fn note(&self, frame: &Frame, trigger: u64) {
        if frame.track != TrackName::Imu {
            let &Frame { track, stamp_us, arrived_ns, .. } = frame;
            let device = self.place;
            let _ = self.notes.send(Note::Frame { device, track, trigger, stamp_us, arrived_ns });
        }
    }

    fn begin_if_decided(&mut self) -> Result<()> {
        let Phase::Gathering { held, .. } = &mut self.phase else {
            return Ok(());
        };
        let Some(first) = self.span.first() else {
            return Ok(());
        };
        let held = std::mem::take(held);
        let start_us = self.cameras.start_of(first);
        let mut ledger = Ledger::new(self.cameras.image_tracks(), first);
        // Of what was lost in between, only what is known to belong to the take counts.
        while let Some(loss) = self.next_loss() {
            match place_of(&self.cameras, &loss) {
                place @ (Place::At(trigger) | Place::Near(trigger)) if trigger >= first => {
                    ledger.report(loss.track, place, loss.cause);
                }
                _ => {}
            }
        }
        self.beginnings = self.span.beginnings();
        self.phase = Phase::Rolling(Box::new(Rolling {
            first,
            begun_ns: self.file.clock().now_ns(),
            behind_since_ns: None,
            from: first,
            window: Window::new(self.tracks.iter().copied(), start_us),
            ledger,
            open: self.tracks.clone(),
            imu_us: None,
            imu_next: first,
            imu_written_us: None,
            joining: None,
            outages: Vec::new(),
            unwritable: false,
        }));
        for frame in held {
            let trigger = self.cameras.nearest(frame.track, frame.stamp_us);
            self.roll(frame, trigger)?;
        }
        Ok(())
    }

    /// A frame of the take.
    fn roll(&mut self, frame: Frame, trigger: u64) -> Result<()> {
        if frame.track != TrackName::Imu {
            self.span.saw(trigger);
            self.feel_pressure(&frame);
        }
        if let Some(pulse) = self.cameras.beat(&frame, trigger) {
            self.span.beat(pulse, matches!(self.part, Part::Leads { .. }));
        }
        let end = self.span.end();
        self.hear_losses();
        let Phase::Rolling(rolling) = &mut self.phase else {
            return Ok(());
        };
        let track = frame.track;
        if end.is_some_and(|end| trigger >= end) {
            rolling.end_track(track);
        } else if trigger >= rolling.from && rolling.open.contains(&track) {
            self.take_in(frame, trigger);
            if end.is_some_and(|end| trigger + 1 >= end) && track != TrackName::Imu {
                self.end_track(track);
            }
        }
        self.count_losses();
        self.write_ready();
        Ok(())
    }

    /// Tells the others how long a frame has waited for its turn, since the take began.
    fn feel_pressure(&mut self, frame: &Frame) {
        let Phase::Rolling(rolling) = &mut self.phase else { return };
        let now_ns = self.file.clock().now_ns();
        let waited_ns = now_ns.saturating_sub(frame.arrived_ns.max(rolling.begun_ns));
        let latest = self.span.latest();
        self.shedder.feel(waited_ns, &mut rolling.behind_since_ns, now_ns, latest);
    }

    /// A frame of a trigger of the take: it is written, or a loss.
    fn take_in(&mut self, frame: Frame, trigger: u64) {
        let Phase::Rolling(rolling) = &mut self.phase else { return };
        let track = frame.track;
        rolling.ledger.arrived(track, trigger);
        if track == TrackName::Imu {
            rolling.follow_imu(&self.cameras, &frame);
        }
        if rolling.unwritable {
            // What of the IMU is missing is reckoned in the end.
            if track != TrackName::Imu {
                rolling.ledger.lost(track, trigger, Cause::Disk);
            }
        } else if self.shedder.leaves_out(track, trigger) {
            match track {
                TrackName::Imu => rolling.ledger.gap(track, trigger..trigger + 1, Cause::Shed),
                _ => rolling.ledger.lost(track, trigger, Cause::Shed),
            }
            rolling.window.seen(track, frame.stamp_us);
        } else if rolling.window.is_late(&frame) {
            rolling.ledger.lost(track, trigger, Cause::Late);
        } else {
            self.note(&frame, trigger);
            let Phase::Rolling(rolling) = &mut self.phase else { return };
            rolling.window.push(frame);
        }
    }

    fn end_track(&mut self, track: TrackName) {
        if let Phase::Rolling(rolling) = &mut self.phase {
            rolling.end_track(track);
        }
    }

    fn count_losses(&self) {
        if let Phase::Rolling(rolling) = &self.phase {
            self.counters.set_losses(rolling.ledger.count());
        }
    }

    fn lose(&mut self, frame: &Frame, cause: Cause) {
        if let Phase::Rolling(rolling) = &mut self.phase {
            let near = self.cameras.at_host(frame.track, frame.arrived_ns);
            let place = near.map_or(Place::Unknown, Place::Near);
            rolling.ledger.report(frame.track, place, cause);
        }
    }

    fn next_loss(&self) -> Option<Loss> {
        match self.feed.as_ref()?.losses.receive(Duration::ZERO) {
            Received::Value(mut loss) => {
                if let LostAt::Device(stamp_us) = &mut loss.at {
                    *stamp_us = stamp_us.saturating_add_signed(self.moved_us);
                }
                Some(loss)
            }
            Received::Nothing | Received::Closed => None,
        }
    }

    fn forget_losses(&self) {
        while self.next_loss().is_some() {}
    }

    fn hear_losses(&mut self) {
        while let Some(loss) = self.next_loss() {
            let Phase::Rolling(rolling) = &mut self.phase else { return };
            let place = place_of(&self.cameras, &loss);
            let of_before = match place {
                Place::At(trigger) | Place::Near(trigger) => trigger < rolling.from,
                Place::Unknown => false,
            };
            if !of_before {
                rolling.ledger.report(loss.track, place, loss.cause);
            }
        }
    }

    fn write_ready(&mut self) {
        let Phase::Rolling(rolling) = &mut self.phase else { return };
        while !rolling.unwritable {
            let count = rolling.window.next_cluster(CLUSTER_FRAMES_MAX);
            if count == 0 {
                return;
            }
            let before = self.file.bytes();
            let appended = self.file.append(rolling.window.frames().take(count));
            // A cluster that could not be made durable is in the file all the same.
            if self.file.bytes() > before {
                for frame in rolling.window.frames().take(count) {
                    self.counters.add_frames(frame.track, units(frame));
                    if frame.track == TrackName::Imu {
                        rolling.imu_written_us = Some(frame.last_us);
                    }
                }
                rolling.window.take(count);
                self.counters.set_bytes(self.file.bytes());
            }
            if let Err(failure) = appended {
                return self.stop_writing(failure);
            }
        }
    }

    /// What was written becomes durable also while nothing comes.
    fn sync_in_time(&mut self) {
        let writable = matches!(&self.phase, Phase::Rolling(rolling) if !rolling.unwritable);
        if writable && let Err(failure) = self.file.sync_in_time() {
            self.stop_writing(failure);
        }
    }

    /// The file takes nothing more. What is in it becomes a whole file; what comes from now on is
    /// lost, and buffers still go home, for the others go on, and may count by this device.
    fn stop_writing(&mut self, failure: Error) {
        let Phase::Rolling(rolling) = &mut self.phase else { return };
        rolling.unwritable = true;
        let mut first = rolling.ledger.next();
        for frame in rolling.window.frames().filter(|frame| frame.track != TrackName::Imu) {
            let trigger = self.cameras.nearest(frame.track, frame.stamp_us);
            rolling.ledger.lost(frame.track, trigger, Cause::Disk);
            first = first.min(trigger);
        }
        rolling.window.clear();
        let why = Some(failure.to_string());
        rolling.outages.retain(|outage| outage.until.is_some());
        rolling.outages.push(Outage { first, until: None, why, moved_us: None });
        self.counters.fail(failure);
        // The first failure is what there is to say; a file that cannot be closed still opens.
        let _ = self.file.finish();
    }

    /// Ends the take: every track has reached its end, or nothing more can come.
    fn finish(&mut self) -> Result<Step> {
        self.hear_losses();
        for track in self.tracks.clone() {
            self.end_track(track);
        }
        self.write_ready();
        self.close()?;
        Ok(Step::Done)
    }

    /// Closes the ledger and the file, and reports. What is missing without a reported cause was
    /// not sent.
    fn close(&mut self) -> Result<()> {
        let Phase::Rolling(mut rolling) = std::mem::replace(&mut self.phase, Phase::Finished)
        else {
            return Err(self.failed("the take ended before it began"));
        };
        let end = self.span.end().unwrap_or(rolling.first);
        if end <= rolling.first {
            return Err(self.failed("the take was stopped before its first frame"));
        }
        if let Err(failure) = self.file.finish() {
            self.counters.fail(failure);
        }
        if self.tracks.contains(&TrackName::Imu) {
            let last = rolling.imu_written_us;
            let last = last.map(|us| self.cameras.nearest(TrackName::Imu, us) + 1);
            let cause = rolling.cause_of_absence();
            rolling.ledger.gap(TrackName::Imu, last.unwrap_or(rolling.first)..end, cause);
        }
        rolling.ledger.close(end, Cause::NotSent);
        rolling.outages.retain(|outage| outage.first < end);
        self.counters.set_losses(rolling.ledger.count());
        self.counters.set_bytes(self.file.bytes());
        let report = Report {
            first_trigger: rolling.first,
            trigger_count: end - rolling.first,
            frames: self.tracks.iter().map(|&t| (t, self.counters.frames(t))).collect(),
            missing: rolling.ledger.missing().to_vec(),
            bytes: self.file.bytes(),
            crc32: self.file.crc32(),
            outages: rolling.outages,
        };
        self.counters.set_presence(Presence::Done);
        // The lane has room for the one report; who does not wait for it does not miss it.
        let _ = self.report.send(report);
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> Result<Step> {
        self.sync_in_time();
        if matches!(&self.phase, Phase::Rolling(rolling) if rolling.open.is_empty()) {
            return self.finish();
        }
        let Some(feed) = &self.feed else {
            return self.await_return(wait);
        };
        match feed.frames.receive(wait) {
            Received::Value(frame) => self.admit(frame).map(|()| Step::Worked),
            Received::Nothing => self.begin_if_decided().map(|()| Step::Idle),
            Received::Closed => {
                self.leave();
                Ok(Step::Worked)
            }
        }
    }

    fn failed(&self, what: &str) -> Error {
        let serial = self.name.split(' ').next().unwrap_or_default();
        Error::Device(format!("{serial}: {what}"))
    }
}

impl Rolling {
    /// Samples come without a pause from the first trigger on; what lies in a pause is missing.
    fn follow_imu(&mut self, cameras: &Cameras, frame: &Frame) {
        let trigger = cameras.nearest(TrackName::Imu, frame.stamp_us);
        match self.imu_us {
            None => {
                let cause = if self.from > self.first { Cause::Away } else { Cause::NotSent };
                self.ledger.gap(TrackName::Imu, self.imu_next..trigger, cause);
            }
            Some(last_us) if frame.stamp_us.saturating_sub(last_us) > IMU_GAP_US => {
                let from = cameras.nearest(TrackName::Imu, last_us);
                self.ledger.gap(TrackName::Imu, from..trigger + 1, Cause::NotSent);
            }
            Some(_) => {}
        }
        self.imu_us = Some(frame.last_us);
    }

    /// Why the end of a track is missing that answers no trigger.
    fn cause_of_absence(&self) -> Cause {
        let is_out = self.outages.last().is_some_and(|outage| outage.until.is_none());
        match (self.unwritable, is_out) {
            (true, _) => Cause::Disk,
            (false, true) => Cause::Away,
            (false, false) => Cause::NotSent,
        }
    }

    fn end_track(&mut self, track: TrackName) {
        self.open.retain(|open| *open != track);
        self.window.ended(track);
    }
}

/// Which trigger a loss belongs to, as far as its time tells.
fn place_of(cameras: &Cameras, loss: &Loss) -> Place {
    match loss.at {
        LostAt::Device(stamp_us) => Place::At(cameras.nearest(loss.track, stamp_us)),
        LostAt::Host(ns) => cameras.at_host(loss.track, ns).map_or(Place::Unknown, Place::Near),
        LostAt::Unknown => Place::Unknown,
    }
}

/// Frames as a person counts them: images, and of the IMU samples.
fn units(frame: &Frame) -> u64 {
    match frame.track {
        TrackName::Imu => frame.buf.len() as u64 / 40,
        TrackName::Color | TrackName::Depth | TrackName::Ir => 1,
    }
}

impl Stage for Recorder {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        self.turn(wait)
    }
}
