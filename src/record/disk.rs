//! The file under a recording: it grows under a `.part` name and gets its own when it is whole.

use crate::error::{Error, Result};
use crate::record::blocks::Blocks;
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a recording needs of the place that it goes to.
pub trait Disk: Send {
    /// Appends the pieces, in order and completely, or leaves what was there before.
    ///
    /// # Errors
    /// `Disk` with the path and the system's reason.
    fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()>;

    /// Keeps room for so many bytes behind all that is appended from now on: what is appended last
    /// has a place, also on a disk that is full by then. None is kept at first, and none where the
    /// file system cannot tell.
    fn keep(&mut self, _bytes: u64) {}

    /// Overwrites bytes that were appended before.
    ///
    /// # Errors
    /// `Disk` with the path and the system's reason.
    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// `Disk` with the path and the system's reason.
    fn sync(&mut self) -> Result<()>;

    /// Gives the whole file its own name.
    ///
    /// # Errors
    /// `Disk` when the name is taken meanwhile; the data stay under the `.part` name.
    fn publish(&mut self) -> Result<()>;
}

/// A file on disk that is being recorded. Dropped without a byte in it, it leaves nothing behind.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    bytes: u64,
    /// Whole windows from the front whose write-back was started, and how many bytes of them are
    /// durable and let go.
    started: u64,
    let_go: u64,
    blocks: Blocks,
    kept: u64,
}

/// How much is written before its write-back is started: large enough for a disk to be fast, small
/// enough that what is left to do for a sync takes milliseconds.
const WINDOW_BYTES: u64 = 8 << 20;

/// The name under which the file at `path` grows.
#[must_use]
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    PathBuf::from(name)
}

/// Whether something has this name, be it a link to nowhere.
#[must_use]
pub fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Renames, unless the new name is taken. Network file systems that cannot do both at once get a
/// look beforehand.
fn rename_to_free(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if is_taken(to) => {
            Err(std::io::ErrorKind::AlreadyExists.into())
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => std::fs::rename(from, to),
        done => done.map_err(Into::into),
    }
}

impl PartFile {
    /// Creates the file that will be `path`.
    ///
    /// # Errors
    /// `Disk` when it, or its `.part`, is there already or cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_under(part_path(path), path)
    }

    /// Creates the file that will be `path`, and is called `part` until then.
    ///
    /// # Errors
    /// `Disk` when one of them is there already, or `part` cannot be created.
    pub fn create_under(part: PathBuf, path: &Path) -> Result<Self> {
        if is_taken(path) {
            return Err(Error::Disk(format!("{} exists and is not overwritten", path.display())));
        }
        Self::create_as(part, path)
    }

    /// Creates the file that will be `path`, if that is free by then.
    ///
    /// # Errors
    /// `Disk` when its `.part` is there already or cannot be created.
    pub(super) fn create_part(path: &Path) -> Result<Self> {
        Self::create_as(part_path(path), path)
    }

    fn create_as(part: PathBuf, path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)
            .map_err(|cause| Error::disk("cannot create", &part, &cause))?;
        // Held as long as the file grows, so that nobody repairs it meanwhile; a killed recorder
        // lets go of it. Where the file system knows no locks it is not held.
        let _ = file.try_lock();
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            bytes: 0,
            started: 0,
            let_go: 0,
            blocks: Blocks::default(),
            kept: 0,
        })
    }

    /// The same file, for a thread that makes it durable while it grows.
    ///
    /// # Errors
    /// `Disk` when the system has no more files to give.
    pub fn beside(&self) -> Result<File> {
        self.file.try_clone().map_err(|cause| self.failed("cannot open once more", &cause))
    }

    /// Removes what was written: it is of no use to anybody.
    pub fn discard(self) {
        // A name that cannot be removed harms nobody.
        let _ = std::fs::remove_file(&self.part);
    }

    /// Cuts off what is not of the recording: a torn cluster, and blocks beyond the end. What
    /// cannot be cut off harms no reader.
    fn cut(&mut self) {
        let _ = self.file.set_len(self.bytes);
        self.blocks.cut(self.bytes);
    }

    /// Keeps what is recorded from filling the memory that the system has for files, where it would
    /// drive out everybody else's, and stall the sync that writes a second of it at once. The one
    /// advice does both: Linux begins to write back what is dirty of bytes that are not needed any
    /// more, and drops what is clean. No byte depends on it.
    fn not_needed(&self, from: u64, to: u64) {
        let _ = fadvise(&self.file, from, NonZeroU64::new(to - from), Advice::DontNeed);
    }

    fn failed(&self, what: &str, cause: &std::io::Error) -> Error {
        Error::disk(what, &self.part, cause)
    }
}

/// Writes every piece; gives the bytes written.
fn write_all(file: &mut File, mut pieces: &mut [IoSlice<'_>]) -> std::io::Result<u64> {
    let mut total = 0;
    while !pieces.is_empty() {
        match file.write_vectored(pieces) {
            Ok(0) if pieces.iter().all(|piece| piece.is_empty()) => break,
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                total += written as u64;
                IoSlice::advance_slices(&mut pieces, written);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(total)
}

impl Disk for PartFile {
    fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.blocks
            .reach(&self.file, self.bytes + len as u64 + self.kept)
            .map_err(|cause| self.failed("cannot write", &cause))?;
        let written = write_all(&mut self.file, pieces).map_err(|cause| {
            // The official reader crashes on a cluster that is cut in its head, so a torn one
            // goes. Where even that fails, the first failure is what there is to say.
            self.cut();
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            // With it went the room for the end.
            let _ = self.blocks.reach(&self.file, self.bytes + self.kept);
            self.failed("cannot write", &cause)
        })?;
        self.bytes += written;
        while self.bytes - self.started >= WINDOW_BYTES {
            // The windows before are on the disk by now, if it is fast enough.
            let from = self.started.saturating_sub(2 * WINDOW_BYTES);
            self.started += WINDOW_BYTES;
            self.not_needed(from, self.started);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: u64) {
        self.kept = bytes;
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(|cause| self.failed("cannot write", &cause))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|cause| self.failed("cannot make durable", &cause))?;
        if self.let_go < self.started {
            // Of a slow disk some of this was on its way until now.
            self.not_needed(self.let_go, self.started);
            self.let_go = self.started;
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        self.cut();
        give_name(&self.part, &self.path)
    }
}

/// Gives a file its own name, and makes that durable.
///
/// # Errors
/// `Disk` when the name is taken; the file keeps the one that it had.
pub fn give_name(part: &Path, path: &Path) -> Result<()> {
    // NOREPLACE: a file that took the name while we recorded is somebody's and stays.
    rename_to_free(part, path)
        .map_err(|cause| Error::disk("cannot give its name to", part, &cause))?;
    keep_name(path)
}

/// Writes a file anew: whole, or as it was, and durable but for its name (see [`keep_name`]).
///
/// # Errors
/// The system's; nothing is left of what could not be written.
pub fn replace_text(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let fresh = part_path(path);
    let put = || {
        // One that is there was left by a crash, in mid-writing.
        let mut file = File::create(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    put().inspect_err(|_| {
        // Half of it is of no use, and its bytes are needed.
        let _ = std::fs::remove_file(&fresh);
    })
}

/// Makes the name of `path` durable: that it is in its folder.
///
/// # Errors
/// `Disk` when the system cannot.
pub fn keep_name(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(folder) {
        // A folder that we may write and not read: the name is there, and on the disk when the
        // system comes to it.
        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened
            .and_then(|folder| folder.sync_all())
            .map_err(|cause| Error::disk("cannot make durable", folder, &cause)),
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.bytes == 0 {
            // Nothing was recorded; a name that cannot be removed harms nobody.
            let _ = std::fs::remove_file(&self.part);
        } else if self.blocks.beyond(self.bytes) {
            self.cut();
        }
    }
}
