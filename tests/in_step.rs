//! A rig as a person records it: from the rig file to the evidence that the take leaves.

mod support;

use genlock_formats::k4a::{Recording, TrackName};
use genlock_formats::take::{Control, Outcome, Take, Verdict};
use genlock_formats::triggers::{Cell, Triggers};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::{genlock_exits, official_dump};

/// A folder with a rig file of `count` emulated devices, small modes, and `more` text behind it.
fn rig(count: usize, more: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rig.toml");
    let init = genlock_exits(0, &["rig", "init", "--emulated", &count.to_string()]);
    let text = String::from_utf8(init.stdout).expect("a text");
    let small = text
        .replace("color_mode = \"MJPG_1080P\"", "color_mode = \"720p\"")
        .replace("depth_mode = \"NFOV_UNBINNED\"", "depth_mode = \"NFOV_2X2BINNED\"");
    fs::write(&path, small + more).expect("a file");
    (folder, path)
}

struct Recorded {
    folder: PathBuf,
    take: Take,
    triggers: Triggers,
    stderr: String,
    _keep: tempfile::TempDir,
}

/// Records with a rig file, which must exit with `code`.
fn record(count: usize, more: &str, options: &[&str], code: i32) -> Recorded {
    let (keep, rig) = rig(count, more);
    let folder = keep.path().join("take");
    let mut args = vec!["record", "--rig", rig.to_str().expect("a plain path")];
    args.extend(options);
    args.push(folder.to_str().expect("a plain path"));
    let output = genlock_exits(code, &args);
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of the take");
    Recorded {
        take: Take::from_toml(&read("take.toml")).expect("it reads"),
        triggers: Triggers::from_csv(&read("triggers.csv")).expect("it reads"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        folder,
        _keep: keep,
    }
}

/// Device times of the color frames in a file.
fn color_times(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).expect("a recording");
    let recording = Recording::open(&bytes).expect("it opens");
    let captures = recording.captures().map(|capture| capture.expect("a sound capture"));
    captures.filter_map(|capture| Some(capture.color?.time_us)).collect()
}

#[test]
fn every_trigger_has_a_row_and_every_cell_is_a_frame_or_a_cause() {
    let lossy = "[emulator.faults]\nhit_per_mille = 40\njitter_us = 200\nclock_ppm = 388\n";
    let recorded = record(3, lossy, &["--frames", "90"], 3);
    let Recorded { take, triggers, folder, .. } = &recorded;
    assert_eq!((triggers.rows.len(), take.outcome), (90, Outcome::Losses));
    assert_eq!(triggers.columns.len(), 3 * 4);
    for device in &take.devices {
        assert_eq!((device.first_trigger, device.trigger_count), (triggers.first, 90));
        for track in [TrackName::Color, TrackName::Depth, TrackName::Ir] {
            let track = track.to_string().to_lowercase();
            let cells = triggers.column(&format!("{}.{track}", device.serial)).expect("a column");
            let cells: Vec<_> = cells.collect();
            let there = cells.iter().filter(|cell| matches!(cell, Cell::At(_))).count() as u64;
            assert_eq!(there, device.frames[&track], "{} {track}", device.serial);
            let lost = device.losses.iter().filter(|loss| loss.track == track);
            for loss in lost {
                for trigger in loss.first_trigger..=loss.last_trigger {
                    let cell = cells[usize::try_from(trigger - triggers.first).expect("a row")];
                    assert_eq!(*cell, Cell::Lost(loss.cause.clone()));
                }
            }
        }
        let cells = triggers.column(&format!("{}.color", device.serial)).expect("a column");
        let times = cells.filter_map(|cell| match cell {
            Cell::At(us) => Some(*us),
            Cell::Lost(_) => None,
        });
        let file = folder.join(device.file.as_ref().expect("a file"));
        assert_eq!(times.collect::<Vec<_>>(), color_times(&file), "{}", device.serial);
        let clock = device.clock.as_ref().expect("a clock");
        assert!((clock.ppm - 388.0).abs() < 100.0, "{} in three seconds", clock.ppm);
    }
    let path = folder.to_str().expect("a plain path");
    genlock_exits(3, &["verify", path]);
}

/// Color stamps of a device, by what Microsoft's library reads.
fn official_times(file: &Path) -> Option<Vec<u64>> {
    let dump = official_dump(file)?.expect("it opens");
    let captures = dump["captures"].as_array().expect("captures");
    let time = |capture: &Value| capture["color"]["device_timestamp_usec"].as_u64();
    Some(captures.iter().map(|capture| time(capture).expect("a time")).collect())
}

#[test]
fn four_files_have_the_same_triggers_in_the_eyes_of_the_official_library() {
    let apart = "[device.faults]\nclock_ppm = -300\n";
    let recorded = record(4, apart, &["--frames", "45"], 0);
    assert_eq!(recorded.take.verdict, Some(Verdict::Pass));
    let file = |device: &genlock_formats::take::Device| {
        recorded.folder.join(device.file.as_ref().expect("a file"))
    };
    let times: Vec<_> = recorded.take.devices.iter().map(|d| official_times(&file(d))).collect();
    let Some(times) = times.into_iter().collect::<Option<Vec<_>>>() else { return };
    for device in &times {
        assert_eq!(device.len(), 45);
        for (time, master) in device.iter().zip(&times[0]) {
            // Two seconds at 300 ppm, and what exposures vary by.
            assert!(time.abs_diff(*master) < 1000, "{time} against {master}");
        }
    }
}

#[test]
fn a_cable_pulled_in_mid_take_raises_the_alarm_and_fails_the_verdict() {
    let pulled = "[device.faults]\nclock_ppm = 250\nunplugged_s = 3.0\nreplugged_s = 5.0\n";
    let recorded = record(2, pulled, &["-l", "6"], 3);
    let [master, subordinate] = &recorded.take.devices[..] else {
        panic!("two devices");
    };
    assert!(recorded.stderr.contains("alarm: 000000000002"), "{}", recorded.stderr);
    assert_eq!((master.verdict, master.alarms.len()), (Some(Verdict::Pass), 0));
    assert_eq!(subordinate.verdict, Some(Verdict::Fail));
    assert!(!subordinate.alarms.is_empty() && subordinate.losses.is_empty());
    assert_eq!(recorded.take.verdict, Some(Verdict::Fail));
    assert_eq!(recorded.take.outcome, Outcome::Losses);
    let path = recorded.folder.to_str().expect("a plain path");
    genlock_exits(3, &["verify", path]);
}

#[test]
fn after_a_warm_up_all_cameras_hold_what_the_master_has_found() {
    let options = [
        "--set",
        "warm_up=1s",
        "--set",
        "lock_exposure=true",
        "--set",
        "lock_white_balance=true",
        "--set",
        "copy_master=true",
        "--frames",
        "10",
    ];
    let recorded = record(2, "", &options, 0);
    let controls: Vec<_> = recorded.take.devices.iter().map(|d| &d.color_controls).collect();
    assert!(matches!(controls[0]["exposure_us"], Control::Value(us) if us > 0));
    assert!(matches!(controls[0]["white_balance_k"], Control::Value(k) if k >= 2500));
    assert_eq!(controls[0]["exposure_us"], controls[1]["exposure_us"]);
    assert_eq!(controls[0]["white_balance_k"], controls[1]["white_balance_k"]);
    let first = recorded.take.devices[0].first_trigger;
    assert!(first > 30, "a second of warm-up before trigger {first}");
    // Each by itself: their scenes differ.
    let options = ["--set", "warm_up=1s", "--set", "lock_exposure=true", "--frames", "10"];
    let recorded = record(2, "", &options, 0);
    let exposures: Vec<_> =
        recorded.take.devices.iter().map(|d| &d.color_controls["exposure_us"]).collect();
    assert_ne!(exposures[0], exposures[1]);
    assert_eq!(
        recorded.take.devices[0].color_controls["white_balance_k"],
        Control::Word("auto".to_owned())
    );
}

#[test]
fn firmware_that_differs_is_refused_and_forced_it_is_counted_by_arrival() {
    let mixed = "[device.faults]\ncolor_firmware_build = 102\n";
    let (keep, path) = rig(2, mixed);
    let take = keep.path().join("take");
    let args = ["record", "--rig", path.to_str().expect("plain"), "--frames", "9"];
    let refused = genlock_exits(1, &[&args[..], &[take.to_str().expect("plain")]].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("firmware"));
    assert!(!take.exists());
    let recorded = record(2, mixed, &["--force", "--frames", "9"], 0);
    assert_eq!(recorded.take.verdict, Some(Verdict::Warn));
    let told = &recorded.take.devices[1].reasons;
    assert!(told.iter().any(|reason| reason.contains("firmware")), "{told:?}");
}

#[test]
fn a_device_that_never_gets_a_pulse_is_named_after_a_bounded_wait() {
    let (keep, path) = rig(2, "[device.faults]\nbroken_s = 0.0\n");
    let take = keep.path().join("take");
    let args = ["record", "--rig", path.to_str().expect("plain"), "--frames", "9"];
    let failed = genlock_exits(1, &[&args[..], &[take.to_str().expect("plain")]].concat());
    let stderr = String::from_utf8_lossy(&failed.stderr);
    assert!(stderr.contains("000000000002: waiting for the master's pulses"), "{stderr}");
    assert!(stderr.contains("did not come within 10 s"), "{stderr}");
    assert!(!take.exists(), "nothing half-made is left");
}

#[test]
fn verify_works_the_evidence_out_again_and_believes_no_edit() {
    let recorded = record(2, "[emulator.faults]\nhit_per_mille = 60\n", &["--frames", "60"], 3);
    let folder = recorded.folder.to_str().expect("a plain path");
    let verified = genlock_exits(3, &["verify", "--json", folder]);
    let json: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    let in_step = json[0]["in_step"].as_array().expect("a list");
    for (found, said) in in_step.iter().zip(&recorded.take.devices) {
        assert_eq!(found["verdict"], said.verdict.expect("a verdict").to_string());
        assert_eq!(found["reasons"].as_array().map(Vec::len), Some(said.reasons.len()));
    }
    assert!(in_step[1]["phase"]["pairs"].as_u64().expect("pairs") > 30);
    let refused = |name: &str, from: &str, to: &str, words: &str| {
        let path = recorded.folder.join(name);
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{name} holds {from}");
        fs::write(&path, text.replacen(from, to, 1)).expect("a file");
        let verified = genlock_exits(1, &["verify", folder]);
        let told = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(told.contains(words), "{told}");
        fs::write(&path, text).expect("a file");
    };
    refused("take.toml", "verdict = \"warn\"", "verdict = \"pass\"", "verdict");
    refused("triggers.csv", "not sent by the device", "lane full", "triggers.csv says lane full");
    let (row, place) = (&recorded.triggers.rows[30], 30 + recorded.triggers.first);
    let Some(Cell::At(us)) = row.iter().find(|cell| matches!(cell, Cell::At(_))) else {
        panic!("a row without a frame");
    };
    let moved = us + 1;
    refused("triggers.csv", &format!(",{us},"), &format!(",{moved},"), &format!("{moved} us"));
    refused("triggers.csv", &format!("\n{place},"), "\n7,", "line 32");
    for (from, to) in [
        ("\np99_us = ", "\np99_us = 9"),
        ("\npairs = ", "\npairs = 1"),
        ("\nrate_hz = ", "\nrate_hz = 1"),
        ("\noffset_us = ", "\noffset_us = 1"),
        ("frames are missing", "frames are there"),
        ("asked_us = 160", "asked_us = 161"),
    ] {
        refused("take.toml", from, to, "take.toml");
    }
    fs::remove_file(recorded.folder.join("triggers.csv")).expect("it is there");
    let verified = genlock_exits(1, &["verify", folder]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("triggers.csv"));
}

/// The stamps of a camera that runs free from before the take lie on a line of their own; that its
/// clock is another than they say is seen by when they arrive.
#[test]
fn a_wire_that_broke_before_the_take_fails_the_verdict() {
    let broken = "[device.faults]\nclock_ppm = 300\nbroken_s = 1.2\n";
    let recorded = record(2, broken, &["-l", "8"], 3);
    assert_eq!(recorded.take.verdict, Some(Verdict::Fail));
    let [master, subordinate] = &recorded.take.devices[..] else {
        panic!("two devices");
    };
    assert_eq!((master.verdict, subordinate.verdict), (Some(Verdict::Pass), Some(Verdict::Fail)));
    genlock_exits(3, &["verify", recorded.folder.to_str().expect("a plain path")]);
}

#[test]
fn a_warm_up_without_the_imu_costs_no_frame() {
    let options = ["--imu", "off", "--set", "warm_up=3s", "--frames", "30"];
    let recorded = record(2, "", &options, 0);
    assert!(recorded.take.devices.iter().all(|device| device.frames["color"] == 30));
}

#[test]
fn a_subordinate_without_color_records_with_its_imu() {
    let depth_alone = "color_mode = \"OFF\"\n";
    let (keep, path) = rig(2, "");
    let text = fs::read_to_string(&path).expect("the rig");
    let text = text.replace("depth_delay_us = 160 ", "depth_delay_us = 0 ");
    fs::write(&path, text + depth_alone).expect("a file");
    let take = keep.path().join("take");
    let words = ["record", "--rig", path.to_str().expect("plain"), "--frames", "30"];
    genlock_exits(0, &[&words[..], &[take.to_str().expect("plain")]].concat());
    genlock_exits(0, &["verify", take.to_str().expect("plain")]);
}

#[test]
fn a_device_that_leaves_a_counted_take_leaves_evidence_that_agrees() {
    let gone = "[device.faults]\ngone_s = 2.2\n";
    let recorded = record(2, gone, &["-l", "5"], 3);
    let counts: Vec<_> = recorded.take.devices.iter().map(|d| d.trigger_count).collect();
    assert_eq!(counts[0], counts[1]);
    assert_eq!(recorded.triggers.rows.len() as u64, counts[0]);
    let losses = genlock_exits(3, &["verify", recorded.folder.to_str().expect("a plain path")]);
    let told = String::from_utf8_lossy(&losses.stdout).into_owned();
    assert!(told.contains("out of the take") && told.contains("left the bus"), "{told}");
    assert!(!told.contains("take.toml says") && !told.contains("triggers.csv"), "{told}");
}
