//! `info` and `verify` on files and takes that are not what they should be.

mod support;

use genlock_formats::take::{File, Take};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{genlock, genlock_exits};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A folder with a whole take of one device, recorded once for all tests.
fn take() -> &'static Path {
    static TAKE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, take) = TAKE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let take = folder.path().join("take");
        let small = ["record", "--emulated", "1", "-c", "720p", "-d", "NFOV_2X2BINNED"];
        genlock_exits(0, &[&small[..], &["--frames", "5", text(&take)]].concat());
        (folder, take)
    });
    take
}

const SERIAL: &str = "000000000001";

fn recording() -> Vec<u8> {
    fs::read(take().join(format!("{SERIAL}.mkv"))).expect("a recording")
}

/// Where `bytes` are in the recording.
fn place(file: &[u8], bytes: &[u8]) -> usize {
    file.windows(bytes.len()).position(|window| window == bytes).expect("they are there")
}

/// The take, copied, with its `take.toml` changed by `change`.
fn changed_take(change: impl FnOnce(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(format!("{SERIAL}.mkv")), recording()).expect("a file");
    let triggers = folder.path().join("triggers.csv");
    fs::copy(take().join("triggers.csv"), triggers).expect("triggers.csv");
    let toml = fs::read_to_string(take().join("take.toml")).expect("take.toml");
    fs::write(folder.path().join("take.toml"), change(toml)).expect("a file");
    folder
}

/// `verify` calls a file with these bytes broken, in these words.
fn is_broken(file: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("changed.mkv");
    fs::write(&path, file).expect("a file");
    let output = genlock_exits(1, &["verify", text(&path)]);
    let said = String::from_utf8_lossy(&output.stdout);
    for word in words {
        assert!(said.contains(word), "{said} lacks {word:?}");
    }
}

#[test]
fn a_changed_tag_is_found_by_its_checksum() {
    let mut file = recording();
    let first = place(&file, b"K4A_COLOR_TRACK");
    let tags = file[..first].windows(4).rposition(|id| *id == [0x12, 0x54, 0xC3, 0x67]);
    let tags = tags.expect("Tags");
    let firmware = place(&file, b"K4A_DEPTH_FIRMWARE_VERSION");
    file[firmware + 30] ^= 1;
    is_broken(&file, &["list of tags", &format!("(at byte {tags})")]);
}

#[test]
fn a_start_offset_that_the_samples_deny_is_found() {
    let mut file = recording();
    let offset = place(&file, b"K4A_START_OFFSET_NS") + 19 + 4;
    assert!(file[offset].is_ascii_digit());
    file[offset] ^= 1;
    is_broken(&file, &["the first IMU sample is at"]);
}

#[test]
fn a_calibration_that_is_no_json_is_found() {
    let mut file = recording();
    let key = place(&file, b"CalibrationInformation");
    file[key - 1] = b'x';
    is_broken(&file, &["the attached calibration is not JSON"]);
}

#[test]
fn contradictions_between_a_take_and_its_files_are_found() {
    let loss = "\n[[device.loss]]\ntrack = \"color\"\nfirst_trigger = 1\nlast_trigger = 1\n\
                cause = \"lane full\"\n";
    let cases: [(&str, &str, &[&str]); 13] = [
        ("trigger_count = 5", "trigger_count = 6", &["5 frames of color", "its 6 triggers"]),
        ("triggers_asked = 5", "triggers_asked = 9", &["5 triggers of 9"]),
        ("serial = \"000000000001\"", "serial = \"9\"", &["is of the device 000000000001", "9"]),
        ("role = \"standalone\"", "role = \"master\"", &["role standalone", "says master"]),
        ("MJPG_720P", "MJPG_1080P", &["color mode MJPG_720P"]),
        ("NFOV_2X2BINNED", "NFOV_UNBINNED", &["depth mode NFOV_2X2BINNED"]),
        ("rate = 30", "rate = 15", &["rate of 30"]),
        ("imu = true", "imu = false", &["IMU on"]),
        ("bytes = ", "bytes = 1", &["has a size of"]),
        ("ir = 5", "", &["a track ir"]),
        ("color = 5", "color = 4", &["5 frames of color, take.toml says 4"]),
        ("outcome = \"whole\"", "outcome = \"losses\"", &["lists none"]),
        ("\n[device.firmware]", loss, &["calls the take whole and lists losses"]),
    ];
    for (from, to, words) in cases {
        let take = changed_take(|toml| {
            assert!(toml.contains(from), "{toml} lacks {from:?}");
            // Losses go to the end, behind the tables of their device.
            if to == loss { toml + to } else { toml.replacen(from, to, 1) }
        });
        let output = genlock_exits(1, &["verify", text(take.path())]);
        let said = String::from_utf8_lossy(&output.stdout);
        for word in words {
            assert!(said.contains(word), "{from} -> {to}: {said} lacks {word:?}");
        }
    }
}

#[test]
fn a_recording_that_the_take_does_not_name_is_found() {
    let take = changed_take(|toml| toml);
    genlock_exits(0, &["verify", text(take.path())]);
    fs::write(take.path().join("stranger.mkv"), recording()).expect("a file");
    let output = genlock_exits(1, &["verify", text(take.path())]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("stranger.mkv: is in the folder"));
}

#[test]
fn pipes_and_devices_are_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pipe, out) = (folder.path().join("pipe.mkv"), folder.path().join("out.mkv"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is part of every Linux");
    assert!(made.success());
    for path in [text(&pipe), "/dev/zero"] {
        let from = ["record", "--emulated", "1", "--from", path, text(&out)];
        for args in [&["info", path][..], &["verify", path], &from] {
            let output = genlock_exits(1, args);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(path) && said.contains("not a file"), "{args:?}: {said}");
        }
    }
    let take = changed_take(|toml| toml);
    let toml = take.path().join("take.toml");
    fs::remove_file(&toml).expect("it is there");
    std::os::unix::fs::symlink("/dev/zero", &toml).expect("a link");
    let output = genlock_exits(1, &["info", text(take.path())]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("take.toml: is a pipe"));
    fs::remove_file(&toml).expect("it is there");
    let endless = fs::File::create(&toml).expect("a file");
    endless.set_len(1 << 40).expect("a file with a hole");
    let output = genlock_exits(1, &["verify", text(take.path())]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("longer than"));
}

/// A file of a terabyte would be read for an hour.
#[test]
fn a_file_that_grew_beyond_measure_is_read_to_its_end_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = recording();
    let cues = whole.windows(4).rposition(|id| *id == [0x1C, 0x53, 0xBB, 0x6B]).expect("Cues");
    let mut killed = whole[..cues].to_vec();
    killed[45..52].fill(0xFF);
    for (name, bytes, verdict, word) in [
        ("whole.mkv", &whole, 0, "behind the end of the recording"),
        ("killed.mkv", &killed, 1, "reading ended"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("it is there");
        file.set_len(1 << 40).expect("a file with a hole");
        genlock_exits(0, &["info", text(&path)]);
        let output = genlock_exits(verdict, &["verify", text(&path)]);
        let said = String::from_utf8_lossy(&output.stdout);
        let place = format!("(at byte {})", bytes.len());
        assert!(said.contains(word) && said.contains(&place), "{said}");
    }
}

#[test]
fn one_unreadable_file_of_a_take_hides_no_other() {
    let take = changed_take(|toml| toml);
    fs::write(take.path().join("another.mkv"), "no recording").expect("a file");
    let output = genlock_exits(1, &["info", text(take.path())]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("another.mkv: not a Matroska file"), "{said}");
    assert!(said.contains("MJPG_720P") && said.contains("take of"), "{said}");
}

#[test]
fn what_a_file_says_does_not_command_the_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.mkv");
    let mut file = recording();
    let serial = place(&file, b"K4A_DEVICE_SERIAL_NUMBER") + 24 + 3;
    assert_eq!(&file[serial..serial + 12], SERIAL.as_bytes());
    file[serial..serial + 7].copy_from_slice(b"\x1b[2J\r\n\x07");
    fs::write(&path, &file).expect("a file");
    let output = genlock_exits(0, &["info", text(&path)]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\\u{1b}[2J\\r\\n\\u{7}"), "{said}");
    assert!(!said.contains(['\x1b', '\r', '\x07']), "{said}");
}

#[test]
fn paths_that_are_no_text_are_told_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9.mkv"));
    fs::write(&path, recording()).expect("a file");
    for command in ["info", "verify"] {
        let output = genlock([OsStr::new(command), OsStr::new("--json"), path.as_os_str()]);
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let told = json[0]["path"].as_str().expect("a path");
        assert!(told.ends_with("caf\u{fffd}.mkv"), "{told}");
    }
}

/// Without color nothing resets the device's clock: its time is beyond the 32 bits that the tag of
/// the start offset keeps.
#[test]
fn the_time_of_a_recording_is_that_of_its_first_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("depth.mkv");
    let depth = ["record", "--emulated", "1", "-c", "OFF", "-d", "NFOV_2X2BINNED"];
    genlock_exits(0, &[&depth[..], &["--frames", "5", text(&path)]].concat());
    let json = |command: &str| -> Value {
        let output = genlock_exits(0, &[command, "--json", text(&path)]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (info, verified) = (json("info"), json("verify"));
    let info = &info[0]["recordings"][0];
    let number = |value: &Value| value.as_f64().expect("a number");
    let tracks = verified[0]["recordings"][0]["tracks"].as_array().expect("tracks").clone();
    let first_s = tracks.iter().map(|track| number(&track["first_s"])).fold(f64::MAX, f64::min);
    assert!(first_s > f64::from(u32::MAX) / 1e6, "{first_s}");
    assert!((number(&info["first_us"]) / 1e6 - first_s).abs() < 1e-3, "{info}");
    assert!((0.1..0.3).contains(&(number(&info["length_us"]) / 1e6)), "{info}");
}

#[test]
fn an_unfinished_recording_is_pointed_at() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("k1.mkv.part"), recording()).expect("a file");
    let path = folder.path().join("k1.mkv");
    for command in ["info", "verify"] {
        let output = genlock_exits(1, &[command, text(&path)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("k1.mkv: is not there") && said.contains("k1.mkv.part"), "{said}");
    }
    genlock_exits(0, &["info", text(&folder.path().join("k1.mkv.part"))]);
}

/// `verify --quick` of a folder exits with `code` and says all of `words`; so does `verify`.
fn both_say(folder: &Path, code: i32, words: &[&str]) {
    for args in [&["verify", "--quick", text(folder)][..], &["verify", text(folder)]] {
        let output = genlock_exits(code, args);
        let said = String::from_utf8_lossy(&output.stdout);
        for word in words {
            assert!(said.contains(word), "{args:?}: {said} lacks {word:?}");
        }
    }
}

#[test]
fn a_take_lists_its_files_with_their_checksums() {
    let toml = fs::read_to_string(take().join("take.toml")).expect("take.toml");
    let listed = Take::from_toml(&toml).expect("a take").files;
    let names: Vec<_> = listed.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["000000000001.mkv", "triggers.csv"]);
    for file in &listed {
        let bytes = fs::read(take().join(&file.name)).expect("a file");
        assert_eq!(*file, File::of(&file.name, &bytes));
    }
    let output = genlock_exits(0, &["verify", "--quick", "--json", text(take())]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json[0]["same"], serde_json::json!(names));
    assert_eq!(
        (&json[0]["verdict"], &json[0]["problems"]),
        (&"whole".into(), &Value::from([(); 0]))
    );
}

#[test]
fn copies_that_are_not_what_was_written_are_named() {
    type Change = fn(&Path);
    let cases: [(Change, &[&str]); 5] = [
        // A byte of an image: the last cluster's.
        (|mkv| flip(mkv, 2_000), &["000000000001.mkv: does not have the bytes that were written"]),
        (|mkv| cut(mkv, 100), &["000000000001.mkv: has a size of"]),
        (|mkv| fs::remove_file(mkv).expect("it is there"), &["000000000001.mkv: is missing"]),
        (
            |mkv| flip(&mkv.with_file_name("triggers.csv"), 2),
            &["triggers.csv: does not have the bytes that were written"],
        ),
        (
            |mkv| _ = fs::copy(mkv, mkv.with_file_name("2.mkv")).expect("a copy"),
            &["2.mkv: is in the folder, take.toml does not name it"],
        ),
    ];
    for (change, words) in cases {
        let take = changed_take(|toml| toml);
        change(&take.path().join(format!("{SERIAL}.mkv")));
        both_say(take.path(), 1, words);
    }
}

/// Changes the byte that is this far from the file's end.
fn flip(path: &Path, from_end: usize) {
    let mut bytes = fs::read(path).expect("a file");
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("a file");
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
    let len = file.metadata().expect("a file").len();
    file.set_len(len - bytes).expect("a shorter file");
}

#[test]
fn quick_looks_at_listed_files_of_the_folder_alone() {
    let folder = changed_take(|toml| toml);
    fs::write(folder.path().join("notes.txt"), "by a person").expect("a file");
    let output = genlock_exits(0, &["verify", "--quick", text(folder.path())]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("notes.txt: is in the folder"));
    let outside = changed_take(|toml| toml.replace("\"triggers.csv\"", "\"../triggers.csv\""));
    let output = genlock_exits(1, &["verify", "--quick", text(outside.path())]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("no name of a file"));
    let file = take().join(format!("{SERIAL}.mkv"));
    let output = genlock_exits(1, &["verify", "--quick", text(&file)]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("a file alone has no list"));
}

#[test]
fn a_take_of_before_checksums_says_that_it_has_none() {
    let old = changed_take(|toml| toml.split("\n[[file]]").next().unwrap_or_default().to_owned());
    let words = "lists no checksums of the files";
    let output = genlock_exits(1, &["verify", "--quick", text(old.path())]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(words));
    let output = genlock_exits(0, &["verify", text(old.path())]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(words));
}

/// `verify` took memory for triggers that are nowhere.
#[test]
fn numbers_of_a_take_that_are_beyond_reason_are_told_of() {
    for (from, to, words) in [
        ("trigger_count = 5", "trigger_count = 9000000000000000000", "the triggers of"),
        ("first_trigger = ", "first_trigger = 90000000000000000", "of no take"),
    ] {
        let take = changed_take(|toml| toml.replacen(from, to, 1));
        let output = genlock_exits(1, &["verify", text(take.path())]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(words), "{from} -> {to}: {said}");
    }
}
