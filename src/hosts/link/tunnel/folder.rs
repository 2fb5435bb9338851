//! Where the socket of a tunnel is.

use std::fs::{DirBuilder, remove_dir_all};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Bytes of its path at most: with the name of the socket it fits into `sun_path`, see unix(7).
const PATH_BYTES_MAX: usize = 100;

/// A folder that only this user may enter, gone when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> io::Result<Self> {
        let number = RandomState::new().build_hasher().finish();
        let path = std::env::temp_dir().join(format!("genlock-{number:016x}"));
        // What stands behind these signs is something else to Zenoh.
        let is_sound = |path: &str| path.len() <= PATH_BYTES_MAX && !path.contains(['?', '#']);
        if !path.to_str().is_some_and(is_sound) {
            return Err(io::Error::other(format!(
                "{} is no place for a socket: set TMPDIR to a folder with a short path of plain \
                 letters",
                path.display()
            )));
        }
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|cause| {
            io::Error::other(format!("cannot create {}: {cause}", path.display()))
        })?;
        Ok(Self(path))
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("link")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays is empty of anything but a socket at which nobody listens.
        let _ = remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nobody_else_enters_it_and_it_vanishes() {
        let folder = Folder::new().expect("a folder");
        let path = folder.0.clone();
        let mode = path.metadata().expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(folder.socket(), "").expect("a file");
        drop(folder);
        assert!(!path.exists());
    }
}
