//! Files of the official writer, read by us and by Microsoft's library: both must say the same.

#[path = "../../tests/support/judges.rs"]
mod judges;

use genlock_formats::k4a::{Image, ImuSample, Recording};
use judges::{oracle, real_recording};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::{Command, Stdio};

fn official_dump(file: &Path) -> Value {
    let mut command = oracle().expect("it was there a moment ago");
    let output = command.arg("dump").arg(file).output().expect("timeout is part of Linux");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn image(image: &Image<'_>, format: &str) -> Value {
    let pixels = image.pixels_le();
    let stride = match format {
        "mjpg" => 0,
        "nv12" => image.width,
        "bgra32" => image.width * 4,
        _ => image.width * 2,
    };
    json!({
        "device_timestamp_usec": image.time_us, "format": format, "width": image.width,
        "height": image.height, "stride": stride, "size": pixels.len(), "sha256": sha256(&pixels),
    })
}

fn sample(sample: &ImuSample) -> Value {
    let wide = |axes: [f32; 3]| axes.map(f64::from);
    json!({
        "acc_timestamp_usec": sample.accelerometer_ns / 1000, "acc": wide(sample.accelerometer),
        "gyro_timestamp_usec": sample.gyroscope_ns / 1000, "gyro": wide(sample.gyroscope),
        "temperature": null,
    })
}

/// What we read, in the oracle's words.
fn our_dump(recording: &Recording<'_>) -> Value {
    let configuration = recording.configuration();
    let color = configuration.color;
    let format = color.map(|mode| mode.format.to_string().to_lowercase());
    let format = format.map(|name| if name == "bgra" { "bgra32".to_owned() } else { name });
    let captures = recording.captures().map(|capture| {
        let capture = capture.expect("a sound capture");
        let mut images = serde_json::Map::new();
        let named = [
            ("color", &capture.color, format.as_deref().unwrap_or_default()),
            ("depth", &capture.depth, "depth16"),
            ("ir", &capture.ir, "ir16"),
        ];
        for (name, found, format) in named {
            images.extend(found.as_ref().map(|found| (name.to_owned(), image(found, format))));
        }
        Value::Object(images)
    });
    let imu = recording.imu().map(|found| sample(&found.expect("a sound sample")));
    json!({
        "captures": captures.collect::<Vec<_>>(),
        "imu": imu.collect::<Vec<_>>(),
        "recording_length_usec": recording.length_us(),
        "color_format": format,
        "color_resolution": color.map(|mode| mode.resolution.to_string().to_lowercase()),
        "depth_mode": configuration.depth.map(|mode| mode.to_string().to_lowercase()),
        "camera_fps": configuration.rate.fps(),
        "depth_delay_off_color_usec": configuration.depth_delay_us,
        "subordinate_delay_off_master_usec": configuration.subordinate_delay_us,
        "wired_sync_mode": configuration.role.to_string().to_lowercase(),
        "start_timestamp_offset_usec": configuration.start_offset_ns / 1000,
    })
}

fn compare(file: &Path, name: &str) {
    let theirs = official_dump(file);
    assert_eq!(theirs["opened"], true, "{name}");
    let bytes = std::fs::read(file).expect("it was just written");
    let recording = Recording::open(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let ours = our_dump(&recording);
    for key in ["captures", "imu", "recording_length_usec"] {
        assert_eq!(ours[key], theirs[key], "{name}: {key}");
    }
    let configured = theirs["configuration"].as_object().expect("an object");
    for (key, value) in configured.iter().filter(|(key, _)| !key.ends_with("_enabled")) {
        let off = matches!(value.as_str(), Some("off"));
        let unused = key == "color_format" && ours[key].is_null();
        assert!(ours[key] == *value || (off && ours[key].is_null()) || unused, "{name}: {key}");
    }
    for (key, value) in theirs["tags"].as_object().expect("tags") {
        assert_eq!(recording.tag(key), value.as_str(), "{name}: tag {key}");
    }
    for (track, data) in theirs["custom"].as_object().expect("custom tracks") {
        let blocks = recording.data(track).map(|block| {
            let (time_us, bytes) = block.expect("sound data");
            json!({"device_timestamp_usec": time_us, "size": bytes.len(), "sha256": sha256(bytes)})
        });
        assert_eq!(Value::from(blocks.collect::<Vec<_>>()), data["blocks"], "{name}: {track}");
    }
    if let Some(official) = theirs["attachments"].get("calibration.json") {
        let ours = recording.calibration().expect("a calibration");
        assert_eq!(official["sha256"], sha256(ours), "{name}: calibration");
    }
}

#[test]
fn the_real_recording_reads_as_the_official_library_reads_it() {
    let Some(file) = real_recording() else { return };
    if oracle().is_some() {
        compare(&file, "real recording");
    }
}

#[test]
fn files_of_the_official_writer_read_as_the_official_library_reads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let configurations = [
        "--color mjpg_720p --depth nfov_unbinned --imu --captures 12",
        "--color nv12_720p --fps 15 --depth nfov_2x2binned --depth-delay 8000 --captures 8",
        "--color yuy2_720p --fps 5 --depth wfov_2x2binned --depth-delay -20000 --captures 5",
        "--color bgra_720p --captures 4 --custom",
        "--depth passive_ir --imu --captures 5 --start 0",
        "--depth wfov_unbinned --fps 15 --captures 4 --sync master",
        "--color mjpg_1080p --sync subordinate --sub-delay 33000 --imu --captures 40",
        "--color mjpg_720p --depth nfov_2x2binned --imu --custom --captures 45 --flush-every 7",
        "--color mjpg_720p --imu --start 4000000000 --captures 5 --tag MINE=yes",
    ];
    for options in configurations {
        let Some(mut command) = oracle() else { return };
        let file = folder.path().join("official.mkv");
        let _ = std::fs::remove_file(&file);
        let written = command.arg("write").arg(&file).args(options.split(' ')).output();
        assert!(written.expect("timeout is part of Linux").status.success(), "{options}");
        compare(&file, options);
    }
}

/// The official writer killed before its first flush, and after a flush with more data behind it:
/// files that the official library itself refuses (recording-format.md 8.5).
#[test]
fn killed_official_recordings_read_up_to_their_last_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    for flush in [&["--no-flush"][..], &["--flush-every", "90"]] {
        let Some(mut command) = oracle() else { return };
        let file = folder.path().join(format!("killed{}.mkv", flush.len()));
        let mut child = command
            .arg("write")
            .arg(&file)
            .args(
                "--color mjpg_720p --depth nfov_2x2binned --imu --captures 170 --hold 60"
                    .split(' '),
            )
            .args(["--distinct", "4", "--pace", "4"])
            .args(flush)
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout is part of Linux");
        let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).expect("text");
        assert!(line.contains("holding"), "{line}");
        kill_group(&mut child);
        assert_eq!(official_dump(&file)["opened"], false, "the official library refuses it");
        let bytes = std::fs::read(&file).expect("the killed file");
        let recording = Recording::open(&bytes).expect("we read it");
        assert!(!recording.demuxer().is_finished());
        let captures: Vec<_> = recording.captures().map_while(Result::ok).collect();
        assert!(captures.len() >= 50, "{} captures", captures.len());
        for (i, capture) in captures.iter().enumerate() {
            let expected = 1_000_000 + i as u64 * 33_333;
            let times = [&capture.color, &capture.depth, &capture.ir]
                .map(|image| image.as_ref().map(|image| image.time_us));
            assert_eq!(times, [Some(expected); 3], "capture {i}");
        }
    }
}

/// Kills the timeout and the Python under it.
fn kill_group(child: &mut std::process::Child) {
    let pid = child.id().to_string();
    let killed = Command::new("pkill").args(["-KILL", "-P", &pid]).status();
    assert!(killed.expect("pkill is part of every Linux").success());
    child.wait().expect("it was killed");
}
