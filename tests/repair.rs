//! What a crash left open is finished, and nothing that was whole is lost on the way.

mod support;

use genlock::repair::{into_new_file, where_it_lies};
use genlock_formats::k4a::Recording;
use genlock_formats::mkv::Note;
use genlock_formats::take::{Outcome, Take};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::judges::{oracle, real_recording};
use support::unfinished::{crashed, frames, is_sound, official_killed, small};
use support::{genlock_exits, official_dump, turn};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// What Microsoft's library reads of a file that it must open, without a capture that fails.
fn official(file: &Path) -> Option<Value> {
    let dump = official_dump(file)?.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!((&dump["opened"], &dump["captures_end"]), (&true.into(), &"eof".into()));
    Some(dump)
}

fn captures(dump: &Value) -> &[Value] {
    dump["captures"].as_array().expect("captures")
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_cluster_keeps_every_whole_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let (part, out) = (folder.path().join("a.mkv.part"), folder.path().join("a.mkv"));
    let (bytes, clusters) = small(4);
    for cut in clusters[3]..=bytes.len() {
        let before = frames(&bytes[..cut]);
        fs::write(&part, &bytes[..cut]).expect("a file");
        let report = into_new_file(&part, &out).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        let repaired = fs::read(&out).expect("it was repaired");
        is_sound(&repaired);
        assert!(frames(&repaired) == before, "cut at {cut}");
        assert!(before.len() >= 12 && repaired.starts_with(&bytes[..40]));
        let torn = cut != clusters[3] && cut != bytes.len();
        assert_eq!(torn, !report.lost.is_empty(), "cut at {cut}: {:?}", report.lost);
        assert_eq!(fs::read(&part).expect("the original"), bytes[..cut]);
        if (cut - clusters[3]).is_multiple_of(41)
            && let Some(dump) = official(&out)
        {
            let whole = before.iter().filter(|(track, ..)| *track == 1).count();
            assert_eq!(captures(&dump).len(), whole, "cut at {cut}");
        }
        // Where it lies, with the same result.
        fs::remove_file(&out).expect("it is there");
        where_it_lies(&part).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        assert!(fs::read(&out).expect("it was repaired") == repaired, "cut at {cut}");
        assert!(!part.exists());
        fs::remove_file(&out).expect("it is there");
    }
}

#[test]
fn a_crash_in_the_middle_of_a_repair_where_it_lies_makes_no_file_worse() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.mkv");
    let (bytes, clusters) = small(4);
    for cut in [clusters[3], clusters[3] + 5, clusters[3] + 60, bytes.len() - 1, bytes.len()] {
        let before = frames(&bytes[..cut]);
        let recording = Recording::open(&bytes[..cut]).expect("it opens");
        let plan = recording.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
        let whole = crashed(&bytes[..cut], &plan.steps, usize::MAX);
        is_sound(&whole);
        for done in 0..=plan.steps.len() {
            for part in [0, 1, 7, usize::MAX] {
                let crashed = crashed(&bytes[..cut], &plan.steps[..done], part);
                assert!(frames(&crashed) == before, "cut at {cut}, {done} steps done");
                fs::write(&path, &crashed).expect("a file");
                if part == usize::MAX && done > 0 {
                    let Some(dump) = official(&path) else { continue };
                    assert!(captures(&dump).len() >= 3, "cut at {cut}, {done} steps done");
                }
                // The second try may crash as well. The official reader opens no file whose front
                // points at an index that is not there.
                let again = Recording::open(&crashed).expect("it opens");
                let again = again.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
                for done in 0..=again.steps.len() {
                    let twice =
                        support::unfinished::crashed(&crashed, &again.steps[..done], usize::MAX);
                    let twice = Recording::open(&twice).expect("it opens");
                    let astray = |note: &Note| note.text.starts_with("a seek entry");
                    assert!(!twice.notes().iter().any(astray), "cut at {cut}, {done} steps done");
                }
                // Whoever tries again gets there.
                where_it_lies(&path).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
                assert!(fs::read(&path).expect("a file") == whole, "{cut}, {done} steps done");
            }
        }
    }
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged_and_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let (mut bytes, clusters) = small(6);
    bytes[clusters[2]..clusters[3]].fill(0);
    fs::write(&path, &bytes).expect("a file");
    let output = genlock_exits(3, &["repair", "--json", text(&path), "-o", text(&out)]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let lost = said["lost"].as_array().expect("a list");
    assert_eq!(lost.len(), 1, "{said}");
    let (from, to) = (clusters[2] as u64, clusters[3] as u64);
    assert_eq!(
        (lost[0]["from_byte"].as_u64(), lost[0]["to_byte"].as_u64()),
        (Some(from), Some(to))
    );
    assert_eq!(lost[0]["after_us"], 5_000_000 + 33_333 + 620);
    assert_eq!(lost[0]["before_us"], 5_000_000 + 3 * 33_333);
    let repaired = fs::read(&out).expect("it was repaired");
    is_sound(&repaired);
    assert_eq!(frames(&repaired).len(), 5 * 4);
    // It is not written over: what is damaged may be of use to somebody.
    let refused = genlock_exits(1, &["repair", "--in-place", text(&path)]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("without --in-place"));
    assert_eq!(fs::read(&path).expect("the original"), bytes);
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.mkv.part");
    let (bytes, _) = small(3);
    fs::write(&path, [&bytes[..], &[0; 5000]].concat()).expect("a file");
    genlock_exits(3, &["repair", text(&path)]);
    let copied = fs::read(folder.path().join("a.repaired.mkv")).expect("it was repaired");
    genlock_exits(3, &["repair", "--in-place", text(&path)]);
    let in_place = fs::read(folder.path().join("a.mkv")).expect("it was repaired");
    is_sound(&copied);
    assert!(frames(&copied) == frames(&bytes) && copied == in_place);
}

/// Records an endless take until `bytes` of each file are there, and kills it.
fn killed(take: &Path, devices: &str, bytes: u64) {
    let turn = turn();
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    command.args(["record", "--emulated", devices, "--quiet", "-c", "720p"]);
    let mut child = command.args(["-d", "NFOV_2X2BINNED"]).arg(take).spawn().expect("it runs");
    let has = |file: &Path| fs::metadata(file).map_or(0, |data| data.len());
    for device in 1..=devices.parse().expect("a number") {
        let part = match take.extension() {
            Some(_) => take.with_extension("mkv.part"),
            None => take.join(format!("{device:012}.mkv.part")),
        };
        while has(&part) < bytes {
            assert!(child.try_wait().expect("a child").is_none(), "it ended");
            std::thread::yield_now();
        }
        let refused = Command::new(env!("CARGO_BIN_EXE_genlock")).arg("repair").arg(&part).output();
        let refused = refused.expect("it runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("being recorded"), "{said}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    drop(turn);
}

#[test]
fn a_killed_recording_is_repaired_and_reads_as_before_to_the_official_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.mkv");
    killed(&path, "1", 10_000_000);
    let part = folder.path().join("a.mkv.part");
    let bytes = fs::read(&part).expect("the killed file");
    let clusters: Vec<_> = {
        let recording = Recording::open(&bytes).expect("it opens");
        recording.demuxer().clusters().flatten().map(|c| c.at() as usize).collect()
    };
    let last = clusters[clusters.len() - 1];
    for cut in [clusters[1], clusters[5] + 9, last, last + (bytes.len() - last) / 2, bytes.len()] {
        let (cut_file, out) = (folder.path().join("c.mkv.part"), folder.path().join("c.mkv"));
        fs::write(&cut_file, &bytes[..cut]).expect("a file");
        into_new_file(&cut_file, &out).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        let repaired = fs::read(&out).expect("it was repaired");
        is_sound(&repaired);
        assert!(frames(&repaired) == frames(&bytes[..cut]), "cut at {cut}");
        if let Some(dump) = official(&out) {
            let whole = frames(&repaired).iter().filter(|(track, ..)| *track == 1).count();
            assert!(captures(&dump).len().abs_diff(whole) <= 1, "cut at {cut}");
            let sampled = Recording::open(&repaired).expect("it opens").imu().count();
            assert_eq!(dump["imu"].as_array().map(Vec::len), Some(sampled));
        }
        fs::remove_file(&out).expect("it is there");
    }
}

#[test]
fn a_killed_take_gets_its_evidence_from_its_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    killed(&take, "2", 8_000_000);
    let repaired = folder.path().join("take.repaired");
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    for entry in fs::read_dir(&take).expect("the take") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), copy.join(entry.file_name())).expect("a file");
    }
    let output = support::genlock(["repair", text(&take)]);
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let toml = fs::read_to_string(repaired.join("take.toml")).expect("take.toml");
    let read = Take::from_toml(&toml).expect("it reads");
    assert_eq!(read.outcome, Outcome::Failed);
    let roles: Vec<_> = read.devices.iter().map(|device| device.role.as_str()).collect();
    assert_eq!(roles, ["master", "subordinate"]);
    let losses = read.devices.iter().flat_map(|device| &device.losses);
    assert!(losses.clone().all(|loss| loss.cause.starts_with("unknown")), "{toml}");
    assert!(code == Some(3) || losses.count() == 0, "{toml}");
    assert!(read.devices.iter().all(|device| device.alarms.is_empty()), "{toml}");
    assert!(read.devices[1].phase.as_ref().is_some_and(|phase| phase.p99_us < 110.0), "{toml}");
    // The one thing that verify holds against it is that the recorder did not finish it.
    for folder in [&repaired, &copy] {
        if *folder == copy {
            support::genlock(["repair", "--in-place", text(&copy)]);
        }
        let verified = genlock_exits(1, &["verify", "--json", text(folder)]);
        let verified: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
        let problems = verified[0]["problems"].as_array().expect("problems");
        assert_eq!(problems.len(), 1, "{verified}");
        assert!(problems[0].as_str().expect("a text").contains("did not come to finish"));
        let nothing = genlock_exits(0, &["repair", text(folder)]);
        assert!(String::from_utf8_lossy(&nothing.stdout).contains("nothing is to be done"));
    }
    for name in ["000000000001.mkv", "000000000002.mkv", "take.toml", "triggers.csv"] {
        let [a, b] = [&repaired, &copy].map(|folder| fs::read(folder.join(name)).expect(name));
        assert!(a == b, "{name} differs between a copy and a repair where it lies");
    }
}

#[test]
fn official_recordings_killed_before_and_after_a_flush_are_rescued() {
    let folder = tempfile::tempdir().expect("a folder");
    let calibration = folder.path().join("calibration.json");
    fs::write(&calibration, "{\"a\": 1}").expect("a file");
    let common = "--color mjpg_720p --depth nfov_2x2binned --imu --custom --captures 170 \
                  --distinct 4 --pace 4 --tag MINE=yes --sync subordinate --sub-delay 33000";
    let mut options: Vec<_> = common.split_whitespace().collect();
    options.extend(["--calibration", text(&calibration)]);
    let whole = folder.path().join("whole.mkv");
    let Some(mut command) = oracle() else { return };
    let written = command.arg("write").arg(&whole).args(&options).output();
    assert!(written.expect("timeout is part of Linux").status.success());
    let Some(whole) = official(&whole) else { return };
    for flush in [&["--no-flush"][..], &["--flush-every", "90"]] {
        let file = folder.path().join(format!("killed{}.mkv", flush.len()));
        official_killed(&file, &[&options[..], flush].concat());
        assert!(official_dump(&file).is_some_and(|dump| dump.is_err()), "it is refused");
        let before = fs::read(&file).expect("the killed file");
        genlock_exits(2, &["repair", "--in-place", text(&file)]);
        let output = genlock_exits(0, &["repair", text(&file)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains("K4A_START_OFFSET_NS: 1000000000"), flush.len() == 1, "{said}");
        let out = file.with_extension("repaired.mkv");
        let repaired = fs::read(&out).expect("it was repaired");
        assert_eq!(fs::read(&file).expect("the original"), before);
        is_sound(&repaired);
        genlock_exits(0, &["verify", text(&out)]);
        assert!(frames(&repaired) == frames(&before));
        let dump = official(&out).expect("the library was there a moment ago");
        let count = captures(&dump).len();
        assert!(count >= 50 && captures(&dump) == &captures(&whole)[..count], "{count} captures");
        let (ours, all) = (dump["imu"].as_array(), whole["imu"].as_array());
        let (ours, all) = (ours.expect("samples"), all.expect("samples"));
        assert!(ours.len() > 2000 && ours[..] == all[..ours.len()], "{} samples", ours.len());
        for key in ["configuration", "attachments"] {
            assert_eq!(dump[key], whole[key], "{key}");
        }
        for (name, value) in whole["tags"].as_object().expect("tags") {
            // UIDs are drawn anew for each file.
            assert!(
                name.ends_with("_TRACK")
                    || name.starts_with("K4A_CUSTOM")
                    || dump["tags"][name] == *value
            );
        }
        for (track, data) in whole["custom"].as_object().expect("custom tracks") {
            let (ours, all) =
                (dump["custom"][track]["blocks"].as_array(), data["blocks"].as_array());
            let (ours, all) = (ours.expect("blocks"), all.expect("blocks"));
            assert!(ours.len() >= 50 && ours[..] == all[..ours.len()], "{track}");
        }
        let cut = folder.path().join("cut.mkv");
        let len = before.len();
        for cut_at in [len / 3, len / 2, len - 1, len - 100_000] {
            fs::write(&cut, &before[..cut_at]).expect("a file");
            let (out, _) =
                (folder.path().join("out.mkv"), fs::remove_file(folder.path().join("out.mkv")));
            genlock_exits(3, &["repair", text(&cut), "-o", text(&out)]);
            let repaired = fs::read(&out).expect("it was repaired");
            is_sound(&repaired);
            assert!(frames(&repaired) == frames(&before[..cut_at]), "cut at {cut_at}");
            official(&out);
        }
    }
}

#[test]
fn an_official_recording_without_samples_says_that_absolute_time_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("killed.mkv");
    let options = "--depth passive_ir --captures 100 --distinct 2 --pace 4 --no-flush";
    let options: Vec<_> = options.split(' ').collect();
    if official_killed(&file, &options).is_none() {
        return;
    }
    let output = genlock_exits(0, &["repair", text(&file)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("unknown: absolute device time"), "{said}");
    let dump = official(&file.with_extension("repaired.mkv")).expect("the library is there");
    assert_eq!(captures(&dump)[1]["ir"]["device_timestamp_usec"], 33_333);
}

#[test]
fn the_real_recording_cut_anywhere_is_repaired_or_refused() {
    let Some(source) = real_recording() else { return };
    let whole = fs::read(&source).expect("the real recording");
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let places = (0..8000).step_by(97).chain((8000..whole.len()).step_by(60_013));
    let mut repaired = 0;
    for cut in places.chain([whole.len() - 1]) {
        fs::write(&path, &whole[..cut]).expect("a file");
        let before = frames(&whole[..cut]);
        match into_new_file(&path, &out) {
            Ok(_) => {
                let bytes = fs::read(&out).expect("it was repaired");
                is_sound(&bytes);
                assert!(frames(&bytes) == before, "cut at {cut}");
                if cut.is_multiple_of(5) {
                    official(&out);
                }
                fs::remove_file(&out).expect("it is there");
                repaired += 1;
            }
            Err(_) => assert!(before.is_empty() && !out.exists(), "cut at {cut}"),
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "cut at {cut}");
    }
    assert!(repaired > 20, "{repaired}");
}

#[test]
fn what_needs_no_repair_or_cannot_have_any_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("a.repaired.mkv"));
    let (bytes, clusters) = small(3);
    let untouched = |code: i32, args: &[&str], bytes: &[u8], word: &str| {
        fs::write(&path, bytes).expect("a file");
        let output = genlock_exits(code, &[&["repair", text(&path)], args].concat());
        let said = [output.stdout, output.stderr].concat();
        assert!(
            String::from_utf8_lossy(&said).contains(word),
            "{}",
            String::from_utf8_lossy(&said)
        );
        assert_eq!(fs::read(&path).expect("a file"), bytes);
    };
    let recording = Recording::open(&bytes).expect("it opens");
    let plan = recording.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
    let whole = crashed(&bytes, &plan.steps, usize::MAX);
    untouched(0, &[], &whole, "nothing is to be done");
    untouched(0, &["--in-place"], &whole, "nothing is to be done");
    untouched(0, &["--json"], &whole, "\"sound\"");
    untouched(1, &[], b"no recording", "not a Matroska file");
    untouched(1, &[], &bytes[..clusters[0]], "no whole frame");
    untouched(1, &[], &bytes[..clusters[0] + 20], "no whole frame");
    let mut changed = whole.clone();
    changed[clusters[1] + 40] ^= 1;
    untouched(1, &[], &changed, "nobody knows");
    assert!(!out.exists());
    fs::write(&out, "somebody's").expect("a file");
    untouched(2, &[], &bytes, "exists and is not overwritten");
    untouched(2, &["-o", text(&path)], &bytes, "exists and is not overwritten");
    untouched(2, &["-o", "x.mkv", "--in-place"], &bytes, "cannot be used with");
    untouched(1, &["-o", "/nowhere/x.mkv"], &bytes, "cannot create");
    assert_eq!(fs::read(&out).expect("a file"), b"somebody's");
    genlock_exits(1, &["repair", text(&folder.path().join("nothing.mkv"))]);
    fs::write(folder.path().join("b.mkv.repairing"), "half").expect("a file");
    untouched(2, &["-o", text(&folder.path().join("b.mkv"))], &bytes, "interrupted");
    let part = folder.path().join("a.mkv.part");
    fs::write(&part, &bytes).expect("a file");
    genlock_exits(2, &["repair", "--in-place", text(&part)]);
    assert_eq!(fs::read(&part).expect("a file"), bytes);
}

/// The official writer goes on over its index after a flush. Until that ends with another whole
/// cluster, the size of the Segment ends in the middle of the last one.
#[test]
fn a_cluster_across_a_stale_end_of_the_segment_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let (all, clusters) = small(3);
    let flushed = Recording::open(&all[..clusters[2]]).expect("it opens");
    let plan = flushed.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
    let mut bytes = crashed(&all[..clusters[2]], &plan.steps, usize::MAX);
    bytes.truncate(clusters[2]);
    bytes.extend_from_slice(&all[clusters[2]..]);
    fs::write(&path, &bytes).expect("a file");
    genlock_exits(0, &["repair", text(&path), "-o", text(&out)]);
    let repaired = fs::read(&out).expect("it was repaired");
    is_sound(&repaired);
    assert!(frames(&repaired) == frames(&all) && frames(&all).len() == 12);
}

/// Bits that flip anywhere: repair ends, without a panic, and keeps what our reader reads.
#[test]
fn flipped_bits_cost_no_more_than_what_they_are_in() {
    let (bytes, clusters) = small(3);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) as usize % below
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    for round in 0..2000 {
        let mut changed = bytes.clone();
        for _ in 0..=round % 3 {
            let place = match round % 2 {
                0 => random(changed.len()),
                _ => clusters[0] + random(changed.len() - clusters[0]),
            };
            changed[place] ^= 1 << random(8);
        }
        changed.truncate(changed.len() - random(40));
        let before = frames(&changed);
        if let Ok(recording) = Recording::open(&changed)
            && let Ok(plan) = recording.demuxer().finish_in_place(&mut |_| {})
        {
            for done in 1..=plan.steps.len() {
                let finished = crashed(&changed, &plan.steps[..done], usize::MAX);
                assert!(frames(&finished) == before, "round {round}, {done} steps done");
            }
        }
        if round % 10 == 0 {
            fs::write(&path, &changed).expect("a file");
            if into_new_file(&path, &out).is_ok() {
                assert!(frames(&fs::read(&out).expect("a file")) == before, "round {round}");
                fs::remove_file(&out).expect("it is there");
            }
        }
    }
}

#[test]
fn clusters_of_unknown_size_get_their_sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let (bytes, clusters) = small(5);
    let mut unknown = bytes.clone();
    for at in clusters {
        assert_eq!(unknown[at + 4] >> 6, 1, "a size of two bytes");
        unknown[at + 4..at + 6].copy_from_slice(&[0x7F, 0xFF]);
    }
    fs::write(&path, &unknown).expect("a file");
    genlock_exits(0, &["repair", text(&path), "-o", text(&out)]);
    let repaired = fs::read(&out).expect("it was repaired");
    is_sound(&repaired);
    assert!(frames(&repaired) == frames(&bytes));
    if let Some(dump) = official(&out) {
        assert_eq!(captures(&dump).len(), 5);
    }
}

/// Some editors of tags delete all that are of the whole file.
#[test]
fn a_finished_file_whose_mode_was_lost_opens_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let (bytes, _) = small(3);
    let recording = Recording::open(&bytes).expect("it opens");
    let plan = recording.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
    let mut whole = crashed(&bytes, &plan.steps, usize::MAX);
    let name = b"K4A_DEPTH_MODE";
    let at = whole.windows(name.len()).position(|window| window == name).expect("the tag");
    whole[at] = b'X';
    fs::write(&path, &whole).expect("a file");
    if let Some(refused) = official_dump(&path) {
        assert!(refused.is_err());
    }
    let output = genlock_exits(3, &["repair", text(&path), "-o", text(&out)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("rebuilt: K4A_DEPTH_MODE: NFOV_2X2BINNED"), "{said}");
    assert!(said.contains("damaged, and kept") && said.contains("list of tags"), "{said}");
    is_sound(&fs::read(&out).expect("it was repaired"));
    official(&out);
}

#[test]
fn a_disk_that_is_full_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.mkv.part");
    let (bytes, _) = small(200);
    fs::write(&path, &bytes).expect("a file");
    let mut command = Command::new("bash");
    command.args([
        "-c",
        "ulimit -f 8; exec \"$@\"",
        "bash",
        env!("CARGO_BIN_EXE_genlock"),
        "repair",
    ]);
    let output = command.arg(&path).output().expect("bash is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot write"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    assert_eq!(fs::read(&path).expect("the original"), bytes);
}
