//! What can go wrong with a device, from a seed: the same frames are hit each time.

use crate::noise::hash;
use serde::{Deserialize, Serialize};

/// How a device misbehaves. Times are seconds of host time since the emulated bus was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Seed of what is drawn by chance.
    pub seed: u64,
    /// Of a thousand frames or packets of each stream, so many are hit: dropped, short, oversized,
    /// garbled or without their metadata.
    pub hit_per_mille: u64,
    /// Error of the crystal in parts per million; a positive one is fast.
    pub clock_ppm: f64,
    /// By how much the error of the crystal grows in a minute.
    pub clock_drift_ppm_per_min: f64,
    /// How much faster than nominal the camera triggers, by its own clock: 30.1 frames a second
    /// instead of 30 are 3333.
    pub rate_ppm: f64,
    /// Build of the color firmware, 1.6.BUILD. Builds 102, 104, 107, 108 and 110 have the time of
    /// their first frame after a reset (spec/users.md D); with none given, pulse k comes k periods
    /// after the reset.
    pub color_firmware_build: Option<u16>,
    /// USB delivers frames up to this many microseconds late.
    pub jitter_us: u64,
    /// USB delivers nothing for `stall_ms` about once in this time; 0 for never.
    pub stall_every_s: f64,
    /// See `stall_every_s`.
    pub stall_ms: u64,
    /// When the cable is pulled out of sync-in; the camera then runs free.
    pub unplugged_s: Option<f64>,
    /// When it is put back.
    pub replugged_s: Option<f64>,
    /// When a wire of the cable in sync-in breaks: the jack still tells of a cable, which carries
    /// nothing.
    pub broken_s: Option<f64>,
    /// When the device vanishes from the bus.
    pub gone_s: Option<f64>,
    /// When it is there again, as if just plugged in.
    pub back_s: Option<f64>,
    /// When it stops sending, until its streams are started once more.
    pub hangs_s: Option<f64>,
    /// So many times its clock is set to zero as the master begins, and no more when that begins
    /// anew.
    pub resets_max: Option<u32>,
    /// When its clock jumps ahead.
    pub clock_jumps_s: Option<f64>,
    /// By how much it then jumps.
    pub clock_jump_ms: u64,
    /// For how long its clock has run when host time begins; 4294.9 s are near the end of 32 bits
    /// of microseconds.
    pub uptime_s: f64,
}

impl Default for Faults {
    /// A sound device that was plugged in two hours ago: its microseconds exceed 32 bits.
    fn default() -> Self {
        Self {
            seed: 0,
            hit_per_mille: 0,
            clock_ppm: 0.0,
            clock_drift_ppm_per_min: 0.0,
            rate_ppm: 0.0,
            color_firmware_build: None,
            jitter_us: 0,
            stall_every_s: 0.0,
            stall_ms: 0,
            unplugged_s: None,
            replugged_s: None,
            broken_s: None,
            gone_s: None,
            back_s: None,
            hangs_s: None,
            resets_max: None,
            clock_jumps_s: None,
            clock_jump_ms: 0,
            uptime_s: 7200.0,
        }
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is sent as it should be.
    Sound,
    /// The device sends nothing.
    NotSent,
    /// It is cut short, or breaks the rules of the wire.
    Malformed,
    /// It is longer than the host's transfer.
    Overlong,
    /// Its content is none that a depth engine reads.
    Garbled,
    /// It is whole, but for the mark of its end.
    Unended,
}

/// A fault of a depth frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DepthFault {
    Missing,
    Short,
    Overlong,
    Garbled,
}

/// A fault of a color frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorFault {
    Missing,
    ErrorBit,
    LostPayload,
    NoEndOfFrame,
    NoMetadata,
}

/// A fault of an IMU packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImuFault {
    Missing,
    Truncated,
    LyingCount,
}

/// Nanoseconds of a time in seconds; negative times are 0.
fn ns(seconds: f64) -> u64 {
    // A float becomes an integer by saturating.
    (seconds * 1e9) as u64
}

impl Faults {
    /// Of a thousand frames or packets of each stream, `per_mille` are hit, by a fault of any kind.
    #[must_use]
    pub fn seeded(seed: u64, per_mille: u64) -> Self {
        Self { seed, hit_per_mille: per_mille, ..Self::default() }
    }

    /// What becomes of the frame that answers pulse `number`.
    #[must_use]
    pub fn fate(&self, of_depth: bool, number: u64) -> Fate {
        if of_depth {
            return match self.depth(number) {
                None => Fate::Sound,
                Some(DepthFault::Missing) => Fate::NotSent,
                Some(DepthFault::Short) => Fate::Malformed,
                Some(DepthFault::Overlong) => Fate::Overlong,
                Some(DepthFault::Garbled) => Fate::Garbled,
            };
        }
        match self.color(number) {
            None => Fate::Sound,
            Some(ColorFault::Missing) => Fate::NotSent,
            // The next frame's beginning tells that it has ended; the last of all has none.
            Some(ColorFault::NoEndOfFrame) => Fate::Unended,
            Some(ColorFault::ErrorBit | ColorFault::LostPayload | ColorFault::NoMetadata) => {
                Fate::Malformed
            }
        }
    }

    fn pick<T: Copy>(&self, stream: u64, number: u64, kinds: &[T]) -> Option<T> {
        let chance = hash(&[self.seed, stream, number]);
        let kind = (chance >> 32) as usize % kinds.len();
        (self.hit_per_mille > 0 && chance % 1000 < self.hit_per_mille).then(|| kinds[kind])
    }

    pub(crate) fn depth(&self, number: u64) -> Option<DepthFault> {
        use DepthFault::{Garbled, Missing, Overlong, Short};
        self.pick(1, number, &[Missing, Short, Overlong, Garbled])
    }

    pub(crate) fn color(&self, number: u64) -> Option<ColorFault> {
        use ColorFault::{ErrorBit, LostPayload, Missing, NoEndOfFrame, NoMetadata};
        self.pick(2, number, &[Missing, ErrorBit, LostPayload, NoEndOfFrame, NoMetadata])
    }

    pub(crate) fn imu(&self, number: u64) -> Option<ImuFault> {
        self.pick(3, number, &[ImuFault::Missing, ImuFault::Truncated, ImuFault::LyingCount])
    }

    /// What the clock shows at the first frame after a reset, in microseconds; none where pulse k
    /// comes k periods after it.
    pub(crate) fn first_stamp_us(&self) -> Option<u64> {
        // Reported for subordinates (spec/users.md D); that a master of the same build has the same
        // is INFERRED from Microsoft's test that both agree within 110 us.
        match self.color_firmware_build? {
            102 => Some(65_333),
            104 => Some(65_255),
            107 => Some(247_922),
            108 => Some(246_233),
            110 => Some(219_566),
            _ => None,
        }
    }

    /// The host times between which no pulse arrives.
    pub(crate) fn without_pulses_ns(&self) -> Option<(u64, u64)> {
        let broken = self.broken_s.map(|broken_s| (ns(broken_s), u64::MAX));
        broken.or(self.unplugged_ns())
    }

    /// Host time at which its clock jumps ahead, and by how many ticks.
    pub(crate) fn clock_jump(&self) -> Option<(u64, i64)> {
        let ticks = self.clock_jump_ms.saturating_mul(90);
        Some((ns(self.clock_jumps_s?), i64::try_from(ticks).unwrap_or(i64::MAX)))
    }

    /// Whether the device is off the bus at `now_ns`.
    pub(crate) fn is_gone(&self, now_ns: u64) -> bool {
        let gone = self.gone_s.is_some_and(|gone_s| now_ns >= ns(gone_s));
        gone && !self.is_back(now_ns)
    }

    /// Whether a stream that was started at `start_ns` sends nothing any more at `now_ns`.
    pub(crate) fn hangs(&self, start_ns: u64, now_ns: u64) -> bool {
        self.hangs_s.map(ns).is_some_and(|hangs_ns| start_ns < hangs_ns && hangs_ns <= now_ns)
    }

    /// Whether the device was off the bus and is there again at `now_ns`.
    pub(crate) fn is_back(&self, now_ns: u64) -> bool {
        self.back_s.is_some_and(|back_s| now_ns >= ns(back_s))
    }

    /// The host times between which the cable is out of sync-in.
    pub(crate) fn unplugged_ns(&self) -> Option<(u64, u64)> {
        Some((ns(self.unplugged_s?), self.replugged_s.map_or(u64::MAX, ns)))
    }

    /// How late USB delivers what is ready at `ready_ns`, as the `number`th of its stream.
    pub(crate) fn delivered_ns(&self, stream: u64, number: u64, ready_ns: u64) -> u64 {
        let jitter_ns = match self.jitter_us {
            0 => 0,
            most => hash(&[self.seed, stream, number, 1]) % (most * 1000),
        };
        let at_ns = ready_ns.saturating_add(jitter_ns);
        let every_ns = ns(self.stall_every_s);
        let Some(window) = at_ns.checked_div(every_ns) else {
            return at_ns;
        };
        // One stall somewhere in each window; what would come within it comes at its end.
        let long_ns = (self.stall_ms * 1_000_000).min(every_ns);
        let from_ns = window * every_ns + hash(&[self.seed, window]) % (every_ns - long_ns + 1);
        let stalled = (from_ns..from_ns + long_ns).contains(&at_ns);
        if stalled { from_ns + long_ns } else { at_ns }
    }
}
