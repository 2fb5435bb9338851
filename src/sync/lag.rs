//! Notices a device whose clock jumps ahead in mid-take.
//!
//! A frame can be late and never early. One that arrives much earlier after its stamp than any of
//! the last seconds did has a stamp from a clock that was moved.

/// How late frames arrive after the time on them, watched.
#[derive(Debug, Clone)]
pub struct LagWatch {
    period_us: f64,
    frames_of_bucket: u64,
    /// The least lag of the last buckets of frames, the newest first.
    least_us: [Option<i64>; BUCKETS],
    frames: u64,
}

/// Half a minute in all, in which crystals move by 12 ms at 400 ppm, and a host that is slow for a
/// while is not slow all the time.
const BUCKETS: usize = 15;

/// Periods by which a frame must be early.
const EARLY_PERIODS: f64 = 0.75;

impl LagWatch {
    /// For a rig of `fps` triggers a second.
    #[must_use]
    pub fn new(fps: u32) -> Self {
        Self {
            period_us: 1e6 / f64::from(fps),
            frames_of_bucket: 2 * u64::from(fps),
            least_us: [None; BUCKETS],
            frames: 0,
        }
    }

    /// A frame with device time `stamp_us` arrived at `host_us`. Gives by how many microseconds the
    /// device's clock has jumped ahead, if it has.
    pub fn frame(&mut self, stamp_us: u64, host_us: u64) -> Option<u64> {
        let lag_us = i64::try_from(i128::from(host_us) - i128::from(stamp_us)).ok()?;
        let least_us = self.least_us.into_iter().flatten().min();
        // The first bucket may be that of a host that was slow from the beginning.
        let known = least_us.filter(|_| self.frames >= self.frames_of_bucket);
        let early_us = known.map_or(0, |least_us| least_us.saturating_sub(lag_us));
        if early_us as f64 > EARLY_PERIODS * self.period_us {
            self.least_us = [None; BUCKETS];
            self.least_us[0] = Some(lag_us);
            return u64::try_from(early_us).ok();
        }
        if self.frames.is_multiple_of(self.frames_of_bucket) {
            self.least_us.rotate_right(1);
            self.least_us[0] = None;
        }
        self.frames += 1;
        let least = self.least_us[0].map_or(lag_us, |least_us| least_us.min(lag_us));
        self.least_us[0] = Some(least);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jumps found of ten minutes at 30 fps by a crystal that is `ppm` off, which jumps ahead by
    /// `jump_us` in the middle; USB is up to 3 ms late, and slow for a while every 20 s.
    fn jumps(ppm: f64, jump_us: u64) -> Vec<(u64, u64)> {
        let mut watch = LagWatch::new(30);
        let mut jumps = Vec::new();
        for k in 1..18_000_u64 {
            let true_us = k * 100_000 / 3;
            let jumped_us = if k >= 9300 { jump_us } else { 0 };
            let stamp_us = (true_us as f64 * (1.0 + ppm / 1e6)) as u64 + jumped_us;
            let slow_us = if k % 600 > 500 && k % 600 < 520 { 200_000 } else { 0 };
            let host_us = 5_000_000 + true_us + 20_000 + k * 7919 % 3000 + slow_us;
            jumps.extend(watch.frame(stamp_us, host_us).map(|by_us| (k, by_us)));
        }
        jumps
    }

    #[test]
    fn a_jump_ahead_is_noticed_at_once_and_crystals_and_slow_hosts_are_none() {
        for ppm in [-400.0, 0.0, 400.0] {
            assert_eq!(jumps(ppm, 0), []);
            let [(at, by_us)] = jumps(ppm, 250_000)[..] else {
                panic!("one jump");
            };
            assert_eq!(at, 9300);
            // What the crystals have moved in half a minute is in it.
            assert!(by_us.abs_diff(250_000) < 20_000, "{by_us}");
        }
    }
}
