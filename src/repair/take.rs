//! A take whose recorder did not come to conclude it: its files, and then what the recorder would
//! have written about them.

use super::file::{copy, into_new_file, refuse_growing, refuse_taken, where_it_lies};
use super::own_name;
use super::report::Report;
use crate::align::{self, Causes, DeviceFile};
use crate::config::Output;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{Place, TAKE, TRIGGERS, is_recording, is_taken, read_take};
use genlock_formats::k4a::Recording;
use genlock_formats::take::{File as ListedFile, Outcome, Take};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Why a frame is missing, and when one arrived, that only the recorder could have told.
const UNKNOWN: &str = "unknown: the recorder did not come to say";

/// What a repaired take gives as its reason.
pub const UNFINISHED: &str =
    "the recorder did not come to finish the take; it was repaired from its files";

/// What came of repairing a take.
#[derive(Debug, Clone, Serialize)]
pub struct TakeReport {
    /// The files, by name.
    pub files: Vec<(String, Report)>,
    /// Files that are beyond repair, and why.
    pub failed: Vec<String>,
    /// What the take is now; none of one that was concluded, and is left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take: Option<Take>,
}

/// Repairs the unfinished take in `folder`: into the new folder `output`, or where it lies.
///
/// # Errors
/// `Usage` when `output` is taken, the take is still being recorded, or is none of ours; `File`
/// when nothing of it can be repaired; `Disk` when it cannot be written.
pub fn take(folder: &Path, output: Option<&Path>) -> Result<TakeReport> {
    let files = recordings(folder)?;
    if is_taken(&folder.join(TAKE)) {
        return concluded(folder, &files);
    }
    for file in &files {
        refuse_growing(file)?;
    }
    let mut report = TakeReport { files: Vec::new(), failed: Vec::new(), take: None };
    let place = match output {
        Some(output) => Place::create(&Output::Folder(output.to_owned()))?,
        None => {
            refuse_taken(&folder.join(TRIGGERS))?;
            Place::of_take(folder)
        }
    };
    let target = output.unwrap_or(folder);
    for file in &files {
        let path = target.join(name_in_take(file));
        let repaired = match output {
            Some(_) => copied(file, &path),
            None => where_it_lies(file),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match repaired {
            Ok(repaired) => report.files.push((name, repaired)),
            // One file beyond repair does not hide the others.
            Err(Error::File(cause)) => report.failed.push(cause),
            Err(cause) => return Err(cause),
        }
    }
    if report.files.is_empty() {
        return Err(Error::File(report.failed.join("; ")));
    }
    let devices = report.files.iter().map(|(name, _)| DeviceFile::read(&target.join(name)));
    let devices: Vec<_> = devices.collect::<Result<_>>()?;
    let (mut take, triggers) =
        align::of(&devices, &Causes::all(UNKNOWN)).map_err(|cause| Error::file(folder, &cause))?;
    take.outcome = Outcome::Failed;
    take.reason = Some(UNFINISHED.to_owned());
    let triggers = triggers.to_csv();
    for (name, _) in &report.files {
        take.files.push(ListedFile::of(name, &Map::open(&target.join(name))?));
    }
    take.files.push(ListedFile::of(TRIGGERS, triggers.as_bytes()));
    place.conclude(&take, &triggers)?;
    report.take = Some(take);
    Ok(report)
}

/// A take that was concluded has nothing to be repaired in it but, perhaps, single files, of which
/// `take.toml` says what they were.
fn concluded(folder: &Path, files: &[PathBuf]) -> Result<TakeReport> {
    let mut report = TakeReport { files: Vec::new(), failed: Vec::new(), take: None };
    let take = read_take(folder)?;
    for file in files {
        let map = Map::open(file)?;
        let recording = Recording::open(&map).map_err(|cause| Error::file(file, &cause));
        let is_sound = recording.is_ok_and(|r| r.demuxer().is_sound_around_clusters());
        if own_name(file).is_some() || !is_sound {
            return Err(Error::File(format!(
                "{} has a take.toml: it was concluded; repair its file {} alone",
                folder.display(),
                file.display()
            )));
        }
        let name = name_in_take(file).to_string_lossy().into_owned();
        let listed = take.files.iter().find(|listed| listed.name == name);
        if listed.is_some_and(|listed| *listed != ListedFile::of(&name, &map)) {
            return Err(Error::File(format!(
                "{} does not have the bytes that were written, as take.toml lists: what they were \
                 nobody knows, and nothing can be repaired; genlock verify tells what is damaged",
                file.display()
            )));
        }
        report.files.push((name, Report { bytes: map.len() as u64, ..Report::default() }));
    }
    Ok(report)
}

/// What the name of a file ends in while a conversion writes it. Not `.part`: that may be the name
/// of its source, and stands for a recording that was not finished.
pub const CONVERTING: &str = "converting";

/// Whether it is a file that a conversion was writing.
pub fn is_converting(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == CONVERTING)
}

/// The recordings in a folder, all of them ours.
fn recordings(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::file(folder, &cause))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let paths: Vec<_> = paths.collect();
    if let Some(path) = paths.iter().find(|path| is_converting(path)) {
        return Err(Error::Usage(format!(
            "{} holds {}, of a conversion that was interrupted: what it was made of is whole; \
             remove the folder, and convert again",
            folder.display(),
            path.display()
        )));
    }
    let mut files: Vec<_> = paths.into_iter().filter(|path| is_recording(path)).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::file(folder, &"a folder without recordings"));
    }
    if let Some(twice) = files.windows(2).find(|two| own_name(&two[1]).as_ref() == Some(&two[0])) {
        let file = twice[0].display();
        return Err(Error::File(format!("{file} is there twice, with .part and without it")));
    }
    for file in &files {
        let map = Map::open(file)?;
        let is_ours = |r: Recording<'_>| r.demuxer().is_ours();
        if Recording::open(&map).is_ok_and(|recording| !is_ours(recording)) {
            let file = file.display();
            return Err(Error::Usage(format!(
                "{file} was not recorded by genlock: files of other recorders are repaired one by \
                 one"
            )));
        }
    }
    Ok(files)
}

fn name_in_take(file: &Path) -> PathBuf {
    let name = own_name(file).unwrap_or_else(|| file.to_owned());
    name.file_name().unwrap_or_default().into()
}

/// Repairs a file into a new folder; one that is sound comes along as it is.
fn copied(file: &Path, path: &Path) -> Result<Report> {
    let repaired = into_new_file(file, path)?;
    if repaired.output.is_some() {
        return Ok(repaired);
    }
    let map = Map::open(file)?;
    let recording = Recording::open(&map).map_err(|cause| Error::file(file, &cause))?;
    copy(file, &map, &recording, path)
}
