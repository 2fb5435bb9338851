//! The ledger: every trigger of every track that has no frame, with the cause.

use crate::frame::{Cause, Loss, TrackName};
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

/// Losses waiting for the gap that they explain, at most: older ones are forgotten, and their gaps
/// then read "not sent by the device".
const REPORTS_MAX: usize = 1024;

/// Only the last few entries can touch a new one: one a track and cause.
const NEIGHBOURS: usize = 16;

/// The ledger of one device's file.
#[derive(Debug)]
pub struct Ledger {
    next: Vec<(TrackName, u64)>,
    reports: Vec<Report>,
    missing: Vec<Missing>,
}

/// A loss that a stage reported.
#[derive(Debug, Clone, Copy)]
struct Report {
    track: TrackName,
    trigger: Option<u64>,
    cause: Cause,
}

impl Ledger {
    /// A ledger that expects frames of `tracks` from trigger `first` on.
    #[must_use]
    pub fn new(tracks: impl Iterator<Item = TrackName>, first: u64) -> Self {
        Self {
            next: tracks.map(|track| (track, first)).collect(),
            reports: Vec::with_capacity(REPORTS_MAX),
            missing: Vec::new(),
        }
    }

    /// A stage reported a loss; `trigger` is the number of its time stamp, where it had one.
    pub fn report(&mut self, loss: &Loss, trigger: Option<u64>) {
        if self.reports.len() == REPORTS_MAX {
            self.reports.remove(0);
        }
        self.reports.push(Report { track: loss.track, trigger, cause: loss.cause });
    }

    /// A frame of `track` for `trigger` is there; triggers passed over become losses.
    pub fn arrived(&mut self, track: TrackName, trigger: u64) {
        self.expect_until(track, trigger, Cause::NotSent);
        if let Some((_, next)) = self.next.iter_mut().find(|(name, _)| *name == track) {
            *next = (*next).max(trigger.saturating_add(1));
        }
    }

    /// The frame of `track` for `trigger` arrived and was lost after all.
    pub fn lost(&mut self, track: TrackName, trigger: u64, cause: Cause) {
        self.add(track, trigger, cause);
    }

    /// Samples of `track` are missing within `triggers`: a track whose frames answer no trigger is
    /// reckoned by those that its gaps touch.
    pub fn gap(&mut self, track: TrackName, triggers: Range<u64>) {
        for trigger in triggers {
            let known =
                |missing: &Missing| missing.track == track && missing.triggers.contains(&trigger);
            if !self.missing.iter().rev().take(NEIGHBOURS).any(known) {
                let cause = self.cause_of(track, trigger).unwrap_or(Cause::NotSent);
                self.add(track, trigger, cause);
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
        let Some(&(_, next)) = self.next.iter().find(|(name, _)| *name == track) else {
            return;
        };
        if next >= end {
            return;
        }
        for trigger in next..end {
            let cause = self.cause_of(track, trigger).unwrap_or(otherwise);
            self.add(track, trigger, cause);
        }
        // Reports of before the gap explain nothing any more; those of the gap may explain the
        // sister track.
        self.reports.retain(|report| report.trigger.is_none_or(|at| at + 64 > next));
    }

    /// The cause reported for `trigger`. A report without a time is taken for the first gap that
    /// nothing else explains, and then stands for that trigger.
    fn cause_of(&mut self, track: TrackName, trigger: u64) -> Option<Cause> {
        let mut of_camera = self.reports.iter_mut().filter(|r| same_camera(r.track, track));
        if let Some(known) = of_camera.find(|report| report.trigger == Some(trigger)) {
            return Some(known.cause);
        }
        let mut of_camera = self.reports.iter_mut().filter(|r| same_camera(r.track, track));
        let untimed = of_camera.find(|report| report.trigger.is_none())?;
        untimed.trigger = Some(trigger);
        Some(untimed.cause)
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

    fn loss(track: TrackName, cause: Cause) -> Loss {
        Loss { track, stamp_us: None, cause }
    }

    #[test]
    fn every_trigger_passed_over_is_missing_with_its_cause() {
        let mut ledger = Ledger::new([TrackName::Depth, TrackName::Ir].into_iter(), 10);
        ledger.arrived(TrackName::Depth, 10);
        ledger.arrived(TrackName::Ir, 10);
        ledger.report(&loss(TrackName::Depth, Cause::Malformed), None);
        ledger.report(&loss(TrackName::Ir, Cause::LaneFull), Some(13));
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
    fn a_whole_track_has_no_entry() {
        let mut ledger = Ledger::new([TrackName::Color].into_iter(), 0);
        for trigger in 0..5 {
            ledger.arrived(TrackName::Color, trigger);
        }
        ledger.close(5, Cause::NotSent);
        assert_eq!(ledger.missing(), []);
    }
}
