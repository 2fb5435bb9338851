//! What `info` and `verify` are pointed at: recordings, and the folders of takes.

use crate::error::{Error, Result};
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
            return Ok(target);
        }
        let failed = |path: &Path, cause: &dyn std::fmt::Display| {
            Error::File(format!("{}: {cause}", path.display()))
        };
        let entries = fs::read_dir(path).map_err(|cause| failed(path, &cause))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let is_recording = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.ends_with(".mkv") || name.ends_with(".mkv.part")
        };
        target.files = paths.filter(is_recording).collect();
        target.files.sort();
        let toml = path.join("take.toml");
        if toml.exists() {
            let text = fs::read_to_string(&toml).map_err(|cause| failed(&toml, &cause))?;
            target.take = Some(Take::from_toml(&text).map_err(|cause| failed(&toml, &cause))?);
        }
        if target.files.is_empty() && target.take.is_none() {
            return Err(failed(path, &"a folder without recordings"));
        }
        Ok(target)
    }
}
