//! How a take goes, for those who watch.

use std::time::Duration;

/// How a take goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Time since the devices were started.
    pub elapsed: Duration,
    /// The devices, subordinates first.
    pub devices: Vec<DeviceStatus>,
    /// Alarms since the last look.
    pub alarms: Vec<String>,
    /// Whether the cameras run so that their automatics settle.
    pub warming_up: bool,
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
    /// What it is waited for.
    pub waiting: Option<Waiting>,
    /// Whether its clock has not been set to zero yet.
    pub stale: bool,
}

/// What a device is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A subordinate: the master's pulses.
    Pulses,
    /// Its first frames.
    Frames,
}
