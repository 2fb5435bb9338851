//! What can fail, in words for a person.

use std::fmt;

/// Why something failed: what, where, why, and what to do where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The host speaks no USB/IP, or the connection broke.
    Wire(String),
    /// The kernel takes no device.
    Attach(String),
    /// Nobody can connect.
    Listen(String),
    /// The function is in use, or not plugged in.
    Busy(String),
}

/// Result of what can fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Wire(why) | Self::Attach(why) | Self::Listen(why) | Self::Busy(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for Error {}
