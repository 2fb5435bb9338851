//! The recording that emulated devices play, as far as it decides what they can do.

use super::DeviceConfig;
use super::setting::{Layer, Origin};
use crate::error::{Error, Result};
use crate::map::Map;
use genlock_formats::k4a::{Configuration, Recording};
use std::path::{Path, PathBuf};

pub(super) struct Played {
    path: PathBuf,
    /// The one device that plays it; none where all do.
    pub of: Option<String>,
    configuration: Configuration,
    pub serial: Option<String>,
}

impl Played {
    pub fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
        Ok(Self {
            path: path.to_owned(),
            of: None,
            configuration: recording.configuration().clone(),
            serial: recording.serial().map(str::to_owned),
        })
    }

    /// What is recorded when nothing is asked for: what was filmed.
    pub fn default(&self) -> DeviceConfig {
        DeviceConfig {
            color: self.configuration.color,
            depth: self.configuration.depth,
            rate: self.configuration.rate,
            ..DeviceConfig::default()
        }
    }

    /// That the modes are the recording's, or off; others were never filmed.
    pub fn check(&self, config: &DeviceConfig, layer: &Layer, at: Option<&Origin>) -> Result<()> {
        let color = name(self.configuration.color);
        let depth = name(self.configuration.depth);
        let modes = [
            ("color_mode", "--color-mode", color, name(config.color)),
            ("depth_mode", "--depth-mode", depth, name(config.depth)),
        ];
        for (key, flag, recorded, asked) in modes {
            if asked != recorded && asked != OFF {
                let path = self.path.display();
                let text = format!(
                    "{path} was recorded with {key} ({flag}) {recorded}: leave it out, or turn it \
                     OFF"
                );
                return Err(layer.complaint(key, at, &text));
            }
        }
        Ok(())
    }
}

const OFF: &str = "OFF";

fn name<T: ToString>(mode: Option<T>) -> String {
    mode.map_or_else(|| OFF.to_owned(), |mode| mode.to_string())
}
