//! When the frames of a track are, by trigger.

use crate::record::UNNOTED;
use genlock_formats::k4a::TrackName;
use genlock_formats::triggers::Cell;

/// The device times of a track's frames, and why those that are missing are.
#[derive(Debug, Clone)]
pub(super) struct TrackTimes {
    pub track: TrackName,
    first: u64,
    times_us: Vec<u64>,
    /// Holes in a row with their cause, in order of triggers.
    holes: Vec<Hole>,
}

#[derive(Debug, Clone)]
struct Hole {
    end: usize,
    cause: String,
}

/// What a track has for a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When<'t> {
    /// A frame at this device time.
    At(u64),
    /// A frame about this device time: it is in the file, and its time was not noted.
    About(u64),
    /// No frame, for this cause.
    Lost(&'t str),
}

/// What stands for a time where there is none.
const NONE: u64 = u64::MAX;

impl TrackTimes {
    pub fn new<'c>(track: TrackName, first: u64, cells: impl Iterator<Item = &'c Cell>) -> Self {
        let mut times = Self { track, first, times_us: Vec::new(), holes: Vec::new() };
        for (place, cell) in cells.enumerate() {
            let cause = match cell {
                Cell::At(us) => {
                    times.times_us.push((*us).min(NONE - 1));
                    continue;
                }
                Cell::Lost(cause) => cause,
            };
            times.times_us.push(NONE);
            match times.holes.last_mut() {
                Some(hole) if hole.end == place && hole.cause == *cause => hole.end = place + 1,
                _ => {
                    times.holes.push(Hole { end: place + 1, cause: cause.clone() });
                }
            }
        }
        times
    }

    /// What there is for a trigger; `period_us` are the microseconds between two.
    pub fn when(&self, trigger: u64, period_us: u64) -> When<'_> {
        const OUTSIDE: &str = "the take does not have this trigger";
        let place = trigger.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some((place, time_us)) = place.and_then(|at| Some((at, *self.times_us.get(at)?)))
        else {
            return When::Lost(OUTSIDE);
        };
        if time_us != NONE {
            return When::At(time_us);
        }
        let behind = self.holes.partition_point(|hole| hole.end <= place);
        match self.holes.get(behind).map_or(OUTSIDE, |hole| &hole.cause) {
            UNNOTED => self.estimate(place, period_us).map_or(When::Lost(UNNOTED), When::About),
            cause => When::Lost(cause),
        }
    }

    /// About when a trigger is, of the take or not; none where the track has no frame.
    pub fn near(&self, trigger: u64, period_us: u64) -> Option<u64> {
        let before = self.first.saturating_sub(trigger).saturating_mul(period_us);
        let place = usize::try_from(trigger.saturating_sub(self.first)).ok()?;
        Some(self.estimate(place, period_us)?.saturating_sub(before))
    }

    /// The time at a place, by the nearest that was noted: at it, before it or behind it.
    fn estimate(&self, place: usize, period_us: u64) -> Option<u64> {
        let noted = |at: &usize| self.times_us.get(*at).is_some_and(|us| *us != NONE);
        let before = (0..self.times_us.len().min(place.saturating_add(1))).rev().find(noted);
        let at = before.or_else(|| (place..self.times_us.len()).find(noted))?;
        let apart_us = (place.abs_diff(at) as u64).saturating_mul(period_us);
        let time_us = self.times_us[at];
        Some(if at < place {
            time_us.saturating_add(apart_us)
        } else {
            time_us.saturating_sub(apart_us)
        })
    }

    /// The first trigger whose frame is not before `time_us`.
    pub fn trigger_from(&self, time_us: u64) -> Option<u64> {
        // Times grow with triggers, and holes are passed over.
        let noted = (0..).zip(&self.times_us).filter(|(_, us)| **us != NONE);
        let mut noted = noted.skip_while(|(_, us)| **us < time_us);
        noted.next().map(|(place, _): (u64, _)| self.first.saturating_add(place))
    }

    /// The earliest time.
    pub fn first_us(&self) -> Option<u64> {
        self.times_us.iter().copied().find(|us| *us != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_keep_their_cause_and_times_that_were_not_noted_are_near() {
        let lost = |cause: &str| Cell::Lost(cause.to_owned());
        let cells = [lost("a"), Cell::At(100), lost(UNNOTED), lost("b"), lost("b"), Cell::At(500)];
        let times = TrackTimes::new(TrackName::Color, 7, cells.iter());
        let when: Vec<_> = (6..14).map(|trigger| times.when(trigger, 100)).collect();
        let outside = When::Lost("the take does not have this trigger");
        let [a, b] = ["a", "b"].map(When::Lost);
        assert_eq!(
            when,
            [outside, a, When::At(100), When::About(200), b, b, When::At(500), outside]
        );
        assert_eq!(times.trigger_from(0), Some(8));
        assert_eq!(times.trigger_from(101), Some(12));
        assert_eq!((times.trigger_from(501), times.first_us()), (None, Some(100)));
    }
}
