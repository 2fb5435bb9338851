//! What a recorder counts for those who watch it.

use crate::frame::TrackName;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of one device. Written by its recorder, read by anybody, at any time.
#[derive(Debug)]
pub struct Counters {
    frames: [AtomicU64; TrackName::ALL.len()],
    losses: AtomicU64,
    bytes: AtomicU64,
    waiting: AtomicBool,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            frames: Default::default(),
            losses: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waiting: AtomicBool::new(true),
        }
    }
}

impl Counters {
    /// Frames taken in of `track`; of the IMU, samples.
    #[must_use]
    pub fn frames(&self, track: TrackName) -> u64 {
        self.frames[track as usize].load(Ordering::Relaxed)
    }

    /// Frames known to be missing.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Bytes written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the device has not yet delivered a frame of every camera.
    #[must_use]
    pub fn waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Adds frames taken in.
    pub fn add_frames(&self, track: TrackName, count: u64) {
        self.frames[track as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Sets the number of frames missing.
    pub fn set_losses(&self, count: u64) {
        self.losses.store(count, Ordering::Relaxed);
    }

    /// Sets the number of bytes written.
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says whether the device is still waited for.
    pub fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}
