//! A device's clock against the host's, from when its frames arrived.
//!
//! A frame can be late and never early. So the line sought is the one under all arrivals that lies
//! closest to them: an edge of their lower hull. Delays of USB do not pull at it, as they would at
//! a line by least squares.

/// The lower hull of points that come in order of x.
#[derive(Debug, Clone, Default)]
pub struct LowerHull {
    corners: Vec<(f64, f64)>,
    count: u64,
    sum_x: f64,
    /// Subtracted from every point, so that hours of microseconds keep their digits.
    zero: Option<(u64, u64)>,
}

/// A device's clock against the host's: an affine map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockFit {
    zero: (u64, u64),
    x: f64,
    y: f64,
    /// Host microseconds for each device microsecond.
    pub host_per_device: f64,
    /// Device microseconds between the two arrivals that the line goes through.
    span_us: f64,
}

impl LowerHull {
    /// A frame with device time `device_us` arrived at `host_us`. Frames that do not come later by
    /// device time than the one before are passed over.
    pub fn push(&mut self, device_us: u64, host_us: u64) {
        let zero = *self.zero.get_or_insert((device_us, host_us));
        let point = (apart(device_us, zero.0), apart(host_us, zero.1));
        if self.corners.last().is_some_and(|last| point.0 <= last.0) {
            return;
        }
        self.count += 1;
        self.sum_x += point.0;
        while let [.., before, last] = self.corners[..]
            && turns_down(before, last, point)
        {
            self.corners.pop();
        }
        self.corners.push(point);
    }

    /// The line under all arrivals that lies closest to them; none for fewer than two.
    #[must_use]
    pub fn fit(&self) -> Option<ClockFit> {
        let middle = self.sum_x / self.count as f64;
        // The sum of the distances down to the line is least for the edge under the mean.
        let edge = self.corners.windows(2).find(|edge| edge[1].0 >= middle)?;
        let (a, b) = (edge[0], edge[1]);
        let host_per_device = (b.1 - a.1) / (b.0 - a.0);
        let span_us = b.0 - a.0;
        Some(ClockFit { zero: self.zero?, x: a.0, y: a.1, host_per_device, span_us })
    }
}

fn apart(later: u64, earlier: u64) -> f64 {
    (i128::from(later) - i128::from(earlier)) as f64
}

/// Whether `last` lies on or above the line from `before` to `next`.
fn turns_down(before: (f64, f64), last: (f64, f64), next: (f64, f64)) -> bool {
    (last.1 - before.1) * (next.0 - before.0) >= (next.1 - before.1) * (last.0 - before.0)
}

impl ClockFit {
    /// Host microseconds at device time `device_us`.
    #[must_use]
    pub fn host_us(&self, device_us: u64) -> f64 {
        let x = apart(device_us, self.zero.0);
        self.zero.1 as f64 + self.y + (x - self.x) * self.host_per_device
    }

    /// How far off [`ClockFit::ppm`] may be, where those that the line goes through were late as
    /// the earliest are: `late_us` is what one arrival in twenty is within.
    #[must_use]
    pub fn doubt_ppm(&self, late_us: f64) -> f64 {
        4.0 * late_us / self.span_us * 1e6
    }

    /// Error of the device's clock in parts per million of the host's; positive is fast.
    #[must_use]
    pub fn ppm(&self) -> f64 {
        (1.0 / self.host_per_device - 1.0) * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_frames_do_not_pull_at_the_line() {
        // 388 ppm slow; every frame late by up to 3 ms and one in twenty by 50, the fifth by none.
        let mut hull = LowerHull::default();
        for k in 0..9000_u64 {
            let host_us = 7_000_000_000 + k * 33_333;
            let device_us = ((k * 33_333) as f64 * (1.0 - 388e-6)) as u64;
            let late_us = if k % 5 == 0 { 0 } else { k * 7919 % 3000 };
            let late_us = if k % 20 == 3 { 50_000 } else { late_us };
            hull.push(device_us, host_us + late_us);
        }
        let fit = hull.fit().expect("a fit");
        assert!((fit.ppm() + 388.0).abs() < 0.1, "{}", fit.ppm());
        let end = fit.host_us((8999.0 * 33_333.0 * (1.0 - 388e-6)) as u64);
        assert!((end - (7_000_000_000_u64 + 8999 * 33_333) as f64).abs() < 10.0, "{end}");
    }

    #[test]
    fn one_frame_or_none_is_no_clock() {
        let mut hull = LowerHull::default();
        assert_eq!(hull.fit(), None);
        hull.push(5, 5);
        hull.push(5, 9);
        assert_eq!(hull.fit(), None);
    }
}
