//! Files that are cut at every byte, or whose bits flip anywhere: repair ends, without a panic, and
//! keeps every frame that our reader reads.
//!
//! `GENLOCK_FLIPS=100000` flips more often, and `GENLOCK_SEED=7` elsewhere; `GENLOCK_CUTS=all` cuts
//! in the middle of images at every byte, too.

mod support;

use genlock::error::Error;
use genlock::repair::{into_new_file, where_it_lies};
use genlock_formats::k4a::Recording;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::judges::official_reads;
use support::unfinished::{crashed, frames, is_sound, official_killed, small};

/// Longer than any repair of a small file takes on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A folder in memory, where there is one: thousands of files are written, and made durable.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// A file of our own as it is when it was closed.
fn closed(clusters: u64) -> (Vec<u8>, Vec<usize>) {
    let (bytes, at) = small(clusters);
    let recording = Recording::open(&bytes).expect("it opens");
    let plan = recording.demuxer().finish_in_place(&mut |_| {}).expect("it is ours");
    (crashed(&bytes, &plan.steps, usize::MAX), at)
}

/// Where the clusters of a file begin.
fn clusters(bytes: &[u8]) -> Vec<usize> {
    let recording = Recording::open(bytes).expect("it opens");
    recording.demuxer().clusters().flatten().map(|cluster| cluster.at() as usize).collect()
}

/// Repairs the file at `path`, which holds `bytes`, into `out`: what could be read of it can be
/// read of that. Whether it is there.
fn repaired(path: &Path, bytes: &[u8], out: &Path, about: &str) -> bool {
    let before = frames(bytes);
    let begun = Instant::now();
    let done = into_new_file(path, out);
    assert!(begun.elapsed() < TIME_MAX, "{about}: {:?}", begun.elapsed());
    assert_eq!(File::open(path).expect("it").metadata().expect("it").len(), bytes.len() as u64);
    match done {
        Ok(report) if report.output.is_some() => {
            let repaired = fs::read(out).expect("it was repaired");
            let recording = Recording::open(&repaired).unwrap_or_else(|e| panic!("{about}: {e}"));
            assert!(recording.demuxer().is_finished(), "{about}: {:?}", recording.notes());
            assert!(frames(&repaired) == before, "{about}: other frames");
            true
        }
        // Sound, or beyond repair: then there is nothing to be kept, or nothing to be done about
        // bytes that have changed in a file that was closed.
        Ok(_) => {
            assert!(!out.exists(), "{about}");
            false
        }
        Err(Error::File(why)) => {
            assert!(before.is_empty() || why.contains("nobody knows"), "{about}: {why}");
            assert!(!out.exists(), "{about}");
            false
        }
        Err(other) => panic!("{about}: {other}"),
    }
}

/// Where to cut behind `from`: at every byte, but in the middle of images, where all are alike.
fn cuts(bytes: &[u8], from: usize) -> Vec<usize> {
    const NEAR: usize = 64;
    let recording = Recording::open(bytes).expect("it opens");
    let clusters = recording.demuxer().clusters().flatten();
    let blocks = clusters.flat_map(|cluster| cluster.blocks().flatten().collect::<Vec<_>>());
    let mut borders: Vec<_> = blocks.map(|block| block.at as usize).collect();
    borders.push(bytes.len());
    let is_near = |cut: usize| {
        let place = borders.partition_point(|at| *at < cut);
        let near = |at: &usize| at.abs_diff(cut) < NEAR;
        borders.get(place).is_some_and(near) || place > 0 && near(&borders[place - 1])
    };
    let all = std::env::var_os("GENLOCK_CUTS").is_some();
    (from..bytes.len()).filter(|cut| all || cut.is_multiple_of(16) || is_near(*cut)).collect()
}

/// Cuts a file behind `from`, and repairs each. Gives how many were to be repaired, and were; some
/// of those are read by Microsoft's library, too.
fn cut_everywhere(bytes: &[u8], from: usize, judged_every: usize) -> (usize, usize) {
    let folder = folder();
    let (path, mut count, mut judged) = (folder.path().join("a.mkv"), 0, Vec::<PathBuf>::new());
    fs::write(&path, bytes).expect("a file");
    let file = File::options().write(true).open(&path).expect("a file");
    let cuts = cuts(bytes, from);
    for cut in cuts.iter().rev().copied() {
        file.set_len(cut as u64).expect("a shorter file");
        let out = folder.path().join(format!("{cut}.mkv"));
        if repaired(&path, &bytes[..cut], &out, &format!("cut at {cut}")) {
            is_sound(&fs::read(&out).expect("it was repaired"));
            count += 1;
            match cut % judged_every {
                0 => judged.push(out),
                _ => fs::remove_file(&out).expect("it is there"),
            }
        }
    }
    for (read, path) in official_reads(&judged).into_iter().flatten().zip(&judged) {
        assert!(read.is_ok(), "{}: {read:?}", path.display());
    }
    (cuts.len(), count)
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_clusters_keeps_every_whole_block() {
    for (bytes, clusters) in [small(6), closed(6)] {
        // From the first cluster on: with less there is no frame to keep.
        let from = clusters[1];
        let (cuts, repaired) = cut_everywhere(&bytes, from, 101);
        assert_eq!((cuts, repaired), (bytes.len() - from, cuts));
    }
}

#[test]
fn an_official_recording_cut_at_any_byte_of_its_last_clusters_keeps_every_whole_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = "--color mjpg_720p --imu --custom --captures 68 --distinct 2 --pace 8";
    let options: Vec<_> = options.split(' ').collect();
    for flush in [&["--no-flush"][..], &["--flush-every", "9"]] {
        let file = folder.path().join(format!("killed{}.mkv", flush.len()));
        if official_killed(&file, &[&options[..], flush].concat()).is_none() {
            return;
        }
        let bytes = fs::read(&file).expect("the killed file");
        let clusters = clusters(&bytes);
        let from = clusters[clusters.len() - 2];
        let (cuts, repaired) = cut_everywhere(&bytes, from, 97);
        assert_eq!(repaired, cuts);
        assert!(cuts > 2000, "{cuts} cuts");
    }
}

fn number_of(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// A generator of numbers below a limit (splitmix64).
fn random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ mixed >> 31) * below as u128) >> 64) as usize
    }
}

/// Flips one to four bits in each of many copies of a file, and repairs each into a new file and,
/// where it is ours, where it lies.
/// At least `least` are repaired, so that not all are sound or beyond repair.
fn flip_everywhere(bytes: &[u8], rounds: u64, seed: u64, least: u64) {
    let folder = folder();
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    let (part, own) = (folder.path().join("c.mkv.part"), folder.path().join("c.mkv"));
    let (mut count, mut lain) = (0, 0);
    for round in 0..rounds {
        let mut random = random(seed << 32 | round);
        let mut changed = bytes.to_vec();
        for _ in 0..=random(4) {
            changed[random(bytes.len())] ^= 1 << random(8);
        }
        let about = format!("round {round} of seed {seed}");
        fs::write(&path, &changed).expect("a file");
        if repaired(&path, &changed, &out, &about) {
            count += 1;
            fs::remove_file(&out).expect("it is there");
        }
        fs::write(&part, &changed).expect("a file");
        let before = frames(&changed);
        let left = match where_it_lies(&part) {
            Ok(_) => &own,
            Err(_) => &part,
        };
        lain += u64::from(left == &own);
        let after = fs::read(left).expect("it is there, whatever came of it");
        assert!(frames(&after) == before, "{about}: other frames where it lies");
        fs::remove_file(left).expect("it is there");
    }
    assert!(count >= least, "{count} copied, {lain} finished");
}

#[test]
fn bits_that_flip_anywhere_in_files_of_our_own_cost_no_more_than_what_they_are_in() {
    let (rounds, seed) = (number_of("GENLOCK_FLIPS", 4000), number_of("GENLOCK_SEED", 1));
    flip_everywhere(&small(4).0, rounds, seed, rounds / 2);
    flip_everywhere(&closed(4).0, rounds, seed, 0);
}

#[test]
fn bits_that_flip_anywhere_in_official_files_cost_no_more_than_what_they_are_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("killed.mkv");
    let options = "--color mjpg_720p --imu --captures 12 --distinct 2 --flush-every 4";
    let options: Vec<_> = options.split(' ').collect();
    if official_killed(&file, &options).is_some() {
        let (rounds, seed) = (number_of("GENLOCK_FLIPS", 4000), number_of("GENLOCK_SEED", 1));
        let mut bytes = fs::read(&file).expect("the killed file");
        flip_everywhere(&bytes, rounds / 4, seed, 0);
        // As it was before its first flush: without a size of the Segment.
        let segment = bytes.windows(4).position(|four| four == [0x18, 0x53, 0x80, 0x67]);
        bytes[segment.expect("a segment") + 5..][..7].fill(0);
        flip_everywhere(&bytes, rounds, seed, rounds / 2);
    }
}

/// The bytes of an element with a size of two bytes.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u16 | 0x4000).to_be_bytes();
    [id, &size, content].concat()
}

/// Repairs `bytes` into a new file. Gives its bytes.
fn repaired_bytes(bytes: &[u8]) -> Vec<u8> {
    let folder = folder();
    let (path, out) = (folder.path().join("a.mkv"), folder.path().join("b.mkv"));
    fs::write(&path, bytes).expect("a file");
    assert!(repaired(&path, bytes, &out, "a copy"));
    fs::read(&out).expect("it was repaired")
}

/// Readers take the first time of a cluster, and repair took the last for its new head.
#[test]
fn a_cut_cluster_with_two_times_keeps_the_one_that_is_read() {
    let (mut bytes, _) = small(2);
    let time = |ticks: u8| element(&[0xE7], &[ticks]);
    let block = element(&[0xA3], &[0x81, 0, 0, 0x80, 1, 2, 3]);
    let content = [time(5), time(9), block.clone(), block].concat();
    bytes.extend(element(&[0x1F, 0x43, 0xB6, 0x75], &content));
    bytes.truncate(bytes.len() - 3);
    let read = frames(&repaired_bytes(&bytes));
    assert_eq!(read.last().map(|(_, at_ns, _)| *at_ns), Some(5_000_000_000 + 5000));
}

/// The reader took all that followed it in its cluster for one image, and repair dropped it.
#[test]
fn a_block_of_unknown_size_is_no_frame() {
    let (mut bytes, clusters) = small(3);
    let block = bytes[clusters[1]..].iter().position(|byte| *byte == 0xA3).expect("a block");
    bytes[clusters[1] + block + 1] = 0xFF;
    assert_eq!(frames(&bytes).len(), 8, "two clusters of four blocks");
    assert_eq!(frames(&repaired_bytes(&bytes)).len(), 8);
}

/// The first cluster was found by searching, as the front led nowhere. Finished where it lay, the
/// front led past it.
#[test]
fn a_file_with_two_faults_in_its_front_is_not_finished_where_it_lies() {
    let (mut bytes, clusters) = small(3);
    // Behind the SeekHead, which has these ids as well.
    let info = 1079;
    assert_eq!(bytes[info..info + 4], [0x15, 0x49, 0xA9, 0x66]);
    let tags = bytes.windows(4).rposition(|four| four == [0x12, 0x54, 0xC3, 0x67]);
    let tags = tags.expect("tags");
    // Info ends in the zeros behind it, and the tags reach over the first cluster.
    let cluster = clusters[1] - tags;
    let width = bytes[tags + 4].leading_zeros() as usize + 1;
    let size = (cluster - 4 - width) as u64 | 1 << (7 * width);
    bytes[tags + 4..tags + 4 + width].copy_from_slice(&size.to_be_bytes()[8 - width..]);
    bytes[info + 4] = 0x80 | 100;
    assert_eq!(bytes[info + 5 + 100], 0);
    let folder = folder();
    let part = folder.path().join("a.mkv.part");
    fs::write(&part, &bytes).expect("a file");
    let before = frames(&bytes);
    assert_eq!(before.len(), 12, "three clusters of four blocks");
    let done = where_it_lies(&part);
    let left = if part.exists() { part } else { folder.path().join("a.mkv") };
    let after = frames(&fs::read(left).expect("it is there"));
    assert!(after == before, "{} frames of {}: {done:?}", after.len(), before.len());
}
