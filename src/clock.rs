//! Time, as one seam: the machine's clock in production, a clock that we move in simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A monotonic clock. Clones share one time line.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine(Instant),
    Moved(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's monotonic clock; its zero is now.
    #[must_use]
    pub fn machine() -> Self {
        Self(Source::Machine(Instant::now()))
    }

    /// A clock that stands still until [`Clock::move_to`].
    #[must_use]
    pub fn simulated() -> Self {
        Self(Source::Moved(Arc::default()))
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            // 584 years fit into 64 bits of nanoseconds.
            Source::Machine(zero) => zero.elapsed().as_nanos() as u64,
            Source::Moved(now) => now.load(Ordering::Acquire),
        }
    }

    /// Waits until `at_ns`, but no longer than `wait`. A simulated clock never waits: turns are
    /// given, and time moved, by the scheduler.
    pub fn wait_until(&self, at_ns: u64, wait: Duration) {
        if let Source::Machine(_) = self.0 {
            let left = Duration::from_nanos(at_ns.saturating_sub(self.now_ns()));
            std::thread::sleep(left.min(wait));
        }
    }

    /// Moves a simulated clock forward to `at_ns`; earlier times and the machine's clock are left
    /// alone.
    pub fn move_to(&self, at_ns: u64) {
        if let Source::Moved(now) = &self.0 {
            now.fetch_max(at_ns, Ordering::AcqRel);
        }
    }
}
