//! `genlock list`: the devices that are there.

use super::{Verdict, bus, print, print_json};
use crate::clock::Clock;
use crate::config::Devices;
use crate::device::{self, Device};
use crate::error::Result;
use crate::rig::host::Host;
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
    let mut listed = Vec::new();
    for found in device::find(bus.as_ref())? {
        let mut device = Device::open(bus.as_ref(), &found)?;
        let jacks = device.jacks()?;
        let ports: Vec<_> = found.depth.ports.iter().map(u8::to_string).collect();
        let versions = device.firmware().components();
        listed.push(Listed {
            firmware: versions.map(|(name, version)| (name, version.to_string())).into(),
            sync_in: jacks.sync_in,
            sync_out: jacks.sync_out,
            usb: format!("{}-{}", found.depth.bus, ports.join(".")),
            controller: match devices {
                Devices::Usb => host.controller(found.depth.bus),
                Devices::Emulated { .. } => "emulated".to_owned(),
            },
            serial: found.serial,
        });
    }
    if args.json {
        print_json(&listed)?;
    } else if listed.is_empty() {
        print("no Azure Kinect found")?;
    } else {
        for (index, device) in listed.iter().enumerate() {
            print(&line(index, device))?;
        }
    }
    Ok(Verdict::Whole)
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
