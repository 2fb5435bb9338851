//! Settings laid over each other, for each device: those of the rig file's top, of its
//! `[[device]]`, of the command line for all, and of the command line for it.

use super::keys::{self, CONTROLS, Key};
use super::played::Played;
use super::rig_file::{Entry, RigFile};
use super::setting::{Given, Layer, Origin};
use super::values::unknown;
use super::{ColorControls, Host, Named, Pick, Wanted, default_rate};
use crate::error::{Error, Result};
use genlock_emulator::Faults;
use genlock_formats::k4a::Role;
use std::collections::BTreeMap;
use toml::Table;

/// Every layer there is.
pub(super) struct Layers<'a> {
    file: &'a RigFile,
    /// What the command line sets for all.
    over: Layer,
    /// What it sets for one, by serial.
    own: BTreeMap<String, Layer>,
    /// Serials of the emulated devices; none where devices are real.
    emulated: &'a [String],
    played: &'a [Played],
    pick: Option<&'a Pick>,
}

/// One device with all its settings.
struct One {
    named: Named,
    layer: Layer,
    /// Where a complaint points that is of no setting.
    at: Option<Origin>,
}

impl One {
    fn refuse(&self, key: &str, text: &str) -> Error {
        let serial = &self.named.serial;
        match serial.is_empty() {
            true => self.layer.complaint(key, self.at.as_ref(), text),
            false => self.layer.complaint(key, self.at.as_ref(), &format!("{serial}: {text}")),
        }
    }
}

impl<'a> Layers<'a> {
    /// Sorts the settings of one device by its serial, and checks that what is of emulated devices
    /// has some.
    pub fn new(
        file: &'a RigFile,
        over: Layer,
        scoped: Vec<(String, Given)>,
        emulated: &'a [String],
        played: &'a [Played],
        pick: Option<&'a Pick>,
    ) -> Result<Self> {
        let mut layers = Self { file, over, own: BTreeMap::new(), emulated, played, pick };
        let known = layers.known();
        for (path, given) in scoped {
            let found = known.iter().find_map(|(called, serial)| {
                let key = path.strip_prefix(called.as_str())?.strip_prefix('.')?;
                Some((key, serial))
            });
            let Some((key, serial)) = found else {
                return Err(nobody(&path, &given, &known));
            };
            if let Some(Key::Whole(_)) = keys::find(key) {
                let origin = &given.origin;
                return Err(Error::Usage(format!("{origin}: {key} is of the whole rig")));
            }
            layers.own.entry(serial.clone()).or_default().put(key, given)?;
        }
        layers.check_emulated()?;
        Ok(layers)
    }

    /// What the devices that can be told apart are called, with their serials.
    fn known(&self) -> Vec<(String, String)> {
        let mut known = Vec::new();
        for entry in &self.file.devices {
            let name = entry.layer.get("name").and_then(|given| given.value.as_str());
            known.extend(name.map(|name| (name.to_owned(), entry.serial.clone())));
            known.push((entry.serial.clone(), entry.serial.clone()));
        }
        let picked = match self.pick {
            Some(Pick::Serial(serial)) => Some(serial),
            _ => None,
        };
        for serial in self.emulated.iter().chain(picked) {
            if known.iter().all(|(_, other)| other != serial) {
                known.push((serial.clone(), serial.clone()));
            }
        }
        known
    }

    fn check_emulated(&self) -> Result<()> {
        if self.emulated.is_empty() {
            let mut given = self.over.iter().chain(self.own.values().flat_map(Layer::iter));
            let of_emulator =
                given.find(|(key, _)| key.starts_with("emulator.") || key.starts_with("faults."));
            return of_emulator.map_or(Ok(()), |(_, given)| {
                Err(Error::Usage(format!(
                    "{}: is of emulated devices: add --emulated N, or an [emulator] table to the \
                     rig file",
                    given.origin
                )))
            });
        }
        let there = self.emulated.join(", ");
        match self.file.devices.iter().find(|entry| !self.emulated.contains(&entry.serial)) {
            None => Ok(()),
            Some(Entry { at, serial, .. }) => Err(Error::Usage(format!(
                "{at}: {serial} is none of the {} emulated devices, which are {there}: correct \
                 the serial, or raise devices in [emulator]",
                self.emulated.len()
            ))),
        }
    }

    /// The faults of the emulated device with this serial.
    pub fn faults(&self, serial: &str, seed: u64) -> Result<Faults> {
        let entry = self.file.devices.iter().find(|entry| entry.serial == serial);
        let (_, layer) = self.of(entry, serial);
        let faults = layer.iter().filter_map(|(key, given)| {
            Some((key.strip_prefix("faults.")?.to_owned(), given.value.clone()))
        });
        let mut faults = keys::faults(Table::from_iter(faults)).map_err(Error::Usage)?;
        if layer.get("faults.seed").is_none() {
            faults.seed = seed;
        }
        Ok(faults)
    }

    /// What was set for this device rather than for all by the file's top, and both together.
    fn of(&self, entry: Option<&Entry>, serial: &str) -> (Layer, Layer) {
        let own = entry.map(|entry| entry.layer.clone()).unwrap_or_default().under(&self.over);
        let own = self.own.get(serial).map_or(own.clone(), |scoped| own.under(scoped));
        let all = self.file.top.under(&own);
        (own, all)
    }

    /// The devices that are wanted, and what each of them does.
    pub fn wanted(&self) -> Result<Wanted> {
        match self.file.devices.is_empty() {
            true => self.alike(),
            false => self.each().map(Wanted::Each),
        }
    }

    /// Devices that are not listed: all do the same.
    fn alike(&self) -> Result<Wanted> {
        let pick = match (self.pick, self.emulated) {
            (Some(pick), _) => pick.clone(),
            // As k4arecorder does: a rig on USB needs a rig file.
            (None, []) => Pick::Index(0),
            (None, _) => Pick::All,
        };
        let only = match (&pick, self.emulated) {
            (Pick::Serial(serial), _) => Some(serial),
            (Pick::All, [serial]) => Some(serial),
            _ => None,
        };
        for (serial, layer) in &self.own {
            let unlisted = |key: &str| key == "name" || Some(serial) != only;
            let setting =
                layer.iter().find(|(key, _)| !key.starts_with("faults.") && unlisted(key));
            if let Some((_, given)) = setting {
                return Err(Error::Usage(format!(
                    "{}: {serial} is in no rig file: genlock rig init writes one, and --rig gives \
                     it",
                    given.origin
                )));
            }
        }
        let several = pick == Pick::All && self.emulated.len() > 1;
        let (own, layer) = self.of(None, only.map_or("", String::as_str));
        let one = self.one(String::new(), None, own, layer, several)?;
        if several && one.named.role_given {
            return Err(one.refuse("role", ROLE_OF_SEVERAL));
        }
        Ok(Wanted::Alike {
            pick,
            role_given: one.named.role_given,
            delay_given: one.layer.get("depth_delay_us").is_some(),
            config: one.named.config,
        })
    }

    /// The devices of the rig file, or the one of them that is wanted.
    fn each(&self) -> Result<Vec<Named>> {
        let entries: Vec<_> = match self.pick {
            None | Some(Pick::All) => self.file.devices.iter().collect(),
            Some(Pick::Serial(serial)) => {
                self.file.devices.iter().filter(|entry| entry.serial == *serial).collect()
            }
            Some(Pick::Index(index)) => self.file.devices.iter().skip(*index).take(1).collect(),
        };
        if entries.is_empty() {
            let serials: Vec<_> = self.file.devices.iter().map(|e| e.serial.as_str()).collect();
            let path = self.file.path.as_deref().unwrap_or("the rig file".as_ref()).display();
            let asked = match self.pick {
                Some(Pick::Serial(serial)) => format!("with serial {serial}"),
                _ => "at that place".to_owned(),
            };
            let serials = serials.join(", ");
            return Err(Error::Usage(format!("{path}: no device {asked}; it lists {serials}")));
        }
        let mut all: Vec<One> = Vec::new();
        if let Some(role) = self.over.get("role").filter(|_| entries.len() > 1) {
            return Err(Error::Usage(format!("{}: {ROLE_OF_SEVERAL}", role.origin)));
        }
        for entry in &entries {
            let (mut own, mut layer) = self.of(Some(entry), &entry.serial);
            if self.pick.is_some() {
                self.alone(&entry.serial, &mut own, &mut layer);
            }
            let (serial, at) = (entry.serial.clone(), Some(entry.at.clone()));
            all.push(self.one(serial, at, own, layer, entries.len() > 1)?);
        }
        together(&all)?;
        on_hosts(&self.file.hosts, &all)?;
        Ok(all.into_iter().map(|one| one.named).collect())
    }

    /// A device of a rig that records without the others needs no pulses, unless the command line
    /// says so: its role and its delay off the master in the file are those within the rig.
    fn alone(&self, serial: &str, own: &mut Layer, layer: &mut Layer) {
        let typed = |key: &str| {
            let scoped = self.own.get(serial).and_then(|scoped| scoped.get(key));
            scoped.is_some() || self.over.get(key).is_some()
        };
        if typed("role") {
            return;
        }
        for key in ["role", "delay_off_master_us"] {
            if !typed(key) {
                own.remove(key);
                layer.remove(key);
            }
        }
    }

    /// Makes one device of its settings, and checks them together.
    fn one(
        &self,
        serial: String,
        at: Option<Origin>,
        own: Layer,
        layer: Layer,
        several: bool,
    ) -> Result<One> {
        let is_its = |of: &str| of == serial;
        let played = self.played.iter().find(|one| one.of.as_deref().is_none_or(is_its));
        let config = played.map(Played::default).unwrap_or_default();
        let role_given = layer.get("role").is_some();
        let named = Named { serial, name: None, config, role_given, host: None };
        let mut one = One { named, layer, at };
        for (key, given) in one.layer.iter() {
            if let Some(Key::Device(set)) = keys::find(key) {
                // Never: settings were checked when they were put into their layers.
                set(&mut one.named, &given.value).map_err(Error::Usage)?;
            }
        }
        let config = &mut one.named.config;
        // The devices of a rig file have one rate, whatever the modes of one of them.
        let alike = one.at.is_none();
        if alike && one.layer.get("rate").is_none() && played.is_none() {
            config.rate = default_rate(config.color, config.depth);
        }
        // A default of the file's top is for those devices that it means anything to.
        if config.color.is_none() && config.controls != ColorControls::default() {
            config.controls = ColorControls::default();
            if let Some(key) = CONTROLS.iter().find(|key| own.get(key).is_some()) {
                let text = "color controls need the color camera: choose a color_mode \
                            (--color-mode), or leave them out";
                return Err(one.refuse(key, text));
            }
        }
        let by_jacks = several && !role_given;
        // What is said of several devices at once is said of those of them that follow a master.
        let of_all = several && one.at.is_none();
        let of_top = of_all || own.get("delay_off_master_us").is_none();
        if of_top && one.named.config.role != Role::Subordinate && !by_jacks {
            one.named.config.subordinate_delay_us = 0;
        }
        let mut checked = one.named.config.clone();
        if of_top && by_jacks {
            // Whoever turns out to be no subordinate will not use it.
            checked.role = Role::Subordinate;
        }
        if let Some(problem) = checked.problem() {
            return Err(one.refuse(problem.key, &problem.text));
        }
        if let Some(played) = played {
            played.check(&one.named.config, &one.layer, one.at.as_ref())?;
        }
        Ok(one)
    }
}

const ROLE_OF_SEVERAL: &str = "role (--external-sync) is for one device; several get their roles \
                               from their jacks, or each under its [[device]]";

/// What is wrong with a setting of a device that nobody knows.
fn nobody(path: &str, given: &Given, known: &[(String, String)]) -> Error {
    let origin = &given.origin;
    let all = keys::all();
    let device = all.iter().find_map(|key| path.strip_suffix(key.as_str())?.strip_suffix('.'));
    let Some(device) = device else {
        return Error::Usage(format!("{origin}: {}", unknown(path, &all)));
    };
    let called: Vec<_> = known.iter().map(|(called, _)| called.as_str()).collect();
    Error::Usage(match called.is_empty() {
        true => format!("{origin}: no device is known by name: give a --rig, or --serial {device}"),
        false => format!("{origin}: no device {device}; there are {}", called.join(", ")),
    })
}

/// That the devices of a rig go together.
fn together(all: &[One]) -> Result<()> {
    for (i, one) in all.iter().enumerate() {
        let same = |other: &&One| one.named.name.is_some() && other.named.name == one.named.name;
        if let Some(other) = all[..i].iter().find(same) {
            let text = format!("its name is also that {}", of(other, "name"));
            return Err(one.refuse("name", &text));
        }
        if one.named.config.rate != all[0].named.config.rate {
            let text = format!(
                "its rate of {} is not that {}: subordinates follow the master's pulses, so give \
                 all devices one rate",
                one.named.config.rate,
                of(&all[0], "rate")
            );
            return Err(one.refuse("rate", &text));
        }
    }
    match all {
        [one] => not_left_alone(one),
        all if all.iter().all(|one| !one.named.role_given) => Ok(()),
        all => roles(all),
    }
}

/// That each device of a rig that spans machines is on one of its hosts, and nobody has to look at
/// the jacks of all to know who is the master.
fn on_hosts(hosts: &[Host], all: &[One]) -> Result<()> {
    for (place, host) in hosts.iter().enumerate() {
        let Host { name, at, .. } = host;
        if let Some(other) = hosts[..place].iter().find(|other| other.name == *name) {
            let text = format!("{at}: another host {name}, beside that of {}", other.at);
            return Err(Error::Usage(text));
        }
    }
    let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
    for one in all {
        let host = one.named.host.as_deref();
        match host {
            Some(host) if names.contains(&host) => {}
            Some(host) => {
                let there = if names.is_empty() { "none" } else { &names.join(", ") };
                let text = format!("no [[host]] is called {host}; there are: {there}");
                return Err(one.refuse("host", &text));
            }
            None if names.is_empty() => {}
            None => {
                let names = names.join(", ");
                let text = format!("it is on no host: add host = \"...\", one of {names}");
                return Err(one.refuse("host", &text));
            }
        }
        if host.is_some() && !one.named.role_given && all.len() > 1 {
            let text = "a rig of several hosts says who is the master: add role = \"master\", or \
                        role = \"subordinate\"";
            return Err(one.refuse("role", text));
        }
    }
    Ok(())
}

/// Which device, and where it says so.
fn of(one: &One, key: &str) -> String {
    let origin = one.layer.get(key).map(|given| &given.origin).or(one.at.as_ref());
    let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
    format!("of {}{origin}", one.named.serial)
}

fn not_left_alone(one: &One) -> Result<()> {
    let in_file = matches!(one.layer.get("role"), Some(Given { origin: Origin::File(_), .. }));
    if one.named.config.role != Role::Subordinate || !in_file {
        return Ok(());
    }
    let serial = &one.named.serial;
    let text = format!(
        "a subordinate, and no master in the rig: list the master too, or, where its pulses come \
         from elsewhere, record it with --serial {serial} --external-sync subordinate"
    );
    Err(one.refuse("role", &text))
}

/// One master, and subordinates.
fn roles(all: &[One]) -> Result<()> {
    for one in all {
        if !one.named.role_given {
            let text = "it has no role, though others have: add role = \"subordinate\", or \
                        role = \"master\" for the first in the chain of cables";
            return Err(one.refuse("role", text));
        }
        if one.named.config.role == Role::Standalone {
            let text = "a standalone among others: make it a master or a subordinate, or record it \
                        alone with --serial";
            return Err(one.refuse("role", text));
        }
    }
    let mut masters = all.iter().filter(|one| one.named.config.role == Role::Master);
    match (masters.next(), masters.next()) {
        (None, _) => Err(all[0].refuse(
            "role",
            "no device of the rig is a master: make the first in the chain of cables one, with \
             role = \"master\"",
        )),
        (Some(first), Some(second)) => {
            let text = format!(
                "a second master, beside that {}: a rig has one; make the others subordinates",
                of(first, "role")
            );
            Err(second.refuse("role", &text))
        }
        (Some(_), None) => Ok(()),
    }
}
