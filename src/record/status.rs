//! How a take goes, for those who watch.

use std::time::Duration;

/// How a take goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Time since the devices were started.
    pub elapsed: Duration,
    /// The devices, subordinates first.
    pub devices: Vec<DeviceStatus>,
}

/// How one device goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Serial number.
    pub serial: String,
    /// Captures recorded: frames of the track that has fewest.
    pub frames: u64,
    /// Frames known to be missing.
    pub losses: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Whether it is a subordinate that has not yet seen its master's pulses.
    pub waiting_for_master: bool,
}
