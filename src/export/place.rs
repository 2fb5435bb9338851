//! The folder of an export: whose it is, how far it is, and files that appear whole.
//!
//! While an export runs its folder holds `export.running.toml`, which says what it is made of and
//! how, and a journal with a line for every trigger that is complete. An export that was
//! interrupted goes on behind the last of them. `export.toml` is written last.

use crate::error::{Error, Result};
use crate::map::read_text;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What an export is. It is written last: a folder that has one is a whole export.
pub const EXPORT: &str = "export.toml";
const RUNNING: &str = "export.running.toml";
const JOURNAL: &str = "export.journal";
/// Ends the name of a file that grows.
const PART: &str = "part";
/// Length of an `export.toml` at most.
const EXPORT_BYTES_MAX: u64 = 1 << 20;
/// The first word of the line that completes a trigger.
const DONE: &str = "done";

/// The folder that files go to.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Where a file of the export is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes folders within.
    ///
    /// # Errors
    /// `Disk` when they cannot be made.
    pub fn make(&self, folders: &[String]) -> Result<()> {
        folders.iter().map(|name| self.path(name)).try_for_each(|path| {
            fs::create_dir_all(&path).map_err(|cause| Error::disk("cannot make", &path, &cause))
        })
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        put(&self.path(name), bytes)
    }
}

/// The folder of an export that runs, and how far it is.
#[derive(Debug)]
pub struct Place {
    /// The folder.
    pub folder: Folder,
    journal: File,
    /// What is complete.
    pub so_far: SoFar,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Triggers that are complete.
    pub triggers: u64,
    /// Images that they have.
    pub images: u64,
}

/// A trigger that is complete.
#[derive(Debug, Default)]
pub struct Noted {
    /// How many images it has.
    pub images: u64,
    /// Rows, each with the name of its list.
    pub rows: Vec<(String, String)>,
}

/// What an export finds where it is to go.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or the same export, interrupted.
    Open(Place),
    /// The same export, whole: what its `export.toml` says.
    Whole(String),
}

impl Place {
    /// Takes the folder for the export that `about` describes, or takes it up again.
    ///
    /// # Errors
    /// `Usage` when it holds something else, or somebody exports into it; `Disk` when it cannot be
    /// written.
    pub fn open(folder: &Path, about: &str) -> Result<Found> {
        let export = folder.join(EXPORT);
        let running = folder.join(RUNNING);
        if fs::exists(&export).unwrap_or(false) {
            let text = said(&export)?;
            let is_same =
                text.strip_prefix(about).is_some_and(|rest| rest.starts_with("\n[result]"));
            if !is_same {
                return Err(another(folder));
            }
            // What a kill in the very last moment leaves.
            tidy(folder);
            return Ok(Found::Whole(text));
        }
        if fs::exists(&running).unwrap_or(false) {
            if said(&running)? != about {
                return Err(another(folder));
            }
        } else {
            if fs::metadata(folder).is_ok_and(|data| !data.is_dir()) {
                let text = "is there already and is no folder: choose another name";
                return Err(Error::Usage(format!("{}: {text}", folder.display())));
            }
            fs::create_dir_all(folder)
                .map_err(|cause| Error::disk("cannot make", folder, &cause))?;
            let begun = refuse_foreign(folder).and_then(|()| put(&running, about.as_bytes()));
            // Somebody else may have begun in the same moment.
            match begun {
                Err(_) if fs::exists(&running).unwrap_or(false) => return Err(busy(folder)),
                begun => begun?,
            }
        }
        let path = folder.join(JOURNAL);
        let journal = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let journal = journal.map_err(|cause| Error::disk("cannot open", &path, &cause))?;
        if let Err(TryLockError::WouldBlock) = journal.try_lock() {
            return Err(busy(folder));
        }
        let mut place =
            Self { folder: Folder(folder.to_owned()), journal, so_far: SoFar::default() };
        place.take_up().map_err(|cause| Error::disk("cannot use", &path, &cause))?;
        Ok(Found::Open(place))
    }

    /// Finds out how far the export is, and cuts off what is not of a whole trigger. After a
    /// restart of the machine nothing of it is known to be on the disk: it begins anew then.
    fn take_up(&mut self) -> std::io::Result<()> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let head = format!("boot {}\n", boot.trim());
        let mut lines = BufReader::new(&self.journal);
        let (mut line, mut at) = (String::new(), 0);
        let mut whole = 0;
        while let Ok(bytes @ 1..) = lines.read_line(&mut line) {
            if at == 0 && line != head || !line.ends_with('\n') {
                break;
            }
            at += bytes as u64;
            if let Some(images) = line.strip_prefix(DONE).and_then(|rest| rest.trim().parse().ok())
            {
                let images: u64 = images;
                self.so_far.triggers += 1;
                self.so_far.images = self.so_far.images.saturating_add(images);
                whole = at;
            }
            line.clear();
        }
        self.journal.set_len(whole)?;
        if whole == 0 {
            (&self.journal).write_all(head.as_bytes())?;
        }
        Ok(())
    }

    /// Notes that triggers are complete.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn note(&mut self, triggers: &[Noted]) -> Result<()> {
        let mut text = String::new();
        for Noted { images, rows } in triggers {
            for (list, row) in rows {
                text += &format!("row\t{list}\t{}\n", row.replace(['\n', '\r'], " "));
            }
            text += &format!("{DONE} {images}\n");
            self.so_far.triggers += 1;
            self.so_far.images += images;
        }
        let path = self.folder.path(JOURNAL);
        let done = self.journal.write_all(text.as_bytes());
        done.map_err(|cause| Error::disk("cannot write", &path, &cause))
    }

    /// Writes the lists, each below its head, from the rows that were noted and `more`; makes all
    /// durable and says that the export is whole. Gives how many rows each list has.
    ///
    /// # Errors
    /// `Disk` when something cannot be written.
    pub fn finish(
        mut self,
        lists: &[(String, String)],
        more: &[(String, String)],
        about: &str,
        result: impl FnOnce(&BTreeMap<String, u64>) -> Result<String>,
    ) -> Result<String> {
        let counts = self.write_lists(lists, more)?;
        // One call instead of one for each of a hundred thousand files.
        let all = File::open(&self.folder.0).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        all.map_err(|cause| Error::disk("cannot make durable", &self.folder.0, &cause))?;
        let text = format!("{about}\n{}", result(&counts)?);
        let export = self.folder.path(EXPORT);
        put(&export, text.as_bytes())?;
        tidy(&self.folder.0);
        Ok(text)
    }

    fn write_lists(
        &mut self,
        lists: &[(String, String)],
        more: &[(String, String)],
    ) -> Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (name, head) in lists {
            let path = self.folder.path(name);
            let part = path.with_added_extension(PART);
            let failed = |cause| Error::disk("cannot write", &path, &cause);
            let mut file = File::create(&part).map(BufWriter::new).map_err(failed)?;
            file.write_all(head.as_bytes()).map_err(failed)?;
            files.insert(name.as_str(), file);
            counts.insert(name.clone(), 0);
        }
        let journal = self.folder.path(JOURNAL);
        let failed = |cause| Error::disk("cannot write the lists of", &journal, &cause);
        self.journal.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut row = |name: &str, row: &str| {
            let (Some(file), Some(count)) = (files.get_mut(name), counts.get_mut(name)) else {
                return Ok(());
            };
            *count += 1;
            writeln!(file, "{row}")
        };
        for line in BufReader::new(&self.journal).lines() {
            let line = line.map_err(failed)?;
            let parts = line.strip_prefix("row\t").and_then(|rest| rest.split_once('\t'));
            parts.map_or(Ok(()), |(name, text)| row(name, text)).map_err(failed)?;
        }
        more.iter().try_for_each(|(name, text)| row(name, text)).map_err(failed)?;
        for (name, mut file) in files {
            file.flush().map_err(failed)?;
            rename(&self.folder.path(name))?;
        }
        Ok(counts)
    }
}

/// Writes a whole file: until then it has another name.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_added_extension(PART);
    fs::write(&part, bytes).map_err(|cause| Error::disk("cannot write", path, &cause))?;
    rename(path)
}

/// Gives a file that is whole its name.
///
/// # Errors
/// `Disk` when it cannot have it.
pub fn rename(path: &Path) -> Result<()> {
    let done = fs::rename(path.with_added_extension(PART), path);
    done.map_err(|cause| Error::disk("cannot name", path, &cause))
}

/// Begins a file that grows under another name.
///
/// # Errors
/// `Disk` when it cannot be created.
pub fn create(path: &Path) -> Result<File> {
    let part = path.with_added_extension(PART);
    File::create(&part).map_err(|cause| Error::disk("cannot create", &part, &cause))
}

/// Removes what only an export that runs needs; what stays harms nobody.
fn tidy(folder: &Path) {
    for name in [RUNNING, JOURNAL] {
        let _ = fs::remove_file(folder.join(name));
    }
}

fn said(path: &Path) -> Result<String> {
    read_text(path, EXPORT_BYTES_MAX)
}

fn busy(folder: &Path) -> Error {
    Error::Usage(format!("another export writes to {}: let it finish", folder.display()))
}

fn another(folder: &Path) -> Error {
    Error::Usage(format!(
        "{} holds another export: of another take, with other options, or of another version of \
         genlock; its {EXPORT} says which. Name another folder",
        folder.display()
    ))
}

/// A folder with something in it is somebody else's.
fn refuse_foreign(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|cause| Error::file(folder, &cause))?;
    // What a kill in the very first moment leaves.
    let first = Path::new(RUNNING).with_added_extension(PART);
    match entries.flatten().find(|entry| entry.file_name() != first.as_os_str()) {
        None => Ok(()),
        Some(entry) => Err(Error::Usage(format!(
            "{} is not empty and no export of genlock (it holds {}): name a new folder",
            folder.display(),
            entry.file_name().display()
        ))),
    }
}
