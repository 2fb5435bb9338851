//! `genlock list`: the devices that are there.

use super::{Verdict, bus, print, print_json};
use crate::clock::Clock;
use crate::config::Devices;
use crate::device::{self, Device, Found};
use crate::error::Result;
use crate::rig::host::Host;
use crate::usb::Bus;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Options of `genlock list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show this many emulated devices instead of those on USB
    #[arg(long, value_name = "N", value_parser = super::bus::emulated_count)]
    emulated: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    serial: String,
    firmware: BTreeMap<&'static str, String>,
    sync_in: bool,
    sync_out: bool,
    usb: String,
    controller: String,
}

pub(super) fn run(args: &ListArgs) -> Result<Verdict> {
    let devices = match args.emulated {
        Some(count) => Devices::emulated(count, None),
        None => Devices::Usb,
    };
    let bus = bus::bus(&devices, &Clock::machine())?;
    let host = Host::machine();
    let (mut listed, mut verdict) = (Vec::new(), Verdict::Whole);
    for (_, found) in device::find_each(bus.as_ref())? {
        match found.and_then(|found| look(bus.as_ref(), &found, &devices, &host)) {
            Ok(device) => listed.push(device),
            // One that does not answer does not hide the others.
            Err(error) => {
                super::tell(&format!("error: {error}"));
                verdict = Verdict::Failed;
            }
        }
    }
    if args.json {
        print_json(&listed)?;
    } else if listed.is_empty() && verdict == Verdict::Whole {
        print("no Azure Kinect found")?;
    } else {
        for (index, device) in listed.iter().enumerate() {
            print(&line(index, device))?;
        }
    }
    Ok(verdict)
}

/// Asks a camera who it is.
fn look(bus: &dyn Bus, found: &Found, devices: &Devices, host: &Host) -> Result<Listed> {
    let mut device = Device::open(bus, found)?;
    let jacks = device.jacks()?;
    let ports: Vec<_> = found.depth.ports.iter().map(u8::to_string).collect();
    let versions = device.firmware().components();
    Ok(Listed {
        firmware: versions.map(|(name, version)| (name, version.to_string())).into(),
        sync_in: jacks.sync_in,
        sync_out: jacks.sync_out,
        usb: format!("{}-{}", found.depth.bus, ports.join(".")),
        controller: match devices {
            Devices::Usb => host.controller(found.depth.bus),
            Devices::Emulated { .. } => "emulated".to_owned(),
        },
        serial: found.serial.clone(),
    })
}

fn line(index: usize, device: &Listed) -> String {
    let jacks = match (device.sync_in, device.sync_out) {
        (true, true) => "sync-in and sync-out plugged",
        (true, false) => "sync-in plugged",
        (false, true) => "sync-out plugged",
        (false, false) => "no sync cable",
    };
    let firmware = |name| device.firmware.get(name).map_or("?", String::as_str);
    format!(
        "{index}  {}  color {}, depth {}  {jacks}  USB {}, {}",
        device.serial,
        firmware("color"),
        firmware("depth"),
        device.usb,
        device.controller
    )
}
