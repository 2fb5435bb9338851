//! Numbers that look like chance and are the same on every machine.

/// A generator of 64-bit numbers (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator; every seed gives its own sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1A4_B087 | 1);
        random.next();
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}

/// A number that depends on all of `parts` and on nothing else.
#[must_use]
pub fn hash(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0, |seed, part| Random::new(seed ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93)).next())
}

/// How many noise values there are; a power of two.
const TABLE: usize = 1 << 14;

/// Normally distributed values with a standard deviation of [`Noise::SIGMA`].
#[derive(Debug, Clone)]
pub struct Noise(Vec<i16>);

impl Noise {
    /// Standard deviation of the values.
    pub const SIGMA: i32 = 256;

    /// A table of values from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The sum of twelve even distributions of width w is nearly normal, with standard deviation
        // w.
        let value = |_| {
            let sum: i64 = (0..12).map(|_| random.below(Self::SIGMA as u64) as i64).sum();
            (sum - 6 * i64::from(Self::SIGMA)) as i16
        };
        Self((0..TABLE).map(value).collect())
    }

    /// The values from place `start` on, without end.
    pub fn from(&self, start: u64) -> impl Iterator<Item = i32> + '_ {
        let (behind, before) = self.0.split_at(start as usize % TABLE);
        before.iter().chain(behind).cycle().map(|value| i32::from(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_standard_deviation_and_no_bias() {
        let noise = Noise::new(1);
        let values: Vec<_> = noise.from(0).take(TABLE).map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / TABLE as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / TABLE as f64;
        assert!(mean.abs() < 16.0, "{mean}");
        assert!((variance.sqrt() - f64::from(Noise::SIGMA)).abs() < 16.0, "{}", variance.sqrt());
    }
}
