//! How far a file has come on its way to a store: a small file of JSON, so that the next process
//! goes on with the same upload.

use super::listing::Wanted;
use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::keep_name;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Length at most: ten thousand parts, and the longest names for them.
const BYTES_MAX: u64 = 16 << 20;

/// What is known of a file's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notes {
    /// Where it goes.
    pub object: String,
    /// What it is.
    pub bytes: u64,
    /// See `bytes`.
    pub crc32: u32,
    /// How far it is.
    pub state: State,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum State {
    /// Parts of it are there.
    Sending(Sent),
    /// It is there, and its bytes were read back. The store's tag for them.
    Verified(String),
}

/// What was sent of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    /// The store's name for the upload.
    pub upload: String,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// The store's names for the parts that it has.
    pub parts: Vec<String>,
    /// CRC-32 of all their bytes.
    pub crc32: u32,
}

/// The file in which the notes of one object are.
#[derive(Debug)]
pub(super) struct Notebook {
    path: PathBuf,
    object: String,
}

impl Notebook {
    /// The one for `file`, which goes to `object`.
    pub fn of(folder: &Path, object: String, file: &Wanted) -> Self {
        let tag = crc32fast::hash(object.as_bytes());
        let path = folder.join(format!("{}.{tag:08x}.upload.json", file.name));
        Self { path, object }
    }

    /// What was noted of this file's way to this object. Notes that nobody can read, or of another
    /// file, are none: it begins anew.
    pub fn read(&self, file: &Wanted) -> Option<State> {
        let text = read_text(&self.path, BYTES_MAX).ok()?;
        let notes: Notes = serde_json::from_str(&text).ok()?;
        let is_same =
            notes.object == self.object && (notes.bytes, notes.crc32) == (file.bytes, file.crc32);
        is_same.then_some(notes.state)
    }

    /// Notes it: the notes of before are there until these are.
    pub fn write(&self, file: &Wanted, state: State) -> Result<()> {
        let (object, bytes, crc32) = (self.object.clone(), file.bytes, file.crc32);
        let notes = Notes { object, bytes, crc32, state };
        let failed = |cause: std::io::Error| Error::disk("cannot note in", &self.path, &cause);
        let text = serde_json::to_vec(&notes).map_err(|cause| failed(cause.into()))?;
        let new = self.path.with_extension("json.new");
        let written = File::create(&new).and_then(|mut opened| {
            opened.write_all(&text)?;
            opened.sync_data()?;
            fs::rename(&new, &self.path)
        });
        written.map_err(failed)?;
        keep_name(&self.path)
    }

    /// Forgets what was noted.
    pub fn forget(&self) {
        // Notes of an upload that is no more are noticed as such.
        let _ = fs::remove_file(&self.path);
    }
}
