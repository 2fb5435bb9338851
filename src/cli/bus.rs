//! The bus that a command works on: this machine's USB, or emulated devices.

use crate::clock::Clock;
use crate::config::{Devices, EMULATED_MAX};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::replay::films;
use crate::usb::Bus;
use crate::usb::emulated::EmulatedBus;
use crate::usb::host::HostBus;
use genlock_emulator::Playback;
use std::path::Path;
use std::sync::Arc;

/// The bus with the devices that were asked for.
pub fn bus(devices: &Devices, clock: &Clock) -> Result<Arc<dyn Bus>> {
    match devices {
        Devices::Usb => Ok(Arc::new(HostBus::new(clock.clone())?)),
        Devices::Emulated { faults, from } => {
            if let Some(take) = from.as_deref().filter(|path| path.is_dir()) {
                let films = films(take)?;
                return Ok(Arc::new(EmulatedBus::of_films(faults, &films, clock.clone())));
            }
            let recording = from.as_deref().map(playback).transpose()?;
            Ok(Arc::new(EmulatedBus::rig(faults, recording.as_ref(), clock.clone())))
        }
    }
}

/// Loads a recording for emulated sensors to play.
pub fn playback(path: &Path) -> Result<Arc<Playback>> {
    let playback = Playback::open(&Map::open(path)?);
    let playback = playback
        .map_err(|why| Error::File(format!("{}: cannot be played: {why}", path.display())))?;
    if playback.left_out > 0 {
        super::tell(&format!(
            "note: {}: {} captures are left out (incomplete, or beyond the first gigabyte)",
            path.display(),
            playback.left_out
        ));
    }
    Ok(Arc::new(playback))
}

/// Reads how many emulated devices there are.
pub fn emulated_count(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=EMULATED_MAX) => Ok(count),
        _ => Err(format!("not a number from 1 to {EMULATED_MAX}")),
    }
}
