//! Time in a camera: its clock, the pulses that trigger exposures, and the cable that carries them.

use genlock_formats::k4a::Rate;
use std::sync::{Arc, Mutex, PoisonError};

/// A device's 90 kHz clock, with the error of its crystal.
#[derive(Debug, Clone, Copy)]
pub struct DeviceClock {
    ppm: i32,
    since_ns: u64,
    base_ticks: u64,
}

impl DeviceClock {
    /// A clock that has run for two hours when host time begins: as in a camera that was plugged in
    /// earlier. Its microseconds exceed 32 bits.
    #[must_use]
    pub fn running(ppm: i32) -> Self {
        Self { ppm, since_ns: 0, base_ticks: 90_000 * 7200 }
    }

    /// The clock, set to zero at `at_ns`.
    #[must_use]
    pub fn reset(self, at_ns: u64) -> Self {
        Self { since_ns: at_ns, base_ticks: 0, ..self }
    }

    /// Ticks at host time `at_ns`.
    #[must_use]
    pub fn ticks(&self, at_ns: u64) -> u64 {
        let elapsed = u128::from(at_ns.saturating_sub(self.since_ns));
        let speed = (1_000_000 + i128::from(self.ppm)).max(0) as u128;
        self.base_ticks + (elapsed * 9 * speed / (100_000 * 1_000_000)) as u64
    }
}

/// The pulses that trigger exposures: pulse k, counted from 1, comes k periods after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulses {
    /// Host time of the start.
    pub start_ns: u64,
    /// Pulses per second.
    pub rate: Rate,
    /// When they ended, if they have.
    pub stop_ns: Option<u64>,
}

impl Pulses {
    /// Host time of pulse `k`.
    #[must_use]
    pub fn at_ns(&self, k: u64) -> u64 {
        let fps = u128::from(self.rate.fps());
        self.start_ns.saturating_add((u128::from(k) * 1_000_000_000 / fps) as u64)
    }

    /// The last pulse at or before `now_ns`, and not after the stop; 0 before the first.
    #[must_use]
    pub fn last(&self, now_ns: u64) -> u64 {
        let end_ns = self.stop_ns.map_or(now_ns, |stop| stop.min(now_ns));
        let elapsed = u128::from(end_ns.saturating_sub(self.start_ns));
        let k = (elapsed * u128::from(self.rate.fps()) / 1_000_000_000) as u64;
        // The division above and the one in `at_ns` round on their own.
        if self.at_ns(k + 1) <= end_ns { k + 1 } else { k }
    }
}

/// A sync cable, or a chain of them: a subordinate's sync-out repeats what its sync-in gets. Clones
/// are ends of the same cable.
#[derive(Debug, Clone, Default)]
pub struct Cable(Arc<Mutex<Option<Pulses>>>);

impl Cable {
    /// What the cable carries.
    #[must_use]
    pub fn pulses(&self) -> Option<Pulses> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn carry(&self, pulses: Option<Pulses>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pulses;
    }
}

/// Frames of one stream on their way to the host: which is next, and what the device has dropped
/// because nobody read it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Queue {
    start_ns: u64,
    /// Number of the next frame to read, as its pulse.
    pub next: u64,
}

/// Frames that wait for a host that does not read: in the device, and in the transfers that a host
/// keeps queued.
const HELD_MAX: u64 = 8;

impl Queue {
    /// The next frame, once it is there. Pulse k's frame is there `delay_ns` after the pulse.
    pub fn ready(&mut self, pulses: &Pulses, delay_ns: i64, now_ns: u64) -> Option<u64> {
        self.follow(pulses);
        let newest = pulses.last(now_ns.saturating_add_signed(-delay_ns));
        self.next = self.next.max((newest + 1).saturating_sub(HELD_MAX));
        (self.next <= newest).then_some(self.next)
    }

    /// When the next frame will be there; none after the last.
    pub fn ready_at(&mut self, pulses: &Pulses, delay_ns: i64) -> Option<u64> {
        self.follow(pulses);
        let pulse_ns = pulses.at_ns(self.next);
        let ended = pulses.stop_ns.is_some_and(|stop_ns| pulse_ns > stop_ns);
        (!ended).then(|| pulse_ns.saturating_add_signed(delay_ns))
    }

    fn follow(&mut self, pulses: &Pulses) {
        if self.start_ns != pulses.start_ns || self.next == 0 {
            *self = Self { start_ns: pulses.start_ns, next: 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_90000_in_a_second_give_or_take_its_error() {
        let clock = DeviceClock::running(0).reset(5);
        assert_eq!(clock.ticks(1_000_000_005), 90_000);
        let slow = DeviceClock::running(-388).reset(0);
        assert_eq!(slow.ticks(1_000_000_000_000), 90_000_000 - 34_920);
    }

    #[test]
    fn frames_that_nobody_reads_are_dropped_oldest_first() {
        let pulses = Pulses { start_ns: 0, rate: Rate::Fps5, stop_ns: None };
        let mut queue = Queue::default();
        assert_eq!(queue.ready(&pulses, 10, 200_000_009), None);
        assert_eq!(queue.ready(&pulses, 10, 200_000_010), Some(1));
        assert_eq!(queue.ready(&pulses, 10, 4_000_000_010), Some(13));
        assert_eq!(queue.ready_at(&pulses, 10), Some(2_600_000_010));
    }

    #[test]
    fn stopped_pulses_end() {
        let pulses = Pulses { start_ns: 0, rate: Rate::Fps5, stop_ns: Some(450_000_000) };
        assert_eq!(pulses.last(10_000_000_000), 2);
        let mut queue = Queue { start_ns: 0, next: 3 };
        assert_eq!(queue.ready_at(&pulses, 0), None);
    }
}
