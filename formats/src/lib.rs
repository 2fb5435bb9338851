//! What is on disk: bytes to values and back.
//!
//! Pure by rule: no clock, no thread, no file handle of its own. Readers borrow a byte slice (a
//! memory map, usually), writers hand out bytes.
#![forbid(unsafe_code)]

pub mod depth;
pub mod ebml;
mod error;
pub mod k4a;
pub mod mkv;
pub mod session;
pub mod take;
pub mod triggers;

pub use error::{Error, ErrorKind, Result};
