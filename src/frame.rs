//! A frame: one timestamped payload of one track.

use crate::pool::Buf;
use genlock_formats::k4a::ImuSample;
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

impl Frame {
    /// Its times are told as `by_us` microseconds more.
    pub fn move_by(&mut self, by_us: i64) {
        self.stamp_us = self.stamp_us.saturating_add_signed(by_us);
        self.last_us = self.last_us.saturating_add_signed(by_us);
        if self.track == TrackName::Imu && by_us != 0 {
            let by_ns = by_us.saturating_mul(1000);
            let (samples, _) = self.buf.as_chunks_mut::<{ ImuSample::BYTES }>();
            for bytes in samples {
                let mut sample = ImuSample::from_bytes(bytes);
                for ns in [&mut sample.accelerometer_ns, &mut sample.gyroscope_ns] {
                    *ns = ns.saturating_add_signed(by_ns);
                }
                *bytes = sample.to_bytes();
            }
        }
    }
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
    /// The device was away, or was back and had not been numbered yet.
    Away,
    /// It was left out, as had been agreed upon: the disk was too slow.
    Shed,
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
            Self::Away => "device was away",
            Self::Shed => "left out: fell behind",
        })
    }
}
