//! The files of a take, mapped.

use super::times::TrackTimes;
use crate::align::{self, Causes, DeviceFile};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{
    TAKE, TRIGGERS, elsewhere, file_stem, is_recording, is_taken, read_take, read_triggers,
};
use genlock_formats::k4a::{Recording, TrackName};
use genlock_formats::take::{Device, File, Take};
use genlock_formats::triggers::Triggers;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a frame is missing in files whose recorder left no list of losses.
const UNKNOWN: &str = "not in its file: no take.toml says why";

/// The recordings of a take, mapped, and what is known of their triggers. A [`super::Reader`]
/// borrows from them.
pub struct Files {
    path: PathBuf,
    take: Take,
    triggers: Range<u64>,
    pub(super) recordings: Vec<Mapped>,
}

/// A recording of one device.
pub(super) struct Mapped {
    pub path: PathBuf,
    pub map: Map,
    /// Its place in the take's list of devices.
    pub device: usize,
    pub times: Vec<TrackTimes>,
}

impl Files {
    /// Opens a take's folder, whether the take was finished or not, or a single recording of any
    /// recorder. A finished take is read by its `triggers.csv`; of other files every block's head
    /// is read, to number their frames.
    ///
    /// # Errors
    /// `File` when there is no such take or recording, or what it says of itself cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Self::without_take(path, &[path.to_owned()]);
        }
        if is_taken(&path.join(TAKE)) {
            return Self::of_take(path);
        }
        let entries = std::fs::read_dir(path).map_err(|cause| Error::file(path, &cause))?;
        let names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        if let Some(take) = names.iter().find(|name| is_taken(&name.join(TAKE))) {
            let take = take.display();
            return Err(Error::Usage(format!(
                "{} holds takes: name one, as {take}",
                path.display()
            )));
        }
        let mut files: Vec<_> = names.into_iter().filter(|path| is_recording(path)).collect();
        files.sort();
        if files.is_empty() {
            return Err(Error::file(path, &"a folder without recordings"));
        }
        Self::without_take(path, &files)
    }

    fn of_take(folder: &Path) -> Result<Self> {
        let take = read_take(folder)?;
        let (path, text) = (folder.join(TRIGGERS), read_triggers(folder)?);
        let triggers = Triggers::from_csv(&text).map_err(|what| Error::file(&path, &what))?;
        let listed = take.files.iter().find(|file| file.name == TRIGGERS);
        if listed.is_some_and(|listed| *listed != File::of(TRIGGERS, text.as_bytes())) {
            let text = "is not what was written, as take.toml lists it: bring back the original; \
                        single recordings can be read without it";
            return Err(Error::file(&path, &text));
        }
        agree(&take, &triggers).map_err(|what| Error::file(&folder.join(TAKE), &what))?;
        let files = take.devices.iter().map(|device| {
            // A name that leads out of the folder is no name of a file in it.
            let name = device.file.as_deref().and_then(|name| Path::new(name).file_name())?;
            Some(folder.join(name))
        });
        let files: Vec<_> = files.collect();
        Self::mapped(folder, take, &triggers, &files)
    }

    fn without_take(path: &Path, files: &[PathBuf]) -> Result<Self> {
        let devices: Vec<_> =
            files.iter().map(|file| DeviceFile::read(file)).collect::<Result<_>>()?;
        let (take, triggers) = align::of(&devices, &Causes::all(UNKNOWN))
            .map_err(|cause| Error::file(path, &cause))?;
        // The devices are in order of their serials, and the files in that of their names.
        let has = |file: &PathBuf, name: &str| {
            file.file_name().is_some_and(|own| own.to_string_lossy() == name)
        };
        let file = |name: &String| files.iter().find(|file| has(file, name));
        let files: Vec<_> = take
            .devices
            .iter()
            .map(|device| device.file.as_ref().and_then(file).cloned())
            .collect();
        Self::mapped(path, take, &triggers, &files)
    }

    fn mapped(
        path: &Path,
        take: Take,
        triggers: &Triggers,
        files: &[Option<PathBuf>],
    ) -> Result<Self> {
        let count = triggers.rows.len() as u64;
        let range = triggers.first..triggers.first.saturating_add(count);
        let mut recordings = Vec::new();
        for (device, file) in files.iter().enumerate() {
            let Some(file) = file else { continue };
            let stem = file_stem(&take.devices[device].serial);
            let of_track = |track: TrackName| {
                let column = format!("{stem}.{}", track.to_string().to_lowercase());
                Some(TrackTimes::new(track, triggers.first, triggers.column(&column)?))
            };
            recordings.push(Mapped {
                path: file.clone(),
                map: Map::open(file).map_err(|cause| missing(file, cause))?,
                device,
                times: TrackName::ALL.into_iter().filter_map(of_track).collect(),
            });
        }
        if recordings.is_empty() {
            return Err(Error::file(path, &"a take without recordings"));
        }
        Ok(Self { path: path.to_owned(), take, triggers: range, recordings })
    }

    /// What was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the take: its `take.toml`, or what its files tell.
    #[must_use]
    pub fn take(&self) -> &Take {
        &self.take
    }

    /// The triggers of the take.
    #[must_use]
    pub fn triggers(&self) -> Range<u64> {
        self.triggers.clone()
    }

    /// Bytes of all recordings.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.recordings.iter().map(|one| one.map.len() as u64).sum()
    }
}

/// That a take and its table of triggers are of each other.
fn agree(take: &Take, triggers: &Triggers) -> std::result::Result<(), String> {
    let rows = triggers.rows.len() as u64;
    for (place, device) in take.devices.iter().enumerate() {
        let Device { serial, first_trigger, trigger_count, .. } = device;
        if take.devices[..place].iter().any(|other| other.serial == *serial) {
            return Err(format!("lists the device {serial} twice"));
        }
        let agree = *first_trigger == triggers.first && *trigger_count <= rows;
        if device.file.is_some() && !agree {
            return Err(format!(
                "{serial} has {trigger_count} triggers from {first_trigger}, and triggers.csv has \
                 {rows} from {}",
                triggers.first
            ));
        }
    }
    Ok(())
}

fn missing(file: &Path, cause: Error) -> Error {
    if file.exists() {
        return cause;
    }
    let elsewhere = file.parent().and_then(elsewhere);
    let text = elsewhere.unwrap_or_else(|| {
        "bring it back; the other recordings of the take can be read one by one".to_owned()
    });
    Error::file(file, &format!("is missing, and take.toml names it: {text}"))
}

impl Mapped {
    pub fn recording(&self) -> Result<Recording<'_>> {
        Recording::open(&self.map).map_err(|cause| Error::file(&self.path, &cause))
    }
}
