//! A device that leaves the take and comes back.
//!
//! What it records goes on in the same file. Its clock has begun anew, so its frames are numbered
//! by when they arrive, beside a pulse that another device, or the device itself before, has told
//! of; and its times are moved so that they go on where they ended.

use super::{Phase, Recorder, Rolling};
use crate::error::Result;
use crate::frame::{Cause, Frame, TrackName};
use crate::lane::Received;
use crate::record::counters::Presence;
use crate::record::monitor::Note;
use crate::record::recorder::Part;
use crate::record::window::Window;
use crate::stage::Step;
use crate::sync::Lead;
use std::time::Duration;

/// Triggers that a device, or its file, was out of the take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first trigger that it missed.
    pub first: u64,
    /// The first trigger that it is back with; none while it is not.
    pub until: Option<u64>,
    /// Why, where the recorder knows; else the stages of the device do.
    pub why: Option<String>,
    /// What is added to its times from then on, in microseconds.
    pub moved_us: Option<i64>,
}

impl Recorder {
    /// The stages of the device are gone: what it has delivered is written, and the recorder waits
    /// for it to come back, or for the end of the take.
    pub(super) fn leave(&mut self) {
        // A take that is to end has its devices stopped.
        if self.span.is_closed() {
            self.hear_losses();
        } else {
            self.suspend(None);
        }
        if let Phase::Rolling(rolling) = &mut self.phase {
            rolling.joining = None;
        }
        self.set_lead(Lead::Away);
        self.feed = None;
        self.counters.set_presence(Presence::Away);
    }

    /// Waits for the device to be opened once more.
    pub(super) fn await_return(&mut self, wait: Duration) -> Result<Step> {
        match self.returns.receive(wait) {
            Received::Value(feed) => {
                self.feed = Some(feed);
                self.begin_to_join();
                Ok(Step::Worked)
            }
            Received::Nothing => Ok(Step::Idle),
            Received::Closed => self.finish(),
        }
    }

    /// The device goes on, and its clock has begun anew.
    pub(super) fn begin_anew(&mut self, why: String) {
        self.suspend(Some(why));
        self.begin_to_join();
    }

    fn begin_to_join(&mut self) {
        if let Phase::Rolling(rolling) = &mut self.phase {
            rolling.joining = Some(Box::new(self.cameras.anew()));
            self.counters.set_presence(Presence::Joining);
        }
        self.set_lead(Lead::Joining);
    }

    fn set_lead(&self, lead: Lead) {
        if matches!((self.part, &self.phase), (Part::Leads { .. }, Phase::Rolling(_))) {
            self.span.set_lead(lead);
        }
    }

    /// What the device has delivered is all that it will for a while.
    fn suspend(&mut self, why: Option<String>) {
        self.hear_losses();
        if let Phase::Rolling(rolling) = &mut self.phase {
            self.tracks.iter().for_each(|track| rolling.window.ended(*track));
        }
        self.write_ready();
        let Phase::Rolling(rolling) = &mut self.phase else { return };
        let imu = rolling.imu_us.take().map(|us| self.cameras.nearest(TrackName::Imu, us) + 1);
        rolling.imu_next = imu.unwrap_or(rolling.imu_next);
        if rolling.outages.last().is_none_or(|outage| outage.until.is_some()) {
            let first = rolling.ledger.next();
            rolling.ledger.leave(Cause::Away);
            rolling.outages.push(Outage { first, until: None, why, moved_us: None });
        }
    }

    /// A follower's numbers are those of the master's pulses: where these begin anew, so do they.
    pub(super) fn master_began_anew(&self) -> bool {
        let follows = matches!(self.part, Part::Follows { .. });
        follows && self.span.beginnings() != self.beginnings
    }

    /// A frame of a device that is back: it tells where the device's clock stands, and is the first
    /// to be recorded once that is known.
    pub(super) fn join(&mut self, mut frame: Frame) -> Result<()> {
        let leading = self.cameras.image_tracks().next() == Some(frame.track);
        let follows = matches!(self.part, Part::Follows { .. });
        let pulse = self.span.pulse_to_join(frame.arrived_ns / 1000, follows);
        self.forget_losses();
        let Phase::Rolling(rolling) = &mut self.phase else { return Ok(()) };
        let Some(cameras) = &mut rolling.joining else { return Ok(()) };
        // Until they have begun to count, cameras take every time for true.
        let _ = cameras.judge(&frame);
        let Some(pulse) = pulse.filter(|_| leading) else { return Ok(()) };
        if !cameras.join(&pulse) {
            return Ok(());
        }
        let trigger = cameras.nearest(frame.track, frame.stamp_us);
        let expected_us = self.cameras.time_of(trigger).unwrap_or(frame.stamp_us);
        if trigger < rolling.ledger.next() {
            return Ok(());
        }
        let moved_us = i128::from(expected_us) - i128::from(frame.stamp_us);
        let moved_us = i64::try_from(moved_us).unwrap_or(0);
        cameras.move_by(moved_us);
        if let Some(cameras) = rolling.joining.take() {
            self.cameras = *cameras;
        }
        rolling.come_back(trigger, moved_us);
        rolling.window = Window::new(self.tracks.iter().copied(), self.cameras.start_of(trigger));
        self.moved_us = moved_us;
        self.set_lead(Lead::Leads);
        self.beginnings = self.span.beginnings();
        self.counters.set_presence(Presence::Recording);
        // A full lane costs the monitor this piece of evidence.
        let _ = self.notes.send(Note::Joined { device: self.place, trigger });
        frame.move_by(moved_us);
        self.roll(frame, trigger)
    }
}

impl Rolling {
    fn come_back(&mut self, trigger: u64, moved_us: i64) {
        self.from = trigger;
        // A file that cannot be written stays out, whoever is back.
        if let Some(outage) = self.outages.last_mut().filter(|_| !self.unwritable) {
            outage.until = Some(trigger);
            outage.moved_us = Some(moved_us);
        }
    }
}
