//! The folder of a session: who works in it, and its `session.toml`.

use crate::error::{Error, Result};
use crate::map::read_text;
use crate::record::{is_taken, keep_name, replace_text};
use genlock_formats::session::Session;
use rustix::fs::{Access, access};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What became of the takes of a session.
pub const SESSION: &str = "session.toml";

/// Held by whoever works in the folder of a session: a batch, and the take that it is recording.
const LOCK: &str = "session.lock";

/// Length of a `session.toml` at most: ten thousand takes of many tries fit in.
const BYTES_MAX: u64 = 64 << 20;

/// What is known of the session in `folder`; nothing where there is none yet.
///
/// # Errors
/// `Usage` when its `session.toml` cannot be read, or is none: what was recorded is not known then.
pub fn read_session(folder: &Path) -> Result<Option<Session>> {
    let path = folder.join(SESSION);
    if !is_taken(&path) {
        return Ok(None);
    }
    let unknown = |error: Error| {
        Error::Usage(format!(
            "{error}: what was recorded is not known without it: restore it from a copy; or begin \
             a new session with another folder in the plan, or move this one away, with its takes"
        ))
    };
    let text = read_text(&path, BYTES_MAX).map_err(unknown)?;
    let session = Session::from_toml(&text).map_err(|cause| unknown(Error::file(&path, &cause)))?;
    Ok(Some(session))
}

/// That the folder of a session is there, or can be made. Touches nothing.
///
/// # Errors
/// `Disk` when it cannot be written, or something else is in its place.
pub fn look(folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|path| is_taken(path));
    let there = there.unwrap_or(Path::new("."));
    let refuse = |what: &dyn std::fmt::Display, fix: &str| {
        Err(Error::Disk(format!(
            "takes cannot go to {}: {} {what}: choose another folder in the plan, or {fix}",
            folder.display(),
            there.display()
        )))
    };
    if !there.is_dir() {
        return refuse(&"is no folder", "move that away");
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Err(cause) => refuse(&format!("cannot be written: {cause}"), "allow this user to"),
        Ok(()) => Ok(()),
    }
}

/// The folder of a session, in which nobody else works.
#[derive(Debug)]
pub struct Store {
    /// The folder.
    pub folder: PathBuf,
    lock: File,
}

impl Store {
    /// The folder, made if it is not there; nothing while somebody else works in it.
    ///
    /// # Errors
    /// `Disk` when it cannot be made, or not be written.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(folder).map_err(|cause| Error::disk("cannot create", folder, &cause))?;
        keep_name(folder)?;
        let path = folder.join(LOCK);
        let failed = |cause| Error::disk("cannot create", &path, &cause);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            // Where the file system knows no locks it is not held.
            Ok(()) | Err(TryLockError::Error(_)) => {
                Ok(Some(Self { folder: folder.to_owned(), lock }))
            }
        }
    }

    /// The lock, to be held by a process as its standard input, for as long as that lives: should
    /// this one be killed, nobody begins another take while that one is still recording.
    ///
    /// # Errors
    /// `Disk` when the system has no more files to give.
    pub fn held(&self) -> Result<Stdio> {
        let held = self.lock.try_clone();
        held.map(Stdio::from).map_err(|cause| Error::disk("cannot hold", &self.folder, &cause))
    }

    /// Writes `session.toml` anew: whole, or as it was, and durable.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn write(&self, session: &Session) -> Result<()> {
        let path = self.folder.join(SESSION);
        replace_text(&path, session.to_toml().as_bytes()).map_err(|cause| {
            Error::Disk(format!(
                "cannot write {}: {cause}: what is recorded is kept; free some space, or allow \
                 this user to write there, and run the same command again: it goes on with what \
                 is left",
                path.display()
            ))
        })?;
        keep_name(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::session::FORMAT;

    #[test]
    fn one_works_in_a_folder_and_a_session_reads_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("new/study");
        let store = Store::open(&folder).expect("a folder").expect("nobody works in it");
        assert!(Store::open(&folder).expect("a folder").is_none());
        assert_eq!(read_session(&folder), Ok(None));
        let session = Session {
            format: FORMAT,
            genlock: "0.1.0".to_owned(),
            date: "2026-11-26".to_owned(),
            started: "2026-11-26T08:00:00Z".to_owned(),
            ended: None,
            takes: Vec::new(),
        };
        // What a crash left is no obstacle.
        fs::write(folder.join("session.toml.part"), "format = ").expect("a file");
        store.write(&session).expect("written");
        assert_eq!(read_session(&folder), Ok(Some(session)));
        drop(store);
        assert!(Store::open(&folder).expect("a folder").is_some());
    }
}
