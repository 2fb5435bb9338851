//! The recorder stage: everything that one device delivers, numbered, in order, onto the disk.

use crate::error::{Error, Result};
use crate::frame::{Cause, Frame, Loss, TrackName};
use crate::lane::{Received, Receiver, Sender};
use crate::record::cameras::{Cameras, Judged};
use crate::record::counters::Counters;
use crate::record::file::{CLUSTER_FRAMES_MAX, RecordingFile};
use crate::record::ledger::{Ledger, Missing};
use crate::record::window::Window;
use crate::stage::{Stage, Step};
use crate::sync::Span;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Records one device. Frames that arrive before the take has begun are held; the take begins with
/// the first trigger that every camera of every device delivers.
pub struct Recorder {
    name: String,
    frames: Receiver<Frame>,
    losses: Receiver<Loss>,
    span: Arc<Span>,
    cameras: Cameras,
    tracks: Vec<TrackName>,
    file: RecordingFile,
    counters: Arc<Counters>,
    report: Sender<Report>,
    phase: Phase,
}

/// What the recorder reads and tells.
pub struct Lanes {
    /// Frames of all tracks.
    pub frames: Receiver<Frame>,
    /// What the stages before it lost.
    pub losses: Receiver<Loss>,
    /// Where it puts its report when it is done.
    pub report: Sender<Report>,
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
}

enum Phase {
    /// Waiting for the take to begin.
    Gathering { held: VecDeque<Frame>, proposed: bool },
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
    /// Device time of the last IMU sample.
    imu_us: Option<u64>,
}

/// IMU samples are 600 us apart (usb-protocol.md 7.1): so long a pause is a lost packet.
const IMU_GAP_US: u64 = 3000;

/// Frames held while the take has not begun: a second of every track with its IMU packets. Older
/// ones are let go, and the take begins later.
const HELD_MAX: usize = 288;

impl Recorder {
    /// A recorder for the device with `serial`.
    #[must_use]
    pub fn new(
        serial: &str,
        cameras: Cameras,
        lanes: Lanes,
        span: Arc<Span>,
        file: RecordingFile,
        counters: Arc<Counters>,
    ) -> Self {
        let tracks = cameras.tracks().collect();
        Self {
            name: format!("{serial} recorder"),
            frames: lanes.frames,
            losses: lanes.losses,
            span,
            cameras,
            tracks,
            file,
            counters,
            report: lanes.report,
            phase: Phase::Gathering { held: VecDeque::with_capacity(HELD_MAX), proposed: false },
        }
    }

    /// Judges a frame by its time. In the gathering phase a clock that went back empties what was
    /// held: the device has just been reset, as every start of a color camera does.
    fn admit(&mut self, frame: Frame) -> Result<()> {
        let judged = self.cameras.judge(&frame).map_err(|text| self.failed(&text))?;
        let trigger = match judged {
            Judged::Trigger(trigger) => trigger,
            Judged::Implausible => {
                self.lose(&frame, Cause::Malformed);
                return Ok(());
            }
            Judged::Reset(trigger) => {
                if let Phase::Gathering { held, .. } = &mut self.phase {
                    held.retain(|held| !Cameras::same(held.track, frame.track));
                }
                trigger
            }
        };
        match &mut self.phase {
            Phase::Gathering { .. } => {
                self.hold(frame);
                self.begin_if_decided()
            }
            Phase::Rolling(_) => self.roll(frame, trigger),
            Phase::Finished => Ok(()),
        }
    }

    fn hold(&mut self, frame: Frame) {
        let Phase::Gathering { held, proposed } = &mut self.phase else {
            return;
        };
        if held.len() == HELD_MAX {
            held.pop_front();
        }
        held.push_back(frame);
        if let Some(first) = self.cameras.first_common(held) {
            if *proposed {
                self.span.raise(first);
            } else {
                *proposed = true;
                self.span.propose(first);
            }
            self.counters.set_waiting(false);
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
        // Whatever went wrong before the take is not a loss of it.
        while let Received::Value(_) = self.losses.receive(Duration::ZERO) {}
        self.phase = Phase::Rolling(Rolling {
            first,
            window: Window::new(self.tracks.iter().copied(), start_us),
            ledger: Ledger::new(self.cameras.image_tracks(), first),
            open: self.tracks.clone(),
            imu_us: None,
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
            if let Err(late) = rolling.window.push(frame) {
                rolling.ledger.lost(late.track, trigger, Cause::Late);
            }
            if end.is_some_and(|end| trigger + 1 >= end) && track != TrackName::Imu {
                rolling.end_track(track);
            }
        }
        self.counters.set_losses(rolling.ledger.count());
        self.write_ready()
    }

    fn lose(&mut self, frame: &Frame, cause: Cause) {
        if let Phase::Rolling(rolling) = &mut self.phase {
            let loss = Loss { track: frame.track, stamp_us: None, cause };
            rolling.ledger.report(&loss, None);
        }
    }

    fn hear_losses(&mut self) {
        let Phase::Rolling(rolling) = &mut self.phase else {
            return;
        };
        while let Received::Value(loss) = self.losses.receive(Duration::ZERO) {
            let trigger = loss.stamp_us.map(|stamp| self.cameras.nearest(loss.track, stamp));
            rolling.ledger.report(&loss, trigger);
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
            }
            rolling.window.take(count);
            self.counters.set_bytes(self.file.bytes());
        }
    }

    /// Ends the take: every track has reached its end, or nothing more can come.
    fn finish(&mut self) -> Result<Step> {
        self.hear_losses();
        for track in self.tracks.clone() {
            if let Phase::Rolling(rolling) = &mut self.phase {
                rolling.end_track(track);
            }
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
            return Err(self.failed("the take ended before every camera had sent a frame"));
        };
        let end = self.span.end().unwrap_or(rolling.first);
        if end <= rolling.first {
            return Err(self.failed("the take was stopped before its first frame"));
        }
        if self.tracks.contains(&TrackName::Imu) {
            let last = rolling.imu_us.map(|us| self.cameras.nearest(TrackName::Imu, us) + 1);
            rolling.ledger.gap(TrackName::Imu, last.unwrap_or(rolling.first)..end);
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
        };
        // The lane has room for the one report; who does not wait for it does not miss it.
        let _ = self.report.send(report);
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> Result<Step> {
        if matches!(&self.phase, Phase::Rolling(rolling) if rolling.open.is_empty()) {
            return self.finish();
        }
        match self.frames.receive(wait) {
            Received::Value(frame) => self.admit(frame).map(|()| Step::Worked),
            Received::Nothing => self.begin_if_decided().map(|()| Step::Idle),
            // The sources are gone, and whoever ended them says where the take ends.
            Received::Closed if self.span.end().is_some() => self.finish(),
            Received::Closed => Ok(Step::Idle),
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
            None => self.ledger.gap(TrackName::Imu, self.first..trigger),
            Some(last_us) if frame.stamp_us.saturating_sub(last_us) > IMU_GAP_US => {
                let from = cameras.nearest(TrackName::Imu, last_us);
                self.ledger.gap(TrackName::Imu, from..trigger + 1);
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
