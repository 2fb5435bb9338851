//! Takes read by trigger: what the reader finds is what the files hold, at any place and in any
//! order, and what is not there has a cause.

mod support;

use genlock::replay::{Capture, Device, Files, Reader, Selection, Slot};
use genlock_formats::k4a::{Recording, TrackName};
use genlock_formats::mkv::Demuxer;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::judges::real_recording;
use support::{genlock, genlock_exits};

/// Records two devices; a busy machine may lose frames.
fn record(folder: &Path, name: &str, options: &[&str]) -> String {
    let take = folder.join(name).to_str().expect("a plain path").to_owned();
    let mut args = vec!["record", "--emulated", "2", "--quiet", "-c", "720p", "--frames", "50"];
    args.extend(options);
    args.push(&take);
    let code = genlock(&args).status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    take
}

/// The images of each track of a file by their device time, as the whole file is read in order.
fn images(file: &Path) -> [BTreeMap<u64, Vec<u8>>; 3] {
    let bytes = fs::read(file).expect("a recording");
    let recording = Recording::open(&bytes).expect("it opens");
    let mut images = [const { BTreeMap::new() }; 3];
    for capture in recording.captures() {
        let capture = capture.expect("a sound capture");
        let of_tracks = [capture.color, capture.depth, capture.ir];
        for (image, images) in of_tracks.into_iter().zip(&mut images) {
            images.extend(image.map(|image| (image.time_us, image.bytes.into_owned())));
        }
    }
    images
}

/// Everything that a capture holds, in words.
fn told(capture: &Capture<'_>) -> String {
    let slot = |slot: &&Slot<'_>| match slot {
        Slot::Frame(image) => {
            format!("{} {:08x}", image.time_us, crc32fast::hash(&image.pixels_le()))
        }
        Slot::Lost(cause) => cause.to_string(),
        Slot::Off => "off".to_owned(),
    };
    let devices = capture.devices.iter().flat_map(|frames| frames.slots());
    let slots: Vec<_> = devices.map(|one| slot(&one)).collect();
    format!("{}: {}", capture.trigger, slots.join(", "))
}

/// The reader finds all images of the files of a take, each at one trigger alone.
fn holds_all_of_its_files(take: &str) {
    let files = Files::open(take.as_ref()).expect("a take");
    let reader = Reader::open(&files).expect("its recordings");
    reader.devices().iter().for_each(samples_of_a_time_are_found);
    triggers_are_found_by_their_time(&reader);
    let forwards: Vec<_> = reader.captures(reader.triggers()).collect();
    assert_eq!(forwards.len(), 50);
    for (place, device) in reader.devices().iter().enumerate() {
        let mut all = images(device.path());
        for capture in &forwards {
            for (slot, images) in capture.devices[place].slots().into_iter().zip(&mut all) {
                if let Slot::Frame(image) = slot {
                    let there = images.remove(&image.time_us);
                    assert_eq!(there.as_deref(), Some(&*image.bytes), "{}", capture.trigger);
                }
            }
        }
        assert!(all.iter().all(BTreeMap::is_empty), "{}: images of no trigger", device.serial());
    }
    let said: Vec<_> = forwards.iter().map(told).collect();
    let mut backwards: Vec<_> =
        reader.captures(reader.triggers()).rev().map(|c| told(&c)).collect();
    backwards.reverse();
    assert!(backwards == said, "backwards they differ");
    // Here and there, in an order that leaves no place near the last one.
    let (mut cursor, count) = (reader.captures(0..0), said.len());
    for at in (0..count).map(|i| i * 37 % count) {
        let trigger = reader.triggers().start + at as u64;
        assert_eq!(told(&cursor.at(trigger)), said[at]);
    }
    let mut played = Vec::new();
    let all = Selection::default().of(&reader).expect("it has triggers");
    let done = reader.play(&all, |capture| {
        played.push(told(capture));
        Ok(())
    });
    assert!(done.is_ok() && played == said, "played ahead, they differ");
}

#[test]
fn every_image_of_a_take_is_found_in_any_order_in_both_profiles() {
    let folder = tempfile::tempdir().expect("a folder");
    let k4a = record(folder.path(), "k4a", &[]);
    holds_all_of_its_files(&k4a);
    let compact = folder.path().join("compact").to_str().expect("a plain path").to_owned();
    let code = genlock(["convert", &k4a, &compact, "--profile", "compact"]).status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    holds_all_of_its_files(&compact);
    let all = |take: &str| {
        let files = Files::open(take.as_ref()).expect("a take");
        let reader = Reader::open(&files).expect("its recordings");
        reader.captures(reader.triggers()).map(|capture| told(&capture)).collect::<Vec<_>>()
    };
    assert!(all(&k4a) == all(&compact), "the profiles differ");
}

/// Without `take.toml` and `triggers.csv`, without an index, and cut: triggers, and what is
/// missing, are told by the files.
#[test]
fn a_take_that_was_not_finished_is_read_up_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), "take", &["--imu", "OFF"]);
    let whole = Files::open(take.as_ref()).expect("a take");
    let reader = Reader::open(&whole).expect("its recordings");
    let said: Vec<_> = reader.captures(reader.triggers()).map(|c| told(&c)).collect();

    let cut = folder.path().join("cut");
    fs::create_dir(&cut).expect("a folder");
    let names = ["000000000001.mkv", "000000000002.mkv"];
    for (name, ends) in names.iter().zip([1, 2]) {
        let bytes = fs::read(Path::new(&take).join(name)).expect("a recording");
        let demuxer = Demuxer::open(&bytes).expect("it opens");
        let clusters: Vec<_> = demuxer.clusters().flatten().collect();
        let end = clusters[clusters.len() * ends / 3].at() as usize + 100;
        fs::write(cut.join(format!("{name}.part")), &bytes[..end]).expect("a disk");
    }
    let files = Files::open(&cut).expect("what is left of it");
    let left = Reader::open(&files).expect("its recordings");
    let triggers = left.triggers();
    assert_eq!(triggers.start, reader.triggers().start);
    assert!(triggers.end < reader.triggers().end);
    let mut lost = 0;
    for (capture, whole) in left.captures(triggers).zip(reader.captures(reader.triggers())) {
        for (left, whole) in capture.devices.iter().zip(&whole.devices) {
            for (left, whole) in left.slots().into_iter().zip(whole.slots()) {
                match left {
                    Slot::Frame(image) => assert_eq!(Some(image), whole.frame()),
                    Slot::Lost(cause) => {
                        assert!(cause.contains("no take.toml says why"), "{cause}");
                        lost += 1;
                    }
                    Slot::Off => panic!("all tracks were recorded"),
                }
            }
        }
    }
    assert!(lost > 30, "the first file has half of what the second has: {lost} are lost");
    assert!(said.len() == 50);
}

#[test]
fn a_damaged_image_and_one_that_is_gone_are_holes_with_a_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), "take", &["--profile", "compact"]);
    let file = Path::new(&take).join("000000000001.mkv");
    let (mut bytes, at) = {
        let bytes = fs::read(&file).expect("a recording");
        let recording = Recording::open(&bytes).expect("it opens");
        let depth = recording.track(TrackName::Depth).expect("depth").number;
        let blocks: Vec<_> = recording.blocks().flatten().filter(|b| b.track == depth).collect();
        let at = [blocks[20].at as usize, blocks[20].end as usize, blocks[30].at as usize];
        (bytes, at)
    };
    // One image does not unpack, and the block of another is of no track.
    bytes[at[1] - 100..at[1]].fill(0x55);
    let head = &mut bytes[at[2]..at[2] + 8];
    let track = head.iter().position(|byte| *byte == 0x82).expect("its track's number");
    head[track] = 0x8f;
    fs::write(&file, &bytes).expect("a disk");
    let files = Files::open(take.as_ref()).expect("a take");
    let reader = Reader::open(&files).expect("its recordings");
    let causes =
        reader.captures(reader.triggers()).filter_map(|capture| match &capture.devices[0].depth {
            Slot::Lost(cause) => Some(cause.to_string()),
            _ => None,
        });
    let causes: Vec<_> = causes.collect();
    let says = |what: &str| causes.iter().any(|cause| cause.contains(what));
    assert!(says("damaged") && says("not in its file"), "{causes:?}");
}

#[test]
fn a_recording_of_k4arecorder_is_read_by_trigger_with_its_samples() {
    let Some(path) = real_recording() else { return };
    let files = Files::open(&path).expect("a recording");
    let reader = Reader::open(&files).expect("it opens");
    let captures: Vec<_> = reader.captures(reader.triggers()).collect();
    assert_eq!(captures.len(), 1);
    assert!(captures[0].devices[0].slots().iter().all(|slot| slot.frame().is_some()));
    let [device] = reader.devices() else { panic!("one device") };
    let all: Vec<_> = device.recording().imu().collect();
    assert_eq!(device.imu(0..u64::MAX).collect::<Vec<_>>(), all);
}

/// A time behind the first trigger leads to the first trigger that is not before it.
fn triggers_are_found_by_their_time(reader: &Reader<'_>) {
    let captures = reader.captures(reader.triggers());
    let times = captures
        .filter_map(|capture| Some((capture.trigger, capture.devices[0].color.frame()?.time_us)));
    let times: Vec<_> = times.collect();
    for us in [0, 1, 33_000, 33_500, 500_000, 1_633_000, 1_700_000, 10_000_000] {
        let from = times[0].1 + us;
        let first = times.iter().find(|(_, time_us)| *time_us >= from);
        let expected = first.map_or(reader.triggers().end, |(trigger, _)| *trigger);
        assert_eq!(reader.trigger_at(us), expected, "{us} us");
    }
}

/// The samples of a device in any range of time are those of its file.
fn samples_of_a_time_are_found(device: &Device<'_>) {
    let all: Vec<_> = device.recording().imu().flatten().collect();
    assert!(all.len() > 1000, "{} samples", all.len());
    let time_us = |part: usize| all[all.len() * part / 7].accelerometer_ns / 1000;
    let ranges = [0..time_us(1), time_us(1)..time_us(4), time_us(4)..time_us(5)];
    let rest = time_us(5)..u64::MAX;
    let parts = ranges.into_iter().chain([rest]);
    let parts: Vec<_> =
        parts.map(|range| device.imu(range).flatten().collect::<Vec<_>>()).collect();
    assert!(parts.iter().all(|part| !part.is_empty()));
    assert_eq!(parts.concat(), all);
}

#[test]
fn what_is_no_take_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path| match Files::open(path) {
        Ok(_) => panic!("{} is no take", path.display()),
        Err(error) => error.to_string(),
    };
    assert!(refused(folder.path()).contains("a folder without recordings"));
    assert!(refused(&folder.path().join("none")).contains("none"));
    let take = record(folder.path(), "take", &[]);
    let triggers = Path::new(&take).join("triggers.csv");
    let text = fs::read_to_string(&triggers).expect("a table");
    fs::write(&triggers, text.replacen('\n', "\nx", 1)).expect("a disk");
    assert!(refused(take.as_ref()).contains("triggers.csv: line 2"), "{}", refused(take.as_ref()));
    genlock_exits(1, &["verify", &take]);
    // Whole lines that are gone, a device that is not in the table, and one that is there twice.
    let lines: Vec<_> = text.lines().take(20).collect();
    fs::write(&triggers, lines.join("\n") + "\n").expect("a disk");
    assert!(refused(take.as_ref()).contains("is not what was written"));
    let toml = Path::new(&take).join("take.toml");
    let told = fs::read_to_string(&toml).expect("take.toml");
    let (unlisted, _) = told.split_once("[[file]]").expect("a manifest");
    fs::write(&toml, unlisted).expect("a disk");
    assert!(refused(take.as_ref()).contains("has 50 triggers"), "{}", refused(take.as_ref()));
    fs::write(&triggers, text.replace("000000000002.", "2.")).expect("a disk");
    let files = Files::open(take.as_ref()).expect("a take");
    let refusal = Reader::open(&files).err().expect("a device without a column").to_string();
    assert!(refusal.contains("no column"), "{refusal}");
    fs::write(&toml, unlisted.replace("000000000002", "000000000001")).expect("a disk");
    assert!(refused(take.as_ref()).contains("000000000001 twice"));
    fs::write(&toml, &told).expect("a disk");
    fs::write(&triggers, &text).expect("a disk");
    fs::remove_file(Path::new(&take).join("000000000002.mkv")).expect("it was there");
    assert!(refused(take.as_ref()).contains("is missing, and take.toml names it"));
    assert!(refused(folder.path()).contains("holds takes"));
}

#[test]
fn what_is_not_wanted_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = record(folder.path(), "take", &[]);
    let files = Files::open(take.as_ref()).expect("a take");
    let reader = Reader::open(&files).expect("its recordings");
    let first = reader.triggers().start;
    let wanted = Selection {
        from_trigger: Some(first + 5),
        to_trigger: Some(first + 20),
        every: 4,
        devices: vec!["000000000002".to_owned()],
        tracks: vec!["depth".to_owned()],
    };
    let wanted = wanted.of(&reader).expect("the take has them");
    let mut triggers = Vec::new();
    let done = reader.play(&wanted, |capture| {
        triggers.push(capture.trigger - first);
        let [one, two] = &capture.devices[..] else { panic!("two devices") };
        assert!(one.slots().iter().all(|slot| matches!(slot, Slot::Off)));
        let [color, depth, ir] = two.slots();
        assert!(matches!((color, ir), (Slot::Off, Slot::Off)) && !matches!(depth, Slot::Off));
        Ok(())
    });
    assert_eq!((done, triggers), (Ok(()), vec![5, 9, 13, 17]));
    let of_color = record(folder.path(), "color", &["-d", "OFF", "--imu", "OFF"]);
    let of_color = Files::open(of_color.as_ref()).expect("a take");
    let of_color = Reader::open(&of_color).expect("its recordings");
    let depth = Selection { tracks: vec!["depth".to_owned()], ..Selection::default() };
    assert!(depth.of(&of_color).is_err());
    let nothing = [
        Selection { from_trigger: Some(first + 50), ..Selection::default() },
        Selection { devices: vec!["3".to_owned()], ..Selection::default() },
        Selection { tracks: vec!["sound".to_owned()], ..Selection::default() },
    ];
    assert!(nothing.iter().all(|selection| selection.of(&reader).is_err()));
}
