//! What the takes of a plan will be: devices, time, and bytes on the disk.

use crate::batch::plan::{Plan, Planned};
use crate::batch::settings::Length;
use crate::config::{Devices, Named, Rig, Wanted};
use crate::error::{Error, Result};
use crate::rig::bandwidth::disk_bytes_per_s;
use crate::rig::disk::needed_bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a take will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Its devices, by serial; those that are not listed are counted.
    pub devices: Vec<String>,
    /// How long it is, with its countdown and the pause before it.
    pub time: Duration,
    /// How long it is alone.
    pub length: Duration,
    /// Bytes of its recordings; those of color depend on the scene and are estimated.
    pub bytes: u64,
    /// Bytes that must be free for `genlock record` to begin it: it keeps some for its end.
    pub needed_bytes: u64,
}

/// What each take of the plan will be. Nothing is touched, no device is asked.
///
/// # Errors
/// `Usage` when one cannot be recorded as asked; `File` when a recording to play cannot be read.
pub fn forecasts(plan: &Plan) -> Result<Vec<Forecast>> {
    // Takes that are made alike, as most of a plan are, are looked at once.
    let mut rigs = BTreeMap::new();
    let mut forecasts = Vec::new();
    for take in &plan.takes {
        let options = take.options(None);
        if !rigs.contains_key(&options) {
            let rig = take.asked(plan).resolve().map_err(|error| with_place(take, error))?;
            rigs.insert(options.clone(), rig);
        }
        forecasts.extend(rigs.get(&options).map(|rig| forecast(take, rig)));
    }
    Ok(forecasts)
}

fn with_place(take: &Planned, error: Error) -> Error {
    match error {
        Error::Usage(text) => Error::Usage(format!("{}: {text}", take.at)),
        other => other,
    }
}

fn forecast(take: &Planned, rig: &Rig) -> Forecast {
    let settings = &take.settings;
    let fps = f64::from(rig.rate().fps());
    let length = match settings.length {
        Some(Length::Time(time)) => time,
        Some(Length::Frames(count)) => Duration::from_secs_f64(count as f64 / fps),
        None => Duration::ZERO,
    };
    let one = |config| disk_bytes_per_s(config, rig.storing.profile);
    let (devices, bytes_per_s) = match (&rig.wanted, &rig.devices) {
        (Wanted::Each(named), _) => {
            let called = |named: &Named| named.name.clone().unwrap_or(named.serial.clone());
            (named.iter().map(called).collect(), named.iter().map(|n| one(&n.config)).sum())
        }
        (Wanted::Alike { config, .. }, Devices::Emulated { faults, .. }) => {
            let count = faults.len();
            (vec![format!("{count} emulated")], one(config).saturating_mul(count as u64))
        }
        (Wanted::Alike { config, .. }, Devices::Usb) => (vec!["1 on USB".to_owned()], one(config)),
    };
    Forecast {
        needed_bytes: needed_bytes(bytes_per_s, length),
        devices,
        time: length + settings.countdown + settings.pause,
        length,
        bytes: (bytes_per_s as f64 * length.as_secs_f64()) as u64,
    }
}
