//! `genlock convert`: stores takes and recordings in another profile, and proves that they hold the
//! same.

use super::progress::Bytes;
use super::repair::lost_words;
use super::signals::stop_on_signals;
use super::target::Target;
use super::{Verdict, lossy, plain, print, print_json};
use crate::convert::{self, Converted, How, TakeConverted, Watch};
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use genlock_formats::depth;
use genlock_formats::take;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Options of `genlock convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A take, or a recording: of genlock, or of another recorder
    #[arg(value_name = "TAKE|FILE.mkv")]
    path: PathBuf,
    /// The new take, or recording
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// How to store it
    #[arg(long, value_enum)]
    profile: Profile,
    /// How hard to pack images, for profile compact [default: default]
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// What every reader of Azure Kinect recordings opens
    K4a,
    /// Depth, IR and raw color packed without loss
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// For machines with little to spare
    Fast,
    /// Smaller
    Default,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Done<'a> {
    #[serde(serialize_with = "lossy")]
    path: &'a Path,
    #[serde(serialize_with = "lossy")]
    output: &'a Path,
    profile: take::Profile,
    verdict: &'static str,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    File(Converted),
    Take(Box<TakeConverted>),
}

pub(super) fn run(args: &ConvertArgs) -> Result<Verdict> {
    let how = how(args)?;
    let target = Target::open(&args.path)?;
    let sizes = target.files.iter().filter_map(|file| file.metadata().ok());
    let stop = stop_on_signals()?;
    // Every byte is written, and then read back.
    let progress = Bytes::new(args.quiet, 2 * sizes.map(|data| data.len()).sum::<u64>());
    let mut watch = Watch { stop: &stop, told: &mut |bytes| progress.add(bytes) };
    let (path, output) = (args.path.as_path(), args.output.as_path());
    let what = match (&target.take, target.is_folder) {
        (_, false) => convert::file(path, output, how, &mut watch).map(What::File),
        (Some(take), true) => convert::take((path, take, &target.files), output, how, &mut watch)
            .map(|done| What::Take(Box::new(done))),
        (None, true) => Err(Error::file(
            path,
            &"has no take.toml: the take was not finished; repair it first, and convert what \
              comes of that",
        )),
    };
    progress.finish();
    let what = what?;
    let verdict = verdict(&what);
    let word = if verdict == Verdict::Whole { "converted" } else { "converted, with losses" };
    let done = Done { path, output, profile: how.profile, verdict: word, what };
    match args.json {
        true => print_json(&done)?,
        false => words(&done).iter().try_for_each(|line| print(&plain(line)))?,
    }
    Ok(verdict)
}

fn how(args: &ConvertArgs) -> Result<How> {
    let profile = match args.profile {
        Profile::K4a => take::Profile::K4a,
        Profile::Compact => take::Profile::Compact,
    };
    if args.level.is_some() && profile == take::Profile::K4a {
        let text = "--level is of profile compact: nothing is packed in profile k4a";
        return Err(Error::Usage(text.to_owned()));
    }
    let level = match args.level {
        Some(Level::Fast) => depth::Level::Fast,
        Some(Level::Default) | None => depth::Level::Default,
    };
    Ok(How { profile, level })
}

fn verdict(what: &What) -> Verdict {
    let lossy = match what {
        What::File(file) => !file.lost.is_empty(),
        What::Take(done) => {
            let of_files = done.files.iter().any(|(_, file)| !file.lost.is_empty());
            let whole = done.take.outcome == take::Outcome::Whole;
            of_files || !done.problems.is_empty() || !whole
        }
    };
    if lossy { Verdict::Losses } else { Verdict::Whole }
}

fn words(done: &Done<'_>) -> Vec<String> {
    let (path, output) = (done.path.display(), done.output.display());
    let mut lines = vec![format!("{path}: {} to {}: {output}", done.verdict, done.profile)];
    match &done.what {
        What::File(file) => file_words(file, "  ", &mut lines),
        What::Take(take) => {
            for (name, file) in &take.files {
                lines.push(format!("  {name}"));
                file_words(file, "    ", &mut lines);
            }
            lines.extend(take.problems.iter().map(|problem| format!("  problem: {problem}")));
            if take.take.outcome != take::Outcome::Whole {
                lines.push(format!("  the take ended with: {}", take.take.outcome));
            }
        }
    }
    lines
}

fn file_words(file: &Converted, indent: &str, lines: &mut Vec<String>) {
    let (before, after) = (file.bytes_before as f64, file.bytes_after as f64);
    lines.push(format!(
        "{indent}{:.1} MB to {:.1} MB, {:.3} : 1",
        before / 1e6,
        after / 1e6,
        before / after.max(1.0)
    ));
    lines.push(format!("{indent}content before {}", file.content_before));
    lines.push(format!("{indent}content after  {}, read back", file.content_after));
    lines.extend(file.rebuilt.iter().map(|text| format!("{indent}rebuilt: {text}")));
    lines.extend(file.unknown.iter().map(|text| format!("{indent}unknown: {text}")));
    lines.extend(file.lost.iter().map(|lost| format!("{indent}{}", lost_words(lost))));
}
