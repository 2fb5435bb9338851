//! Takes of the emulated rig before other people's eyes: Microsoft's library, mkvtoolnix, ffprobe.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use support::judges::real_recording;
use support::{genlock_exits, official_dump, tool};

/// Records `frames` frames from an emulated device into a file of a fresh folder.
fn record(folder: &Path, options: &[&str], frames: u32) -> PathBuf {
    let file = folder.join("take.mkv");
    let (frames, path) = (frames.to_string(), file.to_str().expect("a plain path").to_owned());
    let mut args = vec!["record", "--emulated", "1", "--quiet", "--frames", &frames];
    args.extend(options);
    args.push(&path);
    genlock_exits(0, &args);
    file
}

fn images<'a>(dump: &'a Value, track: &str) -> Vec<&'a Value> {
    let captures = dump["captures"].as_array().expect("captures");
    captures.iter().filter_map(|capture| capture.get(track)).collect()
}

fn hashes(dump: &Value, track: &str) -> BTreeSet<String> {
    let hash = |image: &&Value| image["sha256"].as_str().expect("a hash").to_owned();
    images(dump, track).iter().map(hash).collect()
}

/// What every judge must say of a sound file; gives what Microsoft's library read.
fn judged(file: &Path) -> Option<Value> {
    if let Some(output) = tool("mkvinfo", &[OsStr::new("-v"), OsStr::new("-v"), file.as_os_str()]) {
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(
            output.status.success() && !text.contains("warning") && !text.contains("error"),
            "{text}"
        );
    }
    let ffprobe = ["-v", "error", "-show_streams", "-count_packets", "-of", "json"];
    let mut args: Vec<_> = ffprobe.iter().map(OsStr::new).collect();
    args.push(file.as_os_str());
    if let Some(output) = tool("ffprobe", &args) {
        let complaints = String::from_utf8_lossy(&output.stderr);
        let about_imu = |line: &str| line.contains("codec") || line.trim().is_empty();
        assert!(output.status.success() && complaints.lines().all(about_imu), "{complaints}");
    }
    official_dump(file).map(|dump| dump.unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}

#[test]
fn a_real_recording_played_into_a_take_comes_out_bit_for_bit() {
    let (Some(source), folder) = (real_recording(), tempfile::tempdir().expect("a folder")) else {
        return;
    };
    let from = source.to_str().expect("a plain path").to_owned();
    let file = record(folder.path(), &["--from", &from, "-r", "5"], 10);
    let (Some(ours), Some(theirs)) = (judged(&file), official_dump(&source)) else {
        return;
    };
    let theirs = theirs.expect("the official library reads its own recording");
    for track in ["color", "depth", "ir"] {
        assert_eq!(images(&ours, track).len(), 10, "{track}");
        assert_eq!(hashes(&ours, track), hashes(&theirs, track), "{track}");
    }
    assert_eq!(ours["captures"].as_array().map(Vec::len), Some(10));
    assert_eq!(ours["attachments"], theirs["attachments"]);
    for tag in [
        "K4A_COLOR_MODE",
        "K4A_DEPTH_MODE",
        "K4A_IR_MODE",
        "K4A_IMU_MODE",
        "K4A_DEPTH_DELAY_NS",
        "K4A_WIRED_SYNC_MODE",
        "K4A_CALIBRATION_FILE",
    ] {
        assert_eq!(ours["tags"][tag], theirs["tags"][tag], "{tag}");
    }
    imu_has_the_timing_of_the_wire(&ours, 2.0);
}

/// Two seconds of samples at 1666 Hz, give or take 2 % (usb-protocol.md 7.1), each later than the
/// last.
fn imu_has_the_timing_of_the_wire(dump: &Value, seconds: f64) {
    let samples = dump["imu"].as_array().expect("IMU samples");
    let times = samples.iter().map(|s| s["acc_timestamp_usec"].as_u64().expect("a time"));
    let times: Vec<_> = times.collect();
    let expected = 1666.0 * seconds;
    assert!((times.len() as f64 - expected).abs() < expected * 0.03, "{} samples", times.len());
    assert!(times.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] < 900));
}

/// Every color mode, depth mode and rate that the device allows, each at least once with the other
/// camera.
#[test]
fn every_mode_of_the_device_records_and_passes_the_judges() {
    let folder = tempfile::tempdir().expect("a folder");
    let colors = ["720p", "1080p", "1440p", "1536p", "2160p", "3072p", "720p_NV12", "720p_YUY2"];
    let depths =
        ["NFOV_2X2BINNED", "NFOV_UNBINNED", "WFOV_2X2BINNED", "WFOV_UNBINNED", "PASSIVE_IR"];
    let mut takes = Vec::new();
    for (i, color) in colors.iter().enumerate() {
        for rate in ["5", "15", "30"].iter().filter(|r| *color != "3072p" || **r != "30") {
            let depth = if i % 2 == 0 { "OFF" } else { depths[i % 3] };
            takes.push([*color, depth, *rate]);
        }
    }
    for (i, depth) in depths.iter().enumerate() {
        for rate in ["5", "15", "30"].iter().filter(|r| *depth != "WFOV_UNBINNED" || **r != "30") {
            let color = if i % 2 == 0 { "720p" } else { "OFF" };
            takes.push([color, *depth, *rate]);
        }
    }
    for [color, depth, rate] in takes {
        let file = record(folder.path(), &["-c", color, "-d", depth, "-r", rate], 3);
        let Some(dump) = judged(&file) else { return };
        let expected = |track: &str| match track {
            "color" => 3 * usize::from(color != "OFF"),
            "depth" => 3 * usize::from(depth != "OFF" && depth != "PASSIVE_IR"),
            _ => 3 * usize::from(depth != "OFF"),
        };
        for track in ["color", "depth", "ir"] {
            let there = images(&dump, track).len();
            assert_eq!(there, expected(track), "{track} of {color} {depth} {rate}");
        }
        assert_eq!(dump["configuration"]["camera_fps"].to_string(), rate);
        if color == "OFF" {
            // Depth alone keeps the clock of a camera that has run for two hours: microseconds
            // beyond the 32 bits in which the official reader keeps the start offset.
            let first = &images(&dump, "ir")[0]["device_timestamp_usec"];
            assert!(first.as_u64() > Some(7_200_000_000), "{first} of {depth}");
        }
        std::fs::remove_file(file).expect("it was just recorded");
    }
}

#[test]
fn a_rig_of_two_is_in_step_before_the_official_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let path = take.to_str().expect("a plain path");
    let args = ["record", "--emulated", "2", "--quiet", "--frames", "20", "-d", "NFOV_2X2BINNED"];
    genlock_exits(0, &[&args[..], &[path]].concat());
    let mut dumps = Vec::new();
    for entry in std::fs::read_dir(&take).expect("the take's folder") {
        let file = entry.expect("an entry").path();
        if file.extension() == Some(OsStr::new("mkv")) {
            let Some(dump) = judged(&file) else { return };
            dumps.push(dump);
        }
    }
    dumps.sort_by_key(|dump| dump["tags"]["K4A_WIRED_SYNC_MODE"].to_string());
    let modes: Vec<_> = dumps.iter().map(|d| &d["configuration"]["wired_sync_mode"]).collect();
    assert_eq!(modes, ["master", "subordinate"]);
    let times = |dump| {
        let color = images(dump, "color").into_iter();
        color.map(|image| image["device_timestamp_usec"].as_i64().expect("a time")).collect()
    };
    let (master, subordinate): (Vec<i64>, Vec<i64>) = (times(&dumps[0]), times(&dumps[1]));
    assert_eq!((master.len(), subordinate.len()), (20, 20));
    // Microsoft's own tolerance for synchronized cameras at 30 fps (usb-protocol.md 9.4).
    assert!(master.iter().zip(&subordinate).all(|(m, s)| (m - s).abs() <= 110));
}
