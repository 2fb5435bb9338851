//! Inputs that are sound, made by the writers of this repository.

use genlock_formats::k4a::{
    About, Configuration, Device, ImuSample, Rate, Role, TrackName, header, track_number,
};
use genlock_formats::mkv::{Block, ClusterLayout, Muxer, Payload};
use genlock_formats::take::Take;
use genlock_formats::triggers::{Cell, Triggers};

/// Serial of the device that everything is of.
pub const SERIAL: &str = "000000000001";

/// Microseconds of the first frame.
const START_US: u64 = 400_000;
const PERIOD_US: u64 = 33_333;

fn configuration(color: Option<&str>, depth: Option<&str>, imu: bool) -> Configuration {
    Configuration {
        color: color.and_then(|mode| mode.parse().ok()),
        depth: depth.and_then(|mode| mode.parse().ok()),
        rate: Rate::Fps30,
        imu,
        role: Role::Standalone,
        subordinate_delay_us: 0,
        depth_delay_us: 0,
        start_offset_ns: START_US * 1000,
    }
}

/// A recording with images of a few bytes.
fn recording(configuration: &Configuration, clusters: u64, finished: bool) -> Vec<u8> {
    let device = Device {
        serial: SERIAL.to_owned(),
        color_firmware: "1.6.110".to_owned(),
        depth_firmware: "1.6.79".to_owned(),
        calibration: b"{}".to_vec(),
    };
    let about = About { writing_app: "fuzz".to_owned(), date_utc_ns: Some(1), uid_seed: 1 };
    let (mut muxer, mut file) = Muxer::new(&header(configuration, Some(&device), &about));
    let mut layout = ClusterLayout::default();
    let number = |name| track_number(configuration, name);
    for place in 0..clusters {
        let time_ticks = place * PERIOD_US;
        let image = [place as u8; 24];
        let samples: Vec<u8> = (0..3).flat_map(|i| sample(time_ticks, i)).collect();
        let images = [TrackName::Color, TrackName::Depth, TrackName::Ir];
        let mut blocks: Vec<_> = images
            .into_iter()
            .filter_map(|name| Some(Block::frame(number(name)?, time_ticks, &image)))
            .collect();
        let payload = Payload::Laced { bytes: &samples, frame_bytes: 40, duration_ticks: 1201 };
        blocks.extend(number(TrackName::Imu).map(|track| Block { track, time_ticks, payload }));
        if muxer.cluster(&blocks, &mut layout).is_ok() {
            muxer.written(&blocks, &layout);
            layout.pieces(&blocks).for_each(|piece| file.extend_from_slice(piece));
        }
    }
    if finished {
        let finish = muxer.finish();
        file.extend(finish.append);
        for patch in finish.patches {
            let at = patch.at as usize;
            file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
    }
    file
}

fn sample(time_ticks: u64, place: u64) -> [u8; ImuSample::BYTES] {
    let ns = (START_US + time_ticks + 600 * place) * 1000;
    let (accelerometer, gyroscope) = ([0.5, -9.8, 0.25], [0.0, 0.125, -1.0]);
    ImuSample { accelerometer_ns: ns, accelerometer, gyroscope_ns: ns, gyroscope }.to_bytes()
}

/// Recordings of several kinds, closed and not.
#[must_use]
pub fn recordings() -> Vec<Vec<u8>> {
    let all = configuration(Some("720p"), Some("NFOV_UNBINNED"), true);
    let color = configuration(Some("720p_NV12"), None, false);
    let depth = configuration(None, Some("PASSIVE_IR"), true);
    let mut killed = recording(&all, 2, false);
    let unfinished = killed.clone();
    // What the official writer leaves behind when it is killed.
    killed[45..52].fill(0);
    vec![
        recording(&all, 3, true),
        recording(&color, 2, true),
        recording(&depth, 2, true),
        unfinished,
        killed,
        small_elements(),
    ]
}

/// Laces of all kinds, checksums in checksums, and unknown sizes, without a file around them.
fn small_elements() -> Vec<u8> {
    use genlock_formats::ebml::{Writer, id};
    let mut writer = Writer::new();
    writer.master_with_crc(id::TAGS, |tags| tags.text(id::TAG_NAME, "name"));
    writer.master(id::CLUSTER, |cluster| {
        cluster.uint(id::TIMESTAMP, 7);
        cluster.binary(id::SIMPLE_BLOCK, &[0x81, 0, 0, 0x82, 2, 1, 2, 1, 2, 2, 3, 3, 3]);
        cluster.binary(id::SIMPLE_BLOCK, &[0x81, 0, 0, 0x86, 2, 0x81, 0xC0, 1, 2, 2, 3, 3, 3]);
        cluster.binary(id::SIMPLE_BLOCK, &[0x81, 0, 0, 0x84, 1, 5, 5, 6, 6]);
        cluster.float(id::DURATION, 1.5);
    });
    let mut bytes = writer.into_bytes();
    bytes.extend([0x1F, 0x43, 0xB6, 0x75, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes
}

/// The recording that [`take`] and [`triggers`] are of.
#[must_use]
pub fn recording_of_take() -> Vec<u8> {
    recording(&configuration(Some("720p"), Some("NFOV_UNBINNED"), true), 3, true)
}

/// The table of a take of three triggers.
#[must_use]
pub fn triggers() -> Triggers {
    let column = |track| format!("{SERIAL}.{track}");
    let row = |place: u64| {
        let time_us = START_US + place * PERIOD_US;
        vec![Cell::At(time_us), Cell::At(time_us), Cell::At(time_us), Cell::At(time_us + 9_000)]
    };
    Triggers {
        columns: ["color", "depth", "ir", "host"].map(column).into(),
        first: 10,
        rows: (0..3).map(row).collect(),
    }
}

/// What `take.toml` says of that take.
///
/// # Panics
/// If the text of this file is none.
#[must_use]
pub fn take() -> Take {
    Take::from_toml(TAKE).expect("the text is a take's")
}

/// `take.toml`.
pub const TAKE: &str = r#"format = 1
genlock = "0.1.0"
started = "2026-11-24T14:00:00Z"
outcome = "losses"
triggers_asked = 3
verdict = "warn"

[host]
utc_at_zero = "2026-11-24T13:59:59.123456Z"
utc_moved_us = -1.5

[[device]]
serial = "000000000001"
name = "front"
file = "000000000001.mkv"
role = "subordinate"
color_mode = "MJPG_720P"
depth_mode = "NFOV_UNBINNED"
rate = 30
imu = true
first_trigger = 10
trigger_count = 3
bytes = 3000
verdict = "warn"
reasons = ["2 frames are missing"]

[device.depth_delay_off_color]
asked_us = 160
ticks = 14
applied_us = 155.6

[device.delay_off_master]
asked_us = 0
ticks = 0
applied_us = 0.0

[device.frames]
color = 3
depth = 3
imu = 9
ir = 3

[device.firmware]
color = "1.6.110"

[device.color_controls]
exposure_us = "auto"
gain = 128

[device.clock]
offset_us = 559077.8
ppm = -388.0
rate_hz = 30.0112
late_p50_us = 28.0
late_p99_us = 270.5
late_max_us = 28079.8

[device.phase]
p50_us = 1.2
p99_us = 22.0
max_us = 24.0
drift_ppm = -12.5
pairs = 3

[[device.alarm]]
first_trigger = 11
last_trigger = 12
what = "out of step with the master"

[[device.loss]]
track = "depth"
first_trigger = 11
last_trigger = 11
cause = "lane full"

[[device]]
serial = "000000000001"
file = "000000000001.mkv"
role = "master"
color_mode = "MJPG_720P"
depth_mode = "OFF"
rate = 30
imu = false
first_trigger = 10
trigger_count = 3
bytes = 3000
frames = { color = 3 }
firmware = {}
depth_delay_off_color = { asked_us = 0, ticks = 0, applied_us = 0.0 }
delay_off_master = { asked_us = 0, ticks = 0, applied_us = 0.0 }
"#;
