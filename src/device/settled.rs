//! What the color camera's automatics have settled on: its frames say what they were taken with
//! (usb-protocol.md 6.7).

use std::sync::atomic::{AtomicU64, Ordering};

/// What a color frame was taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenWith {
    /// Exposure time in microseconds.
    pub exposure_us: u32,
    /// Color temperature in kelvin.
    pub white_balance_k: u32,
}

/// What the newest frame was taken with. Written by the color source, read by anybody.
#[derive(Debug, Default)]
pub struct Settled(AtomicU64);

impl Settled {
    /// A frame was taken with this.
    pub fn note(&self, with: TakenWith) {
        let both = u64::from(with.exposure_us) << 32 | u64::from(with.white_balance_k);
        self.0.store(both, Ordering::Relaxed);
    }

    /// What the newest frame was taken with; none before the first that said so.
    #[must_use]
    pub fn newest(&self) -> Option<TakenWith> {
        let both = self.0.load(Ordering::Relaxed);
        let (exposure_us, white_balance_k) = ((both >> 32) as u32, both as u32);
        (both > 0).then_some(TakenWith { exposure_us, white_balance_k })
    }
}
