//! `genlock repair`: finishes what a crash left open, and rescues files of other recorders.

use super::signals::fail_at_size_limits;
use super::{Verdict, lossy, plain, print, print_json};
use crate::error::{Error, Result};
use crate::repair::{self, LostPart, Report, TakeReport};
use clap::Args;
use genlock_formats::take::Take;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Options of `genlock repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// A take, or a recording: of genlock, or of another recorder
    #[arg(value_name = "TAKE|FILE.mkv")]
    path: PathBuf,
    /// Where to put what is repaired [default: beside it, with "repaired" in the name]
    #[arg(short, long, value_name = "OUT", conflicts_with = "in_place")]
    output: Option<PathBuf>,
    /// Finish it where it lies, and give it its name; genlock's own files alone
    #[arg(long)]
    in_place: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Repaired<'a> {
    #[serde(serialize_with = "lossy")]
    path: &'a Path,
    /// Where what is repaired is; none where there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_lossy")]
    output: Option<PathBuf>,
    verdict: &'static str,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    File(Report),
    Take(TakeReport),
}

fn maybe_lossy<S: serde::Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    lossy(path.as_deref().unwrap_or(Path::new("")), serializer)
}

pub(super) fn run(args: &RepairArgs) -> Result<Verdict> {
    fail_at_size_limits()?;
    let path = args.path.as_path();
    let output = args.output.clone().unwrap_or_else(|| repair::default_output(path));
    let new = (!args.in_place).then_some(output.as_path());
    if !path.exists() {
        return Err(Error::file(path, &"there is nothing of that name"));
    }
    let what = match (path.is_dir(), new) {
        (true, new) => What::Take(repair::take(path, new)?),
        (false, Some(new)) => What::File(repair::into_new_file(path, new)?),
        (false, None) => What::File(repair::where_it_lies(path)?),
    };
    let verdict = verdict(&what);
    let output = match &what {
        What::File(report) => report.output.clone(),
        What::Take(report) => report.take.is_some().then(|| new.unwrap_or(path).to_owned()),
    };
    let word = match (&output, verdict) {
        (None, _) => "sound",
        (Some(_), Verdict::Whole) => "repaired",
        (Some(_), _) => "repaired, with losses",
    };
    let repaired = Repaired { path, output, verdict: word, what };
    if args.json {
        print_json(&repaired)?;
    } else {
        words(&repaired).iter().try_for_each(|line| print(&plain(line)))?;
    }
    Ok(verdict)
}

fn verdict(what: &What) -> Verdict {
    let lossy = match what {
        What::File(report) => !report.lost.is_empty(),
        What::Take(report) => {
            let of_files = report.files.iter().any(|(_, file)| !file.lost.is_empty());
            let devices = report.take.iter().flat_map(|take| &take.devices);
            let of_triggers = devices.map(|device| device.losses.len()).sum::<usize>() > 0;
            of_files || of_triggers || !report.failed.is_empty()
        }
    };
    if lossy { Verdict::Losses } else { Verdict::Whole }
}

fn words(repaired: &Repaired<'_>) -> Vec<String> {
    let path = repaired.path.display();
    let mut lines = match &repaired.output {
        None => vec![format!("{path}: finished and sound, nothing is to be done")],
        Some(output) => vec![format!("{path}: {}: {}", repaired.verdict, output.display())],
    };
    match &repaired.what {
        What::File(report) => file_words(report, "  ", &mut lines),
        What::Take(report) => {
            for (name, file) in &report.files {
                lines.push(format!("  {name}"));
                file_words(file, "    ", &mut lines);
            }
            lines.extend(report.failed.iter().map(|failed| format!("  lost: {failed}")));
            lines.extend(report.take.iter().flat_map(take_words));
        }
    }
    lines
}

fn file_words(report: &Report, indent: &str, lines: &mut Vec<String>) {
    let seconds = |us: u64| us as f64 / 1e6;
    if let (Some(first), Some(last)) = (report.first_us, report.last_us) {
        let (first, last) = (seconds(first), seconds(last));
        let clusters = report.clusters;
        lines.push(format!("{indent}kept: {clusters} clusters, {first:.3} s to {last:.3} s"));
    }
    lines.extend(report.rebuilt.iter().map(|text| format!("{indent}rebuilt: {text}")));
    lines.extend(report.unknown.iter().map(|text| format!("{indent}unknown: {text}")));
    lines.extend(report.lost.iter().map(|lost| format!("{indent}{}", lost_words(lost))));
}

pub(super) fn lost_words(lost: &LostPart) -> String {
    let LostPart { from_byte, to_byte, what, kept, after_us, before_us } = lost;
    let word = if *kept { "damaged, and kept" } else { "lost" };
    let seconds = |us: &u64| format!("{:.3} s", *us as f64 / 1e6);
    let time = match (after_us, before_us) {
        (Some(after), Some(before)) => format!(", {} to {}", seconds(after), seconds(before)),
        (Some(after), None) => format!(", from {} on", seconds(after)),
        (None, Some(before)) => format!(", before {}", seconds(before)),
        (None, None) => String::new(),
    };
    format!("{word}: bytes {from_byte} to {to_byte}{time}: {what}")
}

fn take_words(take: &Take) -> Vec<String> {
    let mut lines = Vec::new();
    for device in &take.devices {
        let (serial, count, first) = (&device.serial, device.trigger_count, device.first_trigger);
        lines.push(format!("  {serial} {}: {count} triggers from {first}", device.role));
        lines.extend(device.losses.iter().map(|loss| {
            let (track, cause) = (&loss.track, &loss.cause);
            format!("    lost: {track} {} to {}: {cause}", loss.first_trigger, loss.last_trigger)
        }));
    }
    lines
}
