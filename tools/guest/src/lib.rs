//! A virtual machine with a Linux USB stack, in which programs of this machine run.
//!
//! Machines that test genlock often have no USB, or a kernel without it. QEMU translates a whole
//! processor instead, so that a stock Debian kernel brings its own: it has the drivers of USB/IP,
//! to which an emulated camera attaches. The guest sees the files of this machine, read-only, so
//! that programs run as they were built.

mod boot;
mod cpio;
mod image;
mod kernel;

pub use boot::Outcome;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a program runs in.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Memory in MB.
    pub memory_mb: u32,
    /// What the kernel lends to USB programs, in MB.
    pub usbfs_memory_mb: u32,
    /// Whether one USB transfer may be longer than the 512 KiB that the kernel's USB/IP driver has
    /// memory for: that driver is changed then, as a later kernel's is.
    pub long_transfers: bool,
    /// Whether the kernel's driver for webcams is there, and takes color cameras.
    pub uvcvideo: bool,
    /// How long it may run.
    pub limit: Duration,
    /// Where kernel and first files are kept from run to run.
    pub cache: PathBuf,
    /// Whether what the guest prints is shown while it runs.
    pub shown: bool,
}

impl Guest {
    /// A guest that keeps its kernel below `target`, the folder of build results.
    #[must_use]
    pub fn new(target: &Path) -> Self {
        Self {
            memory_mb: 3000,
            usbfs_memory_mb: 200,
            long_transfers: false,
            uvcvideo: false,
            limit: Duration::from_secs(300),
            // Tools that make the image run in folders of their own.
            cache: std::path::absolute(target).unwrap_or_else(|_| target.into()).join("guest"),
            shown: false,
        }
    }

    /// Runs a program of this machine with its arguments. `share` is a folder of this machine that
    /// the guest sees as `/mnt` and may write to; `/run` is in its memory. All else is read-only.
    ///
    /// # Errors
    /// When QEMU, busybox or the kernel cannot be had; when the guest does not come up, dies, or
    /// takes longer than [`Guest::limit`]. The error has what the guest printed.
    pub fn run(&self, program: &Path, arguments: &[&str], share: &Path) -> io::Result<Outcome> {
        let image = image::image(&self.cache)?;
        boot::run(self, &image, program, arguments, share)
    }

    /// Gets kernel and first files ready, for [`Guest::run`] to begin at once.
    ///
    /// # Errors
    /// When QEMU, busybox or the kernel cannot be had: there is no guest on this machine.
    pub fn prepare(&self) -> io::Result<()> {
        boot::version()?;
        image::image(&self.cache).map(|_| ())
    }
}

/// An error that says what was tried.
fn failed(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(what.to_string())
}
