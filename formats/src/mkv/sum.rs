//! Checksums that are put together without the bytes.

/// The CRC-32 of some bytes, and how many they are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub crc32: u32,
    pub bytes: u64,
}

impl Sum {
    pub fn of(bytes: &[u8]) -> Self {
        Self { crc32: crc32fast::hash(bytes), bytes: bytes.len() as u64 }
    }

    /// That of these bytes with those of `next` behind them.
    pub fn then(self, next: Self) -> Self {
        let hasher = |sum: Self| crc32fast::Hasher::new_with_initial_len(sum.crc32, sum.bytes);
        let mut both = hasher(self);
        both.combine(&hasher(next));
        Self { crc32: both.finalize(), bytes: self.bytes + next.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_up_to_the_whole() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect();
        for cut in [0, 1, 4096, 99_999, 100_000] {
            let (front, rest) = bytes.split_at(cut);
            assert_eq!(Sum::of(front).then(Sum::of(rest)), Sum::of(&bytes), "{cut}");
        }
    }
}
