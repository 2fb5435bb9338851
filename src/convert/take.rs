//! A take, stored in another profile.

use super::file::{Converted, store};
use super::{How, Watch};
use crate::config::Output;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{Place, TRIGGERS, read_triggers};
use crate::repair::{is_converting, refuse_growing, refuse_taken};
use genlock_formats::k4a::Recording;
use genlock_formats::take::{File, Outcome, Take, level_word};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What came of storing a take in another profile.
#[derive(Debug, Clone, Serialize)]
pub struct TakeConverted {
    /// The files, by name.
    pub files: Vec<(String, Converted)>,
    /// What is wrong with the take beside that.
    pub problems: Vec<String>,
    /// What the take is now.
    pub take: Take,
}

/// Stores the take in `folder`, of which its `take.toml` says `take`, and whose recordings are
/// `files`, in another profile, in the new folder `output`.
///
/// # Errors
/// As those of [`super::file`], for the first file that has one. Nothing is left then.
pub fn take(
    (folder, take, files): (&Path, &Take, &[PathBuf]),
    output: &Path,
    how: How,
    watch: &mut Watch<'_>,
) -> Result<TakeConverted> {
    if take.profile == how.profile {
        return Err(Error::Usage(format!(
            "{} is of profile {} already: nothing is to be done",
            folder.display(),
            how.profile
        )));
    }
    files.iter().try_for_each(|file| refuse_growing(file))?;
    refuse_interrupted(output)?;
    refuse_taken(output)?;
    refuse_inside(folder, output)?;
    let triggers = read_triggers(folder)?;
    let place = Place::create(&Output::Folder(output.to_owned()))?;
    let mut stored = Vec::new();
    let done = store_all((take, files), output, how, watch, &mut stored)
        .and_then(|converted| concluded(&place, converted, &triggers));
    if done.is_err() {
        // Files without the take that they are of would be taken for one that was not finished.
        for path in stored {
            let _ = std::fs::remove_file(path);
        }
    }
    done
}

fn store_all(
    (take, files): (&Take, &[PathBuf]),
    output: &Path,
    how: How,
    watch: &mut Watch<'_>,
    stored: &mut Vec<PathBuf>,
) -> Result<TakeConverted> {
    let mut converted = TakeConverted {
        files: Vec::new(),
        problems: missing(take, files),
        take: Take {
            profile: how.profile,
            level: level_word(how.profile, how.level),
            files: Vec::new(),
            ..take.clone()
        },
    };
    for file in files {
        let old = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What comes out is finished.
        let name = old.strip_suffix(".part").unwrap_or(&old);
        let map = Map::open(file)?;
        let listed = take.files.iter().find(|listed| listed.name == old);
        converted.problems.extend(listed.and_then(|listed| changed(listed, &map)));
        // One file that cannot be read does not keep the others from being converted.
        let recording = match Recording::open(&map) {
            Ok(recording) => recording,
            Err(cause) => {
                converted.problems.push(Error::file(file, &cause).to_string());
                continue;
            }
        };
        let path = output.join(name);
        let one = store((file, &map, &recording), &path, how, watch)?;
        stored.push(path);
        let same = |device: &&mut genlock_formats::take::Device| device.file.as_ref() == Some(&old);
        for device in converted.take.devices.iter_mut().filter(same) {
            (device.file, device.bytes) = (Some(name.to_owned()), one.bytes_after);
        }
        let (name, bytes, crc32) = (name.to_owned(), one.bytes_after, one.crc32.clone());
        converted.take.files.push(File { name: name.clone(), bytes, crc32 });
        converted.files.push((name, one));
    }
    if converted.files.is_empty() {
        return Err(Error::File(converted.problems.join("; ")));
    }
    Ok(converted)
}

fn concluded(place: &Place, converted: TakeConverted, triggers: &str) -> Result<TakeConverted> {
    let mut converted = converted;
    tell_of_damage(&mut converted);
    converted.take.files.push(File::of(TRIGGERS, triggers.as_bytes()));
    place.conclude(&converted.take, triggers)?;
    Ok(converted)
}

/// The new files have what was left, and a list of bytes that fits them: that their source had
/// more, the new take alone can tell.
fn tell_of_damage(converted: &mut TakeConverted) {
    let files = converted.files.iter();
    let lost = files.filter(|(_, file)| !file.lost.is_empty()).map(|(name, _)| name.as_str());
    let what: Vec<_> = lost.chain(converted.problems.iter().map(String::as_str)).collect();
    if converted.take.outcome != Outcome::Failed && !what.is_empty() {
        converted.take.outcome = Outcome::Failed;
        let what = what.join("; ");
        converted.take.reason = Some(format!("converted from damaged files: {what}"));
    }
}

/// A conversion that was killed leaves a folder that is no take.
fn refuse_interrupted(output: &Path) -> Result<()> {
    let entries = std::fs::read_dir(output).into_iter().flatten().flatten();
    match entries.map(|entry| entry.path()).find(|path| is_converting(path)) {
        None => Ok(()),
        Some(path) => Err(Error::Usage(format!(
            "{} holds {}, of a conversion that was interrupted or still goes on: remove the \
             folder when none does, what it was made of is whole",
            output.display(),
            path.display()
        ))),
    }
}

/// A folder in a take is none of its recordings.
fn refuse_inside(folder: &Path, output: &Path) -> Result<()> {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (parent.canonicalize(), folder.canonicalize()) {
        (Ok(parent), Ok(folder)) if parent.starts_with(&folder) => {
            Err(Error::Usage(format!("{} is inside the take: put it beside it", output.display())))
        }
        _ => Ok(()),
    }
}

/// Files that the take names and does not have.
fn missing(take: &Take, files: &[PathBuf]) -> Vec<String> {
    let is_there = |name: &&String| {
        !files.iter().any(|file| file.file_name() == Some(std::ffi::OsStr::new(name)))
    };
    let named = take.devices.iter().filter_map(|device| device.file.as_ref());
    named.filter(is_there).map(|name| format!("{name}: is missing")).collect()
}

/// That a file is not the one that `take.toml` lists: once it is stored otherwise, nothing else
/// tells it.
fn changed(listed: &File, map: &Map) -> Option<String> {
    let found = File::of(&listed.name, map);
    (!listed.has_bytes_of(&found)).then(|| {
        format!("{}: does not have the bytes that were written, as take.toml lists", listed.name)
    })
}
