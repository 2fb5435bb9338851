//! Recordings: elements, the demuxer, and what `verify` makes of a file.

use super::Target;
use crate::mutate::{Form, elements};
use crate::{Outcome, seeds};
use genlock::cli::problems;
use genlock::repair::lay_out_anew;
use genlock_formats::ebml::number;
use genlock_formats::k4a::Recording;
use genlock_formats::mkv::{Cluster, Demuxer, Patch, ReadBlock, Step};
use std::sync::OnceLock;

pub(super) const EBML: Target = Target {
    name: "ebml",
    about: "EBML elements, and every value that each could hold",
    form: Form::Elements,
    len_max: 1024,
    memory: (1 << 18, 64),
    seeds: || {
        let cut = |file: Vec<u8>| file[file.len().saturating_sub(512)..].to_vec();
        seeds::recordings().into_iter().map(cut).collect()
    },
    run: ebml,
};

fn ebml(input: &[u8], outcome: &mut Outcome) {
    let all = elements(input);
    outcome.size(all.len() as u64);
    for element in &all {
        assert!(element.content.end <= input.len(), "{element:?} behind the end");
        outcome.kind((element.id.leading_zeros(), element.sized, element.cut));
        let (uint, float) = (element.uint(input), element.float(input).map(f64::to_bits));
        outcome.kind((uint.is_ok(), float.is_ok()));
        for value in [uint, float] {
            match value {
                Ok(value) => outcome.detail(value),
                Err(error) => assert_eq!(error.at, element.at as u64, "{error}"),
            }
        }
        outcome.detail(element.text(input));
        outcome.kind(element.checksum(input));
        outcome.detail(number(element.bytes(input)));
    }
}

pub(super) const DEMUX: Target = Target {
    name: "demux",
    about: "recordings: front, clusters, blocks, captures, samples, tags, attachments",
    form: Form::Elements,
    len_max: 16 << 10,
    memory: (1 << 20, 256),
    seeds: seeds::recordings,
    run: demux,
};

fn demux(input: &[u8], outcome: &mut Outcome) {
    let demuxer = match Demuxer::open(input) {
        Ok(demuxer) => demuxer,
        Err(error) => return outcome.error(&error, input.len()),
    };
    outcome.kind(demuxer.is_finished());
    for note in demuxer.notes() {
        assert!(note.at <= input.len() as u64, "a note behind the end: {note:?}");
        outcome.kind(note.text);
        outcome.detail(note.at);
    }
    for error in demuxer.front_fault().iter().chain(&demuxer.changed_parts()) {
        outcome.error(error, input.len());
    }
    outcome.size(demuxer.cues().len() as u64);
    // A walk cannot give more items than there are bytes.
    let limit = input.len() + 1;
    for (count, cluster) in demuxer.clusters().enumerate() {
        assert!(count < limit, "more clusters than bytes");
        match cluster {
            Ok(cluster) => clustered(&cluster, input.len(), outcome),
            Err(error) => outcome.error(&error, input.len()),
        }
    }
    for cue in demuxer.cues() {
        outcome.detail(demuxer.clusters_from(cue.cluster_at).next().is_some());
    }
    match Recording::open(input) {
        Ok(recording) => recorded(&recording, input.len(), outcome),
        Err(error) => outcome.error(&error, input.len()),
    }
}

fn clustered(cluster: &Cluster<'_>, bytes: usize, outcome: &mut Outcome) {
    assert!(cluster.at() < cluster.end() && cluster.end() <= bytes as u64);
    outcome.kind(cluster.checksum() as u8);
    outcome.kind(cluster.is_complete());
    outcome.detail((cluster.at(), cluster.time_ns()));
    for (count, block) in cluster.blocks().enumerate() {
        assert!(count <= bytes, "more blocks than bytes");
        match block {
            Ok(block) => blocked(&block, bytes, outcome),
            Err(error) => outcome.error(&error, bytes),
        }
    }
}

fn blocked(block: &ReadBlock<'_>, bytes: usize, outcome: &mut Outcome) {
    assert!(block.at < bytes as u64, "a block behind the end");
    outcome.size(block.frames.len() as u64);
    outcome.detail((block.track, block.time_ns, block.duration_ns));
    for (place, frame) in block.frames.clone().enumerate() {
        outcome.detail((block.frame_time_ns(place), frame));
    }
    if let Err(error) = block.only_frame() {
        outcome.error(&error, bytes);
    }
}

fn recorded(recording: &Recording<'_>, bytes: usize, outcome: &mut Outcome) {
    outcome.kind(recording.tracks().count());
    outcome.detail(format!("{:?}", recording.configuration()));
    outcome.detail((recording.length_us(), recording.first_us()));
    outcome.detail((recording.serial(), recording.calibration()));
    for note in recording.notes() {
        outcome.kind(note.text);
    }
    for tag in &recording.demuxer().header().tags {
        outcome.detail((&tag.name, &tag.value));
    }
    for file in &recording.demuxer().header().attachments {
        outcome.detail((&file.name, &file.data));
    }
    for (count, capture) in recording.captures().enumerate() {
        assert!(count <= bytes, "more captures than bytes");
        let capture = match capture {
            Ok(capture) => capture,
            Err(error) => {
                outcome.error(&error, bytes);
                continue;
            }
        };
        for image in [capture.color, capture.depth, capture.ir] {
            outcome.kind(image.is_some());
            let Some(image) = image else { continue };
            outcome.detail((image.time_us, image.width, image.height, image.pixels_le()));
        }
    }
    for (count, sample) in recording.imu().enumerate() {
        assert!(count <= bytes, "more samples than bytes");
        match sample {
            Ok(sample) => outcome.detail(sample.to_bytes()),
            Err(error) => outcome.error(&error, bytes),
        }
    }
    for (count, data) in recording.data("CUSTOM").enumerate() {
        assert!(count <= bytes, "more data than bytes");
        outcome.kind(data.is_ok());
    }
}

pub(super) const VERIFY: Target = Target {
    name: "verify",
    about: "recordings, as `genlock verify` reads them in a take",
    form: Form::Elements,
    len_max: 16 << 10,
    memory: (1 << 20, 256),
    seeds: seeds::recordings,
    run: verify,
};

fn verify(input: &[u8], outcome: &mut Outcome) {
    static TAKE: OnceLock<genlock_formats::take::Take> = OnceLock::new();
    let take = TAKE.get_or_init(seeds::take);
    let found = problems(take, &seeds::triggers(), &[("000000000001.mkv", input)]);
    outcome.size(found.len() as u64);
    found.iter().take(3).for_each(|problem| outcome.words(problem));
    outcome.detail(found);
}

pub(super) const REPAIR: Target = Target {
    name: "repair",
    about: "recordings, as `genlock repair` copies them, and finishes them where they lie",
    form: Form::Elements,
    len_max: 16 << 10,
    memory: (1 << 20, 512),
    seeds: seeds::recordings,
    run: repair,
};

/// What a cluster begins with.
const CLUSTER: [u8; 4] = [0x1F, 0x43, 0xB6, 0x75];

/// A block: its track, time in the file, and frames.
type FoundBlock<'a> = (u64, i64, Vec<&'a [u8]>);

/// Every block that can be read.
fn blocks(file: &[u8]) -> Option<Vec<FoundBlock<'_>>> {
    let recording = Recording::open(file).ok()?;
    let clusters = recording.demuxer().clusters().flatten();
    let all = clusters.flat_map(|cluster| cluster.blocks().flatten().collect::<Vec<_>>());
    Some(all.map(|one| (one.track, one.time_ns, one.frames.collect())).collect())
}

/// # Panics
/// Where a file does not have the blocks that it had before.
fn has_the_same(file: &[u8], before: &[FoundBlock<'_>], what: &str) {
    let after = blocks(file).unwrap_or_else(|| panic!("{what}: it does not open"));
    if let Some(place) =
        (0..before.len().max(after.len())).find(|i| before.get(*i) != after.get(*i))
    {
        let (old, new) = (before.get(place), after.get(place));
        panic!("{what}: block {place} of {}: {new:?} instead of {old:?}", before.len());
    }
}

fn repair(input: &[u8], outcome: &mut Outcome) {
    let recording = match Recording::open(input) {
        Ok(recording) => recording,
        Err(error) => return outcome.error(&error, input.len()),
    };
    let before = blocks(input).unwrap_or_default();
    let mut copy = Vec::new();
    let laid_out = lay_out_anew(&recording, input.len(), &mut |pieces| {
        pieces.iter().for_each(|piece| copy.extend_from_slice(piece));
        Ok(())
    });
    let (finish, report) = laid_out.expect("memory takes everything");
    outcome.size(report.clusters);
    outcome.size(report.lost.len() as u64);
    report.lost.iter().take(3).for_each(|lost| outcome.words(&lost.what));
    outcome.kind(report.rebuilt.len());
    outcome.detail(format!("{report:?}"));
    for lost in &report.lost {
        assert!(lost.from_byte <= lost.to_byte && lost.to_byte <= input.len() as u64, "{lost:?}");
    }
    match finish {
        None => assert!(copy.is_empty() && before.is_empty()),
        Some(finish) => {
            copy.extend_from_slice(&finish.append);
            finish.patches.iter().for_each(|patch| put(&mut copy, patch));
            has_the_same(&copy, &before, "a copy");
            let copied = Recording::open(&copy).expect("it opened a moment ago");
            assert!(copied.demuxer().is_finished(), "a copy is closed: {:?}", copied.notes());
        }
    }
    let mut lost = 0;
    match recording.demuxer().finish_in_place(&mut |_| lost += 1) {
        Ok(plan) => {
            outcome.kind(plan.steps.len());
            let mut file = input.to_vec();
            for (done, step) in plan.steps.iter().enumerate() {
                match step {
                    Step::Cut(bytes) => file.truncate(*bytes as usize),
                    Step::Write(patch) => put(&mut file, patch),
                    Step::Sync => continue,
                }
                // Cut off behind a block, a cluster says more than there is until its size is
                // written: then clusters are looked for, and what an image holds may be one.
                let holds_cluster = |image: &&[u8]| image.windows(4).any(|four| four == CLUSTER);
                if !before.iter().flat_map(|(_, _, images)| images).any(holds_cluster) {
                    has_the_same(
                        &file,
                        &before,
                        &format!("where it lies, {} steps done", done + 1),
                    );
                }
            }
            assert_eq!(file.len() as u64, plan.bytes);
            assert!(Recording::open(&file).is_ok_and(|file| file.demuxer().is_finished()));
        }
        Err(error) => outcome.error(&error, input.len()),
    }
}

fn put(file: &mut Vec<u8>, patch: &Patch) {
    let at = patch.at as usize;
    file.resize(file.len().max(at + patch.bytes.len()), 0);
    file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
}
