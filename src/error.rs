//! Errors, sorted by who must act.

use std::fmt;
use std::path::Path;

/// Result of anything genlock does.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done, sorted by who must act. The text says what, where, why and what
/// to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// At the keyboard: what was asked for cannot be.
    Usage(String),
    /// At the rig: cable, power, permission, a device that does not answer.
    Device(String),
    /// At the disk: cannot create, write or make durable.
    Disk(String),
    /// In a file: not what it should be.
    File(String),
}

impl Error {
    /// A disk error about `path`.
    #[must_use]
    pub fn disk(what: &str, path: &Path, cause: &std::io::Error) -> Self {
        Self::Disk(format!("{what} {}: {cause}", path.display()))
    }

    /// An error in the file at `path`.
    #[must_use]
    pub fn file(path: &Path, cause: &impl fmt::Display) -> Self {
        Self::File(format!("{}: {cause}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Device(text) | Self::Disk(text) | Self::File(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for Error {}
