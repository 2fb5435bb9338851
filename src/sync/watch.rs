//! Watches, during a take, whether a subordinate still follows its master.
//!
//! What a subordinate's stamp is apart from the master's of the same trigger changes evenly, as
//! their crystals differ. A camera that runs free goes by its own crystal from then on, and the
//! change leaves its line.
//!
//! A stamp is the middle of an exposure, so that an automatic exposure which changes moves it by up
//! to milliseconds from one frame to the next. No free run does that, and no alarm is raised for
//! it.

use crate::sync::Pair;
use crate::sync::line::Line;
use genlock_formats::take::Alarm;
use std::collections::VecDeque;

/// A subordinate watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Pairs of about the last ten seconds in step, as x (master's time) and y (apart).
    before: VecDeque<(f64, f64)>,
    /// The newest pairs, of half a second.
    newest: VecDeque<Pair>,
    /// What a pair must be off the one before to have been moved, in microseconds a trigger.
    moved_us: f64,
    newest_max: usize,
    before_min: usize,
    before_max: usize,
    out: bool,
}

/// What `take.toml` calls it.
pub const OUT_OF_STEP: &str = "out of step with the master";

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Out of step from this trigger on.
    Left(u64),
    /// In step again from this trigger on.
    Returned(u64),
    /// Still in step, and the middle of its exposures, or of the master's, has moved.
    Moved(u64),
}

/// Less than this is never called out of step, in microseconds: exposures of one device vary as
/// much (usb-protocol.md 9.4 allows 110).
const LEAST_US: f64 = 30.0;

/// What moves by more than this in a trigger, in microseconds, was moved: by the device, which
/// knows no exposure times closer than 750 us (usb-protocol.md 6.8), of which the middle moves by
/// half.
const MOVED_US: f64 = 180.0;

/// The same in parts per million of a period: running free moves 13 us in a trigger at 30 fps and
/// 400 ppm, 111 us where the master runs at 30.1 Hz, and more where periods are longer.
const MOVED_PPM: f64 = 5400.0;

/// Standard errors that chance may make of a device in step. At 30 checks a second it reaches six
/// once in a year.
const ERRORS_MAX: f64 = 6.0;

impl Watch {
    /// For a rig of `fps` triggers a second.
    #[must_use]
    pub fn new(fps: u32) -> Self {
        let moved_us = MOVED_US.max(MOVED_PPM / f64::from(fps));
        let fps = fps as usize;
        let newest_max = (fps / 2).max(3);
        Self {
            before: VecDeque::with_capacity(10 * fps + 1),
            newest: VecDeque::with_capacity(newest_max + 1),
            moved_us,
            newest_max,
            before_min: fps.max(8),
            before_max: 10 * fps,
            out: false,
        }
    }

    /// By how much the stamps of a pair come apart, in parts per million, while in step; none
    /// before a second of pairs.
    #[must_use]
    pub fn drift_ppm(&self) -> Option<f64> {
        let enough = !self.out && self.before.len() >= self.before_min;
        enough.then(|| Line::through(self.before.iter().copied())).flatten().map(|l| l.slope * 1e6)
    }

    /// Frames may be missing between two pairs.
    fn moved_within(&self, last: &Pair, next: &Pair) -> f64 {
        self.moved_us * (1.0 + (next.trigger - last.trigger) as f64) / 2.0
    }

    /// What was in step until now is found not to have been: it is out from here on.
    pub fn leave(&mut self) {
        self.out = true;
    }

    /// Watches a whole take at once: gives an alarm for the triggers out of step, of those up to
    /// `last`, and how often the middle of exposures moved.
    #[must_use]
    pub fn over(fps: u32, pairs: impl Iterator<Item = Pair>, last: u64) -> (Vec<Alarm>, u64) {
        let mut watch = Self::new(fps);
        let (mut out, mut since, mut moves) = (Vec::new(), None, 0);
        for change in pairs.filter_map(|pair| watch.pair(pair)) {
            match change {
                Change::Left(trigger) => since = Some(trigger),
                Change::Returned(trigger) => {
                    let from = since.take().unwrap_or(trigger);
                    out.push(out_of_step(from, trigger.saturating_sub(1)));
                }
                Change::Moved(_) => moves += 1,
            }
        }
        out.extend(since.map(|from| out_of_step(from, last)));
        (out, moves)
    }

    /// The next pair, in order of triggers.
    pub fn pair(&mut self, pair: Pair) -> Option<Change> {
        if let Some(last) = self.newest.back()
            && !self.out
            && (pair.apart_us - last.apart_us).abs() > self.moved_within(last, &pair)
        {
            // What it was before tells nothing of what comes.
            self.newest.clear();
            self.before.clear();
            self.newest.push_back(pair);
            return Some(Change::Moved(pair.trigger));
        }
        self.newest.push_back(pair);
        if self.newest.len() <= self.newest_max {
            return None;
        }
        let oldest = self.newest.pop_front()?;
        if !self.out {
            if self.before.len() == self.before_max {
                self.before.pop_front();
            }
            self.before.push_back((oldest.master_us as f64, oldest.apart_us));
        }
        if self.before.len() < self.before_min {
            return None;
        }
        let line = Line::through(self.before.iter().copied())?;
        let count = self.newest.len() as f64;
        let (mut off, mut farthest, mut x) = (0.0, 0.0_f64, 0.0);
        for pair in &self.newest {
            let one = pair.apart_us - line.at(pair.master_us as f64);
            off += one / count;
            farthest = farthest.max(one.abs());
            x += pair.master_us as f64 / count;
        }
        let limit = LEAST_US.max(ERRORS_MAX * line.error_at(x, count));
        let limit_of_one = LEAST_US.max(ERRORS_MAX * line.error_at(x, 1.0));
        let first = self.newest.front()?.trigger;
        match self.out {
            false if off.abs() > limit => {
                self.out = true;
                Some(Change::Left(first))
            }
            // All of them: one of the free run among those in step would bend the line.
            true if off.abs() < limit && farthest < limit_of_one => {
                self.out = false;
                Some(Change::Returned(first))
            }
            _ => None,
        }
    }
}

fn out_of_step(first_trigger: u64, last_trigger: u64) -> Alarm {
    let last_trigger = last_trigger.max(first_trigger);
    Alarm { first_trigger, last_trigger, what: OUT_OF_STEP.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs at 30 fps of a device whose crystal is `ppm` off the master's, and that goes by its
    /// own within `free`; stamps vary by 33 us, as a hash of the trigger has it.
    fn changes(ppm: f64, free: std::ops::Range<u64>, triggers: u64) -> Vec<(u64, Change)> {
        changes_with(ppm, free, triggers, |_| 0.0)
    }

    fn changes_with(
        ppm: f64,
        free: std::ops::Range<u64>,
        triggers: u64,
        moved_us: impl Fn(u64) -> f64,
    ) -> Vec<(u64, Change)> {
        let mut watch = Watch::new(30);
        let mut changes = Vec::new();
        for trigger in 0..triggers {
            let master_us = trigger * 33_333;
            let jitter = |salt: u64| ((trigger ^ salt) * 0x9E37_79B9 % 1009) as f64 / 1009.0 * 33.0;
            let apart = match free.contains(&trigger) {
                true => free.start as f64,
                false => trigger as f64,
            };
            let apart_us =
                apart * 33_333.0 * ppm / 1e6 + jitter(1) - jitter(77) + moved_us(trigger);
            if let Some(change) = watch.pair(Pair { trigger, master_us, apart_us }) {
                changes.push((trigger, change));
            }
        }
        changes
    }

    #[test]
    fn a_device_in_step_raises_no_alarm() {
        for ppm in [-800.0, -3.0, 0.0, 20.0, 776.0] {
            assert_eq!(changes(ppm, 0..0, 60_000), []);
        }
    }

    #[test]
    fn an_exposure_that_changes_is_no_alarm_and_hides_none() {
        // From 2500 us to 8330: the middle moves by 2915. Later the cable is pulled.
        let moved = |trigger: u64| if trigger < 1000 { 0.0 } else { 2915.0 };
        let changes = changes_with(100.0, 3000..4000, 4000, moved);
        let [(1000, Change::Moved(1000)), (noticed, Change::Left(_))] = changes[..] else {
            panic!("{changes:?}");
        };
        assert!((3000..3060).contains(&noticed), "noticed at {noticed}");
    }

    #[test]
    fn one_that_runs_free_is_noticed_within_two_seconds_and_its_return_too() {
        for ppm in [-400.0, -25.0, 25.0, 100.0] {
            let changes = changes(ppm, 3000..6000, 9000);
            let [(noticed, Change::Left(from)), (_, Change::Returned(back))] = changes[..] else {
                panic!("{ppm}: {changes:?}");
            };
            assert!((3000..3060).contains(&noticed), "{ppm}: noticed at {noticed}");
            assert!((2985..3060).contains(&from), "{ppm}: from {from}");
            assert!((6000..6060).contains(&back), "{ppm}: back at {back}");
        }
    }
}
