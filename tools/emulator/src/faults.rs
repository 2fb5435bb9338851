//! What can go wrong with a device, from a seed: the same frames are hit each time.

use crate::noise::hash;

/// How often, and when, a device misbehaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    seed: u64,
    per_mille: u64,
    /// Host time at which the device vanishes from the bus.
    pub gone_ns: Option<u64>,
}

/// A fault of a depth frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DepthFault {
    Missing,
    Short,
    Overlong,
    Garbled,
}

/// A fault of a color frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorFault {
    Missing,
    ErrorBit,
    LostPayload,
    NoEndOfFrame,
    NoMetadata,
}

/// A fault of an IMU packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImuFault {
    Missing,
    Truncated,
    LyingCount,
}

impl Faults {
    /// Of a thousand frames or packets of each stream, `per_mille` are hit, by a fault of any kind.
    #[must_use]
    pub fn seeded(seed: u64, per_mille: u64) -> Self {
        Self { seed, per_mille, gone_ns: None }
    }

    fn pick<T: Copy>(&self, stream: u64, number: u64, kinds: &[T]) -> Option<T> {
        let chance = hash(&[self.seed, stream, number]);
        let kind = (chance >> 32) as usize % kinds.len();
        (self.per_mille > 0 && chance % 1000 < self.per_mille).then(|| kinds[kind])
    }

    pub(crate) fn depth(&self, number: u64) -> Option<DepthFault> {
        use DepthFault::{Garbled, Missing, Overlong, Short};
        self.pick(1, number, &[Missing, Short, Overlong, Garbled])
    }

    pub(crate) fn color(&self, number: u64) -> Option<ColorFault> {
        use ColorFault::{ErrorBit, LostPayload, Missing, NoEndOfFrame, NoMetadata};
        self.pick(2, number, &[Missing, ErrorBit, LostPayload, NoEndOfFrame, NoMetadata])
    }

    pub(crate) fn imu(&self, number: u64) -> Option<ImuFault> {
        self.pick(3, number, &[ImuFault::Missing, ImuFault::Truncated, ImuFault::LyingCount])
    }
}
