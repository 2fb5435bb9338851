//! Exports, opened by programs that other people wrote: PIL, the packages `mcap` and `webdataset`,
//! Open3D. What they find is held against what Microsoft's library reads of the take.

mod support;

use genlock::export::Format;
use genlock::geometry::{Rays, Registration};
use genlock::replay::{Files, Reader};
use genlock_formats::k4a::{Calibration, Image};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::judges::{read_export, real_recording};
use support::{genlock_exits, official_dump, tree};

const DEVICES: [&str; 2] = ["000000000001", "000000000002"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A take of two devices and six triggers, recorded once for all tests.
fn take() -> &'static Path {
    static TAKE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, take) = TAKE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let take = folder.path().join("take");
        record(&take, &["--emulated", "2", "-c", "720p"]);
        (folder, take)
    });
    take
}

fn record(path: &Path, options: &[&str]) {
    let modes = ["-d", "NFOV_2X2BINNED", "-r", "15", "--frames", "6", text(path)];
    genlock_exits(0, &[&["record", "--quiet"][..], options, &modes].concat());
}

/// Exports, which must exit with `code`; gives what it says.
fn exported(code: i32, from: &Path, to: &Path, options: &[&str]) -> Value {
    let args = ["export", "--json", text(from), text(to)];
    let output = genlock_exits(code, &[&args[..], options].concat());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Exports the take that all tests share, as this; gives the folder.
fn whole(format: Format) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let said = exported(0, take(), &out, &["--to", &format.to_string()]);
    assert_eq!((&said["triggers"], &said["lost"]), (&Value::from(6), &Value::from(0)));
    assert_eq!(said["clock"], "utc");
    assert_eq!(losses(&out), Vec::<String>::new());
    (folder, out)
}

/// The rows of the list of losses.
fn losses(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("losses.csv")).expect("a list");
    let mut lines = text.lines().map(str::to_owned);
    assert_eq!(lines.next().as_deref(), Some("trigger,device,track,cause"));
    lines.collect()
}

fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().map(|name| name.to_string_lossy().into_owned()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes of what Microsoft's library reads of a track, in order.
fn official(serial: &str, track: &str) -> Option<Vec<String>> {
    let dump = official_dump(&take().join(format!("{serial}.mkv")))?.expect("it opens");
    let captures = dump["captures"].as_array().expect("captures").clone();
    let of = |capture: &Value| capture[track]["sha256"].as_str().map(str::to_owned);
    Some(captures.iter().filter_map(of).collect())
}

#[test]
fn pil_opens_images_as_microsofts_library_reads_them() {
    let (_folder, out) = whole(Format::Png);
    let Some(found) = read_export("png", &out) else { return };
    assert_eq!(found.as_object().map(serde_json::Map::len), Some(36));
    for serial in DEVICES {
        for (track, end, mode, width) in [
            ("color", "jpg", "RGB", 1280),
            ("depth", "png", "I;16", 320),
            ("ir", "png", "I;16", 320),
        ] {
            let Some(hashes) = official(serial, track) else { return };
            assert_eq!(hashes.len(), 6, "{track}");
            let triggers = Files::open(take()).expect("a take").triggers();
            for (trigger, hash) in triggers.zip(hashes) {
                let name = format!("{serial}/{track}/{trigger:08}.{end}");
                let image = &found[&name];
                assert_eq!(image["sha256"], hash.as_str(), "{name}");
                assert_eq!((&image["mode"], &image["width"]), (&mode.into(), &width.into()));
            }
        }
    }
}

#[test]
fn tables_stand_beside_images() {
    let (_folder, out) = whole(Format::Png);
    for serial in DEVICES {
        let read = |name: &str| fs::read_to_string(out.join(serial).join(name)).expect("a file");
        let calibration: Value = serde_json::from_str(&read("calibration.json")).expect("JSON");
        assert!(calibration["CalibrationInformation"]["Cameras"].is_array());
        let frames = read("frames.csv");
        let rows: Vec<Vec<&str>> = frames.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!((rows.len(), rows[0].len()), (7, 7));
        let triggers = fs::read_to_string(take().join("triggers.csv")).expect("a table");
        let head: Vec<_> = triggers.lines().next().expect("a head").split(',').collect();
        let column = |name: &str| head.iter().position(|cell| *cell == name).expect("a column");
        for (row, told) in rows[1..].iter().zip(triggers.lines().skip(1)) {
            let told: Vec<_> = told.split(',').collect();
            let tracks =
                ["color", "depth", "ir"].map(|track| told[column(&format!("{serial}.{track}"))]);
            assert_eq!((row[0], &row[1..4]), (told[0], &tracks[..]));
            // UTC: this year, or one of the next.
            let seconds: f64 = row[4].parse().expect("seconds");
            assert!((1.7e9..1e10).contains(&seconds), "{seconds}");
        }
        let imu = read("imu.csv");
        assert_eq!(imu.lines().count() as u64 - 1, samples_of(serial));
        let cells = imu.lines().nth(1).expect("a sample").split(',').count();
        assert_eq!((cells, imu.lines().next().map(|head| head.split(',').count())), (10, Some(10)));
    }
}

#[test]
fn raw_color_becomes_png() {
    let folder = tempfile::tempdir().expect("a folder");
    for color in ["720p_NV12", "720p_YUY2"] {
        let [file, out] = ["mkv", "out"].map(|end| folder.path().join(format!("{color}.{end}")));
        record(&file, &["--emulated", "1", "-c", color]);
        let said = exported(0, &file, &out, &["--to", "png", "--track", "color"]);
        // A single file does not say what its host's clock was.
        assert_eq!((&said["images"], &said["clock"]), (&6.into(), &"device".into()));
        let Some(found) = read_export("png", &out) else { return };
        for (name, image) in found.as_object().expect("images") {
            assert!(name.ends_with(".png"), "{name}");
            assert_eq!((&image["mode"], &image["height"]), (&"RGB".into(), &720.into()));
        }
    }
}

#[test]
fn the_mcap_package_reads_every_message() {
    let (folder, out) = whole(Format::Mcap);
    let Some(found) = read_export("mcap", &out) else { return };
    let topics = &found["topics"];
    for serial in DEVICES {
        let messages = |topic: &str| {
            let topic = &topics[&format!("/{serial}/{topic}")];
            topic["messages"].as_array().cloned().unwrap_or_default()
        };
        for (topic, track) in
            [("color/image", "color"), ("depth/image", "depth"), ("ir/image", "ir")]
        {
            let Some(hashes) = official(serial, track) else { return };
            let seen: Vec<_> = messages(topic)
                .iter()
                .map(|one| one["sha256"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(seen, hashes.into_iter().map(Some).collect::<Vec<_>>(), "{topic}");
        }
        let first = |topic: &str| messages(topic).first().cloned().expect("a message");
        assert_eq!(first("color/image")["format"], "jpeg");
        assert_eq!(first("depth/image")["encoding"], "16UC1");
        let calibration = calibration_of(serial);
        for (topic, camera) in
            [("color/calibration", &calibration.color), ("depth/calibration", &calibration.depth)]
        {
            let camera = camera.as_ref().expect("it is on");
            let said = first(topic);
            assert_eq!(said["width"], camera.width);
            assert_eq!(float(&said["K"][0]), camera.fx);
            assert_eq!(float(&said["K"][5]), camera.cy);
            assert_eq!(float(&said["D"][4]), camera.k[2]);
            assert_eq!(said["P"].as_array().map(Vec::len), Some(12));
        }
        let pose = first("tf");
        assert_eq!(pose["child"], format!("{serial}/color"));
        // The color camera is 32 mm to the right of the depth camera.
        assert!((pose["x"].as_f64().expect("a number") - 0.032).abs() < 0.002, "{pose}");
        let gravity = first("imu")["z"].as_f64().expect("a number");
        assert!((-11.0..-9.0).contains(&gravity), "{gravity}");
        assert_eq!(messages("imu").len() as u64, samples_of(serial));
        let json = official_dump(&take().join(format!("{serial}.mkv"))).expect("as above");
        let json = &json.expect("it opens")["attachments"]["calibration.json"]["sha256"];
        assert!(json.is_string());
        assert_eq!(&found["attachments"][format!("{serial}/calibration.json")], json);
    }
    let clouds = folder.path().join("clouds");
    exported(0, take(), &clouds, &["--to", "mcap", "--clouds", "--device", DEVICES[1]]);
    let Some(found) = read_export("mcap", &clouds) else { return };
    let clouds = &found["topics"][&format!("/{}/points", DEVICES[1])]["messages"];
    assert_eq!(clouds.as_array().map(Vec::len), Some(6));
    assert!(clouds[0]["points"].as_u64() > Some(10_000));
    let fields = ["x", "y", "z", "red", "green", "blue", "alpha"];
    assert_eq!(clouds[0]["fields"], serde_json::json!(fields));
}

/// How many IMU samples a device of the take has.
fn samples_of(serial: &str) -> u64 {
    let files = Files::open(take()).expect("a take");
    let told = files.take().devices.iter().find(|device| device.serial == serial);
    let samples = told.and_then(|device| device.frames.get("imu")).copied();
    samples.filter(|samples| *samples > 400).expect("samples of half a second")
}

fn float(value: &Value) -> f32 {
    value.as_f64().expect("a number") as f32
}

fn calibration_of(serial: &str) -> Calibration {
    let files = Files::open(take()).expect("a take");
    let reader = Reader::open(&files).expect("it opens");
    let device = reader.devices().iter().find(|device| device.serial() == serial);
    let device = device.expect("the device");
    let json = device.recording().calibration().expect("a calibration");
    let configuration = device.configuration();
    Calibration::of(json, configuration.color, configuration.depth).expect("it reads")
}

fn pixels(image: &Image<'_>) -> Vec<u16> {
    let bytes = image.pixels_le();
    bytes.as_chunks::<2>().0.iter().map(|pixel| u16::from_le_bytes(*pixel)).collect()
}

/// Works something out of each depth image of a device of the take, by its trigger.
fn of_depth<T>(serial: &str, mut work: impl FnMut(&[u16]) -> T) -> BTreeMap<u64, T> {
    let files = Files::open(take()).expect("a take");
    let reader = Reader::open(&files).expect("it opens");
    let place = reader.devices().iter().position(|device| device.serial() == serial);
    let place = place.expect("the device");
    let captures = reader.captures(reader.triggers());
    let of = |capture: genlock::replay::Capture<'_>| {
        let depth = capture.devices[place].depth.frame().map(pixels).expect("depth");
        (capture.trigger, work(&depth))
    };
    captures.map(of).collect()
}

#[test]
fn open3d_reads_rgb_d_pairs_whose_depth_is_seen_from_the_color_camera() {
    let (_folder, out) = whole(Format::Tum);
    let Some(found) = read_export("tum", &out) else { return };
    for serial in DEVICES {
        let sequence = &found[serial];
        let pairs = sequence["pairs"].as_array().expect("pairs");
        assert_eq!(pairs.len(), 6);
        let mut registration = Registration::of(&calibration_of(serial)).expect("both are on");
        let expected = of_depth(serial, |depth| {
            let mut seen = Vec::new();
            registration.depth_into_color(depth, &mut seen).expect("of this camera");
            sha256(&seen.iter().flat_map(|mm| mm.to_le_bytes()).collect::<Vec<_>>())
        });
        for (pair, (trigger, hash)) in pairs.iter().zip(expected) {
            let line = pair["line"].as_str().expect("a line");
            assert!(line.ends_with(&format!("depth/{trigger:08}.png")), "{line}");
            assert_eq!(pair["depth_sha256"], hash.as_str());
            assert_eq!(pair["whole_millimetres"], true);
            assert_eq!((&pair["width"], &pair["height"]), (&1280.into(), &720.into()));
        }
        assert_eq!(
            (&sequence["times"]["rgb.txt"], &sequence["times"]["depth.txt"]),
            (&6.into(), &6.into())
        );
        assert!(sequence["times"]["accelerometer.txt"].as_u64() > Some(400));
        let camera = fs::read_to_string(out.join(serial).join("camera.txt")).expect("a file");
        let fx = calibration_of(serial).color.expect("it is on").fx;
        assert!(camera.contains(&format!("\nfx {fx}\n")), "{camera}");
    }
}

#[test]
fn the_webdataset_package_reads_a_sample_for_each_trigger() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    exported(0, take(), &out, &["--to", "webdataset", "--shard-size", "4"]);
    let Some(found) = read_export("webdataset", &out) else { return };
    assert_eq!(found["shards"], serde_json::json!(["000000.tar", "000001.tar"]));
    let samples = found["samples"].as_object().expect("samples");
    assert_eq!(samples.len(), 6);
    for serial in DEVICES {
        for (track, end) in [("color", "jpg"), ("depth", "png"), ("ir", "png")] {
            let key = format!("{serial}.{track}.{end}");
            let Some(hashes) = official(serial, track) else { return };
            for ((trigger, sample), hash) in samples.iter().zip(hashes) {
                assert_eq!(sample[&key]["sha256"], hash.as_str(), "{trigger} {key}");
                assert_eq!(sample["json"]["trigger"], trigger.parse::<u64>().expect("a number"));
                assert!(sample["json"]["devices"][serial][track]["time_us"].is_u64());
            }
        }
    }
}

#[test]
fn open3d_reads_clouds_in_metres_with_colors() {
    let (_folder, out) = whole(Format::Ply);
    let Some(found) = read_export("ply", &out) else { return };
    assert_eq!(found.as_object().map(serde_json::Map::len), Some(12));
    for serial in DEVICES {
        let calibration = calibration_of(serial);
        let rays = Rays::of(calibration.depth.as_ref().expect("it is on"));
        let clouds = of_depth(serial, |depth| {
            let mut points = Vec::new();
            rays.cloud(depth, &mut points).expect("of this camera");
            points.retain(|point| point[2] > 0.0);
            let metres = points.iter().flatten().map(|mm| mm / 1000.0);
            (points.len(), sha256(&metres.flat_map(f32::to_le_bytes).collect::<Vec<_>>()))
        });
        for (trigger, (points, hash)) in clouds {
            let cloud = &found[&format!("{serial}/{trigger:08}.ply")];
            assert!(points > 10_000);
            assert_eq!((&cloud["points"], &cloud["sha256"]), (&points.into(), &hash.into()));
            let mean = cloud["mean"].as_f64().expect("colors");
            assert!((20.0..235.0).contains(&mean), "{mean}");
        }
    }
}

#[test]
fn a_real_recording_exports_to_everything() {
    let Some(source) = real_recording() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for format in ["png", "mcap", "tum", "webdataset", "ply"] {
        let out = folder.path().join(format);
        let args = ["export", "--json", text(&source), text(&out), "--to", format];
        let output = support::genlock(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{format}: {said}");
        let Some(found) = read_export(format, &out) else { return };
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(said["images"].as_u64() >= Some(1), "{format}: {said}");
        assert!(!found.as_object().expect("an object").is_empty(), "{format}");
    }
}

#[test]
fn a_compact_take_exports_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let compact = folder.path().join("compact");
    genlock_exits(0, &["convert", "--profile", "compact", text(take()), text(&compact)]);
    for format in [Format::Png, Format::Mcap, Format::Tum, Format::Webdataset, Format::Ply] {
        let out = folder.path().join(format.to_string());
        exported(0, &compact, &out, &["--to", &format.to_string()]);
        let (_folder, expected) = whole(format);
        let [mut a, mut b] = [tree(&out), tree(&expected)];
        // Each names its own source.
        for tree in [&mut a, &mut b] {
            tree.remove(Path::new("export.toml"));
        }
        assert!(a == b, "{format}: {:?} {:?}", names(&out), names(&expected));
    }
}

#[test]
fn what_is_selected_is_exported_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(take()).expect("a take");
    let first = files.triggers().start;
    let range = format!("{}..{}", first + 1, first + 4);
    let out = folder.path().join("out");
    let options = ["--to", "png", "--triggers", &range, "--every", "3"];
    let more = ["--device", DEVICES[1], "--track", "depth,imu"];
    let said = exported(0, take(), &out, &[&options[..], &more].concat());
    assert_eq!((&said["triggers"], &said["images"]), (&2.into(), &2.into()));
    let serial = DEVICES[1];
    let expected = [
        format!("{serial}/calibration.json"),
        format!("{serial}/depth/{:08}.png", first + 1),
        format!("{serial}/depth/{:08}.png", first + 4),
        format!("{serial}/frames.csv"),
        format!("{serial}/imu.csv"),
        "export.toml".to_owned(),
        "losses.csv".to_owned(),
    ];
    assert_eq!(names(&out), expected);
    // Samples from the first frame to the last: three periods of 66.7 ms.
    let imu = fs::read_to_string(out.join(serial).join("imu.csv")).expect("a table");
    let samples = imu.lines().count() - 1;
    assert!((200_u32..=420).contains(&(samples as u32)), "{samples}");
    // The same part as MCAP: of its topics those of depth and the IMU, with as many samples.
    let mcap = folder.path().join("mcap");
    let options = ["--to", "mcap", "--triggers", &range, "--every", "3"];
    exported(0, take(), &mcap, &[&options[..], &more].concat());
    if let Some(found) = read_export("mcap", &mcap) {
        let topics = found["topics"].as_object().expect("topics");
        let count = |topic: &str| {
            let messages = topics.get(&format!("/{serial}/{topic}"));
            messages.and_then(|topic| topic["messages"].as_array()).map(Vec::len)
        };
        assert_eq!((count("depth/image"), count("imu")), (Some(2), Some(samples)));
        assert_eq!((count("color/image"), count("ir/image")), (None, None));
        assert!(topics.keys().all(|topic| topic.starts_with(&format!("/{serial}/"))));
    }
    let same = folder.path().join("same");
    let (from, to) = ((first + 1).to_string(), (first + 4).to_string());
    let options = ["--to", "png", "--from-trigger", &from, "--to-trigger", &to, "--every", "3"];
    exported(0, take(), &same, &[&options[..], &more].concat());
    assert_eq!(tree(&same), tree(&out));
}

#[test]
fn wrong_words_are_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let refused = |options: &[&str], told: &str| {
        let args = ["export", text(take()), text(&out)];
        let output = genlock_exits(2, &[&args[..], options].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told), "{said}");
        assert!(!out.exists(), "{options:?}");
    };
    refused(&["--to", "rrd"], "possible values: png, mcap, tum, webdataset, ply");
    refused(&["--to", "png", "--clouds"], "--clouds is of mcap");
    refused(&["--to", "png", "--shard-size", "3"], "--shard-size is of webdataset");
    refused(&["--to", "png", "--every", "0"], "--every");
    refused(&["--to", "png", "--triggers", "9..3"], "ends before it begins");
    refused(&["--to", "png", "--triggers", "3-9"], "write 10..20");
    refused(&["--to", "png", "--triggers", "1000000.."], "no trigger of the take is selected");
    refused(&["--to", "png", "--device", "front"], "it has 000000000001, 000000000002");
    refused(&["--to", "png", "--track", "sound"], "color, depth, ir, imu");
    refused(&["--to", "ply", "--track", "color"], "a cloud needs --track depth");
    refused(&["--to", "tum", "--track", "color"], "needs --track color,depth");
    let inside = take().join("export");
    let output = genlock_exits(2, &["export", text(take()), text(&inside), "--to", "png"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is inside the take"), "{said}");
    assert!(!inside.exists());
}
