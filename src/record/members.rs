//! The devices of a take: chosen, opened, given their roles, and set up.

use crate::config::{ColorControls, DeviceConfig, Devices, Named, Pick, Plan, Wanted};
use crate::device::{self, Device, EngineLibrary, Found};
use crate::error::{Error, Result};
use crate::record::take::Member;
use crate::rig;
use crate::usb::Bus;
use genlock_formats::k4a::Role;

/// The depth engine that the devices need: none where all have depth off.
///
/// # Errors
/// `Usage` when it cannot be loaded.
pub fn engine(plan: &Plan, members: &[Member]) -> Result<Option<EngineLibrary>> {
    if members.iter().all(|member| member.config.depth.is_none()) {
        return Ok(None);
    }
    match (&plan.devices, &plan.depth_engine) {
        (Devices::Emulated { .. }, None) => EngineLibrary::emulated().map(Some),
        (_, path) => EngineLibrary::load(path.as_deref()).map(Some),
    }
}

/// Opens the devices of the plan, gives each its role and sets its color controls.
///
/// # Errors
/// `Usage` when a device is not there, or refuses what it is asked for; `Device` when it does not
/// answer, or the sync cables make no rig.
pub fn members(plan: &Plan, bus: &dyn Bus) -> Result<Vec<Member>> {
    let found = device::find(bus)?;
    match &plan.wanted {
        Wanted::Each(wanted) => each(wanted, &found, bus),
        Wanted::Alike { pick, config, role_given, delay_given } => {
            let mut devices = Vec::new();
            for found in picked(pick, found)? {
                devices.push(Device::open(bus, &found)?);
            }
            let mut configs = vec![config.clone(); devices.len()];
            if devices.len() > 1 {
                if !role_given {
                    by_their_jacks(&mut devices, &mut configs)?;
                }
                if !delay_given {
                    rig::raise_ladder(&mut configs);
                }
            }
            let both = devices.into_iter().zip(configs);
            both.map(|(device, config)| member(device, None, config)).collect()
        }
    }
}

fn each(wanted: &[Named], found: &[Found], bus: &dyn Bus) -> Result<Vec<Member>> {
    let here = |named: &Named| found.iter().find(|found| found.serial == named.serial);
    let missing: Vec<_> = wanted.iter().filter(|named| here(named).is_none()).collect();
    if !missing.is_empty() {
        let serials: Vec<_> = missing.iter().map(|named| named.serial.as_str()).collect();
        let (missing, there) = (serials.join(", "), there(found));
        return Err(Error::Usage(format!(
            "{missing}: in the rig file, but not plugged in; {there}"
        )));
    }
    let mut devices = Vec::new();
    for found in wanted.iter().filter_map(here) {
        devices.push(Device::open(bus, found)?);
    }
    let mut configs: Vec<_> = wanted.iter().map(|named| named.config.clone()).collect();
    if wanted.len() > 1 && wanted.iter().any(|named| !named.role_given) {
        by_their_jacks(&mut devices, &mut configs)?;
    }
    let all = devices.into_iter().zip(wanted).zip(configs);
    all.map(|((device, named), config)| member(device, named.name.clone(), config)).collect()
}

fn by_their_jacks(devices: &mut [Device], configs: &mut [DeviceConfig]) -> Result<()> {
    let mut jacks = Vec::new();
    for device in devices {
        jacks.push((device.serial().to_owned(), device.jacks()?));
    }
    for (config, role) in configs.iter_mut().zip(rig::roles(&jacks)?) {
        config.role = role;
    }
    Ok(())
}

fn member(mut device: Device, name: Option<String>, mut config: DeviceConfig) -> Result<Member> {
    if config.role != Role::Subordinate {
        config.subordinate_delay_us = 0;
    }
    if let Some(problem) = config.problem() {
        return Err(Error::Usage(format!("{}: {}", device.serial(), problem.text)));
    }
    let mut controls = ColorControls::default();
    if config.color.is_some() {
        device.set_controls(&config.controls)?;
        controls = device.read_controls()?;
    }
    Ok(Member { device, name, config, controls })
}

fn there(found: &[Found]) -> String {
    if found.is_empty() {
        return "none is there; check power and USB, or rehearse with --emulated 1".to_owned();
    }
    let serials: Vec<_> = found.iter().map(|found| found.serial.as_str()).collect();
    format!("there are: {}", serials.join(", "))
}

fn picked(pick: &Pick, found: Vec<Found>) -> Result<Vec<Found>> {
    let there = there(&found);
    let one = |device: Option<Found>, what: String| {
        device.map(|device| vec![device]).ok_or_else(|| Error::Usage(format!("{what}; {there}")))
    };
    let mut all = found.into_iter();
    match pick {
        Pick::All => Ok(all.collect()),
        Pick::Serial(serial) => {
            let named = all.find(|found| found.serial == *serial);
            one(named, format!("no device with serial {serial}"))
        }
        Pick::Index(index) => one(all.nth(*index), format!("no device number {index}")),
    }
}
