//! What recording does to the disk under it, and to the memory that the system has for files.

mod support;

use genlock::record::{Disk, PartFile};
use std::ffi::OsStr;
use std::io::IoSlice;
use std::path::Path;
use support::judges::missing;
use support::tool;

/// Bytes of a file that the system holds in memory; nothing where that cannot be asked, or where
/// the file is nowhere else.
fn in_memory(path: &Path) -> Option<u64> {
    let ask = |name, args: &[&str]| {
        let args = args.iter().map(OsStr::new).chain([path.as_os_str()]);
        let said = tool(name, &args.collect::<Vec<_>>())?.stdout;
        Some(String::from_utf8_lossy(&said).trim().to_owned())
    };
    if ask("stat", &["-f", "-c", "%T"])? == "tmpfs" {
        return missing("a folder on a disk");
    }
    ask("fincore", &["--bytes", "--noheadings", "--output", "RES"])?.parse().ok()
}

#[test]
fn what_is_recorded_does_not_stay_in_the_systems_memory() {
    // Beside the program, and not in /tmp, which is memory on many machines.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("a.mkv");
    let mut file = PartFile::create(&path).expect("a fresh file");
    let (mebibyte, mut most) = (vec![7; 1 << 20], 0);
    for _ in 0..4 {
        for _ in 0..64 {
            file.append(&mut [IoSlice::new(&mebibyte)]).expect("room on the disk");
        }
        file.sync().expect("a sound disk");
        let part = folder.path().join("a.mkv.part");
        let Some(bytes) = in_memory(&part) else { return };
        most = most.max(bytes);
    }
    assert!(most <= 8 << 20, "{most} bytes of 256 MiB are held in memory");
}
