//! What a user does with cameras on USB that work. Run in the guest by `main.rs`.

use crate::cameras::{Cameras, MASTER, SUBORDINATE, ended, nodes, take_of, text, until};
use crate::support::{genlock, genlock_exits};
use genlock::clock::Clock;
use genlock::pool::Pool;
use genlock::usb::host::HostBus;
use genlock::usb::{Bus, StreamEndpoint, TransferKind};
use genlock_emulator::ColorTransfer;
use genlock_formats::take::{Outcome, Verdict};
use kinect_emulator::{Pipe, WireFault};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

#[test]
#[ignore = "runs in the guest"]
fn cameras_are_listed_with_serials_and_their_place_on_the_bus() {
    let _cameras = Cameras::plug_in(2);
    let listed = genlock_exits(0, &["list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let of = |place: usize, key: &str| listed[place][key].as_str().expect("text").to_owned();
    assert_eq!([of(0, "serial"), of(1, "serial")], [MASTER, SUBORDINATE]);
    assert_eq!(listed[0]["sync_out"], true);
    assert_eq!(listed[1]["sync_in"], true);
    assert!(of(0, "controller").contains("vhci_hcd"), "{listed}");
    for place in [0, 1] {
        let port = format!("/sys/bus/usb/devices/{}", of(place, "usb"));
        let serial = fs::read_to_string(port + "/serial").expect("the kernel has it there");
        assert_eq!(serial.trim(), of(place, "serial"));
    }
    let table = String::from_utf8(genlock_exits(0, &["list"]).stdout).expect("text");
    assert!(table.contains("sync-out plugged  USB 2-"), "{table}");
}

#[test]
#[ignore = "runs in the guest"]
fn a_camera_that_refuses_does_not_hide_the_others_and_answers_the_next_time() {
    let cameras = Cameras::plug_in(2);
    cameras.camera(MASTER).order(Pipe::DepthReplies, WireFault::Stall);
    let listed = genlock_exits(1, &["list"]);
    let (shown, told) = (listed.stdout, listed.stderr);
    assert!(String::from_utf8_lossy(&shown).contains(SUBORDINATE), "{shown:?}");
    assert!(String::from_utf8_lossy(&told).contains(MASTER), "{told:?}");
    genlock_exits(0, &["list"]);
}

#[test]
#[ignore = "runs in the guest"]
fn a_rig_is_checked_and_recorded_in_step_and_every_frame_is_there() {
    let cameras = Cameras::plug_in(2);
    let checked = genlock(cameras.arguments("check", &["--json"], &cameras.place("new")));
    let checked: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(checked["ready"], true, "{checked}");
    let take = cameras.whole_take(&["--frames", "20"]);
    genlock_exits(0, &["verify", &text(&take)]);
    let said = take_of(&take);
    assert_eq!((said.outcome, said.verdict), (Outcome::Whole, Some(Verdict::Pass)));
    assert_eq!(said.devices.len(), 2);
    let triggers = fs::read_to_string(take.join("triggers.csv")).expect("a list");
    assert_eq!(triggers.lines().filter(|line| !line.starts_with('#')).count(), 21, "{triggers}");
}

#[test]
#[ignore = "runs in the guest"]
fn color_from_a_bulk_endpoint_is_recorded_too() {
    let cameras = Cameras::with(1, ColorTransfer::Bulk);
    let take = cameras.whole_take(&["--frames", "10"]);
    genlock_exits(0, &["verify", &text(&take)]);
}

#[test]
#[ignore = "runs in the guest"]
fn the_webcam_driver_gets_its_camera_back() {
    let cameras = Cameras::plug_in(1);
    let is_webcam = || {
        let bound = |node: &std::path::PathBuf| {
            let name = node.file_name().expect("a name").to_string_lossy().into_owned();
            fs::read_link(node.join(format!("{name}:1.0/driver")))
                .is_ok_and(|driver| driver.ends_with("uvcvideo"))
        };
        nodes().iter().any(bound)
    };
    until("the webcam driver has the color camera", is_webcam);
    cameras.whole_take(&["--frames", "5"]);
    until("the webcam driver has it again", is_webcam);
}

#[test]
#[ignore = "runs in the guest"]
fn after_a_kill_the_cameras_record_again() {
    let cameras = Cameras::plug_in(2);
    let (mut killed, place) = cameras.recorder(&[], MASTER);
    killed.kill().expect("it runs");
    killed.wait().expect("it was killed");
    let repaired = genlock(["repair", &text(&place)]);
    assert!(matches!(repaired.status.code(), Some(0 | 3)), "{repaired:?}");
    cameras.whole_take(&["--frames", "5"]);
}

#[test]
#[ignore = "runs in the guest"]
fn a_camera_that_another_program_has_is_told_of() {
    let cameras = Cameras::plug_in(1);
    let (recorder, _) = cameras.recorder(&["--frames", "60"], MASTER);
    let (second, place) = cameras.record("second", &["--frames", "5"]);
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(MASTER) && stderr.contains("another program has it"), "{stderr}");
    assert!(!place.exists(), "nothing was begun");
    let (code, stderr) = ended(recorder);
    assert!(matches!(code, Some(0 | 3)), "the first one is not disturbed: {code:?} {stderr}");
}

#[test]
#[ignore = "runs in the guest"]
fn without_permission_the_rule_is_named() {
    let cameras = Cameras::plug_in(1);
    let nobody = |arguments: Vec<String>| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_genlock"))
            .args(arguments)
            .output()
            .expect("setpriv is part of every Linux")
    };
    let listed = nobody(vec!["list".to_owned()]);
    let stderr = String::from_utf8_lossy(&listed.stderr);
    assert_eq!(listed.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("genlock check"), "{stderr}");
    let checked = nobody(cameras.arguments("check", &[], &cameras.place("new")));
    let stdout = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains(MASTER) && stdout.contains("99-genlock.rules"), "{stdout}");
}

#[test]
#[ignore = "runs in the guest"]
fn streams_that_are_dropped_give_everything_back() {
    let _cameras = Cameras::plug_in(1);
    let bus = HostBus::new(Clock::machine()).expect("USB");
    let found = genlock::device::find(&bus).expect("a camera");
    let held = || {
        ["fd", "task"]
            .map(|what| fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count))
    };
    let depth = StreamEndpoint { address: 0x83, kind: TransferKind::Bulk };
    let listen = || {
        let mut port = bus.open(&found[0].depth).expect("it opens");
        port.claim(0).expect("nobody else has it");
        let mut stream = port.stream(depth, Pool::new(2, 5_311_488)).expect("it starts");
        assert!(stream.next(Duration::from_millis(20)).is_none(), "it was not told to send");
        assert!(stream.next(Duration::ZERO).is_none());
    };
    listen();
    let before = held();
    (0..20).for_each(|_| listen());
    assert_eq!(held(), before, "files and threads");
}
