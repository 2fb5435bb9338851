//! Takes and recordings go into the profile `compact` and come back as they were.

mod support;

use genlock::convert::{How, Watch, file};
use genlock_formats::depth::Level;
use genlock_formats::k4a::Recording;
use genlock_formats::mkv::{ReadBlock, Tag};
use genlock_formats::take::{Profile, Take};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use support::judges::{oracle, real_recording};
use support::small_disk::SmallDisk;
use support::unfinished::{frames, is_sound, official_killed, small};
use support::{genlock_exits, official_dump, tool};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Converts, which must exit with `code`; gives what it says.
fn converted(code: i32, from: &Path, to: &Path, options: &[&str]) -> Value {
    let args = ["convert", "--json", text(from), text(to)];
    let output = genlock_exits(code, &[&args[..], options].concat());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

const COMPACT: [&str; 2] = ["--profile", "compact"];
const K4A: [&str; 2] = ["--profile", "k4a"];

/// The hash of what a file holds, which must be the same before and after.
fn content(said: &Value) -> String {
    assert_eq!(said["content_before"], said["content_after"]);
    let hash = said["content_after"].as_str().expect("a hash").to_owned();
    assert_eq!(hash.len(), 64);
    hash
}

/// Packs a recording, looks at it, and restores it; gives the names of both.
fn there_and_back(path: &Path) -> [PathBuf; 2] {
    let [packed, back] = ["compact.mkv", "k4a.mkv"].map(|end| path.with_extension(end));
    let there = converted(0, path, &packed, &COMPACT);
    let restored = converted(0, &packed, &back, &K4A);
    assert_eq!(content(&there), content(&restored));
    assert_eq!(there["bytes_after"], restored["bytes_before"]);
    let bytes = fs::read(&packed).expect("it was written");
    is_sound(&bytes);
    is_sound(&fs::read(&back).expect("it was written"));
    assert_eq!(there["bytes_after"], bytes.len());
    genlock_exits(0, &["verify", text(&packed), text(&back)]);
    let info = genlock_exits(0, &["info", "--json", text(&packed), text(&back)]);
    let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
    let recording = |place: usize| &info[place]["recordings"][0];
    for (place, profile) in [(0, "compact"), (1, "k4a")] {
        assert_eq!(recording(place)["profile"], profile);
    }
    for key in ["color_mode", "depth_mode", "imu", "tags", "attachments", "length_us"] {
        assert_eq!(recording(0)[key], recording(1)[key], "{key}");
    }
    [packed, back]
}

/// A take of so many devices, recorded once for all tests. Raw color, so that everything is packed.
fn take(devices: usize) -> &'static Path {
    static TAKES: [OnceLock<(tempfile::TempDir, PathBuf)>; 2] = [OnceLock::new(), OnceLock::new()];
    let (_, take) = TAKES[devices - 1].get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let take = folder.path().join("take");
        let devices = devices.to_string();
        let modes = ["-c", "720p_NV12", "-d", "NFOV_2X2BINNED", "-r", "15", "--frames", "6"];
        let args = ["record", "--quiet", "--emulated", &devices];
        genlock_exits(0, &[&args[..], &modes, &[text(&take)]].concat());
        (folder, take)
    });
    take
}

/// What the output is called while it grows.
fn growing(output: &Path) -> PathBuf {
    output.with_added_extension("converting")
}

fn recording_of(take: &Path) -> PathBuf {
    take.join("000000000001.mkv")
}

#[test]
fn takes_come_back_byte_for_byte() {
    for devices in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let [packed, back] = ["packed", "back"].map(|name| folder.path().join(name));
        let there = converted(0, take(devices), &packed, &COMPACT);
        assert_eq!(there["files"].as_array().map(Vec::len), Some(devices));
        for file in there["files"].as_array().expect("files") {
            content(&file[1]);
        }
        genlock_exits(0, &["verify", text(&packed)]);
        genlock_exits(0, &["verify", "--quick", text(&packed)]);
        let toml = fs::read_to_string(packed.join("take.toml")).expect("take.toml");
        let written = Take::from_toml(&toml).expect("it reads");
        let original = fs::read_to_string(take(devices).join("take.toml")).expect("take.toml");
        let original = Take::from_toml(&original).expect("it reads");
        assert_eq!((written.profile, original.profile), (Profile::Compact, Profile::K4a));
        assert_eq!(written.verdict, original.verdict);
        assert_eq!(written.devices[0].frames, original.devices[0].frames);
        converted(0, &packed, &back, &K4A);
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).expect("a folder");
            let mut names: Vec<_> = entries.map(|one| one.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&back), names(take(devices)));
        for name in names(&back) {
            let [a, b] = [&back, take(devices)].map(|folder| fs::read(folder.join(&name)));
            assert!(a.expect("a file") == b.expect("a file"), "{} differs", name.display());
        }
    }
}

#[test]
fn a_compact_take_that_lost_its_evidence_gets_it_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let [packed, repaired] = ["packed", "packed.repaired"].map(|name| folder.path().join(name));
    converted(0, take(2), &packed, &COMPACT);
    let toml = fs::read_to_string(packed.join("take.toml")).expect("take.toml");
    fs::write(packed.join("take.toml"), toml.replace("\"compact\"", "\"k4a\"")).expect("a file");
    let denied = genlock_exits(1, &["verify", text(&packed)]);
    let denied = String::from_utf8_lossy(&denied.stdout).into_owned();
    assert!(denied.contains("is of profile compact, take.toml says k4a"), "{denied}");
    for name in ["take.toml", "triggers.csv"] {
        fs::remove_file(packed.join(name)).expect("it is there");
    }
    genlock_exits(0, &["repair", text(&packed)]);
    let toml = fs::read_to_string(repaired.join("take.toml")).expect("take.toml");
    assert_eq!(Take::from_toml(&toml).map(|take| take.profile), Ok(Profile::Compact));
    for device in [1, 2] {
        let name = format!("{device:012}.mkv");
        let [a, b] = [&packed, &repaired].map(|take| fs::read(take.join(&name)).expect("a file"));
        assert!(a == b, "{name}");
    }
}

/// What Microsoft's library reads, but for the name.
fn official(file: &Path) -> Option<Value> {
    let mut dump = official_dump(file)?.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    dump["file"] = Value::Null;
    Some(dump)
}

/// The library refuses a compact file, without a crash.
fn is_refused(file: &Path) {
    let Some(dump) = official_dump(file) else { return };
    match dump {
        Ok(dump) => assert_eq!(dump["opened"], false, "{dump}"),
        Err(said) => assert!(said.contains("\"opened\": false"), "{said}"),
    }
}

#[test]
fn a_real_recording_comes_back_as_the_official_library_reads_it() {
    let Some(source) = real_recording() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("real.mkv");
    fs::copy(source, &path).expect("a file");
    let [packed, back] = there_and_back(&path);
    let [whole, small, again] = [&path, &packed, &back].map(|path| fs::read(path).expect("a file"));
    assert!(frames(&again) == frames(&whole));
    assert!(small.len() * 26 <= whole.len() * 10, "{} of {} bytes", small.len(), whole.len());
    is_refused(&packed);
    if let (Some(before), Some(after)) = (official(&path), official(&back)) {
        assert_eq!(before, after);
    }
}

#[test]
fn recordings_of_the_official_writer_come_back_as_its_library_reads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let [calibration, attached] =
        ["calibration.json", "a.bin"].map(|name| folder.path().join(name));
    fs::write(&calibration, "{\"a\": 1}").expect("a file");
    fs::write(&attached, [0, 255, 7]).expect("a file");
    let modes = [
        ["nv12_720p", "nfov_2x2binned"],
        ["yuy2_720p", "passive_ir"],
        ["mjpg_720p", "wfov_2x2binned"],
        ["bgra_720p", "nfov_2x2binned"],
    ];
    for (place, [color, depth]) in modes.into_iter().enumerate() {
        let path = folder.path().join(format!("{place}.mkv"));
        let Some(mut command) = oracle() else { return };
        command.arg("write").arg(&path).args(["--color", color, "--depth", depth]);
        command.args("--imu --custom --captures 12 --distinct 3 --tag MINE=yes".split(' '));
        command.args("--sync subordinate --sub-delay 33000 --depth-delay 160".split(' '));
        command.arg("--calibration").arg(&calibration).arg("--attach").arg(&attached);
        assert!(command.output().expect("timeout is part of Linux").status.success());
        let [packed, back] = there_and_back(&path);
        let before = official(&path).expect("the library was there a moment ago");
        assert!(before["custom"].as_object().is_some_and(|custom| !custom.is_empty()), "{before}");
        assert_eq!(Some(before), official(&back), "{color} {depth}");
        is_refused(&packed);
    }
}

/// What was killed before it said what it is says it then, as after a repair.
#[test]
fn a_killed_official_recording_comes_out_as_it_would_be_repaired() {
    let folder = tempfile::tempdir().expect("a folder");
    let [killed, packed, back] = ["a.mkv", "b.mkv", "c.mkv"].map(|name| folder.path().join(name));
    let options = "--color mjpg_720p --depth nfov_2x2binned --imu --captures 170 --distinct 4 \
                   --pace 4 --no-flush";
    let options: Vec<_> = options.split_whitespace().collect();
    let Some(()) = official_killed(&killed, &options) else { return };
    let lossy = |from: &Path, to: &Path, options: &[&str]| {
        let args = ["convert", text(from), text(to)];
        let code = support::genlock([&args[..], options].concat()).status.code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    };
    lossy(&killed, &packed, &COMPACT);
    lossy(&packed, &back, &K4A);
    let repaired = killed.with_extension("repaired.mkv");
    support::genlock(["repair", text(&killed)]);
    let [repaired, packed, back] = [&repaired, &packed, &back].map(|path| {
        let bytes = fs::read(path).expect("it was written");
        is_sound(&bytes);
        let tags = Recording::open(&bytes).expect("it opens").demuxer().header().tags.clone();
        (tags, unpacked(&bytes))
    });
    assert!(repaired.1.len() > 100 && repaired == packed && repaired == back);
    let offset = |tag: &&Tag| tag.name == "K4A_START_OFFSET_NS";
    assert_eq!(back.0.iter().find(offset).map(|tag| &*tag.value), Some("1000000000"));
}

/// Track, time and duration of a block, and its frames.
type Unpacked = (u64, i64, Option<u64>, Vec<Vec<u8>>);

/// Every block of a file with its track, time and duration, and its frames, or what they unpack to.
fn unpacked(bytes: &[u8]) -> Vec<Unpacked> {
    let recording = Recording::open(bytes).expect("it opens");
    let mut unpackers: Vec<_> = recording
        .tracks()
        .filter_map(|name| Some((recording.track(name)?.number, recording.unpacker(name)?)))
        .collect();
    let mut block = |block: ReadBlock<'_>| {
        let unpacker = unpackers.iter_mut().find(|(number, _)| *number == block.track);
        let frames = match unpacker {
            None => block.frames.clone().map(<[u8]>::to_vec).collect(),
            Some((_, unpacker)) => {
                let mut image = Vec::new();
                let packed = block.only_frame().expect("one image");
                unpacker.unpack(packed, &mut image).expect("it is sound");
                vec![image]
            }
        };
        (block.track, block.time_ns, block.duration_ns, frames)
    };
    recording.blocks().map(|one| block(one.expect("a sound block"))).collect()
}

#[test]
fn other_peoples_tools_list_a_compact_file_and_mux_it_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let [packed, muxed, back] = ["a.mkv", "b.mkv", "c.mkv"].map(|name| folder.path().join(name));
    converted(0, &recording_of(take(1)), &packed, &COMPACT);
    let args = ["-v", "error", "-show_streams", "-of", "json"].map(OsStr::new);
    if let Some(output) = tool("ffprobe", &[&args[..], &[packed.as_os_str()]].concat()) {
        let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let streams = listed["streams"].as_array().expect("streams");
        let sizes: Vec<_> = streams.iter().filter_map(|one| one["width"].as_u64()).collect();
        assert_eq!(sizes, [1280, 320, 320], "{listed}");
    }
    let args = [OsStr::new("-o"), muxed.as_os_str(), packed.as_os_str()];
    let Some(output) = tool("mkvmerge", &args) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let verified = genlock_exits(0, &["verify", text(&muxed)]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("DEPTH: 6 frames"));
    converted(0, &muxed, &back, &K4A);
    let images = |bytes: &[u8]| {
        let mut all = unpacked(bytes);
        // Times are whole milliseconds now, and the order is that of another muxer.
        all.retain(|(track, ..)| *track < 4);
        all.sort_by_key(|(track, time_ns, ..)| (*track, *time_ns));
        all.into_iter().map(|(track, .., frames)| (track, frames)).collect::<Vec<_>>()
    };
    let before = fs::read(recording_of(take(1))).expect("a recording");
    assert!(images(&fs::read(&back).expect("it was written")) == images(&before));
}

/// The compact form of the first device's recording, with what holds its depth images.
fn packed_recording() -> (Vec<u8>, Vec<(u64, u64)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = folder.path().join("packed.mkv");
    converted(0, &recording_of(take(1)), &packed, &COMPACT);
    let bytes = fs::read(&packed).expect("it was written");
    let recording = Recording::open(&bytes).expect("it opens");
    let depth = recording.tracks().find(|name| name.to_string() == "DEPTH").expect("a track");
    let number = recording.track(depth).expect("a track").number;
    let blocks = recording.blocks().flatten().filter(|block| block.track == number);
    let blocks = blocks.map(|block| (block.at, block.end)).collect();
    (bytes, blocks)
}

#[test]
fn info_tells_how_small_each_track_is_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = folder.path().join("packed.mkv");
    converted(0, &recording_of(take(1)), &packed, &COMPACT);
    let said = genlock_exits(0, &["info", "--json", text(&packed)]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let tracks = said[0]["recordings"][0]["tracks"].as_array().expect("tracks");
    let unpacked = |track: &Value| track["packed"]["unpacked_bytes"].as_u64();
    let image = |width: u64, height: u64, bits: u64| Some(6 * width * height * bits / 8);
    let expected = [image(1280, 720, 12), image(320, 288, 16), image(320, 288, 16), None];
    assert_eq!(tracks.iter().map(unpacked).collect::<Vec<_>>(), expected);
    let packed_bytes: u64 =
        tracks.iter().filter_map(|track| track["packed"]["packed_bytes"].as_u64()).sum();
    let file = fs::metadata(&packed).expect("a file").len();
    assert!(packed_bytes < file && packed_bytes > file / 2, "{packed_bytes} of {file}");
    let said = genlock_exits(0, &["info", text(&packed)]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("profile compact"), "{said}");
    assert_eq!(said.lines().filter(|line| line.ends_with(" : 1")).count(), 3, "{said}");
}

#[test]
fn a_damaged_image_is_found_and_costs_nothing_but_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let [damaged, back] = ["damaged.mkv", "back.mkv"].map(|name| folder.path().join(name));
    let (mut bytes, depth) = packed_recording();
    let (at, end) = depth[2];
    bytes[(at + end) as usize / 2] ^= 4;
    fs::write(&damaged, &bytes).expect("a file");
    let verified = genlock_exits(1, &["verify", text(&damaged)]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("depth:")).expect("it is told of");
    assert!(line.contains(&format!("(at byte {at})")), "{said}");
    let times = |bytes: &[u8]| {
        let recording = Recording::open(bytes).expect("it opens");
        let captures = recording.captures().map_while(Result::ok);
        let depths = captures.filter_map(|capture| capture.depth.map(|image| image.time_us));
        depths.collect::<Vec<_>>()
    };
    let all = times(&fs::read(recording_of(take(1))).expect("a recording"));
    assert!(line.contains(&format!("{:.6} s", all[2] as f64 / 1e6)), "{said}");
    let there = converted(3, &damaged, &back, &K4A);
    content(&there);
    let lost = there["lost"].as_array().expect("a list");
    assert!(lost.iter().any(|part| part["from_byte"] == at && part["kept"] == false), "{there}");
    let left = times(&fs::read(&back).expect("it was written"));
    assert_eq!(left, [&all[..2], &all[3..]].concat());
    let said = genlock_exits(1, &["verify", text(&back)]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // The checksum of its cluster denied the bytes, and still does.
    assert!(said.contains("does not have the bytes that were written"), "{said}");
    assert!(said.contains("depth: 1 frames missing"), "{said}");
    // A take says so, too.
    let [whole, out] = ["whole", "out"].map(|name| folder.path().join(name));
    converted(0, take(1), &whole, &COMPACT);
    fs::write(recording_of(&whole), &bytes).expect("a file");
    let there = converted(3, &whole, &out, &K4A);
    assert!(there["problems"][0].as_str().is_some_and(|said| said.contains("take.toml lists")));
}

#[test]
fn a_compact_file_that_was_cut_is_repaired_and_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let [part, whole, back] =
        ["a.mkv.part", "a.repaired.mkv", "a.mkv"].map(|name| folder.path().join(name));
    let (bytes, depth) = packed_recording();
    let original = unpacked(&fs::read(recording_of(take(1))).expect("a recording"));
    let (at, end) = depth[3];
    for cut in [at, at + 100, end - 1, bytes.len() as u64 - 1] {
        fs::write(&part, &bytes[..cut as usize]).expect("a file");
        let repaired = support::genlock(["repair", text(&part)]);
        assert!(matches!(repaired.status.code(), Some(0 | 3)), "cut at {cut}");
        let repaired = unpacked(&fs::read(&whole).expect("it was repaired"));
        assert!(!repaired.is_empty() && original.starts_with(&repaired), "cut at {cut}");
        // Straight from what was cut comes the same.
        let straight = support::genlock(["convert", text(&part), text(&back), "--profile", "k4a"]);
        assert!(matches!(straight.status.code(), Some(0 | 3)), "cut at {cut}");
        assert!(unpacked(&fs::read(&back).expect("it was written")) == repaired, "cut at {cut}");
        fs::remove_file(&back).expect("it is there");
        genlock_exits(3, &["repair", "--in-place", text(&part)]);
        assert!(unpacked(&fs::read(&back).expect("it was repaired")) == repaired, "cut at {cut}");
        for path in [&whole, &back] {
            fs::remove_file(path).expect("it is there");
        }
    }
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_cluster_is_converted_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let [part, packed, back] =
        ["a.mkv.part", "packed.mkv", "back.mkv"].map(|name| folder.path().join(name));
    // Processes that other tests start can hold a file open, and with it its lock, for a moment.
    let copy = folder.path().join("copy.mkv");
    let (bytes, clusters) = small(3);
    let (stop, mut done) = (AtomicBool::new(false), 0);
    let mut watch = Watch { stop: &stop, told: &mut |bytes| done += bytes };
    for cut in clusters[2]..=bytes.len() {
        fs::write(&part, &bytes[..cut]).expect("a file");
        let before = frames(&bytes[..cut]);
        for (from, to, profile) in
            [(&part, &packed, Profile::Compact), (&copy, &back, Profile::K4a)]
        {
            if packed.exists() {
                fs::copy(&packed, &copy).expect("a file");
            }
            let how = How { profile, level: Level::Fast };
            let done = file(from, to, how, &mut watch).unwrap_or_else(|e| panic!("{cut}: {e}"));
            let torn = cut != clusters[2] && cut != bytes.len() && from == &part;
            assert_eq!(torn, !done.lost.is_empty(), "cut at {cut}: {:?}", done.lost);
        }
        let restored = fs::read(&back).expect("it was written");
        is_sound(&restored);
        assert!(frames(&restored) == before, "cut at {cut}");
        for path in [&packed, &back] {
            fs::remove_file(path).expect("it is there");
        }
    }
    assert!(done > 0);
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let [out, there] = ["out.mkv", "there.mkv"].map(|name| folder.path().join(name));
    let recording = recording_of(take(1));
    fs::write(&there, "somebody's").expect("a file");
    let refused = |code: i32, from: &Path, to: &Path, options: &[&str], words: &str| {
        let args = ["convert", text(from), text(to)];
        let output = genlock_exits(code, &[&args[..], options].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
        assert!(!out.exists() && !growing(&out).exists());
        assert_eq!(fs::read(&there).expect("it stays"), b"somebody's");
    };
    refused(2, &recording, &out, &K4A, "of profile k4a already");
    refused(2, take(1), &out, &K4A, "of profile k4a already");
    refused(2, &recording, &there, &COMPACT, "not overwritten");
    refused(2, take(1), &there, &COMPACT, "not overwritten");
    refused(2, &recording, &out, &[], "--profile");
    refused(2, &recording, &out, &["--profile", "zip"], "zip");
    refused(2, &recording, &out, &["--profile", "k4a", "--level", "fast"], "--level");
    refused(1, &folder.path().join("none.mkv"), &out, &COMPACT, "nothing of that name");
    refused(1, &there, &out, &COMPACT, "not a Matroska file");
    let unfinished = folder.path().join("unfinished");
    fs::create_dir(&unfinished).expect("a folder");
    fs::copy(&recording, unfinished.join("000000000001.mkv.part")).expect("a file");
    refused(1, &unfinished, &out, &COMPACT, "repair it first");
    let held = fs::File::open(&recording).expect("a file");
    held.lock().expect("a lock");
    refused(2, &recording, &out, &COMPACT, "still being recorded");
    refused(2, take(1), &out, &COMPACT, "still being recorded");
    drop(held);
    fs::write(growing(&out), "somebody's").expect("a file");
    let args = ["convert", text(&recording), text(&out), "--profile", "compact"];
    genlock_exits(2, &args);
    assert_eq!(fs::read(growing(&out)).expect("it stays"), b"somebody's");
}

#[test]
fn a_full_disk_leaves_nothing() {
    if let Some(disk) = SmallDisk::mount("tmpfs", 1) {
        for (from, name) in [(recording_of(take(1)), "out.mkv"), (take(1).to_owned(), "out")] {
            let output = disk.path().join(name);
            let args = ["convert", text(&from), text(&output), "--profile", "compact"];
            let output = genlock_exits(1, &args);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("No space"), "{said}");
            assert_eq!(fs::read_dir(disk.path()).expect("a folder").count(), 0);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_interrupt_leaves_nothing() {
    let slow = support::faulty::Fault {
        kind: "slow",
        at: 1,
        call: "writev",
        wait_ms: 500,
        ..Default::default()
    };
    for (from, name) in [(recording_of(take(1)), "out.mkv"), (take(2).to_owned(), "out")] {
        let args = ["convert", "--profile", "compact", text(&from)];
        let mut running = support::faulty::start(&args, name, slow);
        running.until(|calls| calls.iter().any(|call| call.name == "waits"));
        let id = running.child.id().to_string();
        let told = std::process::Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(told.expect("kill is part of every Linux").success());
        let run = running.end();
        assert_eq!(run.status.code(), Some(1), "{}", run.about());
        assert!(run.stderr.contains("stopped"), "{}", run.about());
        assert_eq!(fs::read_dir(run.there()).expect("a folder").count(), 0, "{}", run.about());
    }
}

/// Whatever call fails, once or from then on: what has the name is whole, and the exit code tells.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_disk_that_fails_leaves_a_whole_file_or_none() {
    let source = recording_of(take(1));
    let args = ["convert", "--profile", "compact", text(&source)];
    for kind in ["once", "torn", "dead"] {
        let (mut at, mut refused) = (1, 0);
        loop {
            let fault = support::faulty::Fault {
                kind,
                at,
                errno: support::faulty::EIO,
                ..Default::default()
            };
            let run = support::faulty::run(&args, "out.mkv", fault);
            let code = run.status.code();
            let output = run.there().join("out.mkv");
            assert!(matches!(code, Some(0 | 1)), "{}", run.about());
            assert!(code == Some(1) || output.exists(), "{}", run.about());
            if output.exists() {
                genlock_exits(0, &["verify", text(&output)]);
            } else {
                refused += 1;
                let said = run.stderr.contains("cannot") && run.stderr.contains("out.mkv");
                assert!(said, "{}", run.about());
            }
            if kind == "once" {
                assert!(!growing(&output).exists(), "{}", run.about());
            }
            if (run.calls.len() as u64) < at {
                assert_eq!(code, Some(0), "{}", run.about());
                break;
            }
            at += 1;
        }
        assert!(refused > 5, "{kind}: {refused} of {at}");
    }
}

#[test]
fn emulated_cameras_see_a_compact_recording_as_they_see_the_original() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = folder.path().join("packed.mkv");
    let source = recording_of(take(1));
    converted(0, &source, &packed, &COMPACT);
    let [a, b] = [(&source, "a.mkv"), (&packed, "b.mkv")].map(|(from, name)| {
        let out = folder.path().join(name);
        let args = ["record", "--emulated", "1", "--quiet", "--from", text(from), "-r", "15"];
        genlock_exits(0, &[&args[..], &["--frames", "6", text(&out)]].concat());
        let images = unpacked(&fs::read(out).expect("it was recorded")).into_iter();
        let images = images.filter(|(track, ..)| *track < 4);
        images.map(|(track, .., frames)| (track, frames)).collect::<Vec<_>>()
    });
    let sorted = |mut images: Vec<(u64, Vec<Vec<u8>>)>| {
        images.sort();
        images
    };
    assert_eq!(a.len(), 18);
    assert!(sorted(a) == sorted(b));
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let [packed, out] = ["packed", "out"].map(|name| folder.path().join(name));
    converted(0, take(2), &packed, &COMPACT);
    fs::write(packed.join("000000000002.mkv"), "nothing that opens").expect("a file");
    let there = converted(3, &packed, &out, &K4A);
    let problems = there["problems"].as_array().expect("problems");
    let told = |words: &str| problems.iter().any(|one| one.to_string().contains(words));
    assert!(told("000000000002.mkv: not a Matroska file"), "{there}");
    let [a, b] = [take(2), &out].map(|take| fs::read(recording_of(take)).expect("a file"));
    assert!(a == b && !out.join("000000000002.mkv").exists());
    fs::write(recording_of(&packed), "nothing either").expect("a file");
    fs::remove_dir_all(&out).expect("it is there");
    genlock_exits(1, &[&["convert", text(&packed), text(&out)], &K4A[..]].concat());
    assert!(!out.exists());
}

#[test]
fn a_take_that_has_losses_says_so_in_every_profile() {
    let folder = tempfile::tempdir().expect("a folder");
    let [lossy, out] = ["lossy", "out"].map(|name| folder.path().join(name));
    fs::create_dir(&lossy).expect("a folder");
    for entry in fs::read_dir(take(1)).expect("the take") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), lossy.join(entry.file_name())).expect("a file");
    }
    let toml = fs::read_to_string(take(1).join("take.toml")).expect("take.toml");
    let toml = toml.replace("outcome = \"whole\"", "outcome = \"losses\"");
    fs::write(lossy.join("take.toml"), toml).expect("a file");
    let there = converted(3, &lossy, &out, &COMPACT);
    assert_eq!(there["take"]["outcome"], "losses");
    let [before, after] = [&lossy, &out].map(|take| fs::read(take.join("triggers.csv")));
    assert_eq!(before.expect("triggers.csv"), after.expect("triggers.csv"));
}

/// A copy of the take of one device, to be damaged.
fn copy_take(copy: &Path) {
    fs::create_dir(copy).expect("a folder");
    for entry in fs::read_dir(take(1)).expect("a take") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("a file");
    }
}

/// The new take's list of bytes fits what was left of its files.
#[test]
fn a_take_with_damaged_files_never_comes_out_as_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let [damaged, packed, again] = ["damaged", "packed", "again"].map(|n| folder.path().join(n));
    copy_take(&damaged);
    let file = recording_of(&damaged);
    let bytes = fs::read(&file).expect("a file");
    fs::write(&file, &bytes[..bytes.len() * 2 / 3]).expect("a file");
    let refused = genlock_exits(1, &["repair", text(&damaged)]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("take.toml"));
    converted(3, &damaged, &packed, &COMPACT);
    converted(3, &packed, &again, &K4A);
    for path in [&packed, &again] {
        let verified = genlock_exits(1, &["verify", text(path)]);
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(said.contains("converted from damaged files"), "{said}");
    }
}

#[test]
fn a_flipped_byte_of_a_take_is_beyond_repair_and_an_interrupted_conversion_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("take");
    copy_take(&copy);
    genlock_exits(0, &["repair", text(&copy)]);
    let inside = copy.join("inside");
    genlock_exits(2, &["convert", text(&copy), text(&inside), "--profile", "compact"]);
    assert!(!inside.exists());
    let file = recording_of(&copy);
    let mut bytes = fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("a file");
    let said = genlock_exits(1, &["repair", text(&copy)]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("nothing can be repaired"));
    fs::rename(&file, growing(&file)).expect("a file");
    let repaired = genlock_exits(2, &["repair", text(&copy)]);
    let args = ["convert", text(take(1)), text(&copy), "--profile", "compact"];
    for output in [repaired, genlock_exits(2, &args)] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("interrupted"), "{said}");
    }
}
