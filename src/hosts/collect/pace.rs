//! How fast files may come in, so that a network goes on to serve others.

use crate::clock::Clock;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What may come in at once after a rest.
const BURST_NS: u64 = 100_000_000;

/// How long a wait takes no notice of a stop.
const TURN: Duration = Duration::from_millis(50);

/// Units of a rate: of 8 bits where nothing else is said.
const UNITS: [(&str, f64); 12] = [
    ("B/s", 1.0),
    ("kB/s", 1e3),
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("KiB/s", 1024.0),
    ("MiB/s", 1_048_576.0),
    ("GiB/s", 1_073_741_824.0),
    ("bit/s", 1.0 / 8.0),
    ("kbit/s", 1e3 / 8.0),
    ("Mbit/s", 1e6 / 8.0),
    ("Gbit/s", 1e9 / 8.0),
    ("Tbit/s", 1e12 / 8.0),
];

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub NonZeroU64);

impl FromStr for Rate {
    type Err = String;

    /// Reads `50MB/s`, `50MiB/s`, `400Mbit/s`, with a space or none before the unit.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '/');
        let unit = &text[number.len()..];
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
        let is_plain = |c: char| c.is_ascii_digit() || c == '.';
        let number = number.trim_end().parse::<f64>().ok().filter(|_| text.starts_with(is_plain));
        // `as` keeps to the bounds of u64.
        let bytes = factor.zip(number).map(|(factor, number)| (number * factor) as u64);
        bytes
            .and_then(NonZeroU64::new)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no rate: write it as 50MB/s, 50MiB/s or 400Mbit/s"))
    }
}

/// Lets bytes in no faster than a rate. Clones share one rate: together they keep to it.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: Option<Rate>,
    clock: Clock,
    /// When all that was let in has had its time, in the clock's nanoseconds.
    paid_ns: Arc<Mutex<u64>>,
}

impl Pace {
    /// At most so many bytes per second, by this clock.
    #[must_use]
    pub fn new(rate: Option<Rate>, clock: Clock) -> Self {
        Self { rate, clock, paid_ns: Arc::default() }
    }

    /// No bound.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(None, Clock::machine())
    }

    /// Waits until all that was let in before has had its time. False where `stop` ended the wait.
    #[must_use]
    pub fn wait(&self, stop: &AtomicBool) -> bool {
        loop {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let paid_ns = *self.paid_ns.lock().unwrap_or_else(PoisonError::into_inner);
            if self.clock.now_ns().saturating_add(BURST_NS) >= paid_ns {
                return true;
            }
            self.clock.wait_until(paid_ns - BURST_NS, TURN);
        }
    }

    /// Notes that so many bytes came in.
    pub fn note(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let takes_ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.0.get());
        let takes_ns = u64::try_from(takes_ns).unwrap_or(u64::MAX);
        let mut paid_ns = self.paid_ns.lock().unwrap_or_else(PoisonError::into_inner);
        // Time in which nothing came in is not saved up.
        *paid_ns = self.clock.now_ns().max(*paid_ns).saturating_add(takes_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_people_write_them() {
        let bytes = |text: &str| Rate::from_str(text).map(|rate| rate.0.get());
        assert_eq!(bytes("50MB/s"), Ok(50_000_000));
        assert_eq!(bytes("50MiB/s"), Ok(52_428_800));
        assert_eq!(bytes("400Mbit/s"), Ok(50_000_000));
        assert_eq!(bytes("2.5 Gbit/s"), Ok(312_500_000));
        for text in ["", "50", "MB/s", "50MB", "50mb/s", "0MB/s", "-1MB/s", "infMB/s", "NaNB/s"] {
            assert!(bytes(text).is_err_and(|text| text.contains("400Mbit/s")), "{text}");
        }
        assert_eq!(bytes(&("9".repeat(40) + "GB/s")), Ok(u64::MAX));
    }

    #[test]
    fn what_came_in_is_waited_for_and_rest_is_not_saved_up() {
        let clock = Clock::simulated();
        let pace = Pace::new("1MB/s".parse().ok(), clock.clone());
        let at = |ms: u64| {
            clock.move_to(ms * 1_000_000);
            *pace.paid_ns.lock().expect("no other thread") <= clock.now_ns() + BURST_NS
        };
        assert!(at(0));
        pace.note(1_000_000);
        assert!(!at(899) && at(900));
        // Ten seconds later, a second's bytes take a second again.
        assert!(at(10_900));
        pace.clone().note(1_000_000);
        assert!(!at(11_799) && at(11_800));
    }

    #[test]
    fn a_wait_ends_with_the_stop() {
        let pace = Pace::new("1B/s".parse().ok(), Clock::machine());
        pace.note(1 << 40);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.wait(&stop));
            stop.store(true, Ordering::Relaxed);
            assert_eq!(waiting.join().ok(), Some(false));
        });
        let pace = Pace::unlimited();
        pace.note(u64::MAX);
        assert!(pace.wait(&AtomicBool::new(false)));
    }
}
