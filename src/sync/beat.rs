//! The latest pulse that is known, in one word: whoever joins counts on from it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A pulse by the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// The trigger.
    pub trigger: u64,
    /// Microseconds of the host's monotonic clock when its frame could first arrive.
    pub host_us: u64,
}

/// The latest pulse: the trigger in the high half of one word, so that later ones win, and in the
/// low half milliseconds of the host's clock, which wrap in 49 days. A millisecond is little beside
/// a period, and triggers wrap in four years.
#[derive(Debug, Default)]
pub struct Beat(AtomicU64);

const HALF: u32 = 32;

impl Beat {
    /// A pulse came; an earlier one than is known changes nothing.
    pub fn set(&self, pulse: Pulse) {
        let ms = u64::from((pulse.host_us / 1000) as u32);
        self.0.fetch_max(pulse.trigger << HALF | ms, Ordering::AcqRel);
    }

    /// The latest pulse, as seen within 24 days of it at `now_us`; none before the first.
    #[must_use]
    pub fn latest(&self, now_us: u64) -> Option<Pulse> {
        let word = self.0.load(Ordering::Acquire);
        let now_ms = now_us / 1000;
        // Whoever asks may have looked at the clock a moment before the pulse came.
        let ago_ms = (now_ms as u32).wrapping_sub(word as u32) as i32;
        let host_us = now_ms.saturating_add_signed(-i64::from(ago_ms)) * 1000;
        (word > 0).then_some(Pulse { trigger: word >> HALF, host_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pulse_is_known_and_the_clock_may_wrap() {
        let beat = Beat::default();
        assert_eq!(beat.latest(5), None);
        let wrap_us = (1 << 32) * 1000;
        beat.set(Pulse { trigger: 7, host_us: wrap_us - 2000 });
        beat.set(Pulse { trigger: 6, host_us: wrap_us + 1000 });
        let latest = Some(Pulse { trigger: 7, host_us: wrap_us - 2000 });
        assert_eq!(beat.latest(wrap_us + 60_000_000), latest);
        assert_eq!(beat.latest(wrap_us - 3000), latest, "asked a moment too early");
    }
}
