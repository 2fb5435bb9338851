//! A folder that recordings move to. A file grows as `NAME.mkv.gathering`, and gets its name when
//! the disk has given back the bytes that the manifest names.

use super::listing::Wanted;
use super::{Fetched, READ_BYTES_MAX, Step, Transfer};
use crate::error::{Error, Result};
use crate::record::{give_name, is_taken, keep_name};
use crate::rig::disk::free_bytes;
use rustix::fs::{Advice, OFlags, fadvise};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How much is written before it is made durable: what a power cut may cost, and what the system
/// keeps in memory for it.
const WINDOW_BYTES: u64 = 32 << 20;

/// A folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(pub PathBuf);

/// The name under which the file at `path` grows.
fn growing(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".gathering");
    PathBuf::from(name)
}

fn other_bytes(path: &Path) -> Error {
    let path = path.display();
    Error::Disk(format!("{path} exists with other bytes and is not overwritten: move it away"))
}

impl Folder {
    /// Makes the folder, if its disk has room for what is to come.
    pub fn prepare(&self, wanted: &[Wanted], host: &str) -> Result<()> {
        let missing = |file: &Wanted| {
            let path = self.0.join(&file.name);
            let there = fs::symlink_metadata(growing(&path)).map_or(0, |data| data.len());
            if is_taken(&path) { 0 } else { file.bytes.saturating_sub(there) }
        };
        let needed = wanted.iter().fold(0_u64, |sum, file| sum.saturating_add(missing(file)));
        if let Some(free) = free_bytes(&self.0).filter(|free| *free < needed) {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            return Err(Error::Disk(format!(
                "{} has {:.1} MB free, and {:.1} MB are to come from host {host}: free some \
                 space, or gather to another disk",
                self.0.display(),
                mb(free),
                mb(needed)
            )));
        }
        self.make()
    }

    fn make(&self) -> Result<()> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !is_taken(path);
        let missing: Vec<_> = self.0.ancestors().take_while(is_missing).collect();
        fs::create_dir_all(&self.0)
            .map_err(|cause| Error::disk("cannot create", &self.0, &cause))?;
        missing.into_iter().try_for_each(keep_name)
    }

    /// Whether the file is there already, with its bytes.
    pub fn holds(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<bool> {
        let path = self.0.join(&file.name);
        if !is_taken(&path) {
            return Ok(false);
        }
        let failed = |cause: io::Error| Error::disk("cannot read", &path, &cause);
        let data = fs::metadata(&path).map_err(failed)?;
        if !data.is_file() || data.len() != file.bytes {
            return Err(other_bytes(&path).into());
        }
        let opened = File::open(&path).map_err(failed)?;
        if hash(&opened, &path, file.bytes, transfer)?.finalize() != file.crc32 {
            return Err(other_bytes(&path).into());
        }
        (transfer.told)(file.bytes);
        Ok(true)
    }

    /// Fetches what is missing of the file, and gives it its name.
    pub fn fetch(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<Fetched> {
        let path = self.0.join(&file.name);
        let part = growing(&path);
        let opened = open(&part)?;
        // What a power cut left may be more than is durable: the checksum tells.
        let there = opened.metadata().map_or(0, |data| data.len());
        let there = if there > file.bytes { 0 } else { there };
        opened.set_len(there).map_err(|cause| Error::disk("cannot cut", &part, &cause))?;
        let mut hasher = hash(&opened, &part, there, transfer)?;
        (transfer.told)(there);
        let mut offset = there;
        let mut durable = there;
        while offset < file.bytes {
            let bytes = transfer.read(file, offset)?;
            hasher.update(bytes);
            opened
                .write_all_at(bytes, offset)
                .map_err(|cause| Error::disk("cannot write", &part, &cause))?;
            offset += bytes.len() as u64;
            if offset - durable >= WINDOW_BYTES {
                sync(&opened, &part)?;
                durable = offset;
            }
        }
        let come = hasher.finalize();
        if come != file.crc32 {
            remove(&part)?;
            return Ok(Fetched::wrong(file, come, "of what came"));
        }
        sync(&opened, &part)?;
        let given_back = hash(&opened, &part, file.bytes, transfer)?.finalize();
        if given_back != file.crc32 {
            remove(&part)?;
            return Ok(Fetched::wrong(file, given_back, "of what the disk gives back"));
        }
        give_name(&part, &path)?;
        Ok(Fetched::Verified)
    }

    /// Writes a whole file. One that is there is left alone, or replaced.
    pub fn put(&self, name: &str, text: &str, replace: bool) -> Result<()> {
        self.make()?;
        let path = self.0.join(name);
        let part = growing(&path);
        let mut opened = open(&part)?;
        opened
            .set_len(0)
            .and_then(|()| opened.write_all(text.as_bytes()))
            .map_err(|cause| Error::disk("cannot write", &part, &cause))?;
        sync(&opened, &part)?;
        if replace {
            fs::rename(&part, &path)
                .map_err(|cause| Error::disk("cannot replace", &path, &cause))?;
            return keep_name(&path);
        }
        give_name(&part, &path).or_else(|error| {
            remove(&part)?;
            match self.get(name)? {
                Some(there) if there == text => Ok(()),
                Some(_) => Err(other_bytes(&path)),
                None => Err(error),
            }
        })
    }

    /// A file's text; nothing where it is not there.
    pub fn get(&self, name: &str) -> Result<Option<String>> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::disk("cannot read", &path, &cause)),
        }
    }
}

/// Opens a file that grows, for us alone.
fn open(part: &Path) -> Result<File> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let opened = options.custom_flags(no_link).open(part);
    let opened = opened.map_err(|cause| Error::disk("cannot create", part, &cause))?;
    match opened.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let text = "is being gathered by another genlock: wait until it has finished";
            Err(Error::Disk(format!("{} {text}", part.display())))
        }
        // Where the file system knows no locks it is not held.
        _ => Ok(opened),
    }
}

/// Makes durable what was written, and has the system let go of it.
fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_data().map_err(|cause| Error::disk("cannot make durable", path, &cause))?;
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    Ok(())
}

fn remove(part: &Path) -> Result<()> {
    fs::remove_file(part).map_err(|cause| Error::disk("cannot remove", part, &cause))
}

/// The checksum of the first `bytes` of a file, as the disk has them. The system is asked to let go
/// of its copy in memory beforehand, or the file's bytes would be held against themselves; what is
/// durable it can let go of. Behind the reading it lets go once more: nobody needs a copy of a
/// recording that has moved.
fn hash(file: &File, path: &Path, bytes: u64, transfer: &Transfer<'_>) -> Step<crc32fast::Hasher> {
    let mut hasher = crc32fast::Hasher::new();
    let mut block = vec![0; READ_BYTES_MAX];
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    let mut at = 0;
    while at < bytes {
        transfer.go_on()?;
        let left = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(block.len());
        match file.read_at(&mut block[..left], at) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&block[..read]);
                let _ = fadvise(file, at, NonZeroU64::new(read as u64), Advice::DontNeed);
                at += read as u64;
            }
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::disk("cannot read", path, &cause).into()),
        }
    }
    Ok(hasher)
}
