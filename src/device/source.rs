//! What the sources of a device have in common: where frames and losses go, when to stop, and what
//! the state of a stream means.

use crate::error::{Error, Result};
use crate::frame::{Cause, Frame, Loss, LostAt, TrackName};
use crate::lane::Sender;
use crate::usb::{Fault, Stream, Transfer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Failing transfers in sequence that end a stream: what goes on failing will not recover by
/// itself.
const FAILURES_MAX: u32 = 100;

/// Microseconds of a count of 90 kHz ticks, rounded down as libk4a does (usb-protocol.md 9.1).
#[must_use]
pub fn ticks_to_us(ticks: u64) -> u64 {
    u64::try_from(u128::from(ticks) * 100 / 9).unwrap_or(u64::MAX)
}

/// What comes of each camera of a device, for who watches whether it is alive. That it can be
/// written, or finds a buffer, is another matter.
#[derive(Debug, Default)]
pub struct Heard {
    color: AtomicU64,
    depth: AtomicU64,
}

impl Heard {
    /// Transfers that came of the camera of which least came, of those that are on.
    #[must_use]
    pub fn least(&self, color: bool, depth: bool) -> u64 {
        let of = |on: bool, count: &AtomicU64| on.then(|| count.load(Ordering::Relaxed));
        let both = [of(color, &self.color), of(depth, &self.depth)];
        both.into_iter().flatten().min().unwrap_or(0)
    }

    fn note(&self, track: TrackName) {
        let count = match track {
            TrackName::Color => &self.color,
            TrackName::Depth | TrackName::Ir => &self.depth,
            TrackName::Imu => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A payload of a color stream that is no longer has a header alone (usb-protocol.md 6.5).
const HEADER_BYTES: usize = 12;

/// A stream of one device, watched.
pub struct Source {
    name: String,
    track: TrackName,
    stream: Box<dyn Stream>,
    output: Sender<Frame>,
    losses: Sender<Loss>,
    stop: Arc<AtomicBool>,
    heard: Arc<Heard>,
    starved: u64,
    failures: u32,
}

/// What a look at a stream came to.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub enum Look {
    /// A sound transfer.
    Transfer(Transfer),
    /// A transfer that was lost; it is reported already.
    Lost,
    /// Nothing yet.
    Nothing,
    /// The take is over.
    Stopped,
}

/// Where a source's frames and losses go.
#[derive(Clone)]
pub struct Exit {
    /// Frames.
    pub output: Sender<Frame>,
    /// Losses.
    pub losses: Sender<Loss>,
    /// Set when the take is over.
    pub stop: Arc<AtomicBool>,
    /// Told of what comes.
    pub heard: Arc<Heard>,
}

impl Source {
    /// A source of `track` of the device with `serial`.
    #[must_use]
    pub fn new(serial: &str, track: TrackName, stream: Box<dyn Stream>, exit: Exit) -> Self {
        Self {
            name: format!("{serial} {}", track.to_string().to_lowercase()),
            track,
            stream,
            output: exit.output,
            losses: exit.losses,
            stop: exit.stop,
            heard: exit.heard,
            starved: 0,
            failures: 0,
        }
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a transfer.
    ///
    /// # Errors
    /// `Device` when the stream is dead.
    pub fn look(&mut self, wait: Duration) -> Result<Look> {
        if self.stop.load(Ordering::Acquire) {
            return Ok(Look::Stopped);
        }
        let transfer = self.stream.next(wait);
        if self.stream.starved() > self.starved {
            self.starved = self.stream.starved();
            self.heard.note(self.track);
            self.lost(LostAt::Unknown, Cause::NoBuffer);
            return Ok(Look::Lost);
        }
        let Some(transfer) = transfer else {
            return Ok(Look::Nothing);
        };
        match transfer.status {
            Ok(()) => {
                self.failures = 0;
                let has_data =
                    |payload: Option<&[u8]>| payload.is_some_and(|p| p.len() > HEADER_BYTES);
                if transfer.payloads().any(has_data) {
                    self.heard.note(self.track);
                }
                Ok(Look::Transfer(transfer))
            }
            // A subordinate that waits for its master times out all the time.
            Err(Fault::Timeout) => Ok(Look::Nothing),
            Err(Fault::Gone) => {
                Err(self.dead("the device left the bus; check its cable and power"))
            }
            Err(_) if self.failures >= FAILURES_MAX => {
                Err(self.dead("every transfer fails; plug the device in again"))
            }
            Err(_) => {
                self.failures += 1;
                self.lost(LostAt::Host(transfer.arrived_ns), Cause::Transfer);
                Ok(Look::Lost)
            }
        }
    }

    fn dead(&self, why: &str) -> Error {
        Error::Device(format!("{}: {why}", self.name))
    }

    /// Sends a frame on; where the lane is full, it is lost.
    pub fn send(&self, frame: Frame) {
        let stamp_us = frame.stamp_us;
        if self.output.send(frame).is_err() {
            self.lost(LostAt::Device(stamp_us), Cause::LaneFull);
        }
    }

    /// Reports a loss. A full lane loses the cause alone: the gap itself is still seen by its
    /// trigger.
    pub fn lost(&self, at: LostAt, cause: Cause) {
        let _ = self.losses.send(Loss { track: self.track, at, cause });
    }
}

/// Holds back stamps from before the clocks' reset: starting the color camera sets them to zero,
/// and what was on its way still carries the old time (usb-protocol.md 9.3).
///
/// libk4a waits for a stamp of less than eleven periods, and waits for ever when the first frames
/// were slow to come. Host time tells more: a clock that was reset when the streams started cannot
/// be ahead of them.
#[derive(Debug, Clone)]
pub struct StaleGuard {
    started_ns: Option<u64>,
    seen: Arc<AtomicBool>,
}

/// By how much a device's clock may seem ahead: what a crystal's error makes of a minute of
/// waiting, and more.
const AHEAD_US: u64 = 250_000;

impl StaleGuard {
    /// Holds back what is later than the host time since `started_ns`, until the first stamp that
    /// is not. While it does, `seen` is set.
    #[must_use]
    pub fn since(started_ns: u64, seen: Arc<AtomicBool>) -> Self {
        Self { started_ns: Some(started_ns), seen }
    }

    /// Holds nothing back.
    #[must_use]
    pub fn open() -> Self {
        Self { started_ns: None, seen: Arc::default() }
    }

    /// Whether a stamp that arrived at `arrived_ns` is from before the reset.
    pub fn is_stale(&mut self, stamp_us: u64, arrived_ns: u64) -> bool {
        let stale = self.started_ns.is_some_and(|started_ns| {
            stamp_us > arrived_ns.saturating_sub(started_ns) / 1000 + AHEAD_US
        });
        if self.started_ns.is_some() {
            self.seen.store(stale, Ordering::Relaxed);
        }
        if !stale {
            self.started_ns = None;
        }
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_down() {
        assert_eq!((ticks_to_us(1), ticks_to_us(3000)), (11, 33_333));
        assert!(ticks_to_us(u64::MAX) > 0);
    }

    #[test]
    fn stale_stamps_are_held_back_until_the_reset() {
        let second = 1_000_000_000;
        let seen = Arc::<AtomicBool>::default();
        let mut guard = StaleGuard::since(second, Arc::clone(&seen));
        assert!(guard.is_stale(3_600_000_000, 2 * second));
        assert!(seen.load(Ordering::Relaxed));
        assert!(!guard.is_stale(900_000, 2 * second));
        assert!(!guard.is_stale(3_600_000_000, 3 * second));
        assert!(!seen.load(Ordering::Relaxed));
        let mut slow = StaleGuard::since(0, seen);
        assert!(!slow.is_stale(5_000_000, 6 * second), "slow to come, not stale");
        assert!(!StaleGuard::open().is_stale(u64::MAX, 0));
    }
}
