//! What the devices of a take agree upon, without a lock.

use crate::sync::{Beat, Origin, Pulse};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The triggers of a take: agreed upon by all its devices, so that every file begins and ends with
/// the same.
#[derive(Debug)]
pub struct Span {
    count: Option<u64>,
    /// A trigger before which it ends, whenever it begins.
    limit: u64,
    /// The first trigger, and how many parties have not agreed to it yet: one word, so that nobody
    /// moves a beginning that others may have acted upon.
    beginning: AtomicU64,
    /// The latest trigger seen, and whether the take is to end: one word, so that nobody writes a
    /// trigger after the end while it is being agreed upon.
    latest: AtomicU64,
    /// Written once, by the master's recorder, before anybody waits for it: reading takes no lock.
    reference: OnceLock<Reference>,
    /// What the master does, and how often its pulses have begun anew: one word.
    lead: AtomicU64,
    /// The latest pulse of the master, and of anybody.
    beat_of_master: Beat,
    beat_of_any: Beat,
}

/// What the master of a take does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// There is none, or it is away.
    Away,
    /// It is back, and does not know yet which trigger its pulses are.
    Joining,
    /// Its frames are numbered.
    Leads,
}

/// A pulse so long ago, in microseconds, says that whoever gave it has stopped.
const STALE_US: u64 = 1_000_000;

/// What the master has measured before the take, for its subordinates to count by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// One of its pulses in its own time.
    pub origin: Origin,
    /// The least by which its frames arrived after the time on them, in microseconds: where its
    /// clock stands against the host's.
    pub lag_us: i64,
}

/// Room for the first trigger: 280,000 years of them.
const FIRST_BITS: u32 = 48;
const FIRST_MAX: u64 = (1 << FIRST_BITS) - 1;

/// Room for what the master does.
const LEAD_BITS: u32 = 2;
const LEAD: u64 = (1 << LEAD_BITS) - 1;

/// Set in the word of the latest trigger when the take is to end.
const CLOSED: u64 = 1 << 63;

/// Triggers still recorded after a stop: one may be in exposure, one on the wire.
const STOP_AFTER: u64 = 2;

impl Span {
    /// For a take that begins when `parties` have agreed, and ends by itself after `count`
    /// triggers, or never.
    #[must_use]
    pub fn new(parties: usize, count: Option<u64>) -> Self {
        Self {
            count,
            limit: u64::MAX,
            beginning: AtomicU64::new((parties as u64) << FIRST_BITS),
            latest: AtomicU64::new(0),
            reference: OnceLock::new(),
            lead: AtomicU64::new(Lead::Away as u64),
            beat_of_master: Beat::default(),
            beat_of_any: Beat::default(),
        }
    }

    /// The same, ending before trigger `end` whenever it begins, where one is given.
    #[must_use]
    pub fn ending_before(self, end: Option<u64>) -> Self {
        match end {
            Some(limit) => Self { count: None, limit, ..self },
            None => self,
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

    /// The master says what it does. Its first word is that it leads; when it leads once more, its
    /// pulses have begun anew.
    pub fn set_lead(&self, lead: Lead) {
        let set = |before: u64| {
            let anew = u64::from(lead == Lead::Leads && before & LEAD != Lead::Leads as u64);
            Some(((before >> LEAD_BITS) + anew) << LEAD_BITS | lead as u64)
        };
        // The closure always gives a value.
        let _ = self.lead.fetch_update(Ordering::AcqRel, Ordering::Acquire, set);
    }

    /// How often the master's pulses have begun: who counts by them begins anew with each.
    #[must_use]
    pub fn beginnings(&self) -> u64 {
        self.lead.load(Ordering::Acquire) >> LEAD_BITS
    }

    /// A frame says when a pulse came.
    pub fn beat(&self, pulse: Pulse, of_master: bool) {
        self.beat_of_any.set(pulse);
        if of_master {
            self.beat_of_master.set(pulse);
        }
    }

    /// The pulse from which a device counts that comes back at `now_us`; none while it has to wait.
    /// Who follows the master counts by its pulses, unless it is away; everybody else by the latest
    /// of anybody, however long ago: then nobody else can tell.
    #[must_use]
    pub fn pulse_to_join(&self, now_us: u64, follows: bool) -> Option<Pulse> {
        let lead = self.lead.load(Ordering::Acquire) & LEAD;
        if !follows || lead == Lead::Away as u64 {
            return self.beat_of_any.latest(now_us);
        }
        let of_master = self.beat_of_master.latest(now_us)?;
        let fresh = of_master.host_us.saturating_add(STALE_US) > now_us;
        (lead == Lead::Leads as u64 && fresh).then_some(of_master)
    }

    /// Whether the take is to end, or has been told to.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.latest.load(Ordering::Acquire) & CLOSED != 0
    }

    /// A party says, once, that the take may begin with `first`, or later.
    pub fn propose(&self, first: u64) {
        let agree = |before: u64| {
            let (undecided, earlier) = (before >> FIRST_BITS, before & FIRST_MAX);
            Some(undecided.saturating_sub(1) << FIRST_BITS | earlier.max(first.min(FIRST_MAX)))
        };
        // The closure always gives a value.
        let _ = self.beginning.fetch_update(Ordering::AcqRel, Ordering::Acquire, agree);
    }

    /// A party that has proposed can no longer begin before `first`. Says false when the take has
    /// begun already.
    #[must_use]
    pub fn raise(&self, first: u64) -> bool {
        let raise = |before: u64| {
            let (undecided, earlier) = (before >> FIRST_BITS, before & FIRST_MAX);
            let later = undecided << FIRST_BITS | earlier.max(first.min(FIRST_MAX));
            (undecided > 0).then_some(later)
        };
        self.beginning.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise).is_ok()
    }

    /// The first trigger of the take, once every party has proposed.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        let beginning = self.beginning.load(Ordering::Acquire);
        (beginning >> FIRST_BITS == 0).then_some(beginning & FIRST_MAX)
    }

    /// A device has seen a frame of `trigger`. Once the take is to end this changes nothing.
    pub fn saw(&self, trigger: u64) {
        let see = |before: u64| (before & CLOSED == 0).then(|| before.max(trigger & !CLOSED));
        // An end that is agreed upon stays.
        let _ = self.latest.fetch_update(Ordering::AcqRel, Ordering::Acquire, see);
    }

    /// The latest trigger that any device has seen.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire) & !CLOSED
    }

    /// Ends the take soon, at the same trigger for all devices: after any that a device can have
    /// written.
    pub fn close(&self) {
        self.latest.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Ends the take before trigger `end`, or, where a device may have written later ones, as
    /// [`Span::close`] does.
    pub fn close_at(&self, end: u64) {
        let last = end.saturating_sub(STOP_AFTER).min(CLOSED - 1);
        let close = |before: u64| (before & CLOSED == 0).then(|| before.max(last) | CLOSED);
        // An end that is agreed upon stays.
        let _ = self.latest.fetch_update(Ordering::AcqRel, Ordering::Acquire, close);
    }

    /// The trigger after the take's last, once it is known.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let counted = match (self.count, self.first()) {
            (Some(count), Some(first)) => first.saturating_add(count),
            _ => u64::MAX,
        };
        let latest = self.latest.load(Ordering::Acquire);
        let closed = match latest & CLOSED {
            0 => u64::MAX,
            _ => (latest & !CLOSED).saturating_add(STOP_AFTER),
        };
        let end = counted.min(closed).min(self.limit);
        (end < u64::MAX).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_counts_by_the_master_and_by_anybody_while_it_is_away() {
        let span = Span::new(1, None);
        let (ours, masters) =
            (Pulse { trigger: 90, host_us: 3_000_000 }, Pulse { trigger: 89, host_us: 2_967_000 });
        assert_eq!(span.pulse_to_join(3_010_000, false), None);
        span.set_lead(Lead::Leads);
        span.beat(masters, true);
        span.beat(ours, false);
        assert_eq!(span.pulse_to_join(3_010_000, true), Some(masters));
        assert_eq!(span.pulse_to_join(3_010_000, false), Some(ours));
        assert_eq!(span.pulse_to_join(9_000_000, true), None, "its pulses are overdue");
        span.set_lead(Lead::Away);
        assert_eq!(span.pulse_to_join(9_000_000, true), Some(ours));
        span.set_lead(Lead::Joining);
        assert_eq!((span.pulse_to_join(3_010_000, true), span.beginnings()), (None, 1));
        span.set_lead(Lead::Leads);
        assert_eq!((span.pulse_to_join(3_010_000, true), span.beginnings()), (Some(masters), 2));
    }

    #[test]
    fn all_devices_begin_and_end_with_the_same_trigger() {
        let span = Span::new(2, Some(10));
        span.propose(3);
        assert_eq!((span.first(), span.end()), (None, None));
        assert!(span.raise(4));
        span.propose(5);
        assert_eq!((span.first(), span.end()), (Some(5), Some(15)));
        assert!(!span.raise(6), "others have begun with 5");
        assert_eq!(span.first(), Some(5));
        span.saw(7);
        span.close();
        assert_eq!(span.end(), Some(9));
        span.saw(8);
        assert_eq!(span.end(), Some(9), "an end that is agreed upon stays");
    }
}
