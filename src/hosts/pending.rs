//! A take that is not gathered yet: what must be known to find its parts, in the folder where it
//! will be.

use super::messages::Order;
use super::name::{HostName, TakeId};
use crate::config::{Asked, Host, Pick, Rig, Wanted};
use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::{GATHER, keep_name, replace_text};
use genlock_formats::take::{File as TakeFile, HostClock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of it at most.
const BYTES_MAX: u64 = 4 << 20;

/// What is known of a take whose parts are on several hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// What the hosts call it.
    pub take: TakeId,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// Where the rig file was.
    pub rig_path: PathBuf,
    /// What it said.
    pub rig: String,
    /// What the command line set over it.
    pub sets: Vec<String>,
    /// The one device that was wanted, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The first trigger.
    pub first_trigger: u64,
    /// Triggers that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<u64>,
    /// The trigger after the last, where the take was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Where its recordings go, if not to its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Whether all of them are there.
    #[serde(default)]
    pub complete: bool,
    /// Hosts whose recordings are there, and safe, with the files of their parts.
    #[serde(default)]
    pub gathered: BTreeMap<HostName, Vec<TakeFile>>,
    /// How the clocks of the hosts stood.
    #[serde(default)]
    pub clocks: BTreeMap<HostName, HostClock>,
}

impl Pending {
    /// What each host is told to record.
    #[must_use]
    pub fn order(&self, force: bool) -> Order {
        Order {
            take: self.take.clone(),
            rig: self.rig.clone(),
            sets: self.sets.clone(),
            serial: self.serial.clone(),
            first_trigger: self.first_trigger,
            triggers: self.triggers,
            force,
        }
    }

    /// The rig as it was.
    ///
    /// # Errors
    /// `Usage` when the file is not what a take wrote.
    pub fn resolve(&self) -> Result<Rig> {
        let asked = Asked {
            rig: Some(self.rig_path.clone()),
            pick: self.serial.clone().map(Pick::Serial),
            flags: Vec::new(),
            sets: self.sets.clone(),
        };
        asked.resolve_text(&self.rig)
    }

    /// Its recordings go to `place`, if one is given; else where they went before, or to its
    /// folder.
    ///
    /// # Errors
    /// `Usage` when some are elsewhere: a take is in one place.
    pub fn go_to(&mut self, place: Option<String>) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        if self.gathered.is_empty() || self.place.as_ref() == Some(&place) {
            self.place = Some(place);
            return Ok(());
        }
        let hosts: Vec<_> = self.gathered.keys().map(HostName::as_ref).collect();
        let hosts = hosts.join(", ");
        Err(Error::Usage(match &self.place {
            Some(before) => format!(
                "the recordings of host {hosts} are in {before}: gather the others there too, with \
                 --to {before}"
            ),
            None => format!(
                "the recordings of host {hosts} are in the folder of the take: gather the others \
                 there too, without --to"
            ),
        }))
    }

    /// Locks the folder of a take for as long as the lock lives: one process gathers it at a time.
    ///
    /// # Errors
    /// `Usage` when another does; `File` when it is no folder.
    pub fn lock(folder: &Path) -> Result<fs::File> {
        let lock = fs::File::open(folder).map_err(|cause| Error::file(folder, &cause))?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Err(Error::Usage(format!(
                "{}: another genlock records or gathers this take: wait until it has ended",
                folder.display()
            ))),
            // Where the file system knows no locks it is not held.
            Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(lock),
        }
    }

    /// What is known of the take in `folder`; none of one that is gathered, or never was on several
    /// hosts.
    ///
    /// # Errors
    /// `File` when it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(GATHER);
        if !path.exists() {
            return Ok(None);
        }
        let text = read_text(&path, BYTES_MAX)?;
        toml::from_str(&text).map(Some).map_err(|cause| Error::file(&path, &cause))
    }

    /// Writes it down: whole, or as it was, and durable.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(GATHER);
        let text = toml::to_string(self).unwrap_or_default();
        replace_text(&path, text.as_bytes())
            .map_err(|cause| Error::disk("cannot write", &path, &cause))?;
        keep_name(&path)
    }

    /// Nothing is left to be gathered.
    ///
    /// # Errors
    /// `Disk` when the file cannot be removed.
    pub fn remove(folder: &Path) -> Result<()> {
        let path = folder.join(GATHER);
        fs::remove_file(&path).map_err(|cause| Error::disk("cannot remove", &path, &cause))
    }
}

/// The hosts on which devices of a rig are, in the order of the rig file.
///
/// # Errors
/// `Usage` when the name of one is none.
pub fn hosts_of(hosts: &[Host], wanted: &Wanted) -> Result<Vec<HostName>> {
    let Wanted::Each(devices) = wanted else { return Ok(Vec::new()) };
    let is_used = |name: &str| devices.iter().any(|named| named.host.as_deref() == Some(name));
    let used = hosts.iter().filter(|host| is_used(&host.name));
    used.map(|host| {
        let name = HostName::try_from(host.name.clone());
        name.map_err(|why| Error::Usage(format!("{}: {why}", host.at)))
    })
    .collect()
}
