//! `genlock verify`: reads takes and recordings through, and says whether they are whole.

use super::info::notes;
use super::target::Target;
use super::{Verdict, print, print_json};
use crate::error::{Error, Result};
use crate::map::Map;
use clap::Args;
use genlock_formats::k4a::Recording;
use genlock_formats::take::{Outcome, Take};
use serde::Serialize;
use std::path::{Path, PathBuf};

mod check;
mod second_opinion;

use check::{TrackCheck, check_blocks};

/// Options of `genlock verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Takes and recordings
    #[arg(required = true, value_name = "TAKE|FILE.mkv")]
    paths: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found in one take or recording.
#[derive(Debug, Serialize)]
struct Verified {
    path: PathBuf,
    verdict: &'static str,
    recordings: Vec<FileVerified>,
    problems: Vec<String>,
}

/// What was found in one file.
#[derive(Debug, Serialize)]
struct FileVerified {
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
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Whole => "whole",
        Verdict::Losses => "losses",
        Verdict::Failed => "broken",
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<Verdict> {
    let mut worst = Verdict::Whole;
    let mut all = Vec::new();
    for path in &args.paths {
        let (verdict, verified) = verify(path)?;
        worst = worst.max(verdict);
        all.push(verified);
    }
    if args.json {
        print_json(&all)?;
    } else {
        all.iter().try_for_each(|verified| print(&words(verified)))?;
    }
    Ok(worst)
}

fn verify(path: &Path) -> Result<(Verdict, Verified)> {
    let target = Target::open(path)?;
    let mut worst = Verdict::Whole;
    let mut recordings = Vec::new();
    for file in &target.files {
        let (verdict, verified) = match verify_file(file) {
            // One broken file of a take does not hide the others.
            Err(Error::File(cause)) if target.is_folder => unreadable(file, cause),
            verified => verified?,
        };
        worst = worst.max(verdict);
        recordings.push(verified);
    }
    let mut problems = Vec::new();
    match &target.take {
        Some(take) => {
            worst = worst.max(compare_with_take(take, &recordings, &mut problems));
        }
        None if target.is_folder => {
            problems.push("take.toml is missing: the take was not finished".to_owned());
            worst = Verdict::Failed;
        }
        None => {}
    }
    let verdict = word(worst);
    Ok((worst, Verified { path: target.path, verdict, recordings, problems }))
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
    };
    (Verdict::Failed, verified)
}

fn verify_file(path: &Path) -> Result<(Verdict, FileVerified)> {
    let map = Map::open(path)?;
    let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
    let mut blocks = check_blocks(&recording);
    let finished = recording.demuxer().is_finished();
    if !finished {
        blocks.problems.push("unfinished: the recorder did not come to close it".to_owned());
    } else if let Some(fault) = recording.demuxer().front_fault() {
        blocks.problems.push(fault.to_string());
    } else if blocks.problems.is_empty() {
        // Another reader is asked only about files that ours found sound: it trusts their lengths.
        blocks.problems.extend(second_opinion::differences(&map, &recording));
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
    };
    Ok((verdict, verified))
}

/// Holds the files against what `take.toml` says of them.
fn compare_with_take(take: &Take, files: &[FileVerified], problems: &mut Vec<String>) -> Verdict {
    for device in &take.devices {
        let Some(name) = &device.file else {
            problems.push(format!("{}: nothing was recorded", device.serial));
            continue;
        };
        let file = files.iter().find(|file| file.path.file_name() == Some(name.as_ref()));
        let Some(file) = file else {
            problems.push(format!("{name}: is missing"));
            continue;
        };
        for (track, expected) in &device.frames {
            let found = file.tracks.iter().find(|found| found.name.eq_ignore_ascii_case(track));
            let found = found.map_or(0, |found| found.frames);
            if found != *expected {
                problems
                    .push(format!("{name}: {found} frames of {track}, take.toml says {expected}"));
            }
        }
    }
    if !problems.is_empty() {
        return Verdict::Failed;
    }
    match take.outcome {
        Outcome::Whole => Verdict::Whole,
        Outcome::Losses => Verdict::Losses,
        Outcome::Failed => {
            let reason = take.reason.as_deref().unwrap_or("no reason given");
            problems.push(format!("the take failed: {reason}"));
            Verdict::Failed
        }
    }
}

fn words(verified: &Verified) -> String {
    let mut lines = vec![format!("{}: {}", verified.path.display(), verified.verdict)];
    lines.extend(verified.problems.iter().map(|problem| format!("  {problem}")));
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
    lines.join("\n")
}
