//! The guest's kernel: Debian's, from its package, never installed.

use crate::failed;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package that depends on the newest kernel with all drivers.
const NEWEST: &str = "linux-image-amd64";

/// What a command prints.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub fn output(program: &str, arguments: &[&str], folder: &Path) -> io::Result<String> {
    let ran = Command::new(program).args(arguments).current_dir(folder).output();
    let ran = ran.map_err(|cause| failed(format!("cannot run {program}: {cause}")))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(failed(format!("{program} {}: {}: {said}", arguments.join(" "), ran.status)))
}

/// The name of the newest kernel's package, e.g. `linux-image-6.1.0-56-amd64`.
///
/// # Errors
/// On a machine without Debian's package lists.
pub fn package() -> io::Result<String> {
    let depends = output("apt-cache", &["depends", NEWEST], Path::new("/"))?;
    let named = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    named.map(str::to_owned).ok_or_else(|| failed(format!("{NEWEST} depends on no kernel")))
}

/// A kernel that was unpacked.
#[derive(Debug)]
pub struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// Downloads `package` into `folder` and unpacks it there.
    ///
    /// # Errors
    /// When the package cannot be had.
    pub fn fetch(package: &str, folder: &Path) -> io::Result<Self> {
        output("apt-get", &["download", "-q", package], folder)?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "deb");
        let archive = entries(folder)?.into_iter().find(is_package);
        let archive = archive.ok_or_else(|| failed(format!("{package} was not downloaded")))?;
        let kernel = Self { folder: folder.join("unpacked") };
        let (archive, place) = (archive.to_string_lossy(), kernel.folder.to_string_lossy());
        output("dpkg-deb", &["-x", &archive, &place], folder)?;
        Ok(kernel)
    }

    /// The kernel itself, uncompressed: QEMU starts that at once.
    ///
    /// # Errors
    /// When there is none in the package.
    pub fn vmlinux(&self) -> io::Result<Vec<u8>> {
        let boot = entries(&self.folder.join("boot"))?;
        let is_kernel = |path: &PathBuf| path.to_string_lossy().contains("/vmlinuz-");
        let path = boot.into_iter().find(is_kernel);
        unpack(&fs::read(path.ok_or_else(|| failed("no kernel in its package"))?)?)
    }

    /// A module, by its name without `.ko`.
    ///
    /// # Errors
    /// When the kernel has none of that name.
    pub fn module(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut folders = vec![self.folder.join("lib/modules")];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder)? {
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|file| *file == *format!("{name}.ko")) {
                    return fs::read(path);
                }
            }
        }
        Err(failed(format!("this kernel has no module {name}")))
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// How kernels are compressed: how that begins, and what undoes it.
const PACKERS: [(&[u8], &str); 3] =
    [(b"\xFD7zXZ\0", "xz"), (b"\x28\xB5\x2F\xFD", "zstd"), (b"\x1F\x8B\x08", "gzip")];

/// Finds the compressed kernel behind the code that would unpack it.
fn unpack(image: &[u8]) -> io::Result<Vec<u8>> {
    const ELF: &[u8] = b"\x7FELF";
    for (magic, packer) in PACKERS {
        let starts = image.windows(magic.len()).enumerate().filter(|(_, bytes)| *bytes == magic);
        for (start, _) in starts {
            let unpacked = unpacked_by(packer, &image[start..])?;
            if unpacked.starts_with(ELF) {
                return Ok(unpacked);
            }
        }
    }
    Err(failed("the kernel is packed in no way that is known here (xz, zstd, gzip)"))
}

/// What `packer` makes of `bytes`, with whatever lies behind them.
fn unpacked_by(packer: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut command = Command::new(packer);
    command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running =
        command.spawn().map_err(|cause| failed(format!("cannot run {packer}: {cause}")))?;
    let into = running.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It stops reading where what it unpacks ends.
            into.map(|mut into| into.write_all(bytes))
        });
        Ok(running.wait_with_output()?.stdout)
    })
}

/// Lets the driver of USB/IP take transfers of any length: it sets how many pieces of memory one
/// may have, 32, twice, for its USB 2 and its USB 3 half. Its signature, which would not fit any
/// more, is taken off: the kernel loads what has none.
///
/// # Errors
/// When it does not do that in exactly two places: it is another driver than this was made for.
pub fn lift_transfer_limit(module: &mut Vec<u8>) -> io::Result<()> {
    /// `movl $32, 0x24(%rbx)`: `sg_tablesize` of the bus.
    const LIMIT: &[u8] = &[0xC7, 0x43, 0x24, 32, 0, 0, 0];
    let places = module.windows(LIMIT.len()).enumerate().filter(|(_, bytes)| *bytes == LIMIT);
    let places: Vec<_> = places.map(|(place, _)| place).collect();
    if places.len() != 2 {
        let count = places.len();
        return Err(failed(format!("vhci-hcd sets its limit in {count} places instead of two")));
    }
    for place in places {
        module[place + 3..place + 7].copy_from_slice(&i32::MAX.to_le_bytes());
    }
    if let Some(unsigned_bytes) = unsigned_bytes(module) {
        module.truncate(unsigned_bytes);
    }
    Ok(())
}

/// The length of a signed module without its signature: behind that stand 12 bytes that end with
/// its length, and a mark.
fn unsigned_bytes(module: &[u8]) -> Option<usize> {
    let signed = module.strip_suffix(b"~Module signature appended~\n")?;
    let (signature, length) = signed.split_last_chunk::<4>()?;
    signature.len().checked_sub(8)?.checked_sub(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_lifted_in_two_places_or_not_at_all() {
        let limit = [0xC7, 0x43, 0x24, 32, 0, 0, 0];
        let mut module = [&[1, 2][..], &limit, &[3], &limit].concat();
        lift_transfer_limit(&mut module).expect("two places");
        let lifted = [0xC7, 0x43, 0x24, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(module, [&[1, 2][..], &lifted, &[3], &lifted].concat());
        let signature = [&[9; 5][..], &[0; 8], &[0, 0, 0, 5], b"~Module signature appended~\n"];
        let mut signed = [&limit.repeat(2)[..], &signature.concat()].concat();
        lift_transfer_limit(&mut signed).expect("two places");
        assert_eq!(signed, lifted.repeat(2));
        for unknown in [vec![], limit.to_vec(), limit.repeat(3)] {
            let mut module = unknown.clone();
            assert!(lift_transfer_limit(&mut module).is_err());
            assert_eq!(module, unknown);
        }
    }

    #[test]
    fn a_kernel_is_found_behind_its_unpacker() {
        let packed = unpacked_by("gzip", b"");
        assert!(packed.is_ok_and(|nothing| nothing.is_empty()));
        let refusal = unpack(b"no kernel at all").expect_err("nothing to find").to_string();
        assert!(refusal.contains("xz, zstd, gzip"), "{refusal}");
    }
}
