//! When each capture is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How fast a take is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// As fast as it goes.
    Most,
}

/// The pace at which captures are given away.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    begun: Instant,
    late_max: Duration,
}

/// How often a pause looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

impl Pace {
    /// A pace that begins now.
    #[must_use]
    pub fn begin(speed: Speed) -> Self {
        Self { speed, begun: Instant::now(), late_max: Duration::ZERO }
    }

    /// Waits until what was recorded `recorded` after the first capture is due, or `stop` is set.
    pub fn wait(&mut self, recorded: Duration, stop: &AtomicBool) {
        let Speed::Times(speed) = self.speed else { return };
        let Ok(due) = Duration::try_from_secs_f64(recorded.as_secs_f64() / speed) else { return };
        loop {
            let elapsed = self.begun.elapsed();
            if elapsed >= due {
                self.late_max = self.late_max.max(elapsed - due);
                return;
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            park_timeout((due - elapsed).min(LOOK));
        }
    }

    /// Since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How late the latest capture was.
    #[must_use]
    pub fn late_max(&self) -> Duration {
        self.late_max
    }
}
