//! `genlock verify`: reads takes and recordings through, and says whether they are whole.

use super::info::notes;
use super::target::Target;
use super::{Verdict, lossy, plain, print, print_json, sync_words};
use crate::error::{Error, Result};
use crate::map::{Map, read_through};
use crate::record::{TRIGGERS, elsewhere, read_triggers};
use clap::Args;
use genlock_formats::k4a::Recording;
use genlock_formats::take::Take;
use genlock_formats::triggers::Triggers;
use serde::Serialize;
use std::path::{Path, PathBuf};

mod check;
mod front;
mod manifest;
mod second_opinion;
mod step;
mod take;

use check::{Sum, TrackCheck, check_blocks};
use step::InStep;
use take::Facts;

/// Options of `genlock verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Takes and recordings
    #[arg(required = true, value_name = "TAKE|FILE.mkv")]
    paths: Vec<PathBuf>,
    /// Hold the files of takes against the sizes and checksums in take.toml, and nothing else: for
    /// copies
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found in one take or recording.
#[derive(Debug, Serialize)]
struct Verified {
    #[serde(serialize_with = "lossy")]
    path: PathBuf,
    verdict: &'static str,
    recordings: Vec<FileVerified>,
    /// Whether the devices of a take were in step, worked out from the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_step: Vec<InStep>,
    problems: Vec<String>,
    notes: Vec<String>,
}

/// What was found in one file.
#[derive(Debug, Serialize)]
struct FileVerified {
    #[serde(serialize_with = "lossy")]
    path: PathBuf,
    verdict: &'static str,
    finished: bool,
    clusters: u64,
    tracks: Vec<TrackCheck>,
    /// What makes the file broken, or unfinished.
    problems: Vec<String>,
    /// Frames that are missing.
    gaps: Vec<String>,
    notes: Vec<String>,
    /// Its CRC-32, where it was asked for.
    #[serde(skip)]
    crc32: Option<u32>,
    /// What it says of itself; nothing of a file that cannot be read.
    #[serde(skip)]
    facts: Option<Facts>,
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Whole => "whole",
        Verdict::Losses => "losses",
        Verdict::Failed => "broken",
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<Verdict> {
    match args.quick {
        true => each(args, |path| Ok(manifest::quick(&Target::open(path)?)), manifest::words),
        false => each(args, verify, words),
    }
}

/// Looks at every path, says what it found, and gives the worst of it.
fn each<T: Serialize>(
    args: &VerifyArgs,
    look: impl Fn(&Path) -> Result<(Verdict, T)>,
    words: impl Fn(&T) -> Vec<String>,
) -> Result<Verdict> {
    let mut worst = Verdict::Whole;
    let mut all = Vec::new();
    for path in &args.paths {
        let (verdict, found) = look(path)?;
        worst = worst.max(verdict);
        all.push(found);
    }
    if args.json {
        print_json(&all)?;
    } else {
        all.iter().flat_map(words).try_for_each(|line| print(&plain(&line)))?;
    }
    Ok(worst)
}

fn verify(path: &Path) -> Result<(Verdict, Verified)> {
    let target = Target::open(path)?;
    let mut worst = Verdict::Whole;
    let mut recordings = Vec::new();
    let listed = target.take.as_ref().is_some_and(|take| !take.files.is_empty());
    for file in &target.files {
        let (verdict, verified) = match verify_file(file, listed) {
            // One broken file of a take does not hide the others.
            Err(Error::File(cause)) if target.is_folder => unreadable(file, cause),
            verified => verified?,
        };
        worst = worst.max(verdict);
        recordings.push(verified);
    }
    let (mut problems, mut notes, mut in_step) = (Vec::new(), Vec::new(), Vec::new());
    match &target.take {
        Some(take) => {
            compare_with_list(path, take, &recordings, &mut problems);
            if take.files.is_empty() {
                notes.push(manifest::NO_LIST.to_owned());
            }
            in_step = recompute(path, take, &recordings, &mut problems);
            worst = worst.max(take::compare(take, &recordings, &mut problems));
            if !problems.is_empty() {
                problems.extend(elsewhere(&target.path));
            }
        }
        None if target.is_folder => {
            problems.push("take.toml is missing: the take was not finished".to_owned());
            worst = Verdict::Failed;
        }
        None => {}
    }
    let verdict = word(worst);
    Ok((worst, Verified { path: target.path, verdict, recordings, in_step, problems, notes }))
}

/// Holds the files that are there against the list; others tell of those that are missing.
fn compare_with_list(
    folder: &Path,
    take: &Take,
    recordings: &[FileVerified],
    problems: &mut Vec<String>,
) {
    for listed in &take.files {
        let same = |file: &&FileVerified| file.path.file_name() == Some(listed.name.as_ref());
        let sum = match recordings.iter().find(same) {
            Some(file) => file.facts.as_ref().map(Facts::bytes).zip(file.crc32),
            None if listed.name == TRIGGERS => read_through(&folder.join(TRIGGERS)).ok(),
            None => {
                let missing = manifest::missing(&listed.name);
                let told = take.devices.iter().any(|one| one.file.as_ref() == Some(&listed.name));
                problems.extend((!told).then_some(missing));
                None
            }
        };
        problems.extend(sum.and_then(|(bytes, crc32)| manifest::difference(listed, bytes, crc32)));
    }
}

/// Works out from the files whether the rig was in step.
fn recompute(
    folder: &Path,
    take: &Take,
    recordings: &[FileVerified],
    problems: &mut Vec<String>,
) -> Vec<InStep> {
    let path = folder.join(TRIGGERS);
    let triggers = read_triggers(folder)
        .and_then(|text| Triggers::from_csv(&text).map_err(|cause| Error::file(&path, &cause)));
    match triggers {
        Ok(triggers) => step::recompute(take, recordings, &triggers, problems),
        Err(cause) => {
            problems.push(cause.to_string());
            Vec::new()
        }
    }
}

fn unreadable(path: &Path, cause: String) -> (Verdict, FileVerified) {
    let verified = FileVerified {
        path: path.to_owned(),
        verdict: word(Verdict::Failed),
        finished: false,
        clusters: 0,
        tracks: Vec::new(),
        problems: vec![cause],
        gaps: Vec::new(),
        notes: Vec::new(),
        crc32: None,
        facts: None,
    };
    (Verdict::Failed, verified)
}

/// What `verify` finds in a take of which `take.toml` and `triggers.csv` say this, and whose
/// recordings have these names and bytes.
#[must_use]
pub fn problems(take: &Take, triggers: &Triggers, recordings: &[(&str, &[u8])]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for (name, bytes) in recordings {
        match verify_bytes(Path::new(name), bytes, false) {
            Ok((_, verified)) => {
                problems.extend(verified.problems.iter().chain(&verified.gaps).cloned());
                files.push(verified);
            }
            Err(cause) => problems.push(cause.to_string()),
        }
    }
    let in_step = step::recompute(take, &files, triggers, &mut problems);
    problems.extend(in_step.into_iter().flat_map(|device| device.reasons));
    take::compare(take, &files, &mut problems);
    problems
}

fn verify_file(path: &Path, listed: bool) -> Result<(Verdict, FileVerified)> {
    verify_bytes(path, &Map::open(path)?, listed)
}

/// Looks at a recording; also for its checksum where it is `listed`.
fn verify_bytes(path: &Path, bytes: &[u8], listed: bool) -> Result<(Verdict, FileVerified)> {
    let recording = Recording::open(bytes).map_err(|cause| Error::file(path, &cause))?;
    let mut sum = listed.then(|| Sum::new(bytes));
    let mut blocks = check_blocks(&recording, sum.as_mut())?;
    blocks.problems.extend(front::problems(&recording));
    let finished = recording.demuxer().is_finished();
    if !finished {
        blocks.problems.push("unfinished: the recorder did not come to close it".to_owned());
    } else if let Some(fault) = recording.demuxer().front_fault() {
        blocks.problems.push(fault.to_string());
    } else if blocks.problems.is_empty() {
        // Another reader is asked only about files that ours found sound: it trusts their lengths.
        blocks.problems.extend(second_opinion::differences(bytes, &recording));
    }
    let verdict = match (blocks.problems.is_empty(), blocks.gaps.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Losses,
        (true, true) => Verdict::Whole,
    };
    let verified = FileVerified {
        path: path.to_owned(),
        verdict: word(verdict),
        finished,
        clusters: blocks.clusters,
        tracks: blocks.tracks,
        problems: blocks.problems,
        gaps: blocks.gaps,
        notes: notes(&recording),
        crc32: sum.map(Sum::finish),
        facts: Some(Facts::of(&recording, bytes.len())),
    };
    Ok((verdict, verified))
}

fn words(verified: &Verified) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", verified.path.display(), verified.verdict)];
    lines.extend(verified.problems.iter().map(|problem| format!("  {problem}")));
    lines.extend(verified.notes.iter().map(|note| format!("  note: {note}")));
    for device in &verified.in_step {
        lines.push(format!("  {}: sync {}", device.serial, device.verdict));
        lines.extend(sync_words(device.phase.as_ref(), device.clock.as_ref()));
        lines.extend(device.reasons.iter().map(|reason| format!("    {reason}")));
    }
    for file in &verified.recordings {
        if file.path != verified.path {
            lines.push(format!("  {}: {}", file.path.display(), file.verdict));
        }
        for track in &file.tracks {
            lines.push(format!(
                "    {}: {} frames, {:.3} s to {:.3} s",
                track.name, track.frames, track.first_s, track.last_s
            ));
        }
        lines.extend(file.problems.iter().map(|problem| format!("    problem: {problem}")));
        lines.extend(file.gaps.iter().map(|gap| format!("    gap: {gap}")));
        lines.extend(file.notes.iter().map(|note| format!("    note: {note}")));
    }
    lines
}
