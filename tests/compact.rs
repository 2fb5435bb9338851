//! Takes that the binary records in profile `compact`: what their packed blocks restore to is what
//! the same emulated devices record in profile `k4a`.

mod support;

use genlock_formats::k4a::{Packing, Unpacker};
use genlock_formats::mkv::Demuxer;
use genlock_formats::take::{Outcome, Profile, Take};
use std::collections::BTreeMap;
use std::path::Path;
use support::genlock;

const FRAMES: usize = 10;
const SERIALS: [&str; 2] = ["000000000001", "000000000002"];

/// The blocks of a file by the name of their track and their time, as they are in profile `k4a`,
/// and how many tracks are packed.
fn blocks(file: &Path) -> (BTreeMap<(String, i64), Vec<u8>>, usize) {
    let bytes = std::fs::read(file).expect("a recording");
    let demuxer = Demuxer::open(&bytes).expect("it opens");
    let tags = &demuxer.header().tags;
    let offset = tags.iter().find(|tag| tag.name == "K4A_START_OFFSET_NS").expect("a tag");
    let offset_ns: i64 = offset.value.parse().expect("a number");
    let mut names = BTreeMap::new();
    let mut unpackers = BTreeMap::new();
    for track in &demuxer.header().tracks {
        names.insert(track.number, track.name.clone());
        let packing = Packing::of_packed(track).expect("of this version");
        unpackers.extend(packing.map(|packing| (track.number, Unpacker::new(packing))));
    }
    let mut blocks = BTreeMap::new();
    for cluster in demuxer.clusters() {
        for block in cluster.expect("a sound cluster").blocks() {
            let block = block.expect("a sound block");
            let key = (names[&block.track].clone(), offset_ns + block.time_ns);
            let bytes = block.frames.clone().flatten().copied().collect::<Vec<_>>();
            let mut image = Vec::new();
            let bytes = match unpackers.get_mut(&block.track) {
                Some(unpacker) => {
                    unpacker.unpack(&bytes, &mut image).expect("it was packed");
                    image
                }
                None => bytes,
            };
            blocks.insert(key, bytes);
        }
    }
    (blocks, unpackers.len())
}

/// Records two devices, and gives what `take.toml` says. A busy machine may lose frames.
fn record(folder: &Path, color: &str, options: &[&str]) -> Take {
    let folder = folder.to_str().expect("a plain path");
    let frames = FRAMES.to_string();
    let modes = ["-c", color, "-d", "NFOV_2X2BINNED", "--frames", &frames];
    let devices = ["record", "--quiet", "--emulated", "2"];
    let output = genlock([&devices, &modes[..], options, &[folder]].concat());
    let code = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(code == Some(0) || code == Some(3), "{options:?}: {code:?}: {stderr}");
    let text = std::fs::read_to_string(Path::new(folder).join("take.toml")).expect("a take");
    Take::from_toml(&text).expect("it reads")
}

#[test]
fn a_compact_take_restores_what_the_same_devices_record_as_k4a() {
    for (color, packed_tracks) in [("720p", 2), ("720p_NV12", 3), ("720p_YUY2", 3)] {
        let folder = tempfile::tempdir().expect("a folder");
        let [plain, packed] = ["plain", "packed"].map(|name| folder.path().join(name));
        let take = record(&plain, color, &[]);
        assert_eq!((take.profile, take.level), (Profile::K4a, None));
        let take = record(&packed, color, &["--profile", "compact", "--level", "fast"]);
        assert_eq!((take.profile, take.level.as_deref()), (Profile::Compact, Some("fast")));
        for serial in SERIALS {
            let (plain, none) = blocks(&plain.join(format!("{serial}.mkv")));
            let (packed, some) = blocks(&packed.join(format!("{serial}.mkv")));
            assert_eq!((none, some), (0, packed_tracks), "{color}");
            for track in ["COLOR", "DEPTH", "IR"] {
                let same = packed.iter().filter(|((name, _), _)| name == track).filter(|found| {
                    let (key, bytes) = *found;
                    let other = plain.get(key);
                    assert!(other.is_none_or(|other| other == bytes), "{color}: {key:?}");
                    other.is_some()
                });
                assert!(same.count() >= FRAMES / 2, "{color} {serial}: few {track} coincide");
            }
        }
    }
}

#[test]
fn several_encoders_of_a_track_keep_its_frames_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--profile", "compact", "--set", "encoders=3"];
    // Frames that overtake each other are losses: a clock does not go back.
    let whole = (0..5).any(|number| {
        let take = folder.path().join(number.to_string());
        record(&take, "720p_NV12", &options).outcome == Outcome::Whole
    });
    assert!(whole, "five takes with losses");
}
