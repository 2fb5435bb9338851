//! What the guest starts from: a kernel, and its first files with the drivers.

use crate::cpio::Cpio;
use crate::{failed, kernel};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The drivers, in the order in which they need each other: USB, the share of files, webcams.
const MODULES: [&str; 21] = [
    "usb-common",
    "usbcore",
    "usbip-core",
    "vhci-hcd",
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "netfs",
    "fscache",
    "9pnet",
    "9pnet_virtio",
    "9p",
    "mc",
    "videodev",
    "videobuf2-common",
    "videobuf2-memops",
    "videobuf2-vmalloc",
    "videobuf2-v4l2",
    "uvcvideo",
];

/// Files to boot.
#[derive(Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its first files.
    pub files: PathBuf,
}

/// The image, made once and kept in `cache`.
///
/// # Errors
/// When busybox or the kernel cannot be had.
pub fn image(cache: &Path) -> io::Result<Image> {
    fs::create_dir_all(cache)?;
    // A machine that is offline goes on with what it has.
    let name = match kernel::package() {
        Ok(package) => package,
        Err(cause) => kept(cache).ok_or(cause)?,
    };
    let made = cache.join(&name).join(version());
    if !made.exists() {
        // Other tests, of this process and of others, may be about the same.
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), TRIES.fetch_add(1, Ordering::Relaxed));
        let parts = cache.join(format!("{name}.{process}.{number}"));
        let done = make(&name, &parts, &made);
        // What is left of an attempt is in nobody's way.
        let _ = fs::remove_dir_all(&parts);
        done?;
    }
    Ok(Image { kernel: made.join("vmlinux"), files: made.join("files") })
}

/// A number that changes with what the first files are made of.
fn version() -> String {
    let text = [include_str!("../init.sh"), include_str!("image.rs"), include_str!("kernel.rs")];
    let sum = text
        .concat()
        .bytes()
        .fold(0_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    format!("{sum:016x}")
}

/// The kernel that is kept in `cache`, if there is one.
fn kept(cache: &Path) -> Option<String> {
    let names = fs::read_dir(cache).ok()?.flatten();
    let names = names.filter(|entry| entry.path().join(version()).exists());
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).max()
}

/// Makes the image of kernel `package` at `place`, by way of the folder `parts`.
fn make(package: &str, parts: &Path, place: &Path) -> io::Result<()> {
    let new = parts.join("new");
    fs::create_dir_all(&new)?;
    let kernel = kernel::Kernel::fetch(package, parts)?;
    fs::write(new.join("vmlinux"), kernel.vmlinux()?)?;
    let mut files = Cpio::default();
    ["bin", "dev", "host", "proc", "sys"].iter().for_each(|folder| files.folder(folder));
    files.device("dev/console", (5, 1));
    files.file("bin/busybox", &fs::read(busybox()?)?);
    files.file("init", include_bytes!("../init.sh"));
    for module in MODULES {
        files.file(&format!("{module}.ko"), &kernel.module(module)?);
    }
    let mut long = kernel.module("vhci-hcd")?;
    kernel::lift_transfer_limit(&mut long)?;
    files.file("vhci-hcd-long.ko", &long);
    files.file("modules", MODULES.join(" ").as_bytes());
    fs::write(new.join("files"), files.finish())?;
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    // Another test may have made the same meanwhile.
    match fs::rename(&new, place) {
        Err(cause) if !place.exists() => Err(cause),
        _ => Ok(()),
    }
}

/// The program that is all of the guest's own commands; it must need no library.
fn busybox() -> io::Result<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = places.into_iter().find(|place| place.exists());
    found.ok_or_else(|| failed("no busybox: install the package busybox-static"))
}
