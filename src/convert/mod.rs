//! Stores recordings and takes in another profile, and proves that they hold the same.

mod blocks;
mod content;
mod file;
mod take;

pub use file::{Converted, file};
pub use take::{TakeConverted, take};

use crate::error::{Error, Result};
use genlock_formats::depth::Level;
use genlock_formats::take::Profile;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How to store.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// In this profile.
    pub profile: Profile,
    /// Packed this hard, where it is packed.
    pub level: Level,
}

/// Who watches over a conversion.
pub struct Watch<'a> {
    /// Set from outside: stop, and leave nothing.
    pub stop: &'a AtomicBool,
    /// Hears of bytes of the source that were stored, and then once more as they were read back.
    pub told: &'a mut dyn FnMut(u64),
}

impl Watch<'_> {
    /// So many more bytes are done.
    fn done(&mut self, bytes: u64, output: &Path) -> Result<()> {
        (self.told)(bytes);
        match self.stop.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::Disk(format!("{}: stopped; nothing is left", output.display()))),
        }
    }
}
