//! What is looked at before a take: facts of the plan, the opened devices and the machine, held
//! against the rules of the rig.

use crate::config::{DeviceConfig, Devices, Named, Output, Plan, Wanted};
use crate::error::Result;
use crate::record::members::{Gathered, gather, library};
use crate::record::take::Member;
use crate::rig::check::{self, DeviceFacts};
use crate::rig::discipline::{self, Discipline};
use crate::rig::disk::{self, Disk};
use crate::rig::host::{Host, permissions};
use crate::rig::{Finding, Severity, bandwidth, laser};
use crate::usb::{Bus, UsbDevice};
use genlock_formats::k4a::Role;
use std::path::Path;
use std::time::Duration;

/// What a take of these opened devices has to expect. Changes nothing, writes nothing and starts
/// nothing, for it stands before every take:
///
/// * the depth engine is created by the take itself a moment later, and its failure leaves nothing;
/// * a measured write would fill the very cache that the first seconds of the take need;
/// * the host's clock concerns dates, which no take waits for.
///
/// [`check()`] looks at those too.
pub fn preflight(plan: &Plan, bus: &dyn Bus, members: &mut [Member], host: &Host) -> Vec<Finding> {
    let mut findings = of_devices(plan, members);
    findings.extend(of_usb(plan, bus, members, host));
    findings.extend(of_disk(plan, members, Disk::under));
    findings
}

/// Everything that can be known before a take of `plan`, the worst first; `bus` may have failed to
/// open. Devices are left stopped, and the disk as it was.
pub fn check(plan: &Plan, bus: Result<&dyn Bus>, host: &Host) -> Vec<Finding> {
    check_with_facts(plan, bus, host).0
}

/// The same, with what is known of the devices.
pub fn check_with_facts(
    plan: &Plan,
    bus: Result<&dyn Bus>,
    host: &Host,
) -> (Vec<Finding>, Vec<DeviceFacts>) {
    let mut findings = Vec::new();
    if plan.devices == Devices::Usb {
        findings.extend(permissions(&host.nodes()));
    }
    let permitted = findings.iter().all(|finding| finding.severity == Severity::Good);
    let mut gathered = Gathered::default();
    match bus {
        Err(error) => findings.push(Finding::of_error("USB", &error)),
        Ok(bus) => {
            gathered = gather(plan, bus);
            // A bus that cannot be asked for want of permission was reported above.
            let news = gathered.problems.iter().filter(|p| permitted || p.about != "USB");
            findings.extend(news.map(|p| Finding::of_error(&p.about, &p.error)));
            findings.extend(of_devices(plan, &mut gathered.members));
            findings.extend(of_usb(plan, bus, &gathered.members, host));
        }
    }
    findings.extend(of_engine(plan, &mut gathered.members));
    findings.extend(of_disk(plan, &gathered.members, |place| {
        let mut disk = Disk::under(place);
        disk.measure();
        disk
    }));
    findings.push(discipline::finding(&Discipline::of_host()));
    findings.sort_by_key(|finding| finding.severity);
    (findings, facts(plan, &mut gathered.members).0)
}

/// What each device of the plan is asked to do, whether it is there or not. One that is there may
/// have got its role from its jacks.
fn wanted(plan: &Plan, members: &[Member]) -> Vec<(String, DeviceConfig)> {
    let of = |member: &Member| (member.device.serial().to_owned(), member.config.clone());
    match &plan.wanted {
        Wanted::Each(named) => {
            let here = |serial| members.iter().find(|member| member.device.serial() == serial);
            let absent = |named: &Named| (named.serial.clone(), named.config.clone());
            named.iter().map(|named| here(&named.serial).map_or(absent(named), of)).collect()
        }
        Wanted::Alike { .. } => members.iter().map(of).collect(),
    }
}

/// The same; a plan for whatever is there, where nothing is there, is for one device.
fn configs(plan: &Plan, members: &[Member]) -> Vec<DeviceConfig> {
    let configs: Vec<_> = wanted(plan, members).into_iter().map(|(_, config)| config).collect();
    match &plan.wanted {
        Wanted::Alike { config, .. } if configs.is_empty() => vec![config.clone()],
        _ => configs,
    }
}

fn of_devices(plan: &Plan, members: &mut [Member]) -> Vec<Finding> {
    let (facts, mut findings) = facts(plan, members);
    if plan.is_part {
        return findings;
    }
    // Jacks that gave no roles have been reported, and say nothing against the devices one by one.
    let by_jacks = plan.wanted.by_their_jacks();
    let roleless = facts.len() > 1 && facts.iter().all(|f| f.config.role == Role::Standalone);
    if !(by_jacks && roleless) {
        findings.extend(check::roles(&facts));
        findings.extend(check::cables(&facts));
    }
    findings.extend(of_all(&facts));
    findings
}

/// What is known of the devices of the plan, and why no more is.
pub fn facts(plan: &Plan, members: &mut [Member]) -> (Vec<DeviceFacts>, Vec<Finding>) {
    let (mut facts, mut findings) = (Vec::new(), Vec::new());
    for (serial, config) in wanted(plan, members) {
        let member = members.iter_mut().find(|member| member.device.serial() == serial);
        let firmware = member.as_ref().map(|member| *member.device.firmware());
        let jacks = match member.map(|member| member.device.jacks()).transpose() {
            Ok(jacks) => jacks,
            Err(error) => {
                findings.push(Finding::of_error(&serial, &error));
                None
            }
        };
        facts.push(DeviceFacts { serial, config, jacks, firmware });
    }
    (facts, findings)
}

/// Whether these devices make a rig, wherever they are plugged in.
#[must_use]
pub fn of_rig(facts: &[DeviceFacts]) -> Vec<Finding> {
    let roles = check::roles(facts).into_iter();
    roles.chain(check::cables(facts)).chain(of_all(facts)).collect()
}

/// What holds for all devices whatever their roles.
fn of_all(facts: &[DeviceFacts]) -> Vec<Finding> {
    let configs: Vec<_> = facts.iter().map(|f| (f.serial.clone(), f.config.clone())).collect();
    let firmware = check::firmware(facts).into_iter();
    firmware.chain(check::modes(facts)).chain(laser::findings(&configs)).collect()
}

fn of_usb(plan: &Plan, bus: &dyn Bus, members: &[Member], host: &Host) -> Vec<Finding> {
    // A bus that cannot be asked has said so when its devices were looked for.
    let there = bus.devices().unwrap_or_default();
    let load = |member: &Member| {
        let of_member = |device: &&UsbDevice| device.serial == member.device.serial();
        let device = there.iter().find(of_member)?;
        Some(bandwidth::Load {
            serial: device.serial.clone(),
            controller: match plan.devices {
                Devices::Usb => host.controller(device.bus),
                Devices::Emulated { .. } => format!("emulated bus {}", device.bus),
            },
            bytes_per_s: bandwidth::usb_bytes_per_s(&member.config),
        })
    };
    let loads: Vec<_> = members.iter().filter_map(load).collect();
    let mut findings = bandwidth::controllers(&loads);
    if plan.devices == Devices::Usb {
        let configs = configs(plan, members);
        findings.push(bandwidth::transfer_memory(host.usbfs_memory_mb(), &configs));
    }
    findings
}

fn of_engine(plan: &Plan, members: &mut [Member]) -> Vec<Finding> {
    const ABOUT: &str = "depth engine";
    if configs(plan, members).iter().all(|config| config.depth.is_none()) {
        return Vec::new();
    }
    let library = match library(plan) {
        Ok(library) => library,
        Err(error) => return vec![Finding::of_error(ABOUT, &error)],
    };
    let mut findings = Vec::new();
    for Member { device, config, .. } in members.iter_mut() {
        let Some(mode) = config.depth else { continue };
        if let Err(error) = device.try_engine(mode, &library) {
            findings.push(Finding::of_error(device.serial(), &error));
        }
    }
    if findings.is_empty() {
        let what = if members.is_empty() { "loads" } else { "loads, and starts for each device" };
        findings.push(Finding::good(ABOUT, what));
    }
    findings
}

fn of_disk(plan: &Plan, members: &[Member], look: impl FnOnce(&Path) -> Disk) -> Vec<Finding> {
    let configs = configs(plan, members);
    let place = match &plan.output {
        Output::Folder(folder) => folder,
        Output::File(file) => file.parent().unwrap_or(file),
    };
    let profile = plan.storing.profile;
    let bytes_per_s =
        configs.iter().map(|config| bandwidth::disk_bytes_per_s(config, profile)).sum();
    let fps = configs.first().map_or(1, |config| config.rate.fps());
    let length = plan.triggers.map(|triggers| Duration::from_secs(triggers.div_ceil(fps.into())));
    disk::findings(&look(place), bytes_per_s, length)
}
