//! Firmware versions (usb-protocol.md 3.2).

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the version structure.
pub const VERSION_BYTES: usize = 18;

/// A version of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub [u16; 3]);

/// As `1.6.110`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, build]) = self;
        write!(f, "{major}.{minor}.{build}")
    }
}

/// The firmware of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// Color camera.
    pub color: Version,
    /// Depth camera.
    pub depth: Version,
    /// Microphones.
    pub audio: Version,
    /// Configuration of the depth sensor; its third number is always 0.
    pub depth_config: Version,
}

/// Below these libk4a refuses a device, and so do we: what they do on the wire is not known.
const LEAST: Firmware = Firmware {
    color: Version([1, 5, 92]),
    depth: Version([1, 5, 66]),
    audio: Version([1, 5, 14]),
    depth_config: Version([5006, 27, 0]),
};

/// What Microsoft suggests; libk4a warns below (usb-protocol.md 3.2).
const SUGGESTED: Firmware = Firmware {
    color: Version([1, 6, 110]),
    depth: Version([1, 6, 79]),
    audio: Version([1, 6, 14]),
    depth_config: Version([6109, 7, 0]),
};

impl Firmware {
    /// Reads the answer of command 0x201.
    #[must_use]
    pub fn read(bytes: &[u8; VERSION_BYTES]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let version =
            |at: usize| Version([u16::from(bytes[at]), u16::from(bytes[at + 1]), word(at + 2)]);
        Self {
            color: version(0),
            depth: version(4),
            audio: version(8),
            depth_config: Version([word(12), word(14), 0]),
        }
    }

    /// The components with their names.
    #[must_use]
    pub fn components(&self) -> [(&'static str, Version); 4] {
        [
            ("color", self.color),
            ("depth", self.depth),
            ("audio", self.audio),
            ("depth_config", self.depth_config),
        ]
    }

    /// The first component that is older than Microsoft suggests: its name, its version, and the
    /// one suggested.
    #[must_use]
    pub fn outdated(&self) -> Option<(&'static str, Version, Version)> {
        let suggested = SUGGESTED.components().map(|(_, suggested)| suggested);
        let pairs = self.components().into_iter().zip(suggested);
        let all = pairs.map(|((name, found), suggested)| (name, found, suggested));
        all.into_iter().find(|(_, found, suggested)| found < suggested)
    }

    /// That the device is new enough.
    ///
    /// # Errors
    /// `Device` with the component that is too old.
    pub fn check(&self, serial: &str) -> Result<()> {
        for ((name, found), (_, least)) in self.components().into_iter().zip(LEAST.components()) {
            if found < least {
                return Err(Error::Device(format!(
                    "{serial}: its {name} firmware {found} is older than {least}; update it with \
                     Microsoft's AzureKinectFirmwareTool"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_and_old_ones_are_refused() {
        let mut bytes = [1, 6, 0x6E, 0, 1, 6, 0x4F, 0, 1, 6, 0x0E, 0, 0xDD, 0x17, 7, 0, 0, 0];
        let firmware = Firmware::read(&bytes);
        assert_eq!(firmware.color.to_string(), "1.6.110");
        assert_eq!(firmware.depth.to_string(), "1.6.79");
        assert_eq!(firmware.depth_config, Version([6109, 7, 0]));
        assert_eq!(firmware.check("1"), Ok(()));
        assert_eq!(firmware.outdated(), None);
        bytes[2] = 0x6D;
        let older = Firmware::read(&bytes).outdated();
        assert_eq!(older, Some(("color", Version([1, 6, 109]), Version([1, 6, 110]))));
        bytes[5] = 4;
        let text = Firmware::read(&bytes).check("000123").expect_err("too old").to_string();
        assert!(text.contains("000123") && text.contains("depth firmware 1.4.79"), "{text}");
    }
}
