//! A frame: one timestamped payload of one track.

use crate::pool::Buf;
pub use genlock_formats::k4a::TrackName;

/// One timestamped payload of one track of one device.
#[derive(Debug)]
pub struct Frame {
    /// Which track it belongs to. An IMU frame holds the samples of one USB packet, in the file's
    /// form: 40 bytes each, calibrated.
    pub track: TrackName,
    /// Device time in microseconds: centre of exposure; of an IMU frame, the first accelerometer
    /// sample.
    pub stamp_us: u64,
    /// Device time in microseconds of the last sample of an IMU frame; equal to `stamp_us` for
    /// images.
    pub last_us: u64,
    /// When its last byte arrived, in nanoseconds of the host's monotonic clock.
    pub arrived_ns: u64,
    /// The payload: MJPG bytes, NV12 or YUY2 pixels, 16-bit little-endian depth or IR pixels, IMU
    /// samples.
    pub buf: Buf,
}

/// Something that should have become a frame and did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The track that lacks a frame.
    pub track: TrackName,
    /// When it was.
    pub at: LostAt,
    /// Why.
    pub cause: Cause,
}

/// What is known of the time of something lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostAt {
    /// Its device time in microseconds: it was a frame once.
    Device(u64),
    /// When it arrived, in nanoseconds of the host's monotonic clock.
    Host(u64),
    /// Nothing.
    Unknown,
}

/// Why a frame is not in the take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The device sent nothing for a trigger.
    NotSent,
    /// A USB transfer failed or was cut short.
    Transfer,
    /// What arrived breaks the rules of the wire.
    Malformed,
    /// No buffer was free when it arrived.
    NoBuffer,
    /// The stage behind was too slow: its lane was full.
    LaneFull,
    /// The depth engine gave no image.
    Engine,
    /// It came after its time in the file was written.
    Late,
    /// It could not be written.
    Disk,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::NotSent => "not sent by the device",
            Self::Transfer => "USB transfer failed",
            Self::Malformed => "malformed on the wire",
            Self::NoBuffer => "no buffer free",
            Self::LaneFull => "lane full",
            Self::Engine => "depth engine gave no image",
            Self::Late => "too late for the file",
            Self::Disk => "disk write failed",
        })
    }
}
