//! The devices that are plugged in, and what they say of themselves.

use crate::device::{Device, Found, Jacks};
use crate::error::Result;
use crate::rig::host::Host;
use crate::usb::Bus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A device that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Serial number.
    pub serial: String,
    /// The host that it is plugged into, in a rig that spans machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Firmware versions by component.
    pub firmware: BTreeMap<String, String>,
    /// What is plugged into its jacks: `sync_in` and `sync_out`.
    #[serde(flatten)]
    pub jacks: Jacks,
    /// Where it is on USB: bus and ports.
    pub usb: String,
    /// The USB controller.
    pub controller: String,
}

/// Asks a camera who it is.
///
/// # Errors
/// `Device` when it does not answer.
pub fn look(bus: &dyn Bus, found: &Found, is_emulated: bool, host: &Host) -> Result<Listed> {
    let mut device = Device::open(bus, found)?;
    let jacks = device.jacks()?;
    let ports: Vec<_> = found.depth.ports.iter().map(u8::to_string).collect();
    let versions = device.firmware().components();
    Ok(Listed {
        serial: found.serial.clone(),
        host: None,
        firmware: versions.map(|(name, version)| (name.to_owned(), version.to_string())).into(),
        jacks,
        usb: format!("{}-{}", found.depth.bus, ports.join(".")),
        controller: match is_emulated {
            false => host.controller(found.depth.bus),
            true => "emulated".to_owned(),
        },
    })
}
