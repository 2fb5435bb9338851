//! What the devices of a take agree upon, without a lock.

use crate::sync::Origin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The triggers of a take: agreed upon by all its devices, so that every file begins and ends with
/// the same.
#[derive(Debug)]
pub struct Span {
    count: Option<u64>,
    undecided: AtomicUsize,
    first: AtomicU64,
    latest: AtomicU64,
    closed: AtomicU64,
    /// Written once, by the master's recorder, before anybody waits for it: reading takes no lock.
    reference: OnceLock<Reference>,
}

/// What the master has measured before the take, for its subordinates to count by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// One of its pulses in its own time.
    pub origin: Origin,
    /// The least by which its frames arrived after the time on them, in microseconds: where its
    /// clock stands against the host's.
    pub lag_us: i64,
}

/// Triggers still recorded after a stop: one may be in exposure, one on the wire.
const STOP_AFTER: u64 = 2;

impl Span {
    /// For a take that begins when `parties` have agreed, and ends by itself after `count`
    /// triggers, or never.
    #[must_use]
    pub fn new(parties: usize, count: Option<u64>) -> Self {
        Self {
            count,
            undecided: AtomicUsize::new(parties),
            first: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            closed: AtomicU64::new(u64::MAX),
            reference: OnceLock::new(),
        }
    }

    /// The master tells what its subordinates count by; later tellings change nothing.
    pub fn set_reference(&self, reference: Reference) {
        let _ = self.reference.set(reference);
    }

    /// What the master told.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.get()
    }

    /// A party says, once, that the take may begin with `first`, or later.
    pub fn propose(&self, first: u64) {
        self.raise(first);
        self.undecided.fetch_sub(1, Ordering::AcqRel);
    }

    /// A party that has proposed can no longer begin that early.
    pub fn raise(&self, first: u64) {
        self.first.fetch_max(first, Ordering::AcqRel);
    }

    /// The first trigger of the take, once every party has proposed.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        let decided = self.undecided.load(Ordering::Acquire) == 0;
        decided.then(|| self.first.load(Ordering::Acquire))
    }

    /// A device has seen a frame of `trigger`.
    pub fn saw(&self, trigger: u64) {
        self.latest.fetch_max(trigger, Ordering::AcqRel);
    }

    /// The latest trigger that any device has seen.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Ends the take soon, at the same trigger for all devices: after any that a device can have
    /// written.
    pub fn close(&self) {
        let end = self.latest().saturating_add(STOP_AFTER);
        self.closed.fetch_min(end, Ordering::AcqRel);
    }

    /// The trigger after the take's last, once it is known.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let counted = match (self.count, self.first()) {
            (Some(count), Some(first)) => first.saturating_add(count),
            _ => u64::MAX,
        };
        let end = counted.min(self.closed.load(Ordering::Acquire));
        (end < u64::MAX).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_devices_begin_and_end_with_the_same_trigger() {
        let span = Span::new(2, Some(10));
        span.propose(3);
        assert_eq!((span.first(), span.end()), (None, None));
        span.propose(5);
        assert_eq!((span.first(), span.end()), (Some(5), Some(15)));
        span.saw(7);
        span.close();
        assert_eq!(span.end(), Some(9));
    }
}
