//! `genlock replay`: what another program gets of a take is what its files hold, at the pace that
//! was asked for.

mod support;

use genlock::replay::{Files, Reader, Slot};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};
use support::judges::{oracle_script, root};
use support::{genlock, genlock_exits};

const FRAMES: u64 = 12;

/// A take of two devices; a busy machine may lose frames.
fn record(folder: &Path, options: &[&str]) -> String {
    let take = folder.join("take").to_str().expect("a plain path").to_owned();
    let frames = FRAMES.to_string();
    let mut args = vec!["record", "--emulated", "2", "--quiet", "-c", "720p", "-r", "15"];
    args.extend(["-d", "NFOV_2X2BINNED", "--frames", &frames]);
    args.extend(options);
    args.push(&take);
    let code = genlock(&args).status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    take
}

type Message = (Value, Vec<u8>);

/// Reads messages as docs/replay.md describes them.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let mut part = |len: usize| bytes.split_off(..len).expect("a whole message");
        let lengths = [0; 2].map(|_: u8| u32::from_le_bytes(part(4).try_into().expect("4 bytes")));
        let head = serde_json::from_slice(part(lengths[0] as usize)).expect("a head");
        messages.push((head, part(lengths[1] as usize).to_vec()));
    }
    messages
}

/// The messages of a whole take are all that its files hold.
fn hold_all(take: &str, messages: &[Message]) {
    let files = Files::open(take.as_ref()).expect("a take");
    let reader = Reader::open(&files).expect("its recordings");
    let of_kind = |kind: &str| -> Vec<&Message> {
        messages.iter().filter(|(head, _)| head["kind"] == kind).collect()
    };
    let triggers = reader.triggers();
    let (take, _) = &messages[0];
    assert_eq!((&take["kind"], &take["format"]), (&"take".into(), &1.into()));
    assert_eq!(take["first_trigger"], triggers.start);
    assert_eq!(take["last_trigger"], triggers.end - 1);
    assert_eq!(take["devices"][1]["role"], "subordinate");
    let mut frames = of_kind("frame").into_iter();
    let (mut lost, mut samples) = (0, of_kind("imu"));
    for capture in reader.captures(triggers) {
        for (device, of_device) in reader.devices().iter().zip(&capture.devices) {
            for slot in of_device.slots() {
                let Slot::Frame(image) = slot else {
                    lost += 1;
                    continue;
                };
                let (head, body) = frames.next().expect("a message for each frame");
                assert_eq!(head["trigger"], capture.trigger);
                assert_eq!(head["device"], device.serial());
                assert_eq!(
                    (&head["time_us"], &head["width"]),
                    (&image.time_us.into(), &image.width.into())
                );
                assert_eq!(body[..], image.pixels_le()[..]);
            }
        }
    }
    assert!(frames.next().is_none());
    assert_eq!(of_kind("lost").len(), lost);
    for device in reader.devices() {
        let own = |(head, _): &&&Message| head["device"] == device.serial();
        let calibrations = of_kind("calibration");
        let calibration = calibrations.iter().find(own).expect("a calibration");
        assert_eq!(Some(&calibration.1[..]), device.recording().calibration());
        let bytes: Vec<u8> =
            samples.iter().filter(own).flat_map(|(_, body)| body.clone()).collect();
        let all = device.recording().imu().flatten().flat_map(|sample| sample.to_bytes());
        assert_eq!(bytes, all.collect::<Vec<_>>());
        samples.retain(|(head, _)| head["device"] != device.serial());
    }
    let (end, _) = messages.last().expect("an end");
    assert_eq!((&end["kind"], &end["captures"]), (&"end".into(), &FRAMES.into()));
    assert_eq!(end["lost"], lost);
}

#[test]
fn another_program_gets_all_that_the_files_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &["--profile", "compact"]);
    let output = genlock(["replay", &take, "--speed", "max", "--stdout", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 3)));
    hold_all(&take, &messages(&output.stdout));
    let told: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!((&told["captures"], &told["left"]), (&FRAMES.into(), &false.into()));
}

#[test]
fn a_socket_serves_the_first_program_that_connects_and_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &[]);
    let socket = folder.path().join("frames");
    let name = socket.to_str().expect("a plain path");
    let mut child = Command::new(env!("CARGO_BIN_EXE_genlock"))
        .args(["replay", &take, "--quiet", "--socket", name])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was built with this test");
    let begun = Instant::now();
    let mut client = loop {
        match UnixStream::connect(&socket) {
            Ok(client) => break client,
            Err(_) => park_timeout(Duration::from_millis(5)),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing listens");
    };
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).expect("a stream");
    hold_all(&take, &messages(&bytes));
    let code = child.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    assert!(fs::symlink_metadata(&socket).is_err(), "the socket is left");
    // What has the name is left alone.
    fs::write(&socket, "somebody's").expect("a disk");
    genlock_exits(2, &["replay", &take, "--socket", name]);
    assert_eq!(fs::read_to_string(&socket).expect("a file"), "somebody's");
}

#[test]
fn a_take_is_not_played_faster_than_it_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &[]);
    for (speed, times) in [("1", 1.0), ("2.5", 2.5)] {
        let output = genlock(["replay", &take, "--json", "--speed", speed]);
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let took_s = told["took_s"].as_f64().expect("seconds");
        assert!(took_s >= (FRAMES - 1) as f64 / 15.0 / times, "{took_s} s");
    }
}

#[test]
fn what_is_asked_for_is_played_and_what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &[]);
    let first = Files::open(take.as_ref()).expect("a take").triggers().start;
    let (from, to) = ((first + 2).to_string(), (first + 8).to_string());
    let range = ["--from-trigger", &from, "--to-trigger", &to, "--every", "3"];
    let some = ["--device", "000000000002", "--track", "ir,imu", "--speed", "max", "--stdout"];
    let output = genlock(["replay", &take, "--quiet"].iter().chain(&range).chain(&some));
    let messages = messages(&output.stdout);
    let frames = messages.iter().filter(|(head, _)| head["kind"] == "frame");
    let frames: Vec<_> = frames.map(|(head, _)| head["trigger"].as_u64()).collect();
    let lost = messages.iter().filter(|(head, _)| head["kind"] == "lost").count();
    assert_eq!(frames.len() + lost, 3);
    assert!(frames.iter().all(|trigger| (first + 2..=first + 8).contains(&trigger.expect("one"))));
    // Samples of the time of these triggers: at 15 fps some 100 a trigger.
    let samples = messages.iter().filter_map(|(head, _)| head["samples"].as_u64()).sum::<u64>();
    assert!((600..900).contains(&samples), "{samples}");
    for wrong in [
        ["--speed", "0"],
        ["--every", "0"],
        ["--device", "7"],
        ["--track", "sound"],
        ["--from-trigger", "100000"],
    ] {
        genlock_exits(2, &["replay", &take, wrong[0], wrong[1]]);
    }
    genlock_exits(2, &["replay", folder.path().to_str().expect("a plain path")]);
    let empty = tempfile::tempdir().expect("a folder");
    genlock_exits(1, &["replay", empty.path().to_str().expect("a plain path")]);
    genlock_exits(1, &["replay", "no such take"]);
}

/// A reader that has seen enough, and a signal, are no failures.
#[test]
fn playing_in_a_loop_ends_with_its_reader_and_with_a_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &[]);
    let start = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
        command.args(["replay", &take, "--quiet", "--loop", "--stdout"]).args(options);
        command.stdout(Stdio::piped()).spawn().expect("the binary was built with this test")
    };
    let mut child = start(&["--speed", "max"]);
    let mut some = vec![0; 30_000_000];
    child.stdout.take().expect("piped").read_exact(&mut some).expect("more than one round");
    // What it was read from is closed now.
    let code = child.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    let mut child = start(&[]);
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut some[..1000]).expect("a beginning");
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("kill is part of Linux").success());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("an end");
    let code = child.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

/// The example of the documentation, with a stand-in for the window that it shows depth in.
#[test]
fn the_example_in_python_shows_the_depth_of_every_device() {
    let Some((python, _)) = oracle_script() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), &[]);
    let window = "COLORMAP_TURBO = 0\n\
                  def convertScaleAbs(image, alpha): return (image * alpha).clip(0, 255)\n\
                  def applyColorMap(image, colors): return image\n\
                  def imshow(name, image): print(name, image.shape, round(float(image.mean())))\n\
                  def waitKey(ms): return -1\n";
    fs::write(folder.path().join("cv2.py"), window).expect("a disk");
    let output = genlock(["replay", &take, "--quiet", "--speed", "max", "--stdout"]);
    let mut shown = Command::new(python)
        .arg(root().join("tools/python/show_depth.py"))
        .env("PYTHONPATH", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a Python");
    let mut to = shown.stdin.take().expect("piped");
    let writing = std::thread::spawn(move || to.write_all(&output.stdout));
    let mut said = String::new();
    shown.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(shown.wait().expect("it ends").success());
    writing.join().expect("no panic").expect("it reads to the end");
    for serial in ["000000000001", "000000000002"] {
        let images = said.lines().filter(|line| line.starts_with(&format!("{serial} (288, 320) ")));
        let of_depth = images.filter(|line| !line.ends_with(" 0")).count() as u64;
        assert!(of_depth > FRAMES / 2, "{said}");
    }
}

/// The devices of a take record it once more, from its first trigger to its last: the same images,
/// under triggers that are all moved by the same number, under the same serials, with the same
/// delays; what was lost then is lost again.
#[test]
fn a_take_is_recorded_again_by_the_devices_that_it_is_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    let text = "rate = 15\ncolor_mode = \"720p\"\ndepth_mode = \"NFOV_2X2BINNED\"\n[emulator]\n\
                [[device]]\nserial = \"000000000002\"\nrole = \"subordinate\"\n\
                depth_delay_us = 160\ndelay_off_master_us = 200\nimu = false\nname = \"left\"\n\
                [device.faults]\nseed = 5\nhit_per_mille = 200\n\
                [[device]]\nserial = \"000000000001\"\nrole = \"master\"\n";
    fs::write(&rig, text).expect("a disk");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (first, again) = (path("first"), path("again"));
    let lossy = |args: &[&str]| {
        let output = genlock(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    };
    let rig = rig.to_str().expect("a plain path");
    lossy(&["record", "--rig", rig, "--quiet", "--frames", "30", &first]);
    lossy(&["record", "--from", &first, "--quiet", &again]);
    let files = [&first, &again].map(|take| Files::open(take.as_ref()).expect("a take"));
    let [one, two] = [0, 1].map(|at: usize| Reader::open(&files[at]).expect("its recordings"));
    assert_eq!(one.triggers().count(), two.triggers().count());
    // Two seconds of pulses, for the devices to be ready.
    assert_eq!(two.triggers().start, 30);
    for (one, two) in one.devices().iter().zip(two.devices()) {
        assert_eq!((one.serial(), one.name()), (two.serial(), two.name()));
        let without_start = |device: &genlock::replay::Device<'_>| {
            let mut configuration = device.configuration().clone();
            configuration.start_offset_ns = 0;
            configuration
        };
        assert_eq!(without_start(one), without_start(two));
        assert_eq!(one.recording().calibration(), two.recording().calibration());
    }
    let (mut same, mut lost) = (0, 0);
    for (a, b) in one.captures(one.triggers()).zip(two.captures(two.triggers())) {
        for (a, b) in a.devices.iter().zip(&b.devices) {
            for (a, b) in a.slots().into_iter().zip(b.slots()) {
                match (a, b) {
                    (Slot::Frame(a), Slot::Frame(b)) => {
                        assert_eq!(a.bytes, b.bytes);
                        same += 1;
                    }
                    (Slot::Lost(_), Slot::Frame(_)) => panic!("a frame out of nothing"),
                    (Slot::Lost(_), Slot::Lost(_)) => lost += 1,
                    _ => {}
                }
            }
        }
    }
    assert!(same > 80 && lost > 2, "{same} are the same, {lost} were lost");
    genlock_exits(2, &["record", "--from", &first, "--emulated", "2", &path("none")]);
    genlock_exits(2, &["record", "--from", &first, "--rig", rig, &path("none")]);
    genlock_exits(2, &["record", "--from", &first, "-c", "1080p", &path("none")]);
    genlock_exits(1, &["record", "--from", folder.path().to_str().expect("plain"), &path("none")]);
}
