//! What a recorder counts for those who watch it.

use crate::error::Error;
use crate::frame::TrackName;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Counters of one device. Written by its recorder, read by anybody, at any time.
#[derive(Debug)]
pub struct Counters {
    frames: [AtomicU64; TrackName::ALL.len()],
    losses: AtomicU64,
    bytes: AtomicU64,
    presence: AtomicU8,
    departures: AtomicU64,
    /// Written once, by the recorder; reading takes no lock.
    failure: OnceLock<Error>,
}

/// Where a device is, as its recorder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Not every camera has delivered yet.
    Waiting,
    /// It is in the take, or ready for it.
    Recording,
    /// It has left.
    Away,
    /// It is back, and its frames are not numbered yet.
    Joining,
    /// The take is over, and its file is finished.
    Done,
}

impl Presence {
    const ALL: [Self; 5] = [Self::Waiting, Self::Recording, Self::Away, Self::Joining, Self::Done];
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            frames: Default::default(),
            losses: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            presence: AtomicU8::new(Presence::Waiting as u8),
            departures: AtomicU64::new(0),
            failure: OnceLock::new(),
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

    /// Where the device is.
    #[must_use]
    pub fn presence(&self) -> Presence {
        let place = usize::from(self.presence.load(Ordering::Relaxed));
        Presence::ALL.get(place).copied().unwrap_or(Presence::Waiting)
    }

    /// How often the device has left.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.departures.load(Ordering::Relaxed)
    }

    /// Whether its file takes nothing more: it is finished, or cannot be written.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.presence() == Presence::Done || self.failure().is_some()
    }

    /// Why its file takes nothing more, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        self.failure.get()
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

    /// Says where the device is.
    pub fn set_presence(&self, presence: Presence) {
        self.presence.store(presence as u8, Ordering::Relaxed);
        if presence == Presence::Away {
            self.departures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that its file takes nothing more; the first reason stays.
    pub fn fail(&self, failure: Error) {
        let _ = self.failure.set(failure);
    }
}
