//! What a device is asked to do.

use genlock_formats::k4a::{ColorMode, DepthMode, Rate, Role};

/// Modes, sync and controls of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceConfig {
    /// Color camera, or off.
    pub color: Option<ColorMode>,
    /// Depth camera, or off.
    pub depth: Option<DepthMode>,
    /// Triggers per second.
    pub rate: Rate,
    /// Whether IMU samples are recorded.
    pub imu: bool,
    /// Part in wired synchronization.
    pub role: Role,
    /// Microseconds by which the depth exposure follows (negative: precedes) the color exposure.
    pub depth_delay_us: i32,
    /// Microseconds by which a subordinate follows the master.
    pub subordinate_delay_us: u32,
    /// Color controls to set before the take; those that are `None` stay as the device has them.
    pub controls: ColorControls,
}

/// Color controls that a person can set (usb-protocol.md 6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColorControls {
    /// Exposure time in microseconds, or auto.
    pub exposure: Option<Setting>,
    /// Color temperature in kelvin, or auto.
    pub white_balance: Option<Setting>,
    /// 0 to 255.
    pub brightness: Option<i32>,
    /// 0 to 10.
    pub contrast: Option<i32>,
    /// 0 to 63.
    pub saturation: Option<i32>,
    /// 0 to 4.
    pub sharpness: Option<i32>,
    /// 0 off, 1 on.
    pub backlight_compensation: Option<i32>,
    /// 0 to 255.
    pub gain: Option<i32>,
    /// 1 is 50 Hz, 2 is 60 Hz.
    pub powerline_frequency: Option<i32>,
}

/// A control that the device can also manage by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The device decides.
    Auto,
    /// This value.
    Manual(i32),
}
