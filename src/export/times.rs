//! The clock of an export: UTC, where the take tells it.

use crate::replay::Reader;
use genlock_formats::take::Clock;
use jiff::Timestamp;

/// Turns the times of devices into those of the export.
pub struct Times {
    /// UTC when the host's monotonic clock was 0, in nanoseconds, and the clock of each device;
    /// nothing where one is not known: then the times of devices are left as they are.
    known: Option<(i64, Vec<Clock>)>,
}

impl Times {
    /// The clock that a take tells.
    pub fn of(reader: &Reader<'_>) -> Self {
        let zero = reader.files().take().host.as_ref();
        let zero = zero.and_then(|host| host.utc_at_zero.parse::<Timestamp>().ok());
        let zero = zero.and_then(|zero| i64::try_from(zero.as_nanosecond()).ok());
        let clocks = reader.devices().iter().map(|device| device.told().clock.clone());
        Self { known: zero.zip(clocks.collect()) }
    }

    /// What its zero is.
    pub fn word(&self) -> &'static str {
        if self.known.is_some() { "utc" } else { "device" }
    }

    /// The time of a device, given in nanoseconds of its clock: of 1970, or of that clock.
    pub fn ns(&self, place: usize, device_ns: u64) -> u64 {
        let Some((zero, clock)) =
            self.known.as_ref().and_then(|(zero, clocks)| Some((zero, clocks.get(place)?)))
        else {
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
