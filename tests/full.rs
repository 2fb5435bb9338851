//! Disks that are full, or become so.

mod support;

use genlock::record::{Disk, PartFile};
use std::io::IoSlice;
use support::genlock_exits;
use support::small_disk::{SmallDisk, taken};

/// Appends so many bytes.
fn append(file: &mut PartFile, bytes: usize) -> genlock::Result<()> {
    file.append(&mut [IoSlice::new(&vec![7; bytes])])
}

#[test]
fn the_end_of_a_file_has_a_place_on_a_disk_that_others_filled() {
    const END_BYTES: usize = 1 << 20;
    for kind in ["tmpfs", "ext4"] {
        let Some(disk) = SmallDisk::mount(kind, 64) else { continue };
        let path = disk.path().join("a.mkv");
        let mut file = PartFile::create(&path).expect("room");
        file.keep(END_BYTES as u64);
        append(&mut file, 1000).expect("room");
        disk.fill();
        let mut clusters = 0;
        let refused = loop {
            match append(&mut file, 100_000) {
                Ok(()) => clusters += 1,
                Err(refused) => break refused.to_string(),
            }
        };
        assert!(refused.contains("cannot write") && refused.contains("No space"), "{refused}");
        file.keep(0);
        append(&mut file, END_BYTES).expect("room for the end");
        file.sync().and_then(|()| file.publish()).expect("a name");
        let whole = 1000 + clusters * 100_000 + END_BYTES as u64;
        assert_eq!(std::fs::metadata(&path).expect("it has its name").len(), whole, "{kind}");
    }
}

#[test]
fn what_was_held_is_given_back() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (path, part) = (folder.path().join("a.mkv"), folder.path().join("b.mkv.part"));
    let mut file = PartFile::create(&path).expect("room");
    append(&mut file, 1000).and_then(|()| file.publish()).expect("a name");
    // Before its name is known: what others then append to it stays.
    assert!(taken(&path) < 100_000, "{} for 1000 bytes", taken(&path));
    let mut failed = PartFile::create(&folder.path().join("b.mkv")).expect("room");
    append(&mut failed, 1000).expect("room");
    drop(failed);
    assert!(taken(&part) < 100_000, "{} for 1000 bytes", taken(&part));
}

#[test]
fn a_file_that_could_not_be_finished_is_not_begun() {
    let Some(disk) = SmallDisk::mount("tmpfs", 4) else { return };
    let path = disk.path().join("a.mkv");
    let mut file = PartFile::create(&path).expect("room");
    file.keep(4 << 20);
    append(&mut file, 1000).expect_err("no room for the end");
    drop(file);
    assert_eq!(std::fs::read_dir(disk.path()).expect("a folder").count(), 0);
}

/// One that cannot allocate, and does not say how much room there is.
#[test]
fn a_file_system_that_cannot_hold_room_records_all_the_same() {
    let Some(disk) = SmallDisk::mount("ramfs", 0) else { return };
    let take = disk.path().join("take");
    let path = take.to_str().expect("a plain path");
    let modes = ["--emulated", "1", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"];
    genlock_exits(0, &[&["record"], &modes[..], &["--frames", "60", path]].concat());
    genlock_exits(0, &["verify", path]);
}
