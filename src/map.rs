//! Files as byte slices. The one place that maps memory.

use crate::error::{Error, Result};
use memmap2::{Advice, Mmap};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::ops::{Deref, Range};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Map(Option<Mmap>);

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// `File` when it cannot be opened or mapped, or is none: a folder, pipe or device.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, bytes) = open_file(path)?;
        // A mapping of nothing is refused by the system.
        if bytes == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is read-only and lives as long as the slice that borrows it. Another
        // process that cuts the file short while we read makes the system end this one (SIGBUS): a
        // recording only grows, and nobody else has a reason to cut it.
        let map = unsafe { Mmap::map(&file) }.map_err(|cause| Error::file(path, &cause))?;
        Ok(Self(Some(map)))
    }
}

impl Map {
    /// Asks the system to read these bytes from the disk, as they will be looked at soon. It does
    /// so beside us, or not at all.
    pub fn will_need(&self, bytes: Range<usize>) {
        if let Some(map) = &self.0 {
            // Advice that is not taken costs time alone.
            let _ = map.advise_range(Advice::WillNeed, bytes.start, bytes.len());
        }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Reads a text of at most `limit` bytes.
///
/// # Errors
/// `File` when it cannot be read, is longer, or is no file or no text.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let (file, bytes) = open_file(path)?;
    let mut text = String::new();
    // What it says of its length is not believed: it may grow.
    let read = file.take(limit + 1).read_to_string(&mut text);
    if bytes > limit || text.len() as u64 > limit {
        return Err(Error::file(path, &format!("is longer than {limit} bytes: not read")));
    }
    read.map_err(|cause| Error::file(path, &cause))?;
    Ok(text)
}

/// Reads a file from its first byte to its last; gives its length and CRC-32. A disk that fails is
/// an error here, where it would end a process that reads a map.
///
/// # Errors
/// `File` when it cannot be opened or read, or is none.
pub fn read_through(path: &Path) -> Result<(u64, u32)> {
    /// Large enough for the disk, and small enough to stay in the processor's cache.
    const CHUNK: usize = 256 << 10;
    let (mut file, _) = open_file(path)?;
    let (mut chunk, mut bytes) = (vec![0; CHUNK], 0);
    let mut hasher = crc32fast::Hasher::new();
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok((bytes, hasher.finalize())),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                bytes += count as u64;
            }
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::file(path, &cause)),
        }
    }
}

/// Opens a regular file; gives it and its length. A pipe could keep us waiting for ever, and a
/// device has no end.
fn open_file(path: &Path) -> Result<(File, u64)> {
    let failed = |cause: &std::io::Error| Error::file(path, cause);
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(path);
    let file = file.map_err(|cause| failed(&cause))?;
    let data = file.metadata().map_err(|cause| failed(&cause))?;
    if data.is_dir() {
        return Err(Error::file(path, &folder_advice(path)));
    }
    if !data.is_file() {
        return Err(Error::file(path, &"is a pipe, socket or device, not a file"));
    }
    Ok((file, data.len()))
}

/// That one recording is wanted; names one, if the folder is a take.
fn folder_advice(path: &Path) -> String {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut recordings: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mkv"))
        .collect();
    recordings.sort();
    let one = recordings.first().map(|path| format!(", for instance {}", path.display()));
    format!("is a folder: name one recording in it{}", one.unwrap_or_default())
}
