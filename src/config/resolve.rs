//! From what was asked for, in a rig file and on a command line, to what is done: the only place
//! that lays settings over each other and checks them together.

use super::keys::{self, Key, Whole};
use super::layers::Layers;
use super::played::Played;
use super::rig_file::RigFile;
use super::setting::{Flag, Given, Layer, Origin, value_of};
use super::take_played::TakePlayed;
use super::{Devices, Host, Keeping, Opening, Pick, Storing, Wanted, emulated_serial};
use crate::error::{Error, Result};
use genlock_formats::k4a::Rate;
use genlock_formats::take::Profile;
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The rig file.
    pub rig: Option<PathBuf>,
    /// The one device that is wanted, if it is one.
    pub pick: Option<Pick>,
    /// Settings made with flags of their own.
    pub flags: Vec<Flag>,
    /// The texts behind `--set`: `KEY=VALUE` or `SERIAL.KEY=VALUE`.
    pub sets: Vec<String>,
}

/// The devices of a rig, and what they do.
#[derive(Debug, PartialEq)]
pub struct Rig {
    /// Where the devices are.
    pub devices: Devices,
    /// Which of them are used, and what each of them does.
    pub wanted: Wanted,
    /// What happens between the first frames and the take.
    pub opening: Opening,
    /// How the take is kept from harm.
    pub keeping: Keeping,
    /// How the take is stored.
    pub storing: Storing,
    /// The depth engine to load, if it is not the usual one.
    pub depth_engine: Option<PathBuf>,
    /// Triggers of the take that is played, if one is.
    pub triggers: Option<u64>,
    /// The machines that the rig spans; none where it is all on this one.
    pub hosts: Vec<Host>,
    /// The folder with the certificate to speak to them with.
    pub certs: Option<PathBuf>,
}

impl Rig {
    /// Triggers per second: the devices of a rig have one rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        match &self.wanted {
            Wanted::Alike { config, .. } => config.rate,
            Wanted::Each(named) => named.first().map_or(Rate::Fps30, |first| first.config.rate),
        }
    }

    /// Whether there can be more than one device.
    #[must_use]
    pub fn is_several(&self) -> bool {
        match (&self.wanted, &self.devices) {
            (Wanted::Each(named), _) => named.len() > 1,
            (Wanted::Alike { pick: Pick::All, .. }, Devices::Emulated { faults, .. }) => {
                faults.len() > 1
            }
            (Wanted::Alike { pick, .. }, _) => *pick == Pick::All,
        }
    }
}

impl Asked {
    /// Checks everything that was asked for, and says what is to be done. Nothing is touched.
    ///
    /// # Errors
    /// `Usage` when it cannot be done as asked; `File` when the recording to play cannot be read.
    pub fn resolve(&self) -> Result<Rig> {
        self.over_file(&self.rig.as_deref().map(RigFile::read).transpose()?.unwrap_or_default())
    }

    /// The same with the text of the rig file at hand; `rig` is what complaints call it.
    ///
    /// # Errors
    /// As [`Asked::resolve`].
    pub fn resolve_text(&self, text: &str) -> Result<Rig> {
        self.over_file(&RigFile::parse(self.rig.as_deref().unwrap_or("rig file".as_ref()), text)?)
    }

    fn over_file(&self, file: &RigFile) -> Result<Rig> {
        let (over, scoped) = self.over()?;
        let all = file.top.under(&over);
        let mut whole = Whole::default();
        for (key, given) in all.iter() {
            if let Some(Key::Whole(set)) = keys::find(key) {
                set(&mut whole, &given.value).map_err(|why| all.complaint(key, None, &why))?;
            }
        }
        let Opening { lock_exposure, lock_white_balance, copy_master, .. } = whole.opening;
        if copy_master && !lock_exposure && !lock_white_balance {
            let why = "there is nothing to copy: set lock_exposure or lock_white_balance too";
            return Err(all.complaint("copy_master", None, why));
        }
        if !file.hosts.is_empty() {
            nothing_of_one_machine(&all)?;
        }
        if whole.storing.profile == Profile::K4a {
            nothing_to_pack(&all)?;
        }
        let take = match whole.from.as_deref().filter(|path| path.is_dir()) {
            Some(path) => Some(take_played(path, file, &all)?),
            None => None,
        };
        let of_take = take.as_ref().map(|take| RigFile::parse("take".as_ref(), &take.rig));
        let of_take = of_take.transpose()?;
        let file = of_take.as_ref().unwrap_or(file);
        let emulated = file.emulator || all.get("emulator.devices").is_some();
        let count = emulated.then(|| whole.devices.unwrap_or(file.devices.len().max(1)));
        let of_file = whole.from.as_deref().filter(|_| emulated && take.is_none());
        let of_file: Vec<_> = of_file.map(Played::open).transpose()?.into_iter().collect();
        let played = take.as_ref().map_or(&of_file[..], |take| &take.films[..]);
        let recorded = of_file.first().and_then(|played| played.serial.as_deref());
        let serial = |place| emulated_serial(place, recorded);
        let emulated: Vec<_> = match &take {
            Some(take) => take.serials.clone(),
            None => (0..count.unwrap_or(0)).map(serial).collect(),
        };
        let pick = self.pick.as_ref();
        let layers = Layers::new(file, over, scoped, &emulated, played, pick)?;
        let wanted = layers.wanted()?;
        let faults = (0..)
            .zip(&emulated)
            .map(|(place, serial)| layers.faults(serial, whole.seed.wrapping_add(place)));
        Ok(Rig {
            devices: match count {
                Some(_) => {
                    Devices::Emulated { faults: faults.collect::<Result<_>>()?, from: whole.from }
                }
                None => Devices::Usb,
            },
            wanted,
            opening: match &take {
                Some(take) if take.counts_from_reset => {
                    Opening { first_trigger: take.begins_at, ..whole.opening }
                }
                _ => whole.opening,
            },
            keeping: whole.keeping,
            storing: whole.storing,
            depth_engine: whole.depth_engine,
            triggers: take.map(|take| take.triggers),
            hosts: file.hosts.clone(),
            certs: whole.certs,
        })
    }

    /// What the command line sets for all, and what for one device: the key with the device before
    /// it.
    fn over(&self) -> Result<(Layer, Vec<(String, Given)>)> {
        let (mut over, mut scoped) = (Layer::default(), Vec::new());
        for Flag { flag, key, value } in &self.flags {
            over.put(key, Given { value: value.clone(), origin: Origin::Flag(flag) })?;
        }
        for text in &self.sets {
            let Some((key, value)) = text.split_once('=') else {
                return Err(Error::Usage(format!(
                    "--set {text}: is not KEY=VALUE or SERIAL.KEY=VALUE, as in gain=10"
                )));
            };
            let (key, value) = (key.trim(), value_of(value.trim()));
            let given = Given { value, origin: Origin::Set(text.clone()) };
            let plain = key.strip_prefix("emulator.").filter(|rest| rest.starts_with("faults."));
            let plain = plain.unwrap_or(key);
            let known = keys::find(plain).is_some() || plain.starts_with("faults.");
            if plain == "name" {
                return Err(Error::Usage(format!(
                    "--set {text}: a name is of one device: write SERIAL.name=..."
                )));
            }
            match known || !key.contains('.') {
                true => over.put(plain, given)?,
                false => scoped.push((key.to_owned(), given)),
            }
        }
        Ok((over, scoped))
    }
}

/// The take that is played; it brings its own rig.
fn take_played(path: &Path, file: &RigFile, all: &Layer) -> Result<TakePlayed> {
    if let Some(rig) = &file.path {
        return Err(Error::Usage(format!(
            "{} is a take, and brings its own rig: leave {} out, or play one recording of the take",
            path.display(),
            rig.display()
        )));
    }
    let take = TakePlayed::open(path)?;
    if all.get("emulator.devices").is_some() {
        let why = format!(
            "{} is a take of {} devices, and all of them play: leave it out, or play one recording \
             of the take",
            path.display(),
            take.serials.len()
        );
        return Err(all.complaint("emulator.devices", None, &why));
    }
    Ok(take)
}

/// That a rig which spans machines asks for nothing that is on one of them.
fn nothing_of_one_machine(all: &Layer) -> Result<()> {
    let refused = [
        ("emulator.from", "a recording is a file of one machine, and this rig spans several"),
        (
            "depth_engine",
            "it is a file of each host: start genlock agent with --depth-engine there",
        ),
        ("copy_master", "the master's settings are not known to other hosts: lock each by itself"),
    ];
    for (key, why) in refused {
        if all.get(key).is_some() {
            return Err(all.complaint(key, None, &format!("{key}: {why}; leave it out")));
        }
    }
    Ok(())
}

/// That nothing is said of packing where the profile packs nothing. What a rig file says of it
/// stays unused when the command line chooses the other profile.
fn nothing_to_pack(all: &Layer) -> Result<()> {
    let in_file = |given: &Given| matches!(given.origin, Origin::File(_));
    let over_file = all.get("profile").is_some_and(|profile| !in_file(profile));
    for key in ["level", "encoders"] {
        if all.get(key).is_some_and(|given| !(in_file(given) && over_file)) {
            let flag = if key == "level" { " (--level)" } else { "" };
            let why = format!(
                "{key}{flag} is of profile compact, and nothing is packed in profile k4a: set \
                 profile = \"compact\" (--profile compact) too, or leave it out"
            );
            return Err(all.complaint(key, None, &why));
        }
    }
    Ok(())
}
