//! `genlock align`: files that were recorded one by one become a take.

use super::progress::Bytes;
use super::signals::stop_on_signals;
use super::summary::{report_losses, summary};
use super::{Verdict, print, print_json, tell};
use crate::align::{self, Keep};
use crate::error::Result;
use clap::Args;
use genlock_formats::take::Outcome;
use std::path::PathBuf;

/// Options of `genlock align`.
#[derive(Debug, Args)]
pub struct AlignArgs {
    /// Recordings of devices that a sync cable held together, one of each: of k4arecorder, or any
    #[arg(value_name = "FILE.mkv", required = true)]
    files: Vec<PathBuf>,
    /// The new take
    #[arg(short, long, value_name = "TAKE")]
    output: PathBuf,
    /// Copy the files into the take, instead of linking to them
    #[arg(long)]
    copy: bool,
    /// Print what take.toml says, as JSON
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &AlignArgs) -> Result<Verdict> {
    let stop = stop_on_signals()?;
    let sizes = args.files.iter().filter_map(|file| file.metadata().ok());
    let progress = Bytes::new(args.quiet, sizes.map(|data| data.len()).sum());
    let keep = if args.copy { Keep::Copy } else { Keep::Link };
    let take = align::align(&args.files, &args.output, keep, &stop, &mut |b| progress.add(b));
    progress.finish();
    let take = take?;
    match args.json {
        true => print_json(&take)?,
        false => summary(&args.output, &take).iter().try_for_each(|line| print(line))?,
    }
    report_losses(&take);
    if let Some(reason) = &take.reason {
        tell(&format!("warning: {reason}"));
    }
    Ok(match take.outcome {
        Outcome::Whole => Verdict::Whole,
        Outcome::Losses | Outcome::Failed => Verdict::Losses,
    })
}
