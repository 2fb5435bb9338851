//! The parts of a take become one take, with a ledger of what is missing. Pure.
//!
//! The triggers of the take are those that were agreed upon, and those beside them that any part
//! has a frame of: nothing that is on a disk is left out. Of every device that was asked for there
//! is a cell for each of them: what its host's part says, or why its host has nothing there.

mod ledger;
mod part;
mod words;

use crate::config::DeviceConfig;
use crate::hosts::name::HostName;
use crate::record::{TRIGGERS, file_stem};
use crate::sync::{Reviewed, review};
use genlock_formats::k4a::Rate;
use genlock_formats::take::{Device, FORMAT, File, HostClock, Outcome, Profile, Take};
use genlock_formats::triggers::{Cell, Triggers};
use ledger::Share;
use part::{Kept, keep};
use std::ops::Range;
use words::Reasons;

/// What there is of one host's part; one for each host of the rig.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whose part it is.
    pub host: HostName,
    /// What was found of it.
    pub found: Found,
    /// What was measured of the host's clock; its name, and what its part says, are filled in.
    pub clock: Option<HostClock>,
}

/// What was found of a part.
#[derive(Debug, Clone)]
pub enum Found {
    /// What its recorder, or the repair of its files, wrote.
    Recorded {
        /// Its `take.toml`.
        take: Box<Take>,
        /// Its `triggers.csv`.
        triggers: Triggers,
    },
    /// Nothing can be read of it.
    Missing {
        /// Why, in words that become the cause of its losses: `its host b did not answer`.
        why: String,
    },
}

/// A device of the rig, as it was asked for.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The host that was to record it.
    pub host: HostName,
    /// Its serial number.
    pub serial: String,
    /// What people call it.
    pub name: Option<String>,
    /// What it was asked to do.
    pub config: DeviceConfig,
}

/// The triggers that were agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The first, fixed before the take.
    pub first: u64,
    /// The one after the last, where a length or a stop has fixed it.
    pub end: Option<u64>,
    /// How many were asked for; nothing of a take that was to run until stopped.
    pub asked: Option<u64>,
}

/// Merges parts into the take that they are of. The manifest has the recordings of all parts and
/// the `triggers.csv` that is given.
///
/// # Errors
/// Why there is no take: no host has a frame of it.
pub fn merge(
    parts: &[Part],
    expected: &[Expected],
    agreed: &Agreed,
) -> Result<(Take, Triggers), String> {
    let mut reasons = Reasons::default();
    let mut expected: Vec<_> = expected.iter().collect();
    expected.sort_by(|a, b| a.serial.cmp(&b.serial));
    let mut kept: Vec<_> = expected.iter().map(|one| keep(one, parts)).collect();
    let span = part::span(&mut kept, agreed);
    let whys = || kept.iter().filter_map(|one| one.as_ref().err());
    let Some(span) = span else {
        whys().for_each(|why| reasons.say(why.clone()));
        let why = reasons.finish().unwrap_or_else(|| "no device was asked for".to_owned());
        return Err(format!("no host has a frame of the take: {why}"));
    };
    let mut table = Triggers { first: span.start, ..Triggers::default() };
    table.rows.resize_with(usize::try_from(span.end - span.start).unwrap_or(0), Vec::new);
    let (mut devices, mut files) = (Vec::new(), Vec::new());
    for (expected, kept) in expected.iter().zip(&kept) {
        let share = Share { expected, kept: kept.as_ref(), span: span.clone(), agreed };
        devices.push(share.device(&mut table));
        if let Ok(kept) = kept {
            files.extend(kept.listed.cloned());
        }
    }
    judge(&mut devices, &table);
    part::say(parts, &expected, &kept, &mut reasons);
    let mut take = sum_up(parts, &kept, devices, agreed);
    take.reason = reasons.finish().or_else(|| stopped_early(agreed, &span));
    files.push(File::of(TRIGGERS, table.to_csv().as_bytes()));
    take.files = files;
    Ok((take, table))
}

/// The times of a device, one for each trigger of the take, or 0.
struct Times {
    leading_us: Vec<u64>,
    color_us: Option<Vec<u64>>,
    arrived_us: Vec<u64>,
}

impl Times {
    fn of(device: &Device, table: &Triggers) -> Self {
        let times = |column: &str| -> Option<Vec<u64>> {
            let cells = table.column(&format!("{}.{column}", file_stem(&device.serial)))?;
            Some(cells.map(|cell| if let Cell::At(us) = cell { *us } else { 0 }).collect())
        };
        let color_us = times("color");
        let depth_us = || times("depth").or_else(|| times("ir"));
        Self {
            leading_us: color_us.clone().or_else(depth_us).unwrap_or_default(),
            color_us,
            arrived_us: times("host").unwrap_or_default(),
        }
    }

    fn reviewed<'a>(&'a self, device: &'a Device) -> Option<Reviewed<'a>> {
        Some(Reviewed {
            device,
            rate: Rate::ALL.into_iter().find(|rate| rate.fps() == device.rate)?,
            first: device.first_trigger,
            stamps_us: &self.leading_us,
            color_us: self.color_us.as_deref(),
            arrived_us: &self.arrived_us,
        })
    }
}

/// What each device is judged to be, across hosts, as `verify` judges it.
fn judge(devices: &mut [Device], table: &Triggers) {
    let times: Vec<_> = devices.iter().map(|device| Times::of(device, table)).collect();
    let reviewed = |place: usize| times[place].reviewed(&devices[place]);
    let is_master = |device: &Device| device.role == "master" && device.file.is_some();
    let master = devices.iter().position(is_master).and_then(reviewed);
    let judged = (0..devices.len()).map(|place| Some(review(&reviewed(place)?, master.as_ref())));
    let judged: Vec<_> = judged.collect();
    for (device, judged) in devices.iter_mut().zip(judged) {
        let Some((standing, alarms)) = judged else { continue };
        standing.note(device, alarms);
    }
}

fn sum_up(
    parts: &[Part],
    kept: &[Result<Kept<'_>, String>],
    devices: Vec<Device>,
    agreed: &Agreed,
) -> Take {
    let takes = || kept.iter().flatten().map(|kept| kept.take);
    let whole = devices.iter().all(Device::is_whole);
    // One host that is gone is to the take what a device is that left; it fails where none is left.
    let none_left = takes().all(|take| take.outcome == Outcome::Failed);
    let profile = takes().map(|take| take.profile).max().unwrap_or_default();
    let mut levels = takes().filter(|take| take.profile == profile).map(|take| &take.level);
    let level = levels.next().filter(|level| levels.all(|other| other == *level)).cloned();
    let times = takes().filter_map(|take| take.started.parse::<jiff::Timestamp>().ok());
    let started = times.min().map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    Take {
        format: FORMAT,
        genlock: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.unwrap_or_else(|| "unknown".to_owned()),
        profile,
        level: level.flatten().filter(|_| profile == Profile::Compact),
        outcome: match (none_left, whole) {
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Whole,
            (false, false) => Outcome::Losses,
        },
        reason: None,
        triggers_asked: agreed.asked,
        verdict: devices.iter().filter_map(|device| device.verdict).max(),
        host: None,
        hosts: clocks(parts),
        devices,
        files: Vec::new(),
    }
}

/// The clocks of the hosts: what was measured, and what their recorders say.
fn clocks(parts: &[Part]) -> Vec<HostClock> {
    let clock = |part: &Part| {
        let told = match &part.found {
            Found::Recorded { take, .. } => take.host.as_ref(),
            Found::Missing { .. } => None,
        };
        // Hosts are not trusted with what others read as a time.
        let told = told.filter(|host| host.utc_at_zero.parse::<jiff::Timestamp>().is_ok());
        HostClock {
            name: part.host.to_string(),
            utc_at_zero: told.map(|host| host.utc_at_zero.clone()),
            utc_moved_us: told.map(|host| host.utc_moved_us).filter(|us| us.is_finite()),
            ..part.clock.clone().unwrap_or_default()
        }
    };
    let mut clocks: Vec<_> = parts.iter().map(clock).collect();
    clocks.sort_by(|a, b| a.name.cmp(&b.name));
    clocks.dedup_by(|later, first| later.name == first.name);
    clocks
}

/// Without another reason only a person ends a take before it has what was asked for.
fn stopped_early(agreed: &Agreed, span: &Range<u64>) -> Option<String> {
    let count = span.end - span.start;
    let asked = agreed.asked.filter(|asked| count < *asked)?;
    Some(format!("stopped after {count} of {asked} triggers"))
}

#[cfg(test)]
mod tests;
