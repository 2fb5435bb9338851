//! The command line as a person meets it: what is refused, how, and what is left behind.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use support::judges::real_recording;
use support::{genlock, genlock_exits};

/// Everything under a folder.
fn contents(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// `record` with these options must exit with `code`, say all of `words`, and leave nothing behind.
fn refused(code: i32, options: &str, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["take", "take.mkv"] {
        let output = folder.path().join(name);
        let mut args = vec!["record"];
        args.extend(options.split_whitespace());
        args.push(output.to_str().expect("a plain path"));
        let output = genlock_exits(code, &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(stderr.contains(word), "{options}: {stderr:?} lacks {word:?}");
        }
        // A disk that is nearly full is warned of before.
        assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{stderr}");
        assert_eq!(contents(folder.path()), [""; 0], "{options} leaves nothing behind");
    }
}

#[test]
fn modes_that_do_not_go_together_are_refused() {
    let refused = |options, words: &[&str]| refused(2, &format!("--emulated 1 {options}"), words);
    refused("-d WFOV_UNBINNED -r 30", &["WFOV_UNBINNED", "--rate 15"]);
    refused("-c 3072p -r 30", &["3072p", "--rate 15"]);
    refused("-c 1080p_NV12", &["NV12", "720p"]);
    refused("-c 1440p_YUY2", &["YUY2", "720p"]);
    refused("-c OFF -d OFF", &["both cameras are off"]);
    refused("--depth-delay 33334", &["--depth-delay", "33333"]);
    refused("--depth-delay -40000", &["--depth-delay", "33333"]);
    refused("-c OFF --depth-delay 5", &["--depth-delay", "off"]);
    refused("--sync-delay 100", &["--sync-delay", "subordinate"]);
    refused("--external-sync sub --sync-delay 40000", &["--sync-delay", "33333"]);
    refused("-c OFF --external-sync master", &["master", "color"]);
    refused("-c OFF --gain 5", &["color controls"]);
    refused("--contrast 11", &["--contrast", "0 to 10"]);
    refused("--white-balance 2499", &["--white-balance", "2500 to 12500"]);
    refused("--white-balance 2505", &["--white-balance", "steps of 10"]);
}

#[test]
fn values_that_are_none_are_refused() {
    for options in [
        "-c 1081p",
        "-d NARROW",
        "-r 25",
        "-l 0",
        "-l never",
        "--frames 0",
        "-e 1000000",
        "-e -12",
        "-g 256",
        "--external-sync boss",
        "--powerline-frequency 55",
        "--imu maybe",
        "-l 5 --frames 5",
        "--no-such-flag",
    ] {
        refused(2, &format!("--emulated 1 {options}"), &[]);
    }
    refused(2, "--emulated 0", &["1 to 32"]);
    refused(2, "--from somewhere.mkv", &["--emulated"]);
}

#[test]
fn devices_that_are_not_there_are_named() {
    refused(2, "--emulated 2 --serial 000000000009", &["000000000009", "000000000001"]);
    refused(1, "--emulated 1 --external-sync subordinate", &["sync-in", "000000000001"]);
    refused(1, "--emulated 1 --external-sync master", &["sync-out", "000000000001"]);
    let engine = ["/nowhere.so", "No such file", "--depth-mode OFF"];
    refused(2, "--emulated 1 --depth-engine /nowhere.so", &engine);
}

#[test]
fn color_and_imu_record_without_a_depth_engine() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("color.mkv");
    let file = file.to_str().expect("a plain path");
    let options = ["record", "--emulated", "1", "--frames", "3", "-d", "OFF", "-c", "720p"];
    genlock_exits(0, &[&options[..], &["--depth-engine", "/nowhere.so", file]].concat());
}

#[test]
fn what_is_there_is_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    for (there, output) in
        [("a.mkv", "a.mkv"), ("b.mkv.part", "b.mkv"), ("c", "c"), ("d/keep", "d")]
    {
        let there = folder.path().join(there);
        fs::create_dir_all(there.parent().expect("a parent")).expect("a folder");
        fs::write(&there, "precious").expect("a file");
        let output = folder.path().join(output);
        let output = output.to_str().expect("a plain path");
        let refusal = genlock_exits(2, &["record", "--emulated", "1", "--frames", "1", output]);
        let stderr = String::from_utf8_lossy(&refusal.stderr);
        assert!(stderr.contains("not overwritten"), "{stderr}");
        // What is in the way is named; of a folder, the folder.
        let in_the_way = if output.ends_with('d') { folder.path() } else { &there };
        assert!(stderr.contains(&*in_the_way.to_string_lossy()), "{stderr}");
        assert_eq!(fs::read(&there).expect("it is still there"), b"precious");
    }
    let link = folder.path().join("e.mkv");
    std::os::unix::fs::symlink("nowhere", &link).expect("a link to nowhere");
    let link = link.to_str().expect("a plain path");
    genlock_exits(2, &["record", "--emulated", "1", "--frames", "1", link]);
    assert_eq!(contents(folder.path()), ["a.mkv", "b.mkv.part", "c", "d", "e.mkv"]);
}

#[test]
fn places_that_cannot_be_written_fail_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    // A file where a folder should be: nobody can write there, root included.
    let inside = folder.path().join("file/take");
    let inside = inside.to_str().expect("a plain path");
    let output = genlock_exits(1, &["record", "--emulated", "1", "--frames", "1", inside]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot create"));
    let orphan = folder.path().join("missing/a.mkv");
    let orphan = orphan.to_str().expect("a plain path");
    genlock_exits(2, &["record", "--emulated", "1", "--frames", "1", orphan]);
    assert_eq!(contents(folder.path()), ["file"]);
}

#[test]
fn a_take_of_several_needs_a_folder_and_its_parents_are_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("two.mkv");
    let file = file.to_str().expect("a plain path");
    let output = genlock_exits(2, &["record", "--emulated", "2", "--frames", "1", file]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("folder"));
    let take = folder.path().join("a/b/take");
    let path = take.to_str().expect("a plain path");
    let args = ["record", "--emulated", "2", "--frames", "3", "-d", "NFOV_2X2BINNED", path];
    genlock_exits(0, &args);
    assert_eq!(
        contents(&take),
        ["000000000001.mkv", "000000000002.mkv", "take.toml", "triggers.csv"]
    );
    genlock_exits(0, &["verify", path]);
}

#[test]
fn files_that_are_no_recordings_are_refused_with_their_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cases = vec![("empty", Vec::new()), ("text", b"not a recording".to_vec())];
    if let Some(real) = real_recording() {
        let whole = fs::read(real).expect("the real recording");
        cases.push(("cut in its front", whole[..2000].to_vec()));
        cases.push(("without its head", whole[7..].to_vec()));
    }
    for (name, bytes) in cases {
        let file = folder.path().join("case.mkv");
        fs::write(&file, bytes).expect("a file");
        let file = file.to_str().expect("a plain path");
        let out = folder.path().join("out.mkv");
        let out = out.to_str().expect("a plain path");
        let from = ["record", "--emulated", "1", "--from", file, out];
        for args in [&["info", file][..], &["verify", file], &from] {
            let output = genlock_exits(1, args);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("at byte") && stderr.contains("case.mkv"), "{name}: {stderr}");
        }
    }
    assert_eq!(contents(folder.path()), ["case.mkv"]);
    genlock_exits(1, &["info", "/no/such/file.mkv"]);
    genlock_exits(1, &["verify", folder.path().join("none").to_str().expect("a plain path")]);
}

/// As k4arecorder does it.
#[test]
fn modes_that_reach_15_frames_per_second_record_so() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, modes) in
        [("wide", ["-d", "WFOV_UNBINNED", "-c", "720p"]), ("large", ["-c", "3072p", "-d", "OFF"])]
    {
        let file = folder.path().join(name).with_extension("mkv");
        let file = file.to_str().expect("a plain path");
        genlock_exits(
            0,
            &[&["record", "--emulated", "1", "--frames", "2", file], &modes[..]].concat(),
        );
        let info = genlock_exits(0, &["info", file]);
        assert!(String::from_utf8_lossy(&info.stdout).contains("15 fps"));
    }
}

/// The jacks say who follows whom.
#[test]
fn a_sync_delay_for_several_is_that_of_the_subordinates() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let take = take.to_str().expect("a plain path");
    let delayed = ["record", "--emulated", "2", "--sync-delay", "100", "--frames", "3", take];
    genlock_exits(0, &delayed);
    let info = genlock_exits(0, &["info", "--json", take]).stdout;
    let info: Value = serde_json::from_slice(&info).expect("JSON");
    let recordings = info[0]["recordings"].as_array().expect("recordings");
    let delays = recordings.iter().map(|file| file["subordinate_delay_us"].as_u64());
    assert_eq!(delays.collect::<Vec<_>>(), [Some(0), Some(100)]);
}

/// Two devices of one serial would write one file.
#[test]
fn a_recording_of_another_devices_serial_gives_two_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (first, played) = (path("first"), path("played"));
    let small = ["record", "-c", "720p", "-d", "NFOV_2X2BINNED", "--frames", "3"];
    genlock_exits(0, &[&small[..], &["--emulated", "2", &first]].concat());
    let second = format!("{first}/000000000002.mkv");
    let small = ["record", "--frames", "3", "--from", &second];
    genlock_exits(0, &[&small[..], &["--emulated", "2", &played]].concat());
    let mut files = contents(Path::new(&played));
    files.retain(|name| name.ends_with(".mkv"));
    assert_eq!(files, ["000000000002.mkv", "000000000033.mkv"]);
    // All devices of a take play: how many there are is not for the command line to say.
    let refusal = genlock_exits(2, &["record", "--emulated", "1", "--from", &first, &path("out")]);
    let stderr = String::from_utf8_lossy(&refusal.stderr);
    assert!(stderr.contains("a take of 2 devices") && stderr.contains("one recording"), "{stderr}");
}

#[test]
fn a_recording_is_played_in_its_own_modes() {
    let Some(real) = real_recording() else { return };
    let real = real.to_str().expect("a plain path");
    let from = format!("--emulated 1 --from {real}");
    refused(2, &format!("{from} -d WFOV_2X2BINNED"), &["NFOV_UNBINNED", "--depth-mode"]);
    refused(2, &format!("{from} -c 1080p"), &["MJPG_720P", "--color-mode"]);
}

#[test]
fn devices_and_files_are_listed_as_json() {
    let json = |args: &[&str]| -> Value {
        serde_json::from_slice(&genlock_exits(0, args).stdout).expect("JSON")
    };
    let listed = json(&["list", "--emulated", "3", "--json"]);
    let jacks: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|device| (device["sync_in"] == true, device["sync_out"] == true))
        .collect();
    assert_eq!(jacks, [(false, true), (true, true), (true, false)]);
    assert_eq!(listed[0]["firmware"]["depth"], "1.6.79");
    let Some(real) = real_recording() else { return };
    let real = real.to_str().expect("a plain path");
    let info = json(&["info", "--json", real]);
    assert_eq!(info[0]["recordings"][0]["color_mode"], "MJPG_720P");
    assert_eq!(info[0]["recordings"][0]["length_us"], 463_945);
    let verified = json(&["verify", "--json", real]);
    assert_eq!(verified[0]["verdict"], "whole");
    assert_eq!(verified[0]["recordings"][0]["tracks"][3]["frames"], 1);
}

#[test]
fn a_machine_without_usb_is_told_so_and_one_with_it_lists() {
    let output = genlock(["list"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => assert!(!output.stdout.is_empty()),
        Some(1) => assert!(stderr.contains("USB") && stderr.contains("--emulated"), "{stderr}"),
        other => panic!("{other:?}: {stderr}"),
    }
}

/// A full disk or a closed terminal behind standard error must not hide how a command ended.
#[test]
fn exit_codes_do_not_depend_on_who_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let missing = folder.path().join("missing.mkv");
    for (code, args) in [
        (2, ["record", "--emulated", "1", "--serial=9"]),
        (2, ["record", "--emulated", "1", "--frames=0"]),
        (1, ["record", "--emulated", "1", "--external-sync=subordinate"]),
        (1, ["verify", "--json", "--", missing.to_str().expect("a plain path")]),
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("part of Linux");
        let (reader, closed) = std::io::pipe().expect("a pipe");
        drop(reader);
        for stderr in [Stdio::from(full), Stdio::from(closed)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
            let status = command.args(args).arg(&take).stderr(stderr).status();
            assert_eq!(status.expect("it runs").code(), Some(code), "{args:?}");
        }
    }
}

#[test]
fn a_take_whose_files_were_changed_does_not_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let path = take.to_str().expect("a plain path");
    let small = ["-c", "720p", "-d", "NFOV_2X2BINNED", "--frames", "5"];
    genlock_exits(0, &[&["record", "--emulated", "2"], &small[..], &[path]].concat());
    let file = take.join("000000000001.mkv");
    let whole = fs::read(&file).expect("a recording");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&file, changed).expect("a file");
    let output = genlock_exits(1, &["verify", path]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("cluster at byte"));
    fs::write(&file, whole).expect("a file");
    genlock_exits(0, &["verify", path]);
    fs::remove_file(&file).expect("it is there");
    let output = genlock_exits(1, &["verify", path]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("000000000001.mkv: is missing"));
}
