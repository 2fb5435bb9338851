//! The rig file: TOML, read into layers of settings that know the line they stand on.
//! docs/rig.md describes it.

use super::keys::{self, Key};
use super::lines::{self, Lines, in_order};
use super::setting::{Given, Layer, Origin};
use super::values::{printable, unknown};
use super::{EMULATED_MAX, Host};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

/// What a rig file says, each setting checked by itself.
#[derive(Debug, Default)]
pub(super) struct RigFile {
    /// The file; none where no rig file was given.
    pub path: Option<PathBuf>,
    /// What holds for the rig, and for all devices unless they say otherwise.
    pub top: Layer,
    /// Whether there is an `[emulator]`.
    pub emulator: bool,
    /// Every `[[device]]`.
    pub devices: Vec<Entry>,
    /// Every `[[host]]`.
    pub hosts: Vec<Host>,
}

/// A `[[device]]`.
#[derive(Debug)]
pub(super) struct Entry {
    pub serial: String,
    /// Where its serial stands.
    pub at: Origin,
    pub layer: Layer,
}

/// A part of the file, with keys of its own.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Top,
    Emulator,
    Device,
    Faults,
}

impl Part {
    /// What stands before the part's keys where all keys are in one space.
    fn prefix(self) -> &'static str {
        match self {
            Self::Top | Self::Device => "",
            Self::Emulator => "emulator.",
            Self::Faults => "faults.",
        }
    }

    /// The tables that the part holds.
    fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["emulator", "device", "host"],
            Self::Emulator => &["faults"],
            Self::Device => &["serial", "faults"],
            Self::Faults => &[],
        }
    }

    fn has(self, key: &str) -> bool {
        match keys::find(key) {
            // The names of faults are looked up with their values.
            None => self == Self::Faults,
            Some(Key::Whole(_)) => match self {
                Self::Top => !key.starts_with("emulator."),
                Self::Emulator => key.starts_with("emulator."),
                Self::Device | Self::Faults => false,
            },
            Some(Key::Device(_)) => {
                self == Self::Device || self == Self::Top && key != "name" && key != "host"
            }
        }
    }

    fn unknown(self, name: &str) -> String {
        let all = keys::all();
        let own = all.iter().filter(|key| self.has(key));
        let own = own.filter_map(|key| key.strip_prefix(self.prefix()));
        let known: Vec<_> = own.chain(self.tables().iter().copied()).collect();
        match keys::find(name) {
            Some(Key::Whole(_)) => format!("{name} is of the whole rig: put it at the top"),
            Some(Key::Device(_)) if name == "name" || self == Self::Emulator => {
                format!("{name} is of a device: put it under its [[device]]")
            }
            _ => unknown(name, &known),
        }
    }
}

impl RigFile {
    /// Reads a rig file.
    ///
    /// # Errors
    /// `Usage` with file, line and column.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &lines::read(path, "rig file")?)
    }

    /// Reads the text of the rig file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let reader = Reader(Lines { path, text });
        let table = reader.whole()?;
        let mut file = Self { path: Some(path.to_owned()), ..Self::default() };
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "emulator" => {
                    file.emulator = true;
                    reader.table(Part::Emulator, &key, value, &mut file.top)?;
                }
                "device" => file.devices = reader.list("device", value, Reader::device)?,
                "host" => file.hosts = reader.list("host", value, Reader::host)?,
                _ => reader.setting(Part::Top, &key, value, &mut file.top)?,
            }
        }
        file.check(&reader)?;
        Ok(file)
    }

    fn check(&self, reader: &Reader) -> Result<()> {
        if let (true, Some(host)) = (self.devices.is_empty(), self.hosts.first()) {
            return Err(Error::Usage(format!(
                "{}: a [[host]], and no [[device]] on it: list each device, with host = \"{}\"",
                host.at, host.name
            )));
        }
        if self.devices.is_empty() && !self.emulator {
            return Err(Error::Usage(format!(
                "{}: no [[device]] in it, and no [emulator]: genlock rig init writes a rig file \
                 of what is plugged in",
                reader.path.display()
            )));
        }
        if let (Some(entry), true) = (self.devices.get(EMULATED_MAX), self.emulator) {
            let at = &entry.at;
            return Err(Error::Usage(format!("{at}: more than {EMULATED_MAX} emulated devices")));
        }
        for (i, entry) in self.devices.iter().enumerate() {
            let same = self.devices[..i].iter().find(|other| other.serial == entry.serial);
            if let Some(other) = same {
                return Err(Error::Usage(format!(
                    "{}: serial {} is also at {}: a device is listed once",
                    entry.at, entry.serial, other.at
                )));
            }
            let faults = entry.layer.iter().find(|(key, _)| key.starts_with("faults."));
            if let (Some((key, given)), false) = (faults, self.emulator) {
                return Err(Error::Usage(format!(
                    "{}: {key}: only emulated devices have faults: add an [emulator] table, or \
                     leave [device.faults] out",
                    given.origin
                )));
            }
        }
        Ok(())
    }
}

/// Reads the parts of a rig file.
struct Reader<'a>(Lines<'a>);

impl<'a> Deref for Reader<'a> {
    type Target = Lines<'a>;

    fn deref(&self) -> &Lines<'a> {
        &self.0
    }
}

impl Reader<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File(self.at(span))
    }

    /// The settings of a part that is a table of its own.
    fn table(
        &self,
        part: Part,
        name: &Spanned<Cow<str>>,
        value: Spanned<DeValue>,
        layer: &mut Layer,
    ) -> Result<()> {
        let DeValue::Table(table) = value.into_inner() else {
            let why = format!("{} is a table, with keys of its own", name.get_ref());
            return Err(self.refuse(name.span(), &why));
        };
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "faults" if part != Part::Faults => {
                    self.table(Part::Faults, &key, value, layer)?;
                }
                _ => self.setting(part, &key, value, layer)?,
            }
        }
        Ok(())
    }

    fn setting(
        &self,
        part: Part,
        name: &Spanned<Cow<str>>,
        value: Spanned<DeValue>,
        layer: &mut Layer,
    ) -> Result<()> {
        let key = format!("{}{}", part.prefix(), name.get_ref());
        if !part.has(&key) {
            return Err(self.refuse(name.span(), &part.unknown(name.get_ref())));
        }
        let mut value = self.value(value)?;
        if let Value::String(path) = &mut value {
            // A depth engine without a folder is a library that the loader knows where to find.
            let is_path = ["emulator.from", "certs"].contains(&key.as_str())
                || key == "depth_engine" && path.contains('/');
            if is_path {
                *path = self.beside(path);
            }
        }
        layer.put(&key, Given { value, origin: self.origin(&name.span()) })
    }

    /// A list of tables.
    fn list<T>(
        &self,
        name: &str,
        value: Spanned<DeValue>,
        read: fn(&Self, Range<usize>, DeTable) -> Result<T>,
    ) -> Result<Vec<T>> {
        let why =
            format!("{name} is a list of tables: write [[{name}]] above the keys of each {name}");
        let span = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            return Err(self.refuse(span, &why));
        };
        let one = |value: Spanned<DeValue>| {
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(table) => read(self, span, table),
                _ => Err(self.refuse(span, &why)),
            }
        };
        array.into_iter().map(one).collect()
    }

    fn host(&self, span: Range<usize>, table: DeTable) -> Result<Host> {
        let (mut name, mut endpoint) = (None, None);
        let at = self.at(&span);
        for (key, value) in in_order(table) {
            let place = match key.get_ref().as_ref() {
                "name" => &mut name,
                "endpoint" => &mut endpoint,
                other => {
                    let why = unknown(other, &["name", "endpoint"]);
                    return Err(self.refuse(key.span(), &why));
                }
            };
            let (at, value) = (self.at(&key.span()), self.value(value)?);
            let text = printable(&value);
            *place = Some(text.map_err(|why| {
                Error::Usage(format!("{at}: {} = {value}: {why}", key.get_ref()))
            })?);
        }
        match (name, endpoint) {
            (Some(name), Some(endpoint)) => Ok(Host { name, endpoint, at }),
            _ => {
                let why = "a [[host]] has a name and an endpoint: name = \"a\", endpoint = \
                           \"tls/10.0.0.2:7447\"";
                Err(self.refuse(span, why))
            }
        }
    }

    fn device(&self, span: Range<usize>, table: DeTable) -> Result<Entry> {
        let (mut serial, mut layer) = (None, Layer::default());
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "serial" => {
                    let at = self.origin(&key.span());
                    let value = self.value(value)?;
                    let text = printable(&value);
                    let text = text.map_err(|why| format!("{at}: serial = {value}: {why}"));
                    serial = Some((text.map_err(Error::Usage)?, at));
                }
                "faults" => self.table(Part::Faults, &key, value, &mut layer)?,
                _ => self.setting(Part::Device, &key, value, &mut layer)?,
            }
        }
        let Some((serial, at)) = serial else {
            let why =
                "a [[device]] without a serial: add serial = \"...\" as genlock list shows it";
            return Err(self.refuse(span, why));
        };
        Ok(Entry { serial, at, layer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        RigFile::parse(Path::new("rig.toml"), text).expect_err("no rig file").to_string()
    }

    #[test]
    fn settings_know_where_they_stand() {
        let text = "rate = 15\n[emulator]\nfrom = \"a.mkv\"\n  faults.clock_ppm = 3\n\
                    [[device]]\nserial = \"7\"\n [device.faults]\njitter_us=9\n";
        let file = RigFile::parse(Path::new("rigs/studio.toml"), text).expect("a rig file");
        let given = |layer: &Layer, key| layer.get(key).expect("a setting").clone();
        let clock = given(&file.top, "faults.clock_ppm");
        assert_eq!(clock.origin.to_string(), "rigs/studio.toml:4:10");
        assert_eq!(given(&file.top, "emulator.from").value, Value::from("rigs/a.mkv"));
        let entry = &file.devices[0];
        assert_eq!(
            (entry.serial.as_str(), entry.at.to_string()),
            ("7", "rigs/studio.toml:6:1".into())
        );
        assert_eq!(given(&entry.layer, "faults.jitter_us").value, Value::from(9));
    }

    #[test]
    fn what_is_no_rig_file_is_refused_with_its_place() {
        for (text, words) in [
            ("", "no [[device]]"),
            ("rate = 30\n", "no [[device]]"),
            ("rate = \n", "rig.toml:1:8: "),
            ("# é\nrate = 30\nrate = 15\n", "rig.toml:3:1: duplicate key"),
            ("[[device]]\nname = \"a\"\n", "rig.toml:1:1: a [[device]] without a serial"),
            ("[[device]]\nserial = 12\n", "rig.toml:2:1: serial = 12: takes a text"),
            ("[[device]]\nserial = \"1\\u0007\"\n", "printed"),
            ("[device]\nserial = \"1\"\n", "write [[device]]"),
            ("device = [1]\n", "rig.toml:1:11: device is a list of tables"),
            ("emulator = 3\n", "rig.toml:1:1: emulator is a table"),
            ("rate = 99999999999999999999\n", "rig.toml:1:8: "),
        ] {
            let told = refusal(text);
            assert!(told.contains(words), "{text:?}: {told}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_of_their_part() {
        for (text, words) in [
            ("rat = 30\n", "rig.toml:1:1: unknown key rat: did you mean rate?"),
            (
                "[emulator]\n  device = 3\n",
                "rig.toml:2:3: unknown key device: did you mean devices?",
            ),
            ("[emulator.faults]\nclok_ppm = 3\n", "rig.toml:2:1: faults.clok_ppm"),
            ("[emulator.faults]\nclok_ppm = 3\n", "did you mean clock_ppm?"),
            ("[[device]]\nserail = \"1\"\n", "did you mean serial?"),
            ("[[device]]\nzzz = \"1\"\n", "there are name, host, role, rate"),
            ("[[device]]\nwarm_up = \"1s\"\n", "put it at the top"),
            ("name = \"a\"\n", "put it under its [[device]]"),
            ("[emulator]\nrate = 30\n", "put it under its [[device]]"),
        ] {
            let told = refusal(text);
            assert!(told.contains(words), "{text:?}: {told}");
        }
    }
}
