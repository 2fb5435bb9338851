//! Recordings of old SDKs (recording-format.md, Appendix B): other names, other pixels, other
//! blocks.

use genlock_formats::k4a::{
    About, Configuration, DepthMode, Device, ImuSample, Rate, Recording, Role, TrackName, header,
};
use genlock_formats::mkv::{Block, ClusterLayout, Header, Muxer, Payload};

fn configuration() -> Configuration {
    Configuration {
        color: None,
        depth: Some(DepthMode::Nfov2x2Binned),
        rate: Rate::Fps30,
        imu: true,
        role: Role::Standalone,
        subordinate_delay_us: 0,
        depth_delay_us: 0,
        start_offset_ns: 7_000_000,
    }
}

fn front() -> Header {
    let device = Device {
        serial: "1".to_owned(),
        color_firmware: "1.0.0".to_owned(),
        depth_firmware: "1.0.0".to_owned(),
        calibration: b"{}".to_vec(),
    };
    let about = About { writing_app: "old".to_owned(), date_utc_ns: None, uid_seed: 3 };
    header(&configuration(), Some(&device), &about)
}

/// A file with this front and one cluster of these blocks.
fn file(front: &Header, blocks: &[Block<'_>]) -> Vec<u8> {
    let (muxer, mut file) = Muxer::new(front);
    let mut layout = ClusterLayout::default();
    muxer.cluster(blocks, &mut layout).expect("a sound cluster");
    layout.pieces(blocks).for_each(|piece| file.extend_from_slice(piece));
    file
}

fn sample(number: u64) -> ImuSample {
    ImuSample {
        accelerometer_ns: 9_000_000 + number * 600_000,
        accelerometer: [number as f32, 0.5, -9.8],
        gyroscope_ns: 9_000_000 + number * 600_000,
        gyroscope: [0.0; 3],
    }
}

#[test]
fn milliseconds_and_little_endian_pixels_are_read() {
    let mut front = front();
    front.info.timestamp_scale_ns = 1_000_000;
    for track in &mut front.tracks {
        if track.name == "DEPTH" || track.name == "IR" {
            track.codec_private[16..20].copy_from_slice(b"YUY2");
        }
    }
    let pixels: Vec<_> = (0..DepthMode::Nfov2x2Binned.image_bytes()).map(|i| i as u8).collect();
    let file = file(&front, &[Block::frame(1, 33, &pixels), Block::frame(2, 33, &pixels)]);
    let recording = Recording::open(&file).expect("it opens");
    let capture = recording.captures().next().expect("a capture").expect("a sound one");
    let depth = capture.depth.expect("depth");
    assert_eq!(depth.time_us, 7_000 + 33_000);
    assert_eq!(depth.pixels_le(), pixels);
}

#[test]
fn the_old_name_of_infrared_and_modes_in_old_spelling_are_known() {
    let mut front = front();
    front.tags.retain(|tag| !tag.name.ends_with("_TRACK"));
    for tag in front.tags.iter_mut().filter(|tag| tag.name == "K4A_DEPTH_MODE") {
        tag.value = "NFOV_2x2BINNED".to_owned();
    }
    for track in front.tracks.iter_mut().filter(|track| track.name == "IR") {
        track.name = "DEPTH_IR".to_owned();
    }
    let file = file(&front, &[Block::frame(2, 0, &[1, 2])]);
    let recording = Recording::open(&file).expect("it opens");
    assert_eq!(recording.configuration().depth, Some(DepthMode::Nfov2x2Binned));
    let ir = recording.track(TrackName::Ir).expect("the IR track");
    assert_eq!((ir.number, ir.name.as_str()), (2, "DEPTH_IR"));
}

#[test]
fn samples_back_to_back_and_one_in_a_block_are_read() {
    let samples: Vec<_> = (0..6).map(sample).collect();
    let bytes: Vec<_> = samples.iter().flat_map(ImuSample::to_bytes).collect();
    // Three concatenated in a SimpleBlock, one alone in one, two laced with a duration one short.
    let lace = Payload::Laced { bytes: &bytes[160..], frame_bytes: 40, duration_ticks: 600 };
    let blocks = [
        Block::frame(3, 2000, &bytes[..120]),
        Block::frame(3, 3800, &bytes[120..160]),
        Block { track: 3, time_ticks: 4400, payload: lace },
    ];
    let file = file(&front(), &blocks);
    let recording = Recording::open(&file).expect("it opens");
    let read: Vec<_> = recording.imu().map(|sample| sample.expect("a sound sample")).collect();
    assert_eq!(read, samples);
}

#[test]
fn a_calibration_loses_its_trailing_nul() {
    let mut front = front();
    front.attachments[0].data.push(0);
    let file = file(&front, &[Block::frame(2, 0, &[1, 2])]);
    let recording = Recording::open(&file).expect("it opens");
    assert_eq!(recording.calibration(), Some(&b"{}"[..]));
}

#[test]
fn what_a_killed_recorder_could_not_say_is_found_in_the_blocks() {
    let mut front = front();
    front
        .tags
        .retain(|tag| !["K4A_START_OFFSET_NS", "K4A_DEPTH_MODE"].contains(&tag.name.as_str()));
    let bytes = sample(0).to_bytes();
    let lace = Payload::Laced { bytes: &bytes, frame_bytes: 40, duration_ticks: 1 };
    let file = file(&front, &[Block { track: 3, time_ticks: 2000, payload: lace }]);
    let recording = Recording::open(&file).expect("it opens");
    // Device time 9 ms at file time 2 ms.
    assert_eq!(recording.configuration().start_offset_ns, 7_000_000);
    assert_eq!(recording.configuration().depth, Some(DepthMode::Nfov2x2Binned));
    let noted = |word: &str| recording.notes().iter().any(|note| note.text.contains(word));
    assert!(noted("K4A_START_OFFSET_NS") && noted("K4A_DEPTH_MODE") && noted("not finished"));
}
