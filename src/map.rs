//! Files as byte slices. The one place that maps memory.

use crate::error::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Map(Option<Mmap>);

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// `File` when it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |cause: &std::io::Error| Error::file(path, cause);
        let file = File::open(path).map_err(|cause| failed(&cause))?;
        let data = file.metadata().map_err(|cause| failed(&cause))?;
        if data.is_dir() {
            return Err(Error::File(format!("{}: is a folder without take.toml", path.display())));
        }
        // A mapping of nothing is refused by the system.
        if data.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is read-only and lives as long as the slice that borrows it. Another
        // process that cuts the file short while we read makes the system end this one (SIGBUS): a
        // recording only grows, and nobody else has a reason to cut it.
        let map = unsafe { Mmap::map(&file) }.map_err(|cause| failed(&cause))?;
        Ok(Self(Some(map)))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
