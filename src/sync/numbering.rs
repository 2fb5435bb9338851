//! Numbers the frames of one camera.

use genlock_formats::k4a::Rate;

/// Numbers the frames of one camera by the trigger they answer.
///
/// The first frame is numbered by its time, every other by its distance from the frame before, so
/// that the error of a crystal (hundreds of ppm, spec/users.md D) never adds up to a wrong number.
/// Distances are counted in periods as they are measured: real rates differ from the nominal ones.
#[derive(Debug, Clone)]
pub struct Numbering {
    nominal_us: f64,
    phase_us: i64,
    period_us: f64,
    origin: Origin,
    last: Option<Numbered>,
}

/// Where counting begins: the pulse `trigger` comes at `stamp_us` of the camera's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin {
    /// The trigger.
    pub trigger: u64,
    /// Device time in microseconds of the pulse.
    pub stamp_us: i64,
    /// Microseconds from pulse to pulse.
    pub period_us: f64,
}

/// A trigger and the device time of a frame that answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    trigger: u64,
    stamp_us: u64,
}

/// What a frame's time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The frame answers this trigger.
    Trigger(u64),
    /// Another frame of the camera, with another time, answered this trigger already.
    Repeated(u64),
    /// Time went back: the device's clock was reset. Counting began anew with this trigger.
    RolledBack(u64),
}

/// The measured period follows each new one by this part of the difference: exposures vary by some
/// 30 us, and the mean of the last hundred or so by three.
const FOLLOW: f64 = 1.0 / 64.0;

/// No camera's rate is further from its nominal one (spec/users.md D: up to 0.5 %).
const RATE_ERROR_MAX: f64 = 0.01;

impl Numbering {
    /// For a camera whose exposures follow the pulses by `phase_us` microseconds.
    #[must_use]
    pub fn new(rate: Rate, phase_us: i64) -> Self {
        let nominal_us = 1e6 / f64::from(rate.fps());
        let origin = Origin { trigger: 0, stamp_us: 0, period_us: nominal_us };
        Self { nominal_us, phase_us, period_us: nominal_us, origin, last: None }
    }

    /// For the same camera, of which nothing is known but its measured rate.
    #[must_use]
    pub fn anew(&self) -> Self {
        let origin = Origin { trigger: 0, stamp_us: 0, period_us: self.period_us };
        Self { origin, last: None, ..*self }
    }

    /// Counts from `origin` on, which another camera has measured; what was numbered so far is
    /// numbered anew.
    pub fn begin_at(&mut self, origin: Origin) {
        self.origin = origin;
        self.period_us = origin.period_us;
        self.last = self.last.map(|last| Numbered { trigger: self.by_time(last.stamp_us), ..last });
    }

    /// The camera's time is told as `by_us` microseconds more from here on.
    pub fn move_by(&mut self, by_us: i64) {
        self.origin.stamp_us = self.origin.stamp_us.saturating_add(by_us);
        if let Some(last) = &mut self.last {
            last.stamp_us = last.stamp_us.saturating_add_signed(by_us);
        }
    }

    /// Numbers the frame with device time `stamp_us`. Frames of one exposure (depth and IR) have
    /// the same time and get the same number.
    pub fn admit(&mut self, stamp_us: u64) -> Admission {
        let trigger = self.nearest(stamp_us);
        let (admission, last) = match self.last {
            None => (Admission::Trigger(trigger), Numbered { trigger, stamp_us }),
            Some(last) if stamp_us == last.stamp_us => (Admission::Trigger(last.trigger), last),
            Some(last) if stamp_us < last.stamp_us => {
                let trigger = self.by_time(stamp_us);
                (Admission::RolledBack(trigger), Numbered { trigger, stamp_us })
            }
            Some(last) if trigger == last.trigger => (Admission::Repeated(trigger), last),
            Some(last) => {
                self.measure(last, Numbered { trigger, stamp_us });
                (Admission::Trigger(trigger), Numbered { trigger, stamp_us })
            }
        };
        self.last = Some(last);
        admission
    }

    /// The trigger nearest to device time `stamp_us`.
    #[must_use]
    pub fn nearest(&self, stamp_us: u64) -> u64 {
        match self.last {
            Some(last) => {
                let apart_us = i128::from(stamp_us) - i128::from(last.stamp_us);
                last.trigger.saturating_add_signed(self.periods(apart_us as f64))
            }
            None => self.by_time(stamp_us),
        }
    }

    /// The device time in microseconds at which this camera's frame of `trigger` is expected; none
    /// before the first frame.
    #[must_use]
    pub fn time_of(&self, trigger: u64) -> Option<u64> {
        let last = self.last?;
        let ahead = (i128::from(trigger) - i128::from(last.trigger)) as f64;
        let us = ahead.mul_add(self.period_us, last.stamp_us as f64);
        // A float becomes an integer by saturating.
        Some(us.max(0.0).round() as u64)
    }

    /// Microseconds from frame to frame, as measured.
    #[must_use]
    pub fn period_us(&self) -> f64 {
        self.period_us
    }

    /// How far its exposures follow the pulses, in microseconds.
    #[must_use]
    pub fn phase_us(&self) -> i64 {
        self.phase_us
    }

    fn measure(&mut self, last: Numbered, now: Numbered) {
        let periods = (now.trigger - last.trigger) as f64;
        let period_us = (now.stamp_us - last.stamp_us) as f64 / periods;
        let error = self.nominal_us * RATE_ERROR_MAX;
        // One camera in a hundred that is late tells nothing of the rate.
        if (period_us - self.nominal_us).abs() < error {
            self.period_us += (period_us - self.period_us) * FOLLOW;
        }
    }

    fn by_time(&self, stamp_us: u64) -> u64 {
        let pulse_us = i128::from(stamp_us) - i128::from(self.phase_us);
        let apart_us = (pulse_us - i128::from(self.origin.stamp_us)) as f64;
        self.origin.trigger.saturating_add_signed(self.periods(apart_us))
    }

    /// Whole periods in `us` microseconds, to the nearest.
    fn periods(&self, us: f64) -> i64 {
        // A float becomes an integer by saturating.
        (us / self.period_us).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_numbered_by_their_distance() {
        let mut numbering = Numbering::new(Rate::Fps30, 0);
        assert_eq!(numbering.admit(33_344), Admission::Trigger(1));
        assert_eq!(numbering.admit(66_650), Admission::Trigger(2));
        assert_eq!(numbering.admit(66_650), Admission::Trigger(2));
        assert_eq!(numbering.admit(70_000), Admission::Repeated(2));
        assert_eq!(numbering.admit(200_000), Admission::Trigger(6));
        assert_eq!(numbering.admit(33_400), Admission::RolledBack(1));
        let expected = numbering.time_of(4).expect("after a frame");
        assert!(expected.abs_diff(133_400) < 5, "{expected}");
    }

    #[test]
    fn a_slow_crystal_never_skips_or_repeats_a_number() {
        // 388 ppm slow for two hours, as reported from the field (spec/users.md D): 2.8 s off in
        // the end.
        let mut numbering = Numbering::new(Rate::Fps30, 0);
        for trigger in 1..2 * 3600 * 30_u64 {
            let stamp_us = trigger * 1_000_000 / 30 * (1_000_000 - 388) / 1_000_000;
            assert_eq!(numbering.admit(stamp_us), Admission::Trigger(trigger));
        }
    }

    #[test]
    fn a_long_gap_at_a_real_rate_is_counted_right() {
        // 30.1 frames a second: after a minute without frames, six more pulses than at 30.
        let mut numbering = Numbering::new(Rate::Fps30, 0);
        let stamp = |trigger: u64| trigger * 10_000_000 / 301;
        for trigger in 1..600 {
            numbering.admit(stamp(trigger));
        }
        assert_eq!(numbering.admit(stamp(2400)), Admission::Trigger(2400));
    }

    #[test]
    fn delays_do_not_move_the_number() {
        let mut numbering = Numbering::new(Rate::Fps30, 33_333);
        assert_eq!(numbering.admit(66_666), Admission::Trigger(1));
        let mut early = Numbering::new(Rate::Fps5, -199_999);
        assert_eq!(early.admit(200_001), Admission::Trigger(2));
    }

    #[test]
    fn counting_begins_where_the_master_says() {
        // Firmware 1.6.107 shows 247,922 us at the first pulse, 7.44 periods: each device alone
        // might round it to another side.
        let origin = Origin { trigger: 7, stamp_us: 247_922, period_us: 33_333.3 };
        let mut numbering = Numbering::new(Rate::Fps30, 160);
        numbering.admit(247_922 + 160 + 3 * 33_333);
        numbering.begin_at(origin);
        assert_eq!(numbering.admit(247_922 + 160 + 4 * 33_333), Admission::Trigger(11));
        assert_eq!(numbering.nearest(247_922 + 160 + 3 * 33_333), 10);
    }
}
