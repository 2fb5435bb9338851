//! Real file systems that are small, or cannot do everything.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Bytes that a file takes of its disk.
pub fn taken(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").blocks() * 512
}

/// A file system that is mounted for one test.
pub struct SmallDisk {
    folder: TempDir,
    mounted: PathBuf,
}

/// Mounting is root's. Runs a command as root, or tries to.
fn as_root(words: &[&str]) -> bool {
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    run(words) || run(&[&["sudo", "-n"], words].concat())
}

impl SmallDisk {
    /// A file system of this kind and size. Where nothing may be mounted there is none, which is
    /// said aloud: it is no failure of CI either, as many machines that run it forbid mounts.
    pub fn mount(kind: &str, mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = folder.path().join("disk");
        std::fs::create_dir(&mounted).expect("a folder");
        let at = mounted.to_str().expect("a plain path");
        let done = if kind == "ext4" {
            let image = folder.path().join("image");
            File::create(&image).and_then(|file| file.set_len(mib << 20)).expect("a sparse file");
            let image = image.to_str().expect("a plain path");
            as_root(&["mkfs.ext4", "-q", "-m", "0", "-E", "root_owner", image])
                && as_root(&["mount", "-o", "loop", image, at])
        } else {
            let options = format!("size={mib}m,mode=1777");
            as_root(&["mount", "-t", kind, "-o", &options, "none", at])
        };
        if !done {
            // Not by a macro: the harness would swallow it.
            let text = format!("SKIPPED: {kind} cannot be mounted here\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            return None;
        }
        Some(Self { folder, mounted })
    }

    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Bytes that it still takes.
    pub fn free_bytes(&self) -> u64 {
        genlock::rig::disk::free_bytes(&self.mounted).expect("it says so")
    }

    /// Fills it up, as another program would: at once, and to the last byte.
    pub fn fill(&self) {
        let mut file = File::create(self.mounted.join("others")).expect("a file");
        let (block, mut bytes) = (vec![0; 1 << 20], 1 << 20);
        while bytes > 0 {
            // What does not fit as a whole is tried by halves.
            if file.write_all(&block[..bytes]).is_err() {
                bytes /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays would keep its folder, and harm nobody.
        as_root(&["umount", "-l", self.mounted.to_str().unwrap_or_default()]);
        let _ = &self.folder;
    }
}
