//! A take that emulated devices play: the rig that recorded it, and how long it was.

use super::EMULATED_MAX;
use super::played::Played;
use crate::error::{Error, Result};
use crate::map::read_text;
use genlock_formats::take::{self, Device, Take};
use std::fmt::Write;
use std::path::Path;

/// Seconds of pulses before a take is played: devices are armed and deliver by then.
const BEGINS_AT_S: u64 = 2;

/// A take that emulated devices play, each what the device of its serial recorded.
pub struct TakePlayed {
    /// The devices, in the order of their chain: the master's first.
    pub serials: Vec<String>,
    /// Triggers of the take.
    pub triggers: u64,
    /// The pulse that its first trigger is played for. Until then the cameras show their first
    /// images, so that a recorder sees that all of them deliver.
    pub begins_at: u64,
    /// Whether triggers count from that first pulse on. The clock of a device that records depth
    /// alone, without others, is not reset.
    pub(super) counts_from_reset: bool,
    /// What a rig file would say of the rig.
    pub(super) rig: String,
    pub(super) films: Vec<Played>,
}

impl TakePlayed {
    /// Reads what the take in the folder `path` is.
    ///
    /// # Errors
    /// `File` when it is no finished take, or what it names cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        /// Longer than any that genlock writes.
        const BYTES_MAX: u64 = 16 << 20;
        let name = path.join(take::NAME);
        if !name.exists() {
            let text = "has no take.toml: it is no take, or was not finished; genlock repair \
                        finishes one";
            return Err(Error::file(path, &text));
        }
        let take = Take::from_toml(&read_text(&name, BYTES_MAX)?);
        let take = take.map_err(|cause| Error::file(&name, &cause))?;
        let mut devices: Vec<_> = take.devices.iter().filter(|one| one.file.is_some()).collect();
        devices.sort_by_key(|device| device.role != "master");
        if !(1..=EMULATED_MAX).contains(&devices.len()) {
            let count = devices.len();
            let text = format!("{count} devices with a recording: 1 to {EMULATED_MAX} can play");
            return Err(Error::file(&name, &text));
        }
        let played = |device: &&Device| {
            let file = device.file.as_deref().and_then(|file| Path::new(file).file_name());
            let mut played = Played::open(&path.join(file.unwrap_or_default()))?;
            played.of = Some(device.serial.clone());
            Ok(played)
        };
        Ok(Self {
            serials: devices.iter().map(|device| device.serial.clone()).collect(),
            begins_at: BEGINS_AT_S
                * u64::from(devices.iter().map(|one| one.rate).max().unwrap_or(30)),
            counts_from_reset: devices.len() > 1 || devices[0].color_mode != "OFF",
            triggers: devices.iter().map(|device| device.trigger_count).max().unwrap_or(0),
            rig: rig(&devices),
            films: devices.iter().map(played).collect::<Result<_>>()?,
        })
    }
}

/// The rig file of devices, the master first. Modes are those of the films.
fn rig(devices: &[&Device]) -> String {
    let mut text = String::from("[emulator]\n");
    for (place, device) in devices.iter().enumerate() {
        let serial = toml::Value::from(device.serial.as_str());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[[device]]\nserial = {serial}\nimu = {}", device.imu);
        let _ = writeln!(text, "depth_delay_us = {}", device.depth_delay_off_color.asked_us);
        if let Some(name) = &device.name {
            let _ = writeln!(text, "name = {}", toml::Value::from(name.as_str()));
        }
        // One alone has no cable, whatever it had in its rig; several have one chain.
        match place {
            _ if devices.len() == 1 => {}
            0 => text += "role = \"master\"\n",
            _ => {
                text += "role = \"subordinate\"\n";
                let delay_us = device.delay_off_master.asked_us;
                let _ = writeln!(text, "delay_off_master_us = {delay_us}");
            }
        }
    }
    text
}
