//! The clock of an export: UTC, where the take tells it.

use crate::replay::Reader;
use genlock_formats::take::{Clock, Device};
use jiff::Timestamp;

/// Turns the times of devices into those of the export.
pub struct Times {
    /// For each device UTC when its host's monotonic clock was 0, in nanoseconds, and its clock;
    /// nothing where one is not known: then the times of devices are left as they are.
    known: Option<Vec<(i64, Clock)>>,
}

impl Times {
    /// The clock that a take tells: of one that spans hosts, UTC as its coordinator had it.
    pub fn of(reader: &Reader<'_>) -> Self {
        let take = reader.files().take();
        let clock = |device: &Device| {
            let (zero, ahead_us) = take.utc_at_zero(device)?;
            let zero = i64::try_from(zero.parse::<Timestamp>().ok()?.as_nanosecond()).ok()?;
            let ahead_ns = (ahead_us * 1000.0).round() as i64;
            Some((zero.saturating_sub(ahead_ns), device.clock.clone()?))
        };
        Self { known: reader.devices().iter().map(|device| clock(device.told())).collect() }
    }

    /// What its zero is.
    pub fn word(&self) -> &'static str {
        if self.known.is_some() { "utc" } else { "device" }
    }

    /// The time of a device, given in nanoseconds of its clock: of 1970, or of that clock.
    pub fn ns(&self, place: usize, device_ns: u64) -> u64 {
        let Some((zero, clock)) = self.known.as_ref().and_then(|clocks| clocks.get(place)) else {
            return device_ns;
        };
        // Whole microseconds of the device's clock: a float holds them for centuries.
        let host_us = clock.offset_us + device_ns as f64 / 1000.0 / (1.0 + clock.ppm / 1e6);
        zero.saturating_add((host_us * 1000.0).round() as i64).max(0).cast_unsigned()
    }

    /// The same in seconds, with microseconds.
    pub fn seconds(&self, place: usize, device_ns: u64) -> String {
        let us = (self.ns(place, device_ns) + 500) / 1000;
        format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
    }
}
