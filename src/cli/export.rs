//! `genlock export`: turns takes and recordings into what other programs read.

use super::progress::Bytes;
use super::select::SelectArgs;
use super::signals::stop_on_signals;
use super::{Verdict, lossy, plain, print, print_json};
use crate::error::{Error, Result};
use crate::export::{Export, Exported, Format, Options, Watch};
use crate::replay::Files;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Options of `genlock export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A take, or a recording: of genlock, or of another recorder
    #[arg(value_name = "TAKE|FILE.mkv")]
    path: PathBuf,
    /// The folder for what comes of it: a new one, or that of the same export, interrupted
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What to turn it into
    #[arg(long, value_enum)]
    to: To,
    #[command(flatten)]
    select: SelectArgs,
    /// With clouds of points, for mcap
    #[arg(long)]
    clouds: bool,
    /// Triggers in a shard, for webdataset [default: 100]
    #[arg(long, value_name = "TRIGGERS", value_parser = clap::value_parser!(u64).range(1..))]
    shard_size: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// Images as files: depth and IR as 16-bit PNG, color as it is
    Png,
    /// One MCAP file, for Foxglove and Rerun
    Mcap,
    /// RGB-D sequences in the layout of the TUM's benchmark
    Tum,
    /// Tar shards for the webdataset package
    Webdataset,
    /// Colored clouds of points
    Ply,
}

/// Triggers in a shard, unless told otherwise: some hundred megabytes of one device.
const SHARD_SIZE: u64 = 100;

/// What came of it.
#[derive(Debug, Serialize)]
struct Done<'a> {
    #[serde(serialize_with = "lossy")]
    path: &'a Path,
    #[serde(serialize_with = "lossy")]
    output: &'a Path,
    to: Format,
    verdict: &'static str,
    #[serde(flatten)]
    exported: Exported,
}

pub(super) fn run(args: &ExportArgs) -> Result<Verdict> {
    let options = options(args)?;
    let stop = stop_on_signals()?;
    let files = Files::open(&args.path)?;
    let export = Export::new(&files, &options);
    // Shown as bytes of the source, which all have a part in every trigger.
    let (bytes, count) = (files.bytes(), export.count()?.max(1));
    let progress = Bytes::new(args.quiet, bytes);
    let mut so_far = 0;
    let share =
        |triggers: u64| (u128::from(bytes) * u128::from(triggers) / u128::from(count)) as u64;
    let mut told = |triggers: u64| {
        progress.add(share(so_far + triggers) - share(so_far));
        so_far += triggers;
    };
    let done = export.run(&args.output, &mut Watch { stop: &stop, told: &mut told });
    progress.finish();
    let exported = done?;
    let (verdict, word) = match exported.lost {
        0 => (Verdict::Whole, "exported"),
        _ => (Verdict::Losses, "exported, with losses"),
    };
    let (path, output) = (args.path.as_path(), args.output.as_path());
    let done = Done { path, output, to: options.to, verdict: word, exported };
    match args.json {
        true => print_json(&done)?,
        false => words(&done).iter().try_for_each(|line| print(&plain(line)))?,
    }
    Ok(verdict)
}

fn options(args: &ExportArgs) -> Result<Options> {
    let to = match args.to {
        To::Png => Format::Png,
        To::Mcap => Format::Mcap,
        To::Tum => Format::Tum,
        To::Webdataset => Format::Webdataset,
        To::Ply => Format::Ply,
    };
    if args.clouds && to != Format::Mcap {
        let text = format!("--clouds is of mcap: {to} has them always, or never");
        return Err(Error::Usage(text));
    }
    if args.shard_size.is_some() && to != Format::Webdataset {
        return Err(Error::Usage(format!("--shard-size is of webdataset: {to} has no shards")));
    }
    Ok(Options {
        to,
        clouds: args.clouds,
        shard_size: args.shard_size.unwrap_or(SHARD_SIZE),
        selection: args.select.selection(),
    })
}

fn words(done: &Done<'_>) -> Vec<String> {
    let (path, output) = (done.path.display(), done.output.display());
    let Exported { triggers, images, lost, clock, was_whole } = &done.exported;
    let what = if done.to == Format::Ply { "clouds" } else { "images" };
    let clock = match clock.as_str() {
        "utc" => "times in seconds are UTC",
        _ => "times in seconds are those of each device: the take has no clock of its host",
    };
    let mut lines = vec![
        format!("{path}: {} to {}: {output}", done.verdict, done.to),
        format!("  {triggers} triggers, {images} {what}; {clock}"),
    ];
    if *lost > 0 {
        lines.push(format!("  {lost} are missing: {output}/losses.csv says which, and why"));
    }
    if *was_whole {
        lines.push("  it was whole already: nothing was done".to_owned());
    }
    lines
}
