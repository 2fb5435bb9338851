//! What is fed.

mod device;
mod files;
#[cfg(feature = "hosts")]
mod messages;
mod packed;
mod scripted;
mod texts;

use crate::Outcome;
use crate::mutate::Form;
use std::path::Path;

/// Something that reads what others wrote.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// What its input is made of.
    pub form: Form,
    /// Bytes of an input at most.
    pub len_max: usize,
    /// Bytes of memory that a run may have: this many, and so many for each byte of input.
    pub memory: (usize, usize),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads an input, and panics where what came of it breaks a rule.
    pub run: fn(&[u8], &mut Outcome),
}

impl Target {
    /// Bytes of memory that an input of `bytes` bytes may take.
    #[must_use]
    pub fn memory_max(&self, bytes: usize) -> usize {
        self.memory.0 + self.memory.1 * bytes
    }
}

/// Every target.
pub const ALL: &[Target] = &[
    files::EBML,
    files::DEMUX,
    files::VERIFY,
    files::REPAIR,
    packed::PACKED,
    texts::TAKE,
    texts::TRIGGERS,
    texts::RIG,
    texts::PLAN,
    texts::SESSION,
    texts::CALIBRATION,
    device::UVC,
    device::COMMAND,
    device::IMU,
    #[cfg(feature = "hosts")]
    messages::MESSAGES,
];

/// The inputs in the corpus of the target with this name, in order of their names.
#[must_use]
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}
