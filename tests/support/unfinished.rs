//! Recordings that were not finished, and what is left of them.

use super::judges::oracle;
use genlock_formats::k4a::{About, Configuration, DepthMode, Device, ImuSample, Rate, Recording};
use genlock_formats::k4a::{Role, header};
use genlock_formats::mkv::{Block, Checksum, ClusterLayout, Muxer, Patch, Payload, Step};
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every frame that a file has: its track, device time and bytes. Nothing of a file that does not
/// open.
pub fn frames(bytes: &[u8]) -> Vec<(u64, i64, Vec<u8>)> {
    let Ok(recording) = Recording::open(bytes) else { return Vec::new() };
    let offset_ns = recording.configuration().start_offset_ns as i64;
    let frame = |block: genlock_formats::mkv::ReadBlock<'_>| {
        let bytes = block.frames.clone().flatten().copied().collect();
        (block.track, offset_ns + block.time_ns, bytes)
    };
    recording.blocks().flatten().map(frame).collect()
}

/// A repaired file opens without a note, and every cluster has its checksum.
pub fn is_sound(bytes: &[u8]) {
    let recording = Recording::open(bytes).expect("it opens");
    assert!(recording.demuxer().is_finished());
    assert_eq!(recording.demuxer().notes(), []);
    assert_eq!(recording.demuxer().front_fault(), None);
    for cluster in recording.demuxer().clusters() {
        let cluster = cluster.expect("a cluster");
        assert!(cluster.is_complete() && cluster.checksum() == Checksum::Good);
    }
}

/// A recording of our own of few bytes: `clusters` of three images and two samples each. Gives its
/// bytes before it was finished, and where its clusters begin.
pub fn small(clusters: u64) -> (Vec<u8>, Vec<usize>) {
    let configuration = Configuration {
        color: Some("720p".parse().expect("a mode")),
        depth: Some(DepthMode::Nfov2x2Binned),
        rate: Rate::Fps30,
        imu: true,
        role: Role::Standalone,
        subordinate_delay_us: 0,
        depth_delay_us: 0,
        start_offset_ns: 5_000_000_000,
    };
    let device = Device {
        serial: "1".to_owned(),
        color_firmware: "1.6.110".to_owned(),
        depth_firmware: "1.6.80".to_owned(),
        calibration: b"{}".to_vec(),
    };
    let about = About { writing_app: "genlock-test".to_owned(), date_utc_ns: None, uid_seed: 1 };
    let (muxer, mut bytes) = Muxer::new(&header(&configuration, Some(&device), &about));
    let mut at = Vec::new();
    for cluster in 0..clusters {
        at.push(bytes.len());
        let ticks = cluster * 33_333;
        let sample = |us: u64| {
            let ns = configuration.start_offset_ns + us * 1000;
            let (accelerometer, gyroscope) = ([0.5; 3], [0.25; 3]);
            let at = (ns, ns);
            ImuSample { accelerometer_ns: at.0, accelerometer, gyroscope_ns: at.1, gyroscope }
        };
        let samples = [sample(ticks + 20).to_bytes(), sample(ticks + 620).to_bytes()].concat();
        let lace = Payload::Laced { bytes: &samples, frame_bytes: 40, duration_ticks: 601 };
        let image = [cluster as u8; 30];
        let blocks = [
            Block::frame(1, ticks, &image),
            Block::frame(2, ticks + 10, &image[..20]),
            Block { track: 4, time_ticks: ticks + 20, payload: lace },
            Block::frame(3, ticks + 30, &image[..20]),
        ];
        let mut layout = ClusterLayout::default();
        muxer.cluster(&blocks, &mut layout).expect("a sound cluster");
        layout.pieces(&blocks).for_each(|piece| bytes.extend_from_slice(piece));
    }
    (bytes, at)
}

/// A file after some steps of its repair, and after a part of what the next one appends.
pub fn crashed(bytes: &[u8], steps: &[Step], part: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Cut(to) => bytes.truncate(*to as usize),
            Step::Write(Patch { at, bytes: written }) => {
                let at = *at as usize;
                let is_appended = at == bytes.len();
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[at..at + written.len()].copy_from_slice(written);
                if is_appended && i + 1 == steps.len() {
                    bytes.truncate(at + part.min(written.len()));
                }
            }
            Step::Sync => {}
        }
    }
    bytes
}

/// Lets the official writer write, and kills it while it holds the file open.
pub fn official_killed(file: &Path, options: &[&str]) -> Option<()> {
    let mut command = oracle()?;
    command.arg("write").arg(file).args(options).args(["--hold", "60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("timeout is part of Linux");
    let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("text");
    assert!(line.contains("holding"), "{line}");
    let pid = child.id().to_string();
    let killed = Command::new("pkill").args(["-KILL", "-P", &pid]).status();
    assert!(killed.expect("pkill is part of every Linux").success());
    child.wait().expect("it was killed");
    Some(())
}
