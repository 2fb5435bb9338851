//! The parts of takes that a host has on its disk.

use super::messages::DATA_BYTES_MAX;
use super::name::TakeId;
use crate::error::{Error, Result};
use crate::record::{TAKE, is_recording, is_taken, read_take_text};
use crate::repair;
use genlock_formats::take::File;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

/// Where parts go that are safe elsewhere. No take has this name.
const RELEASED: &str = ".released";

/// What becomes of parts that are safe elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Released {
    /// They are moved to the folder `.released` of the store.
    Keep,
    /// They are deleted.
    Delete,
}

/// The parts of takes in a folder.
pub struct Shelf {
    store: PathBuf,
    released: Released,
    /// Parts that are being repaired, or cannot be.
    repairs: Arc<Mutex<BTreeMap<TakeId, Option<Error>>>>,
    /// The manifest that was last asked for.
    manifest: Option<(TakeId, Vec<File>)>,
}

/// What there is of a part.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Its files.
    Files(Vec<File>),
    /// Its recorder was cut off, and its files are being repaired.
    Repairing,
}

impl Shelf {
    /// The parts in `store`, which is made where it is not there. Those whose recorder was cut off
    /// are repaired meanwhile, but for the one `at_work`.
    ///
    /// # Errors
    /// `Disk` when the folder cannot be made, or read.
    pub fn open(store: &Path, released: Released, at_work: Option<&TakeId>) -> Result<Self> {
        let made = fs::create_dir_all(store);
        made.map_err(|cause| Error::disk("cannot create", store, &cause))?;
        let store = store.to_owned();
        let shelf = Self { store, released, repairs: Arc::default(), manifest: None };
        for take in shelf.parts()?.into_iter().filter(|take| Some(take) != at_work) {
            if !is_taken(&shelf.folder(&take).join(TAKE)) {
                shelf.repair(&take);
            }
        }
        Ok(shelf)
    }

    fn folder(&self, take: &TakeId) -> PathBuf {
        self.store.join(take.as_ref())
    }

    /// The takes of which there is a part.
    ///
    /// # Errors
    /// `Disk` when the folder cannot be read.
    fn parts(&self) -> Result<Vec<TakeId>> {
        let entries = fs::read_dir(&self.store);
        let entries = entries.map_err(|cause| Error::disk("cannot read", &self.store, &cause))?;
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
        let mut takes: Vec<_> = names.filter_map(|name| TakeId::try_from(name).ok()).collect();
        takes.sort();
        Ok(takes)
    }

    /// The files of a part.
    ///
    /// # Errors
    /// `Usage` when there is none; `File` when nothing of it can be read.
    pub fn manifest(&mut self, take: &TakeId) -> Result<Found> {
        let folder = self.folder(take);
        if !folder.is_dir() {
            return Err(Error::Usage(format!("there is nothing of the take {take} here")));
        }
        if !is_taken(&folder.join(TAKE)) {
            let known = self.repairs().get(take).cloned();
            return match known {
                Some(Some(failed)) => Err(failed),
                Some(None) => Ok(Found::Repairing),
                None => {
                    self.repair(take);
                    Ok(Found::Repairing)
                }
            };
        }
        let (listed, text) = read_take_text(&folder)?;
        let mut files = listed.files;
        let is_plain = |file: &File| !file.name.contains('/') && !file.name.starts_with('.');
        files.retain(is_plain);
        files.push(File::of(TAKE, text.as_bytes()));
        self.manifest = Some((take.clone(), files.clone()));
        Ok(Found::Files(files))
    }

    fn repairs(&self) -> std::sync::MutexGuard<'_, BTreeMap<TakeId, Option<Error>>> {
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Repairs a part beside everything else: its files can be large.
    fn repair(&self, take: &TakeId) {
        let (folder, repairs, take) = (self.folder(take), Arc::clone(&self.repairs), take.clone());
        self.repairs().insert(take.clone(), None);
        let repair = move || {
            let failed = match is_empty(&folder) {
                true => {
                    fs::remove_dir_all(&folder).map_err(|cause| Error::file(&folder, &cause)).err()
                }
                false => repair::take(&folder, None).err(),
            };
            let mut repairs = repairs.lock().unwrap_or_else(PoisonError::into_inner);
            match failed {
                Some(error) => drop(repairs.insert(take, Some(error))),
                None => drop(repairs.remove(&take)),
            }
        };
        // Where the system gives no thread, it is tried again when it is asked for.
        if Builder::new().name("repair".to_owned()).spawn(repair).is_err() {
            self.repairs().clear();
        }
    }

    /// Bytes of a file of a part, from `offset` on; none behind its end.
    ///
    /// # Errors
    /// `Usage` when there is no such file; `File` when it cannot be read.
    pub fn read(&mut self, take: &TakeId, place: usize, offset: u64) -> Result<Vec<u8>> {
        if self.manifest.as_ref().is_none_or(|(of, _)| of != take) {
            self.manifest(take)?;
        }
        let files = self.manifest.iter().filter(|(of, _)| of == take).flat_map(|(_, files)| files);
        let no_file = || Error::Usage(format!("the part of the take {take} has no file {place}"));
        let file = files.into_iter().nth(place).ok_or_else(no_file)?;
        let path = self.folder(take).join(&file.name);
        let read = |path: &Path| -> io::Result<Vec<u8>> {
            let opened = fs::File::open(path)?;
            let left = file.bytes.saturating_sub(offset).min(DATA_BYTES_MAX as u64) as usize;
            let mut bytes = vec![0; left];
            opened.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read(&path).map_err(|cause| Error::file(&path, &cause))
    }

    /// The files of this manifest are safe elsewhere. One that was released before is no longer
    /// there, which is well.
    ///
    /// # Errors
    /// `Usage` when the part has others; `Disk` when it cannot be moved.
    pub fn release(&mut self, take: &TakeId, safe: &[File]) -> Result<()> {
        let folder = self.folder(take);
        if !folder.is_dir() {
            return Ok(());
        }
        let files = match self.manifest(take)? {
            Found::Files(files) => files,
            Found::Repairing => {
                return Err(Error::Usage(format!("the take {take} is being repaired")));
            }
        };
        let is_safe = |file: &File| safe.iter().any(|other| other == file);
        let left = files.iter().find(|file| !is_safe(file)).map(|file| file.name.clone());
        let listed = |name: &str| files.iter().any(|file| file.name == name);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let unlisted = entries
            .filter(|entry| is_recording(&entry.path()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| !listed(name));
        if let Some(name) = left.or(unlisted) {
            return Err(Error::Usage(format!(
                "the part of the take {take} has {name}, which was not gathered: it is kept"
            )));
        }
        self.manifest = None;
        self.put_away(take, &folder)
    }

    fn put_away(&self, take: &TakeId, folder: &Path) -> Result<()> {
        let failed = |cause: io::Error| Error::disk("cannot put away", folder, &cause);
        let released = self.store.join(RELEASED);
        fs::create_dir_all(&released).map_err(failed)?;
        let to = released.join(take.as_ref());
        renameat_with(CWD, folder, CWD, &to, RenameFlags::NOREPLACE)
            .map_err(|cause| failed(cause.into()))?;
        match self.released {
            Released::Keep => Ok(()),
            Released::Delete => fs::remove_dir_all(&to).map_err(failed),
        }
    }
}

/// Whether nothing was recorded: a recorder that was cut off before its first frame leaves files
/// without a byte.
fn is_empty(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    let is_empty = |entry: io::Result<fs::DirEntry>| {
        entry.and_then(|entry| entry.metadata()).is_ok_and(|file| file.is_file() && file.len() == 0)
    };
    entries.all(is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(name: &str) -> TakeId {
        TakeId::try_from(name.to_owned()).expect("a name")
    }

    #[test]
    fn what_is_no_part_is_not_shown_and_nothing_is_read_of_it() {
        let store = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(store.path().join(".released/old")).expect("a folder");
        fs::write(store.path().join("file"), "x").expect("a file");
        let mut shelf = Shelf::open(store.path(), Released::Keep, None).expect("a shelf");
        assert_eq!(shelf.parts(), Ok(Vec::new()));
        let refusal = shelf.read(&take("a"), 0, 0).expect_err("nothing").to_string();
        assert!(refusal.contains("nothing of the take a"), "{refusal}");
        assert_eq!(shelf.release(&take("a"), &[]), Ok(()));
    }
}
