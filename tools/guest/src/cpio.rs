//! An archive of the kind that Linux unpacks as its first files (cpio, "newc").

/// An archive that grows.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Cpio {
    /// Adds an empty folder.
    pub fn folder(&mut self, name: &str) {
        self.add(name, FOLDER, (0, 0), &[]);
    }

    /// Adds a file that may be run.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.add(name, PROGRAM, (0, 0), content);
    }

    /// Adds a character device.
    pub fn device(&mut self, name: &str, number: (u32, u32)) {
        self.add(name, CHARACTER_DEVICE, number, &[]);
    }

    /// The whole archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (length, name_length) = (content.len() as u32, name.len() as u32 + 1);
        let (inode, links) = (self.entries, 1);
        let fields =
            [inode, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_length, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08X}").bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn busybox_unpacks_what_was_packed() {
        let mut archive = Cpio::default();
        archive.folder("folder");
        archive.file("folder/odd", b"12345");
        archive.file("empty", b"");
        let archive = archive.finish();
        let listing = Command::new("busybox")
            .args(["cpio", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut listing) = listing else {
            assert!(std::env::var_os("CI").is_none(), "no busybox: .ci/run installs it");
            return eprintln!("SKIPPED: no busybox");
        };
        let mut into = listing.stdin.take().expect("a pipe");
        into.write_all(&archive).expect("it reads");
        drop(into);
        let listed = listing.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "folder\nfolder/odd\nempty\n");
    }
}
