//! Blocks of a disk that are a file's before its bytes are written.

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// How far a file has blocks of its disk. They lie beyond its end, where no reader sees them.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    end: u64,
    /// Whether the file system cannot say beforehand what it has room for.
    unknown: bool,
}

impl Blocks {
    /// So much is allocated at once where there is room for it: the next writes need not ask.
    const AHEAD_BYTES: u64 = 8 << 20;

    /// Gives `file` blocks up to `end`. A file system that cannot allocate does nothing.
    ///
    /// # Errors
    /// When there is no room; the file then keeps the blocks that it had.
    pub fn reach(&mut self, file: &File, end: u64) -> io::Result<()> {
        if self.unknown || end <= self.end {
            return Ok(());
        }
        let mut full = Errno::NOSPC;
        for end in [end + Self::AHEAD_BYTES, end] {
            match fallocate(file, FallocateFlags::KEEP_SIZE, self.end, end - self.end) {
                Ok(()) => {
                    self.end = end;
                    return Ok(());
                }
                Err(cause @ (Errno::NOSPC | Errno::DQUOT)) => full = cause,
                // A signal came: this once the write does without.
                Err(Errno::INTR) => return Ok(()),
                Err(_) => {
                    self.unknown = true;
                    return Ok(());
                }
            }
        }
        Err(full.into())
    }

    /// The file was cut to `bytes`, and with it went its blocks beyond.
    pub fn cut(&mut self, bytes: u64) {
        self.end = self.end.min(bytes);
    }

    /// Whether the file has blocks beyond its `bytes`.
    pub fn beyond(&self, bytes: u64) -> bool {
        self.end > bytes
    }
}
