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
    library(plan).map(Some)
}

/// The depth engine of the plan.
///
/// # Errors
/// `Usage` when it cannot be loaded.
pub fn library(plan: &Plan) -> Result<EngineLibrary> {
    match (&plan.devices, &plan.depth_engine) {
        (Devices::Emulated { .. }, None) => EngineLibrary::emulated(),
        (_, path) => EngineLibrary::load(path.as_deref()),
    }
}

/// The devices of a plan as far as they could be opened, and what stands in the way of a take.
#[derive(Default)]
pub struct Gathered {
    /// Opened devices, with their roles. Not all of them can do what they are asked for.
    pub members: Vec<Member>,
    /// What stands in the way, in the order in which it was met.
    pub problems: Vec<Problem>,
}

/// What stands in the way of a take.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Serials, `rig` or `USB`.
    pub about: String,
    /// What it is.
    pub error: Error,
}

impl Gathered {
    fn note(&mut self, about: &str, error: Error) {
        self.problems.push(Problem { about: about.to_owned(), error });
    }
}

/// Opens the devices of the plan, gives each its role and sets its color controls.
///
/// # Errors
/// `Usage` when a device is not there, or refuses what it is asked for; `Device` when it does not
/// answer, or the sync cables make no rig.
pub fn members(plan: &Plan, bus: &dyn Bus) -> Result<Vec<Member>> {
    let Gathered { members, problems } = gather(plan, bus);
    problems.into_iter().next().map_or(Ok(members), |first| Err(first.error))
}

/// The same, going on after a problem: a check names all of them.
pub fn gather(plan: &Plan, bus: &dyn Bus) -> Gathered {
    let mut gathered = Gathered::default();
    let mut found = Vec::new();
    match device::find_each(bus) {
        Err(error) => {
            gathered.note("USB", error);
            return gathered;
        }
        Ok(all) => {
            for (serial, camera) in all {
                match camera {
                    Ok(camera) => found.push(camera),
                    Err(error) => gathered.note(&serial, error),
                }
            }
        }
    }
    let chosen = match &plan.wanted {
        Wanted::Each(wanted) => of_rig_file(wanted, &found, &mut gathered),
        Wanted::Alike { pick, config, .. } => match picked(pick, found) {
            Ok(found) => found.into_iter().map(|found| (found, None, config.clone())).collect(),
            Err(error) => {
                gathered.note("rig", error);
                return gathered;
            }
        },
    };
    let (mut devices, mut names, mut configs) = (Vec::new(), Vec::new(), Vec::new());
    for (found, name, config) in chosen {
        match Device::open(bus, &found) {
            Ok(device) => {
                devices.push(device);
                names.push(name);
                configs.push(config);
            }
            Err(error) => gathered.note(&found.serial, error),
        }
    }
    if devices.len() > 1 {
        if plan.wanted.by_their_jacks()
            && let Err(error) = by_their_jacks(&mut devices, &mut configs)
        {
            gathered.note("rig", error);
        }
        if let Wanted::Alike { delay_given: false, .. } = plan.wanted {
            rig::raise_ladder(&mut configs);
        }
    }
    for ((device, name), config) in devices.into_iter().zip(names).zip(configs) {
        let mut member = Member { device, name, config, controls: ColorControls::default() };
        if let Err(error) = set_up(&mut member) {
            gathered.note(member.device.serial(), error);
        }
        gathered.members.push(member);
    }
    gathered
}

type Chosen = (Found, Option<String>, DeviceConfig);

fn of_rig_file(wanted: &[Named], found: &[Found], gathered: &mut Gathered) -> Vec<Chosen> {
    let here = |named: &Named| found.iter().find(|found| found.serial == named.serial);
    let missing = wanted.iter().filter(|named| here(named).is_none());
    let missing: Vec<_> = missing.map(|named| named.serial.as_str()).collect();
    if !missing.is_empty() {
        let (missing, there) = (missing.join(", "), there(found));
        let text = format!("{missing}: in the rig file, but not plugged in; {there}");
        gathered.note(&missing, Error::Usage(text));
    }
    let choose =
        |named: &Named| Some((here(named)?.clone(), named.name.clone(), named.config.clone()));
    wanted.iter().filter_map(choose).collect()
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

/// Checks what a device is asked for, and sets its color controls.
fn set_up(member: &mut Member) -> Result<()> {
    let Member { device, config, controls, .. } = member;
    if config.role != Role::Subordinate {
        config.subordinate_delay_us = 0;
    }
    if let Some(problem) = config.problem() {
        return Err(Error::Usage(format!("{}: {}", device.serial(), problem.text)));
    }
    if config.color.is_some() {
        device.set_controls(&config.controls)?;
        *controls = device.read_controls()?;
    }
    Ok(())
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
