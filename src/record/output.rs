//! Where a take goes: one file, or a folder with a file for each device and `take.toml`.

use crate::config::Output;
use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::disk::{Disk, PartFile, keep_name, part_path};
use genlock_formats::take::Take as TakeFile;
use std::fs;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

/// The evidence of a take.
pub const TRIGGERS: &str = "triggers.csv";

/// What a take is. It is written last: a take that has one was concluded.
pub const TAKE: &str = genlock_formats::take::NAME;

/// What is known of a take of several hosts whose recordings are not in its folder.
pub const GATHER: &str = "gather.toml";

/// Length of a `triggers.csv` at most: a day of a rig of four at 30 fps.
const TRIGGERS_BYTES_MAX: u64 = 1 << 30;

/// Length of a `take.toml` at most: a hundred thousand ranges of losses fit in.
const TAKE_BYTES_MAX: u64 = 16 << 20;

/// What the take in `folder` says of itself.
///
/// # Errors
/// `File` when its `take.toml` cannot be read, or is none.
pub fn read_take(folder: &Path) -> Result<TakeFile> {
    read_take_text(folder).map(|(take, _)| take)
}

/// The same, with its text.
///
/// # Errors
/// As [`read_take`].
pub fn read_take_text(folder: &Path) -> Result<(TakeFile, String)> {
    let path = folder.join(TAKE);
    let text = read_text(&path, TAKE_BYTES_MAX)?;
    let take = TakeFile::from_toml(&text).map_err(|cause| Error::file(&path, &cause))?;
    Ok((take, text))
}

/// Where the recordings are that a take of several hosts lacks in `folder`, in words; none where it
/// has all of its own.
#[must_use]
pub fn elsewhere(folder: &Path) -> Option<String> {
    let text = read_text(&folder.join(GATHER), TAKE_BYTES_MAX).ok()?;
    let known = text.parse::<toml::Table>().ok()?;
    let place = known.get("place").and_then(toml::Value::as_str);
    Some(match place {
        Some(place) => format!("its recordings are in {place}, or still on its hosts"),
        None => "recordings of it are on its hosts: genlock gather fetches them".to_owned(),
    })
}

/// The text of the `triggers.csv` of the take in `folder`.
///
/// # Errors
/// `File` when it cannot be read.
pub fn read_triggers(folder: &Path) -> Result<String> {
    read_text(&folder.join(TRIGGERS), TRIGGERS_BYTES_MAX)
}

/// Where a take goes. Dropped before the take was concluded, it removes the folders that it made,
/// as far as they are empty.
#[derive(Debug)]
pub struct Place {
    output: Output,
    /// Folders that were not there, outermost first.
    made: Vec<PathBuf>,
}

impl Place {
    /// Makes the folder of a take, with the folders above it.
    ///
    /// # Errors
    /// `Disk` when it cannot be made; `Usage` when it is there already.
    pub fn create(output: &Output) -> Result<Self> {
        let mut place = Self { output: output.clone(), made: Vec::new() };
        if let Output::Folder(folder) = output {
            let missing: Vec<_> = folder.ancestors().take_while(|path| is_missing(path)).collect();
            for path in missing.into_iter().rev() {
                fs::create_dir(path).map_err(|cause| Error::disk("cannot create", path, &cause))?;
                place.made.push(path.to_owned());
                keep_name(path)?;
            }
            if place.made.is_empty() {
                let folder = folder.display();
                return Err(Error::Usage(format!("{folder} exists and is not overwritten")));
            }
        }
        Ok(place)
    }

    /// The folder of a take that is there already.
    #[must_use]
    pub fn of_take(folder: &Path) -> Self {
        Self { output: Output::Folder(folder.to_owned()), made: Vec::new() }
    }

    /// The file of the device with `serial`.
    ///
    /// # Errors
    /// `Disk` when it cannot be created.
    pub fn file(&self, serial: &str) -> Result<Box<dyn Disk>> {
        let path = match &self.output {
            Output::File(path) => path.clone(),
            Output::Folder(folder) => folder.join(file_name(serial)),
        };
        let file = PartFile::create(&path)?;
        // What is made durable in mid-take is of use under a name alone.
        keep_name(&part_path(&path))?;
        Ok(Box::new(file))
    }

    /// Writes `triggers.csv` and then `take.toml`, whole or not at all, and makes them durable.
    /// What somebody else put there meanwhile stays. A single file has neither.
    ///
    /// # Errors
    /// `Disk` when it cannot be written; the recordings are whole all the same.
    pub fn conclude(&self, take: &TakeFile, triggers: &str) -> Result<()> {
        let Output::Folder(folder) = &self.output else {
            return Ok(());
        };
        write(folder, TRIGGERS, triggers)?;
        write(folder, TAKE, &take.to_toml())
    }
}

/// Writes a file of the take, whole or not at all.
fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let mut file = PartFile::create_part(&folder.join(name))?;
    file.append(&mut [IoSlice::new(text.as_bytes())])?;
    file.sync()?;
    file.publish()
}

/// Whether a path has the name of a recording, finished or not.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".mkv") || name.ends_with(".mkv.part")
}

/// The name of a device's file within a take.
#[must_use]
pub fn file_name(serial: &str) -> String {
    format!("{}.mkv", file_stem(serial))
}

/// The serial as it stands in names of files and columns.
#[must_use]
pub fn file_stem(serial: &str) -> String {
    // A serial is printable ASCII (usb-protocol.md 3.3), but what names a file must not name a
    // folder.
    let safe = serial.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    safe.collect()
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.exists()
}

impl Drop for Place {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // Only an empty folder goes; one with a take in it stays, and so do those above it.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}
