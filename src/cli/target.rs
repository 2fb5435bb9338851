//! What `info` and `verify` are pointed at: recordings, and the folders of takes.

use crate::error::{Error, Result};
use crate::record::{TAKE, is_recording, is_taken, part_path, read_take};
use genlock_formats::take::Take;
use std::fs;
use std::path::{Path, PathBuf};

/// A recording, or a take with its recordings.
#[derive(Debug)]
pub struct Target {
    /// What was named.
    pub path: PathBuf,
    /// What `take.toml` says, of a finished take.
    pub take: Option<Take>,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The recordings.
    pub files: Vec<PathBuf>,
}

impl Target {
    /// Looks at what a path names.
    ///
    /// # Errors
    /// `File` when there is nothing, or a folder without recordings, or `take.toml` cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let is_folder = path.is_dir();
        let mut target =
            Self { path: path.to_owned(), take: None, is_folder, files: vec![path.to_owned()] };
        if !is_folder {
            return if is_taken(path) { Ok(target) } else { Err(missing(path)) };
        }
        let entries = fs::read_dir(path).map_err(|cause| Error::file(path, &cause))?;
        let paths = entries.flatten().map(|entry| entry.path());
        target.files = paths.filter(|path| is_recording(path)).collect();
        target.files.sort();
        if is_taken(&path.join(TAKE)) {
            target.take = Some(read_take(path)?);
        }
        if target.files.is_empty() && target.take.is_none() {
            return Err(Error::file(path, &"a folder without recordings"));
        }
        Ok(target)
    }
}

fn missing(path: &Path) -> Error {
    let part = part_path(path);
    if is_taken(&part) {
        let part = part.display();
        return Error::file(path, &format!("is not there; {part} is: an unfinished recording"));
    }
    Error::file(path, &"there is nothing of that name")
}
