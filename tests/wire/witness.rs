//! Microsoft's libk4a and genlock record the same emulated camera, and agree. Run in the guest by
//! `main.rs`.

use crate::cameras::{Cameras, FPS, MASTER, TRIES, depth_engine, text};
use crate::support::judges::root;
use genlock_formats::k4a::ImuSample;
use genlock_formats::mkv::Demuxer;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Images by their track and the number of the pulse that they answer, as hashes.
type Images = BTreeMap<(String, u64), String>;

/// Readings of accelerometer and gyroscope, in millionths: the emulated sensors repeat themselves.
type Readings = Vec<[i64; 6]>;

const CAPTURES: usize = 20;

#[test]
#[ignore = "runs in the guest"]
fn libk4a_and_genlock_see_the_same_frames_of_a_camera() {
    let cameras = Cameras::plug_in(1);
    let take = cameras.whole_take(&["--frames", "40"]);
    let (ours, our_readings) = of_file(&take.join(format!("{MASTER}.mkv")));
    let (who, theirs, their_readings) = of_libk4a(&cameras);
    assert_eq!((who["cameras"].as_u64(), who["serial"].as_str()), (Some(1), Some(MASTER)));
    for track in ["color", "depth", "ir"] {
        let both =
            theirs.iter().filter(|((name, _), _)| name == track).filter_map(|(key, hash)| {
                let ours = ours.get(key)?;
                assert_eq!(ours, hash, "{track} of pulse {}", key.1);
                Some(())
            });
        let count = both.count();
        println!("{track}: {count} frames are the same");
        assert!(count >= CAPTURES / 2, "{track}: only {count} pulses are in both");
    }
    assert!(their_readings.len() > 500, "{} IMU samples", their_readings.len());
    let foreign = their_readings.iter().filter(|reading| !our_readings.contains(reading));
    assert_eq!(foreign.count(), 0, "IMU samples that genlock does not have");
}

/// The pulse that a frame answers: its device time in periods.
fn pulse(device_us: u64) -> u64 {
    (device_us * FPS + 500_000) / 1_000_000
}

fn millionths(values: impl Iterator<Item = f64>) -> [i64; 6] {
    let values: Vec<_> = values.map(|value| (value * 1e6).round() as i64).collect();
    values.try_into().expect("three of each")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What genlock's file has, depth and IR as libk4a hands them out: little-endian.
fn of_file(file: &Path) -> (Images, Readings) {
    let bytes = fs::read(file).expect("a recording");
    let demuxer = Demuxer::open(&bytes).expect("it opens");
    let header = demuxer.header();
    let offset = header.tags.iter().find(|tag| tag.name == "K4A_START_OFFSET_NS").expect("a tag");
    let offset_ns: i64 = offset.value.parse().expect("a number");
    let name = |number| {
        let track = header.tracks.iter().find(|track| track.number == number);
        track.expect("a track").name.to_lowercase()
    };
    let (mut images, mut readings) = (Images::new(), Readings::new());
    for cluster in demuxer.clusters() {
        for block in cluster.expect("a sound cluster").blocks() {
            let block = block.expect("a sound block");
            let track = name(block.track);
            let mut frame = block.frames.clone().flatten().copied().collect::<Vec<u8>>();
            match track.as_str() {
                "imu" => {
                    let (samples, _) = frame.as_chunks::<{ ImuSample::BYTES }>();
                    readings
                        .extend(samples.iter().map(|bytes| reading(&ImuSample::from_bytes(bytes))));
                    continue;
                }
                "depth" | "ir" => frame.chunks_exact_mut(2).for_each(<[u8]>::reverse),
                _ => {}
            }
            let device_us = (offset_ns + block.time_ns) as u64 / 1000;
            images.insert((track, pulse(device_us)), sha256(&frame));
        }
    }
    (images, readings)
}

fn reading(sample: &ImuSample) -> [i64; 6] {
    let values = sample.accelerometer.iter().chain(&sample.gyroscope);
    millionths(values.map(|value| f64::from(*value)))
}

/// A folder with Microsoft's library, the libudev that came with it, and the emulator's engine: it
/// looks for both where it lies itself.
fn libraries(cameras: &Cameras) -> PathBuf {
    let folder = cameras.place("libraries");
    fs::create_dir_all(&folder).expect("a folder");
    let bundle = root().join(".venv-conformance/lib");
    let bundled =
        Command::new("find").arg(&bundle).args(["-path", "*pyk4a_bundle.libs/*"]).output();
    for path in String::from_utf8(bundled.expect("find").stdout).expect("text").lines() {
        let name = Path::new(path).file_name().expect("a name");
        if !name.to_string_lossy().contains("depthengine") {
            fs::copy(path, folder.join(name)).expect("room");
        }
    }
    fs::copy(depth_engine(), folder.join("libdepthengine.so.2.0")).expect("room");
    folder
}

/// What libk4a has: who the camera is, its images, its IMU samples.
fn of_libk4a(cameras: &Cameras) -> (Value, Images, Readings) {
    let libraries = libraries(cameras);
    let mut told = String::new();
    for _ in 0..TRIES {
        let output = Command::new(root().join(".venv-conformance/bin/python"))
            .arg(root().join("tests/wire/witness.py"))
            .args([text(&libraries), CAPTURES.to_string()])
            .env("K4A_LOG_LEVEL", "w")
            .output()
            .expect(".ci/run made it");
        if output.status.success() {
            return testimony(&String::from_utf8(output.stdout).expect("text"));
        }
        told += &String::from_utf8_lossy(&output.stdout);
        told += &String::from_utf8_lossy(&output.stderr);
    }
    panic!("libk4a does not stream, {TRIES} times: {told}");
}

fn testimony(lines: &str) -> (Value, Images, Readings) {
    let (mut who, mut images, mut readings) = (Value::Null, Images::new(), Readings::new());
    // The library prints its warnings between the lines.
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let said: Value = serde_json::from_str(line).expect("JSON");
        let numbers = |key: &str| said[key].as_array().cloned().unwrap_or_default();
        match said["track"].as_str() {
            None => who = said,
            Some("imu") => {
                let values = [numbers("accelerometer"), numbers("gyroscope")].concat();
                readings.push(millionths(values.iter().filter_map(Value::as_f64)));
            }
            Some(track) => {
                let pulse = pulse(said["device_us"].as_u64().expect("a time"));
                let hash = said["sha256"].as_str().expect("a hash").to_owned();
                images.insert((track.to_owned(), pulse), hash);
            }
        }
    }
    (who, images, readings)
}
