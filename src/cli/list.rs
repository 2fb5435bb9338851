//! `genlock list`: the devices that are there.

use super::{Verdict, bus, print, print_json, spanning};
use crate::clock::Clock;
use crate::config::{Asked, Devices};
use crate::device;
use crate::error::{Error, Result};
use crate::rig::host::Host;
use crate::rig::list::{Listed, look};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of `genlock list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show this many emulated devices instead of those on USB
    #[arg(long, value_name = "N", value_parser = super::bus::emulated_count)]
    emulated: Option<usize>,
    /// Show the devices of this rig, on all its hosts
    #[arg(long, value_name = "RIG.toml", conflicts_with = "emulated")]
    rig: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> Result<Verdict> {
    let devices = match args.emulated {
        Some(count) => Devices::emulated(count, None),
        None => Devices::Usb,
    };
    if let Some(rig) = &args.rig {
        return of_rig(rig, args.json);
    }
    let bus = bus::bus(&devices, &Clock::machine())?;
    let host = Host::machine();
    let emulated = devices != Devices::Usb;
    let (mut listed, mut verdict) = (Vec::new(), Verdict::Whole);
    for (_, found) in device::find_each(bus.as_ref())? {
        match found.and_then(|found| look(bus.as_ref(), &found, emulated, &host)) {
            Ok(device) => listed.push(device),
            // One that does not answer does not hide the others.
            Err(error) => {
                super::tell(&format!("error: {error}"));
                verdict = Verdict::Failed;
            }
        }
    }
    show(&listed, args.json, verdict)?;
    Ok(verdict)
}

/// The devices of a rig: on its hosts, or on this machine.
fn of_rig(path: &Path, json: bool) -> Result<Verdict> {
    let asked = Asked { rig: Some(path.to_owned()), ..Asked::default() };
    let rig = asked.resolve()?;
    if rig.hosts.is_empty() {
        return Err(Error::Usage(format!(
            "{}: its devices are on this machine: leave --rig out",
            path.display()
        )));
    }
    let (listed, verdict) = spanning::list(path, &rig)?;
    show(&listed, json, verdict)?;
    Ok(verdict)
}

fn show(listed: &[Listed], json: bool, verdict: Verdict) -> Result<()> {
    if json {
        return print_json(&listed);
    }
    if listed.is_empty() && verdict == Verdict::Whole {
        return print("no Azure Kinect found");
    }
    listed.iter().enumerate().try_for_each(|(index, device)| print(&line(index, device)))
}

fn line(index: usize, device: &Listed) -> String {
    let jacks = match (device.jacks.sync_in, device.jacks.sync_out) {
        (true, true) => "sync-in and sync-out plugged",
        (true, false) => "sync-in plugged",
        (false, true) => "sync-out plugged",
        (false, false) => "no sync cable",
    };
    let host = device.host.as_ref().map_or(String::new(), |host| format!("{host}  "));
    let firmware = |name| device.firmware.get(name).map_or("?", String::as_str);
    format!(
        "{index}  {host}{}  color {}, depth {}  {jacks}  USB {}, {}",
        device.serial,
        firmware("color"),
        firmware("depth"),
        device.usb,
        device.controller
    )
}
