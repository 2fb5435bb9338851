//! Disks that are full, or become so.

mod support;

use genlock::record::{Disk, PartFile};
use genlock_formats::take::Take;
use std::io::IoSlice;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::small_disk::{SmallDisk, taken};
use support::{genlock, genlock_exits, grown_to, official_dump, turn};

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

/// Starts an endless take of so many devices, though the check beforehand would refuse it.
fn recording(take: &Path, devices: usize) -> Child {
    Command::new(env!("CARGO_BIN_EXE_genlock"))
        .args(["record", "--force", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"])
        .args(["--emulated", &devices.to_string()])
        .arg(take)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built with this test")
}

/// What must hold of a take that ended because its disk was full: it failed for that reason, and
/// all that it has is whole, in step and accounted for. Gives what it said.
fn ended_whole(output: &Output, take: &Path, devices: usize) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let toml = std::fs::read_to_string(take.join("take.toml")).expect("take.toml");
    assert!(toml.contains("outcome = \"failed\""), "{toml}");
    let verdict = genlock_exits(1, &["verify", take.to_str().expect("a plain path")]);
    let verdict = String::from_utf8_lossy(&verdict.stdout).into_owned();
    let reason = toml.lines().find_map(|line| line.strip_prefix("reason = ")).expect("a reason");
    assert!(verdict.contains(reason.trim_matches('"')), "{verdict} lacks {reason}");
    for device in 1..=devices {
        let file = take.join(format!("{device:012}.mkv"));
        let verdict = genlock(["verify", file.to_str().expect("a plain path")]);
        let said = String::from_utf8_lossy(&verdict.stdout);
        // A write that is refused may take half of the last trigger with it: that is a loss.
        let refused = toml.contains("disk write failed");
        assert!(
            matches!((verdict.status.code(), refused), (Some(0), _) | (Some(3), true)),
            "{said}"
        );
        if let Some(dump) = official_dump(&file) {
            let dump = dump.expect("the official library opens it");
            assert!(dump["captures"].as_array().expect("captures").len() > 20, "{device}");
        }
    }
    stderr
}

#[test]
fn a_take_ends_cleanly_before_its_disk_is_full() {
    for (kind, devices, mib) in [("tmpfs", 1, 200), ("tmpfs", 2, 400), ("ext4", 2, 400)] {
        let Some(disk) = SmallDisk::mount(kind, mib) else { continue };
        let take = disk.path().join("take");
        let turn = turn();
        let output = recording(&take, devices).wait_with_output().expect("it ends");
        drop(turn);
        let stderr = ended_whole(&output, &take, devices);
        assert!(stderr.contains("MB left on the disk of"), "{stderr}");
        // No write was refused: neither the ledger nor anybody else has heard of one.
        let ledger = std::fs::read_to_string(take.join("take.toml")).expect("take.toml");
        assert!(!stderr.contains("cannot write") && !ledger.contains("disk write"), "{ledger}");
        // And what room there was has been used: all but some seconds of it.
        let ledger = Take::from_toml(&ledger).expect("our own");
        let seconds = ledger.devices[0].trigger_count as f64 / 30.0;
        let bytes: u64 = ledger.devices.iter().map(|device| device.bytes).sum();
        let left_s = disk.free_bytes() as f64 / (bytes as f64 / seconds);
        assert!(left_s < 8.0, "{kind}, {devices} devices: room for {left_s:.1} s was left");
    }
}

#[test]
fn a_disk_that_others_fill_at_once_leaves_a_take_that_is_whole_and_says_why() {
    for (kind, devices) in [("tmpfs", 1), ("tmpfs", 2), ("ext4", 2)] {
        let Some(disk) = SmallDisk::mount(kind, 1000) else { continue };
        let take = disk.path().join("take");
        let turn = turn();
        let child = recording(&take, devices);
        grown_to(&take.join("000000000001.mkv.part"), 20_000_000);
        disk.fill();
        let output = child.wait_with_output().expect("it ends");
        drop(turn);
        let stderr = ended_whole(&output, &take, devices);
        assert!(stderr.contains("No space left") || stderr.contains("MB left"), "{stderr}");
    }
}
