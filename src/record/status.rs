//! How a take goes, for those who watch.

use genlock_formats::k4a::Role;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a take goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Time since the devices were started.
    pub elapsed: Duration,
    /// The devices, subordinates first.
    pub devices: Vec<DeviceStatus>,
    /// Alarms since the last look.
    pub alarms: Vec<String>,
    /// Whether the cameras run so that their automatics settle.
    pub warming_up: bool,
    /// Whether all devices have agreed on the first trigger.
    pub begun: bool,
    /// The latest trigger that a device has seen.
    pub latest: u64,
}

/// How one device goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Serial number.
    pub serial: String,
    /// Captures recorded: frames of the track that has fewest.
    pub frames: u64,
    /// What has come of the camera of which least has, recorded or not.
    pub heard: u64,
    /// Frames known to be missing.
    pub losses: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes of its buffers: what of it is in memory at most.
    pub buffer_bytes: u64,
    /// What it is waited for.
    pub waiting: Option<Waiting>,
    /// Whether it has left for good: it is not looked for any more.
    pub given_up: bool,
    /// Whether its clock has not been set to zero yet.
    pub stale: bool,
    /// Its part in wired synchronization.
    pub role: Role,
    /// Whether its file takes nothing more: it is finished, or cannot be written.
    pub is_done: bool,
}

impl Status {
    /// Whether the master is away, or back and not in the take yet.
    #[must_use]
    pub fn master_is_out(&self) -> bool {
        let out = |device: &DeviceStatus| {
            let waiting = matches!(device.waiting, Some(Waiting::Return | Waiting::Trigger));
            device.role == Role::Master && waiting
        };
        self.devices.iter().any(out)
    }

    /// The master, where it is given up: no pulse will come any more.
    #[must_use]
    pub fn lost_master(&self) -> Option<&DeviceStatus> {
        self.devices.iter().find(|device| device.role == Role::Master && device.given_up)
    }
}

/// What a device is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// A subordinate: the master's pulses.
    Pulses,
    /// Its first frames.
    Frames,
    /// One that has left: that it comes back.
    Return,
    /// One that is back: which trigger its frames answer.
    Trigger,
}
