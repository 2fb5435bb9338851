//! A straight line through points, by least squares.

/// A fitted line: `y = mean_y + slope * (x - mean_x)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    count: f64,
    mean_x: f64,
    mean_y: f64,
    /// Change of y for each x.
    pub slope: f64,
    /// Sum of the squares of x about its mean.
    spread: f64,
    /// Standard deviation of the points about the line.
    pub sigma: f64,
}

impl Line {
    /// The line through `points`; none through fewer than two, or with no two different x.
    pub fn through(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        let (mut count, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
        for (x, y) in points.clone() {
            (count, sum_x, sum_y) = (count + 1.0, sum_x + x, sum_y + y);
        }
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (mut spread, mut with_y) = (0.0, 0.0);
        for (x, y) in points.clone() {
            spread += (x - mean_x) * (x - mean_x);
            with_y += (x - mean_x) * (y - mean_y);
        }
        if count < 2.0 || spread <= 0.0 {
            return None;
        }
        let slope = with_y / spread;
        let off = |(x, y): (f64, f64)| (y - mean_y - slope * (x - mean_x)).powi(2);
        let sigma = (points.map(off).sum::<f64>() / count).sqrt();
        Some(Self { count, mean_x, mean_y, slope, spread, sigma })
    }

    /// The line's y at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.mean_y + self.slope * (x - self.mean_x)
    }

    /// Standard error of the difference between the line at `x` and the mean of `count` new points
    /// there.
    pub fn error_at(&self, x: f64, count: f64) -> f64 {
        let away = x - self.mean_x;
        self.sigma * (1.0 / count + 1.0 / self.count + away * away / self.spread).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_give_it_back() {
        let points = (0..10).map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x)));
        let line = Line::through(points).expect("a line");
        assert!((line.at(100.0) - 203.0).abs() < 1e-9 && line.sigma < 1e-9);
        assert_eq!(Line::through([(1.0, 1.0)].into_iter()), None);
        assert_eq!(Line::through([(1.0, 1.0), (1.0, 2.0)].into_iter()), None);
        assert_eq!(Line::through(std::iter::empty()), None);
    }
}
