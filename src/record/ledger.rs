//! The ledger: every trigger of every track that has no frame, with the cause.

use crate::frame::{Cause, TrackName};
use std::ops::Range;

/// Triggers without a frame, one after the other, for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The track that lacks them.
    pub track: TrackName,
    /// The triggers.
    pub triggers: Range<u64>,
    /// Why.
    pub cause: Cause,
}

/// Whether two tracks come from the same exposure, so that what one lost the other lost too.
fn same_camera(a: TrackName, b: TrackName) -> bool {
    let depth_camera = |track| matches!(track, TrackName::Depth | TrackName::Ir);
    a == b || (depth_camera(a) && depth_camera(b))
}

/// Losses of one camera, or of the IMU, that wait for the gap that they explain, at most: older
/// ones are forgotten, and their gaps then read "not sent by the device". They are those of some
/// eight seconds of the depth camera, whose exposures are two frames each.
const REPORTS_MAX: usize = 512;

/// A loss arrives within fewer triggers of its own: USB may deliver late, or several at once.
/// Losses of which nobody knows the time are taken to be this far away.
const FARTHEST: u64 = 10;

/// Only the last few entries can touch a new one: one a track and cause.
const NEIGHBOURS: usize = 16;

/// The ledger of one device's file.
#[derive(Debug)]
pub struct Ledger {
    next: Vec<Expected>,
    reports: Vec<Report>,
    missing: Vec<Missing>,
}

/// What a track is to deliver next.
#[derive(Debug, Clone, Copy)]
struct Expected {
    track: TrackName,
    trigger: u64,
    /// Why triggers are missing from here on, where no stage reports another cause.
    otherwise: Cause,
}

/// A loss that a stage reported.
#[derive(Debug, Clone, Copy)]
struct Report {
    track: TrackName,
    place: Place,
    cause: Cause,
}

/// Which trigger a loss belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This one.
    At(u64),
    /// One near this: what was lost had no time stamp, but it was known when it arrived.
    Near(u64),
    /// Nobody knows.
    Unknown,
}

impl Ledger {
    /// A ledger that expects frames of `tracks` from trigger `first` on.
    #[must_use]
    pub fn new(tracks: impl Iterator<Item = TrackName>, first: u64) -> Self {
        Self {
            next: tracks
                .map(|track| Expected { track, trigger: first, otherwise: Cause::NotSent })
                .collect(),
            reports: Vec::with_capacity(3 * REPORTS_MAX),
            missing: Vec::new(),
        }
    }

    /// A stage reported a loss of `track`.
    pub fn report(&mut self, track: TrackName, place: Place, cause: Cause) {
        // What floods us must not wash away what the other cameras lost.
        let of_camera = |report: &Report| same_camera(report.track, track);
        if self.reports.iter().filter(|report| of_camera(report)).count() == REPORTS_MAX {
            let oldest = self.reports.iter().position(of_camera);
            oldest.map(|oldest| self.reports.remove(oldest));
        }
        self.reports.push(Report { track, place, cause });
    }

    /// The device is gone: until a track delivers again, its triggers are missing for `cause`.
    pub fn leave(&mut self, cause: Cause) {
        // What was reported before explains nothing of it.
        self.reports.clear();
        self.next.iter_mut().for_each(|expected| expected.otherwise = cause);
    }

    /// The first trigger that no image track has delivered of.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.iter().map(|expected| expected.trigger).max().unwrap_or(0)
    }

    /// A frame of `track` for `trigger` is there; triggers passed over become losses.
    pub fn arrived(&mut self, track: TrackName, trigger: u64) {
        self.expect_until(track, trigger, Cause::NotSent);
        if let Some(expected) = self.next.iter_mut().find(|expected| expected.track == track) {
            expected.trigger = expected.trigger.max(trigger.saturating_add(1));
            expected.otherwise = Cause::NotSent;
        }
    }

    /// The frame of `track` for `trigger` arrived and was lost after all.
    pub fn lost(&mut self, track: TrackName, trigger: u64, cause: Cause) {
        self.add(track, trigger, cause);
    }

    /// Samples of `track` are missing within `triggers`: a track whose frames answer no trigger is
    /// reckoned by those that its gaps touch. The cause is `otherwise` where no stage reported one.
    pub fn gap(&mut self, track: TrackName, triggers: Range<u64>, otherwise: Cause) {
        for trigger in triggers {
            let known =
                |missing: &Missing| missing.track == track && missing.triggers.contains(&trigger);
            if !self.missing.iter().rev().take(NEIGHBOURS).any(known) {
                self.explain(track, trigger..trigger + 1, otherwise);
            }
        }
    }

    /// The take ended before trigger `end`: what is not there by now is missing, for `cause` where
    /// no stage reported another.
    pub fn close(&mut self, end: u64, cause: Cause) {
        for track in TrackName::ALL {
            self.expect_until(track, end, cause);
        }
        self.missing.sort_by_key(|missing| (missing.track, missing.triggers.start));
    }

    /// Everything missing so far.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Triggers missing so far, over all tracks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.missing.iter().map(|missing| missing.triggers.end - missing.triggers.start).sum()
    }

    fn expect_until(&mut self, track: TrackName, end: u64, otherwise: Cause) {
        let Some(&expected) = self.next.iter().find(|expected| expected.track == track) else {
            return;
        };
        let next = expected.trigger;
        if next >= end {
            return;
        }
        let otherwise = match expected.otherwise {
            Cause::NotSent => otherwise,
            known => known,
        };
        self.explain(track, next..end, otherwise);
        // Reports of before the gap explain nothing any more; those of the gap may explain the
        // sister track.
        self.reports.retain(|report| match report.place {
            Place::At(at) | Place::Near(at) => at + 64 > next,
            Place::Unknown => true,
        });
    }

    /// Gives each of the triggers a cause: that of the reported loss which fits best, and each
    /// report to one trigger. Those that fit exactly come first, then those that arrived near it,
    /// then those that nobody knows the time of.
    fn explain(&mut self, track: TrackName, triggers: Range<u64>, otherwise: Cause) {
        let mut unexplained: Vec<_> = triggers.clone().collect();
        let mut causes = Vec::new();
        for distance in 0..=FARTHEST {
            unexplained.retain(|&trigger| {
                let cause = self.cause_at(track, trigger, distance);
                causes.extend(cause.map(|cause| (trigger, cause)));
                cause.is_none()
            });
        }
        causes.extend(unexplained.into_iter().map(|trigger| (trigger, otherwise)));
        causes.sort_by_key(|(trigger, _)| *trigger);
        causes.into_iter().for_each(|(trigger, cause)| self.add(track, trigger, cause));
    }

    /// The cause of a report at this distance from the trigger, which then stands for it.
    fn cause_at(&mut self, track: TrackName, trigger: u64, distance: u64) -> Option<Cause> {
        let apart = |report: &Report| match report.place {
            Place::At(at) => (at == trigger).then_some(0),
            Place::Near(at) => Some(1 + at.abs_diff(trigger)).filter(|apart| *apart < FARTHEST),
            Place::Unknown => Some(FARTHEST),
        };
        let mut of_camera = self.reports.iter_mut().filter(|r| same_camera(r.track, track));
        let found = of_camera.find(|report| apart(report) == Some(distance))?;
        found.place = Place::At(trigger);
        Some(found.cause)
    }

    fn add(&mut self, track: TrackName, trigger: u64, cause: Cause) {
        let follows = |missing: &&mut Missing| {
            missing.track == track && missing.cause == cause && missing.triggers.end == trigger
        };
        if let Some(neighbour) = self.missing.iter_mut().rev().take(NEIGHBOURS).find(follows) {
            neighbour.triggers.end = trigger + 1;
        } else {
            self.missing.push(Missing { track, triggers: trigger..trigger + 1, cause });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_passed_over_is_missing_with_its_cause() {
        let mut ledger = Ledger::new([TrackName::Depth, TrackName::Ir].into_iter(), 10);
        ledger.arrived(TrackName::Depth, 10);
        ledger.arrived(TrackName::Ir, 10);
        ledger.report(TrackName::Depth, Place::Unknown, Cause::Malformed);
        ledger.report(TrackName::Ir, Place::At(13), Cause::LaneFull);
        ledger.arrived(TrackName::Depth, 12);
        ledger.arrived(TrackName::Ir, 12);
        ledger.close(15, Cause::NotSent);
        let all: Vec<_> =
            ledger.missing().iter().map(|m| (m.track, m.triggers.clone(), m.cause)).collect();
        assert_eq!(
            all,
            [
                (TrackName::Depth, 11..12, Cause::Malformed),
                (TrackName::Depth, 13..14, Cause::LaneFull),
                (TrackName::Depth, 14..15, Cause::NotSent),
                (TrackName::Ir, 11..12, Cause::Malformed),
                (TrackName::Ir, 13..14, Cause::LaneFull),
                (TrackName::Ir, 14..15, Cause::NotSent),
            ]
        );
        assert_eq!(ledger.count(), 6);
    }

    #[test]
    fn a_loss_without_a_stamp_belongs_to_when_it_arrived() {
        let mut ledger = Ledger::new([TrackName::Color].into_iter(), 0);
        ledger.report(TrackName::Color, Place::Near(2), Cause::Transfer);
        ledger.report(TrackName::Color, Place::At(3), Cause::Malformed);
        ledger.arrived(TrackName::Color, 0);
        ledger.arrived(TrackName::Color, 5);
        let all: Vec<_> = ledger.missing().iter().map(|m| (m.triggers.clone(), m.cause)).collect();
        // The transfer that failed is one of those that arrived about then; one frame was not sent.
        assert_eq!(all.len(), 4 - 1 + 1, "{all:?}");
        assert!(all.contains(&(3..4, Cause::Malformed)), "{all:?}");
        assert_eq!(all.iter().filter(|(_, cause)| *cause == Cause::Transfer).count(), 1);
    }

    #[test]
    fn what_a_device_misses_while_it_is_away_says_so_track_by_track() {
        let mut ledger = Ledger::new([TrackName::Color, TrackName::Depth].into_iter(), 0);
        ledger.arrived(TrackName::Color, 0);
        ledger.report(TrackName::Color, Place::Near(1), Cause::Malformed);
        ledger.leave(Cause::Away);
        assert_eq!(ledger.next(), 1);
        ledger.arrived(TrackName::Color, 5);
        ledger.arrived(TrackName::Color, 7);
        ledger.close(8, Cause::NotSent);
        let all: Vec<_> =
            ledger.missing().iter().map(|m| (m.track, m.triggers.clone(), m.cause)).collect();
        assert_eq!(
            all,
            [
                (TrackName::Color, 1..5, Cause::Away),
                (TrackName::Color, 6..7, Cause::NotSent),
                (TrackName::Depth, 0..8, Cause::Away),
            ]
        );
    }

    #[test]
    fn a_flood_of_one_sensors_losses_leaves_the_others_their_causes() {
        let mut ledger = Ledger::new([TrackName::Color].into_iter(), 0);
        ledger.arrived(TrackName::Color, 0);
        ledger.report(TrackName::Color, Place::At(1), Cause::NoBuffer);
        for _ in 0..5000 {
            ledger.report(TrackName::Imu, Place::Unknown, Cause::LaneFull);
        }
        ledger.arrived(TrackName::Color, 2);
        let missing: Vec<_> = ledger.missing().iter().map(|m| (m.track, m.cause)).collect();
        assert_eq!(missing, [(TrackName::Color, Cause::NoBuffer)]);
    }

    #[test]
    fn a_whole_track_has_no_entry() {
        let mut ledger = Ledger::new([TrackName::Color].into_iter(), 0);
        for trigger in 0..5 {
            ledger.arrived(TrackName::Color, trigger);
        }
        ledger.close(5, Cause::NotSent);
        assert_eq!(ledger.missing(), []);
    }
}
