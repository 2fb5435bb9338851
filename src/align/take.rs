//! Recordings that were made one by one become a take.

use super::evidence::{Causes, of};
use super::numbering::DeviceFile;
use crate::config::Output;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{Disk, PartFile, Place, TAKE, TRIGGERS, file_name};
use genlock_formats::k4a::{Recording, Role};
use genlock_formats::mkv::Checksum;
use genlock_formats::take::{File, Take};
use std::io::IoSlice;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const CAUSES: Causes<'_> = Causes {
    before: "before the beginning of its file",
    inside: "not in its file: its recorder lists no losses",
    behind: "behind the end of its file",
};

/// How a take comes by its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// By symbolic links to where they are.
    Link,
    /// By copies.
    Copy,
}

/// Makes the take `output` of `files`, each of one device. They are read through once, for the
/// manifest, and `told` hears how many bytes are done.
///
/// # Errors
/// `Usage` when the output is there already, or the files cannot be of one take; `File` when one of
/// them is no whole recording; `Disk` when the take cannot be written. Nothing is left then.
pub fn align(
    files: &[PathBuf],
    output: &Path,
    keep: Keep,
    stop: &AtomicBool,
    told: &mut dyn FnMut(u64),
) -> Result<Take> {
    refuse_within_take(output)?;
    let devices: Vec<_> = files.iter().map(|path| whole(path)).collect::<Result<_>>()?;
    refuse_strangers(files, &devices)?;
    let (mut take, triggers) = of(&devices, &CAUSES).map_err(Error::Usage)?;
    if !devices.iter().any(|file| file.configuration.role == Role::Master) && files.len() > 1 {
        take.reason = Some(
            "there is no file of the master: the subordinates were numbered by their own clocks, \
             and their phase cannot be told"
                .to_owned(),
        );
    }
    take.reason = take.reason.or_else(|| days_apart(&devices));
    let place = Place::create(&Output::Folder(output.to_owned()))?;
    let mut brought = Brought(Vec::new());
    for (path, device) in files.iter().zip(&devices) {
        let name = file_name(&device.serial);
        let to = output.join(&name);
        let crc32 = match keep {
            Keep::Link => {
                symlink(from_folder(output, path)?, &to)
                    .map_err(|cause| Error::disk("cannot link", &to, &cause))?;
                brought.0.push(to);
                read(path, None, stop, told)?
            }
            Keep::Copy => {
                let mut file = PartFile::create(&to)?;
                brought.0.extend([crate::record::part_path(&to), to.clone()]);
                let crc32 = read(path, Some(&mut file), stop, told)?;
                file.sync()?;
                file.publish()?;
                crc32
            }
        };
        for told in take.devices.iter_mut().filter(|told| told.serial == device.serial) {
            told.file = Some(name.clone());
        }
        take.files.push(File::new(&name, device.bytes, crc32));
    }
    let triggers = triggers.to_csv();
    take.files.push(File::of(TRIGGERS, triggers.as_bytes()));
    place.conclude(&take, &triggers)?;
    brought.0.clear();
    Ok(take)
}

/// A take in a take would be taken for a part of it.
fn refuse_within_take(output: &Path) -> Result<()> {
    let takes = output.ancestors().skip(1).filter(|folder| folder.join(TAKE).exists());
    match takes.last() {
        None => Ok(()),
        Some(take) => {
            let (output, take) = (output.display(), take.display());
            Err(Error::Usage(format!("{output} is inside the take {take}: put it beside it")))
        }
    }
}

/// That files say that they are of different times. Their device times cannot tell: each take
/// begins from 0.
fn days_apart(devices: &[DeviceFile]) -> Option<String> {
    /// Devices are started one after the other, and wait for the master.
    const MINUTES_MAX: i64 = 10;
    let dates = || devices.iter().filter_map(|file| file.date_utc_ns);
    let apart = dates().max()?.saturating_sub(dates().min()?) / 60_000_000_000;
    (apart > MINUTES_MAX)
        .then(|| format!("the files were begun {apart} minutes apart: are they of one take?"))
}

/// What was brought into the folder; dropped before the take was concluded, it goes.
struct Brought(Vec<PathBuf>);

impl Drop for Brought {
    fn drop(&mut self) {
        for path in &self.0 {
            // It is ours alone, and there may be nothing.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn whole(path: &Path) -> Result<DeviceFile> {
    let map = Map::open(path)?;
    let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
    if !recording.demuxer().is_finished() {
        let text = "was not finished, or is cut: genlock repair makes it whole; align what comes \
                    of that";
        return Err(Error::file(path, &text));
    }
    for cluster in recording.demuxer().clusters() {
        let cluster = cluster.map_err(|cause| Error::file(path, &cause))?;
        if cluster.checksum() == Checksum::Bad {
            let text = format!(
                "is damaged: the cluster at byte {} does not have the bytes that were written; \
                 genlock repair keeps what is whole: align what comes of that",
                cluster.at()
            );
            return Err(Error::file(path, &text));
        }
    }
    Ok(DeviceFile::of(path, &recording, map.len() as u64))
}

/// Files that no cable has held together are no take.
fn refuse_strangers(files: &[PathBuf], devices: &[DeviceFile]) -> Result<()> {
    let refuse =
        |at: usize, why: &str| Err(Error::Usage(format!("{}: {why}", files[at].display())));
    let role = |file: &DeviceFile| file.configuration.role;
    if let Some(at) = devices.iter().position(|file| role(file) == Role::Standalone)
        && devices.len() > 1
    {
        return refuse(
            at,
            "was recorded standalone: without a sync cable nothing tells which of its frames \
             belongs to which of another file; record with --external-sync",
        );
    }
    let mut masters = devices.iter().enumerate().filter(|(_, file)| role(file) == Role::Master);
    if let Some((at, _)) = masters.nth(1) {
        return refuse(at, "is of a second master: a take has one");
    }
    let rate = devices.first().map(|file| file.configuration.rate);
    match devices.iter().position(|file| Some(file.configuration.rate) != rate) {
        Some(at) => refuse(at, "has another rate than the first file: they are of no one take"),
        None => Ok(()),
    }
}

/// Reads a file through, into `copy` where there is one; gives its CRC-32.
fn read(
    path: &Path,
    mut copy: Option<&mut PartFile>,
    stop: &AtomicBool,
    told: &mut dyn FnMut(u64),
) -> Result<u32> {
    const CHUNK: usize = 4 << 20;
    let (map, mut hasher) = (Map::open(path)?, crc32fast::Hasher::new());
    for chunk in map.chunks(CHUNK) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Disk(format!("{}: stopped; no take was made", path.display())));
        }
        hasher.update(chunk);
        if let Some(copy) = &mut copy {
            copy.append(&mut [IoSlice::new(chunk)])?;
        }
        told(chunk.len() as u64);
    }
    Ok(hasher.finalize())
}

/// The path to `file` from within `folder`: both can then be moved together.
fn from_folder(folder: &Path, file: &Path) -> Result<PathBuf> {
    let real = |path: &Path| path.canonicalize().map_err(|cause| Error::file(path, &cause));
    let (folder, file) = (real(folder)?, real(file)?);
    let same = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(same).map(|_| Component::ParentDir);
    Ok(up.chain(file.components().skip(same)).collect())
}
