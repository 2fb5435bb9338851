//! The recorder stage: everything that one device delivers, numbered, in order, onto the disk.

use crate::error::{Error, Result};
use crate::frame::{Cause, Frame, Loss, LostAt, TrackName};
use crate::lane::{Received, Receiver, Sender};
use crate::record::cameras::{Cameras, Judged};
use crate::record::counters::Counters;
use crate::record::file::{CLUSTER_FRAMES_MAX, RecordingFile};
use crate::record::ledger::{Ledger, Missing, Place};
use crate::record::monitor::Note;
use crate::record::window::Window;
use crate::stage::{Stage, Step};
use crate::sync::Span;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Records one device. The take begins with the first trigger after every camera of every device
/// has delivered; what a device sends between its own readiness and the last one's is held.
pub struct Recorder {
    name: String,
    place: usize,
    part: Part,
    frames: Receiver<Frame>,
    losses: Receiver<Loss>,
    span: Arc<Span>,
    cameras: Cameras,
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

/// What the recorder reads and tells.
pub struct Lanes {
    /// Frames of all tracks.
    pub frames: Receiver<Frame>,
    /// What the stages before it lost.
    pub losses: Receiver<Loss>,
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
    /// Its CRC-32; none where there is no file.
    pub crc32: Option<u32>,
}

enum Phase {
    /// Waiting for the take to begin. Frames are held from when the device is ready.
    Gathering { held: VecDeque<Frame>, ready: bool, counts_by_master: bool },
    /// In the take.
    Rolling(Rolling),
    /// The file is finished.
    Finished,
}

struct Rolling {
    first: u64,
    window: Window,
    ledger: Ledger,
    open: Vec<TrackName>,
    /// Device time of the last IMU sample that came.
    imu_us: Option<u64>,
    /// Device time of the last IMU sample in the file.
    imu_written_us: Option<u64>,
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
        span: Arc<Span>,
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
            frames: lanes.frames,
            losses: lanes.losses,
            span,
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
    fn admit(&mut self, frame: Frame) -> Result<()> {
        // Frames that come after the others have agreed belong to the take.
        self.begin_if_decided()?;
        let judged = self.cameras.judge(&frame).map_err(|text| self.failed(&text))?;
        let Judged::Trigger(trigger) = judged else {
            self.lose(&frame, Cause::Malformed);
            return Ok(());
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
            while let Received::Value(_) = self.losses.receive(Duration::ZERO) {}
            self.span.saw(latest);
            self.span.propose(latest + 1);
            self.counters.set_waiting(false);
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
        while let Received::Value(loss) = self.losses.receive(Duration::ZERO) {
            match place_of(&self.cameras, &loss) {
                place @ (Place::At(trigger) | Place::Near(trigger)) if trigger >= first => {
                    ledger.report(loss.track, place, loss.cause);
                }
                _ => {}
            }
        }
        self.phase = Phase::Rolling(Rolling {
            first,
            window: Window::new(self.tracks.iter().copied(), start_us),
            ledger,
            open: self.tracks.clone(),
            imu_us: None,
            imu_written_us: None,
        });
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
        }
        let end = self.span.end();
        self.hear_losses();
        let Phase::Rolling(rolling) = &mut self.phase else {
            return Ok(());
        };
        if end.is_some_and(|end| trigger >= end) {
            rolling.end_track(frame.track);
        } else if trigger >= rolling.first && rolling.open.contains(&frame.track) {
            rolling.ledger.arrived(frame.track, trigger);
            let track = frame.track;
            if track == TrackName::Imu {
                rolling.follow_imu(&self.cameras, &frame);
            }
            if rolling.window.is_late(&frame) {
                rolling.ledger.lost(track, trigger, Cause::Late);
            } else {
                self.note(&frame, trigger);
                let Phase::Rolling(rolling) = &mut self.phase else { return Ok(()) };
                rolling.window.push(frame);
            }
            if end.is_some_and(|end| trigger + 1 >= end) && track != TrackName::Imu {
                self.end_track(track);
            }
        }
        self.count_losses();
        self.write_ready()
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

    fn hear_losses(&mut self) {
        let Phase::Rolling(rolling) = &mut self.phase else {
            return;
        };
        while let Received::Value(loss) = self.losses.receive(Duration::ZERO) {
            let place = place_of(&self.cameras, &loss);
            let of_before = match place {
                Place::At(trigger) | Place::Near(trigger) => trigger < rolling.first,
                Place::Unknown => false,
            };
            if !of_before {
                rolling.ledger.report(loss.track, place, loss.cause);
            }
        }
    }

    fn write_ready(&mut self) -> Result<()> {
        let Phase::Rolling(rolling) = &mut self.phase else {
            return Ok(());
        };
        loop {
            let count = rolling.window.next_cluster(CLUSTER_FRAMES_MAX);
            if count == 0 {
                return Ok(());
            }
            self.file.append(rolling.window.frames().take(count))?;
            for frame in rolling.window.frames().take(count) {
                self.counters.add_frames(frame.track, units(frame));
                if frame.track == TrackName::Imu {
                    rolling.imu_written_us = Some(frame.last_us);
                }
            }
            rolling.window.take(count);
            self.counters.set_bytes(self.file.bytes());
        }
    }

    /// Ends the take: every track has reached its end, or nothing more can come.
    fn finish(&mut self) -> Result<Step> {
        self.hear_losses();
        for track in self.tracks.clone() {
            self.end_track(track);
        }
        self.write_ready()?;
        self.close(Cause::NotSent)?;
        Ok(Step::Done)
    }

    /// Something cannot go on: the take ends soon for all, and what there is becomes a whole file.
    fn give_up(&mut self, failure: Error) -> Error {
        self.span.close();
        if !matches!(failure, Error::Disk(_)) {
            let _ = self.finish();
        } else if let Phase::Rolling(rolling) = &mut self.phase {
            for frame in rolling.window.frames().filter(|frame| frame.track != TrackName::Imu) {
                let trigger = self.cameras.nearest(frame.track, frame.stamp_us);
                rolling.ledger.lost(frame.track, trigger, Cause::Disk);
            }
            // The first failure is what there is to say; a file that cannot be closed still opens.
            let _ = self.close(Cause::Disk);
        }
        failure
    }

    /// Closes the ledger and the file, and reports. What is missing without a reported cause is
    /// missing for `otherwise`.
    fn close(&mut self, otherwise: Cause) -> Result<()> {
        let Phase::Rolling(mut rolling) = std::mem::replace(&mut self.phase, Phase::Finished)
        else {
            return Err(self.failed("the take ended before it began"));
        };
        let end = self.span.end().unwrap_or(rolling.first);
        if end <= rolling.first {
            return Err(self.failed("the take was stopped before its first frame"));
        }
        if self.tracks.contains(&TrackName::Imu) {
            let last = rolling.imu_written_us;
            let last = last.map(|us| self.cameras.nearest(TrackName::Imu, us) + 1);
            rolling.ledger.gap(TrackName::Imu, last.unwrap_or(rolling.first)..end, otherwise);
        }
        rolling.ledger.close(end, otherwise);
        self.counters.set_losses(rolling.ledger.count());
        self.file.finish()?;
        self.counters.set_bytes(self.file.bytes());
        let report = Report {
            first_trigger: rolling.first,
            trigger_count: end - rolling.first,
            frames: self.tracks.iter().map(|&t| (t, self.counters.frames(t))).collect(),
            missing: rolling.ledger.missing().to_vec(),
            bytes: self.file.bytes(),
            crc32: self.file.crc32(),
        };
        // The lane has room for the one report; who does not wait for it does not miss it.
        let _ = self.report.send(report);
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> Result<Step> {
        self.file.sync_in_time()?;
        if matches!(&self.phase, Phase::Rolling(rolling) if rolling.open.is_empty()) {
            return self.finish();
        }
        match self.frames.receive(wait) {
            Received::Value(frame) => self.admit(frame).map(|()| Step::Worked),
            Received::Nothing => self.begin_if_decided().map(|()| Step::Idle),
            Received::Closed => {
                // Sources that go before the end take the take with them.
                self.span.close();
                self.finish()
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
            None => self.ledger.gap(TrackName::Imu, self.first..trigger, Cause::NotSent),
            Some(last_us) if frame.stamp_us.saturating_sub(last_us) > IMU_GAP_US => {
                let from = cameras.nearest(TrackName::Imu, last_us);
                self.ledger.gap(TrackName::Imu, from..trigger + 1, Cause::NotSent);
            }
            Some(_) => {}
        }
        self.imu_us = Some(frame.last_us);
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
        self.turn(wait).map_err(|failure| self.give_up(failure))
    }
}
