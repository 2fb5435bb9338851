use super::mode::{ColorMode, DepthMode, Rate, Role};

/// What a recording was configured to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Color track, or none.
    pub color: Option<ColorMode>,
    /// Depth and IR tracks (passive IR: IR alone), or none.
    pub depth: Option<DepthMode>,
    /// Triggers per second.
    pub rate: Rate,
    /// Whether there is an IMU track.
    pub imu: bool,
    /// The device's part in wired synchronization.
    pub role: Role,
    /// Microseconds by which a subordinate follows the master.
    pub subordinate_delay_us: u32,
    /// Microseconds by which depth follows (negative: precedes) color.
    pub depth_delay_us: i32,
    /// Device time of the file's time 0, in nanoseconds.
    pub start_offset_ns: u64,
}
