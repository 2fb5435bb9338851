//! IMU samples as the file holds them.

/// One sample of both sensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImuSample {
    /// Device time of the acceleration in nanoseconds; no start offset is subtracted.
    pub accelerometer_ns: u64,
    /// Acceleration along x, y, z in m/s².
    pub accelerometer: [f32; 3],
    /// Device time of the angular rate in nanoseconds.
    pub gyroscope_ns: u64,
    /// Angular rate about x, y, z in rad/s.
    pub gyroscope: [f32; 3],
}

impl ImuSample {
    /// Bytes of a sample in the file (recording-format.md 5.4).
    pub const BYTES: usize = 40;

    /// The sample as the file holds it, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let halves =
            [(self.accelerometer_ns, self.accelerometer), (self.gyroscope_ns, self.gyroscope)];
        for (half, (ns, axes)) in bytes.chunks_exact_mut(20).zip(halves) {
            half[..8].copy_from_slice(&ns.to_le_bytes());
            for (axis, value) in half[8..].chunks_exact_mut(4).zip(axes) {
                axis.copy_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    /// A sample from the file's bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        let ns = |at| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let axes = |at: usize| [0, 4, 8].map(|axis| f32::from_bits(word(at + axis)));
        Self {
            accelerometer_ns: ns(0),
            accelerometer: axes(8),
            gyroscope_ns: ns(20),
            gyroscope: axes(28),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;

    #[test]
    fn a_sample_is_that_of_the_official_writer() {
        // recording-format.md, Appendix A.
        let bytes = hex("082E0B1400000000 28D838C0 D97446BE 83FE16C1
             082E0B1400000000 57FC84BA 584CFFBA 9A60C53B");
        let bytes: [u8; 40] = bytes.try_into().expect("40 bytes");
        let sample = ImuSample::from_bytes(&bytes);
        assert_eq!(sample.accelerometer_ns, 336_277_000);
        assert_eq!(sample.accelerometer, [-2.888_193_1, -0.193_805_11, -9.437_137]);
        assert_eq!(sample.gyroscope_ns, 336_277_000);
        assert_eq!(sample.to_bytes(), bytes);
    }
}
