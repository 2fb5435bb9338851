//! What goes wrong on USB, and what a take says of it. Run in the guest by `main.rs`.

use crate::cameras::{Cameras, FPS, MASTER, SUBORDINATE, ended, take_of, until};
use crate::support::{genlock, grown_to};
use genlock_formats::take::{Outcome, Take};
use kinect_emulator::{Pipe, WireFault};
use std::fs;
use std::path::Path;

/// Triggers of a track that a take lacks for one of these causes.
fn lost(take: &Take, serial: &str, track: &str, causes: &[&str]) -> u64 {
    let device = take.devices.iter().find(|device| device.serial == serial).expect("it is in it");
    let of_track = device.losses.iter().filter(|loss| loss.track == track);
    of_track.filter(|loss| causes.contains(&&*loss.cause)).map(|loss| loss.count()).sum()
}

#[test]
#[ignore = "runs in the guest"]
fn every_fault_of_the_wire_costs_its_frame_and_the_take_goes_on() {
    const FAILED: &[&str] = &["USB transfer failed"];
    const MALFORMED: &[&str] = &["malformed on the wire"];
    let cases = [
        (Pipe::Depth, WireFault::Stall, "depth", FAILED),
        (Pipe::Depth, WireFault::Babble, "depth", FAILED),
        (Pipe::Depth, WireFault::Protocol, "depth", FAILED),
        (Pipe::Depth, WireFault::Short, "depth", MALFORMED),
        (Pipe::Depth, WireFault::Garble, "depth", &["depth engine gave no image"]),
        (Pipe::Color, WireFault::Protocol, "color", MALFORMED),
        (Pipe::Color, WireFault::Garble, "color", MALFORMED),
    ];
    let cameras = Cameras::plug_in(1);
    for (number, (pipe, fault, track, causes)) in cases.into_iter().enumerate() {
        let (child, place) = cameras.recorder_at(number, &["--frames", "30"], MASTER);
        cameras.camera(MASTER).order(pipe, fault);
        let (code, stderr) = ended(child);
        let take = take_of(&place);
        assert_eq!(code, Some(3), "{fault:?} of {track}: {stderr}");
        assert_eq!(take.outcome, Outcome::Losses, "{fault:?} of {track}");
        let count = lost(&take, MASTER, track, causes);
        assert!((1..=2).contains(&count), "{fault:?} of {track}: {count} frames: {stderr}");
    }
}

#[test]
#[ignore = "runs in the guest"]
fn a_camera_that_is_pulled_out_is_back_in_its_file_when_it_is_plugged_in() {
    let cameras = Cameras::plug_in(2);
    let frames = (30 * FPS).to_string();
    let (child, place) = cameras.recorder(&["--frames", &frames], SUBORDINATE);
    cameras.camera(SUBORDINATE).unplug();
    let other = place.join(format!("{MASTER}.mkv.part"));
    let bytes = fs::metadata(&other).expect("it grows").len();
    grown_to(&other, bytes + 3_000_000);
    cameras.camera(SUBORDINATE).plug().expect("a free port");
    let (code, stderr) = ended(child);
    assert_eq!(code, Some(3), "{stderr}");
    let take = take_of(&place);
    let of = |serial: &str| take.devices.iter().find(|device| device.serial == serial);
    let away = of(SUBORDINATE).expect("it is in it");
    assert_eq!(away.outages.len(), 1, "{stderr}");
    assert!(lost(&take, SUBORDINATE, "depth", &["device was away"]) >= FPS, "{stderr}");
    assert_eq!(lost(&take, MASTER, "depth", &["device was away"]), 0);
    assert_ends_alike(&place, &take);
    // What it lacks is listed: the file itself is sound.
    let verified = genlock(["verify", &place.to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(3), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// That both cameras have frames of the take's last trigger.
fn assert_ends_alike(place: &Path, take: &Take) {
    let triggers = fs::read_to_string(place.join("triggers.csv")).expect("a list");
    let last = triggers.lines().last().expect("a line");
    for device in &take.devices {
        let late = device.losses.iter().filter(|loss| loss.cause == "device was away");
        let back = late.map(|loss| loss.last_trigger).max().unwrap_or(0);
        let end: u64 = last.split(',').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(back < end, "{}: away until the end: {last}", device.serial);
    }
}

#[test]
#[ignore = "runs in the guest"]
fn too_little_memory_for_transfers_is_explained() {
    const LIMIT_MB: &str = "/sys/module/usbcore/parameters/usbfs_memory_mb";
    let cameras = Cameras::plug_in(1);
    let before = fs::read_to_string(LIMIT_MB).expect("it is a parameter");
    fs::write(LIMIT_MB, "2").expect("we are root");
    let checked = genlock(cameras.arguments("check", &[], &cameras.place("new")));
    let recorded = genlock(cameras.arguments("record", &["--force"], &cameras.place("new")));
    // What the kernel lends unless it is told otherwise: enough for one camera.
    fs::write(LIMIT_MB, "16").expect("we are root");
    cameras.whole_take(&["--frames", "5"]);
    fs::write(LIMIT_MB, before.trim()).expect("we are root");
    let stdout = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("usbfs_memory_mb is 2") && stdout.contains("echo"), "{stdout}");
    let stderr = String::from_utf8_lossy(&recorded.stderr);
    assert_eq!(recorded.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("raise usbfs_memory_mb"), "{stderr}");
}

#[test]
#[ignore = "runs in the guest"]
fn a_camera_that_leaves_for_good_ends_the_take_with_what_there_is() {
    let cameras = Cameras::plug_in(1);
    let (child, place) = cameras.recorder(&["--set", "rejoin_for=2s"], MASTER);
    cameras.camera(MASTER).unplug();
    let (code, stderr) = ended(child);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(MASTER) && stderr.contains("left the bus"), "{stderr}");
    until("the file is finished", || place.join(format!("{MASTER}.mkv")).exists());
    assert_eq!(take_of(&place).outcome, Outcome::Failed);
}

#[test]
#[ignore = "runs in the guest"]
fn a_master_that_leaves_for_good_does_not_keep_its_subordinates_waiting() {
    let cameras = Cameras::plug_in(2);
    let options = ["--set", "rejoin_for=2s", "--frames", "500"];
    let (child, place) = cameras.recorder(&options, SUBORDINATE);
    cameras.camera(MASTER).unplug();
    let (code, stderr) = ended(child);
    assert_eq!(code, Some(1), "{stderr}");
    let why = format!("{MASTER} did not come back, and {SUBORDINATE} gets no pulses");
    assert!(stderr.contains(&why), "{stderr}");
    assert_eq!(take_of(&place).outcome, Outcome::Failed);
}
