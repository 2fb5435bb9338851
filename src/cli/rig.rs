//! `genlock rig`: rig files.

use super::{Verdict, bus, print};
use crate::clock::Clock;
use crate::config::{DeviceConfig, Devices};
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::rig;
use clap::{Args, Subcommand};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use toml::Value;

/// Options of `genlock rig`.
#[derive(Debug, Args)]
pub struct RigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a rig file of what is plugged in: the sync jacks give the roles
    Init(InitArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Write it for this many emulated devices
    #[arg(long, value_name = "N", value_parser = bus::emulated_count)]
    emulated: Option<usize>,
    /// What chance does to the emulated devices is drawn from this
    #[arg(long, value_name = "S", requires = "emulated")]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Write to this new file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &RigArgs) -> Result<Verdict> {
    let Command::Init(args) = &args.command;
    let devices = match args.emulated {
        Some(count) => Devices::emulated(count, None),
        None => Devices::Usb,
    };
    let bus = bus::bus(&devices, &Clock::machine())?;
    let (mut found, mut jacks) = (Vec::new(), Vec::new());
    for camera in device::find(bus.as_ref())? {
        let mut device = Device::open(bus.as_ref(), &camera)?;
        jacks.push((camera.serial, device.jacks()?));
        let versions = device.firmware().components();
        let versions = versions.map(|(name, version)| format!("{name} {version}"));
        found.push(versions.join(", "));
    }
    if found.is_empty() {
        return Err(Error::Device(
            "no Azure Kinect found: check power and USB, or rehearse with --emulated 4".to_owned(),
        ));
    }
    let roles = rig::roles(&jacks)?;
    let config = |role| DeviceConfig { role, ..DeviceConfig::default() };
    let mut configs: Vec<_> = roles.into_iter().map(config).collect();
    rig::raise_ladder(&mut configs);
    let mut text = head(args);
    for (((serial, _), versions), config) in jacks.iter().zip(&found).zip(&configs) {
        text += &entry(serial, versions, config);
    }
    match &args.output {
        Some(path) => write_new(path, &text)?,
        None => print(text.trim_end())?,
    }
    Ok(Verdict::Whole)
}

fn head(args: &InitArgs) -> String {
    let DeviceConfig { color, depth, rate, imu, .. } = DeviceConfig::default();
    let name = |mode: Option<String>| Value::from(mode.unwrap_or("OFF".to_owned()));
    let color = name(color.map(|mode| mode.to_string()));
    let depth = name(depth.map(|mode| mode.to_string()));
    let mut text = format!(
        "# The rig. docs/rig.md says what every key means; --set KEY=VALUE changes one for a take.

# What holds for all devices; under its [[device]] one can differ.
rate = {rate}                       # frames per second: 30, 15 or 5
color_mode = {color}
depth_mode = {depth}
imu = {imu}
# exposure = 8330               # microseconds, or \"auto\"; not named: as the device has it
# white_balance = 4500          # kelvin, or \"auto\"
"
    );
    if let Some(count) = args.emulated {
        text += "\n# Nothing is plugged in: without this table the devices are those on USB.\n";
        text += &format!("[emulator]\ndevices = {count}\n");
        text += &args.seed.map(|seed| format!("seed = {seed}\n")).unwrap_or_default();
    }
    text
}

fn entry(serial: &str, firmware: &str, config: &DeviceConfig) -> String {
    let serial = Value::from(serial);
    let role = Value::from(config.role.to_string().to_lowercase());
    let delay = format!("depth_delay_us = {}", config.depth_delay_us);
    format!(
        "
[[device]]                      # {firmware}
serial = {serial}
# name = \"front\"                # what you call it
role = {role}
{delay:31} # off color; steps of {} keep lasers out of others' exposures
",
        rig::LADDER_STEP_US
    )
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = File::create_new(path).map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => Error::Usage(format!(
            "{}: is there already and is not overwritten: choose another name",
            path.display()
        )),
        _ => Error::disk("cannot create", path, &cause),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|cause| Error::disk("cannot write", path, &cause))
}
