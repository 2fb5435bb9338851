//! `genlock gather`: what the hosts of a take have of it comes together.

use super::signals::stop_on_signals;
use super::spanning::{gather_to, left};
use super::summary::{report_losses, summary};
use super::{Verdict, print, print_json};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hosts::collect::{Pace, Place, Rate};
use crate::hosts::pending::Pending;
use crate::hosts::rig::Hosts;
use crate::record::GATHER;
use clap::Args;
use std::path::PathBuf;

/// Options of `genlock gather`.
#[derive(Debug, Args)]
pub struct GatherArgs {
    /// The take, as `genlock record` was told
    #[arg(value_name = "TAKE")]
    take: PathBuf,
    /// Where its recordings go: a folder, file:///PATH or s3://BUCKET/PREFIX [default: the take]
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// How fast they are fetched at most, as 50MB/s or 400Mbit/s
    #[arg(long, value_name = "RATE")]
    limit: Option<Rate>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing but errors and losses
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &GatherArgs) -> Result<Verdict> {
    let folder = &args.take;
    if !folder.is_dir() {
        let text = format!("{}: no folder of a take is there", folder.display());
        return Err(Error::Usage(text));
    }
    let _lock = Pending::lock(folder)?;
    let Some(mut pending) = Pending::read(folder)? else {
        return Err(Error::Usage(format!(
            "{} has no {GATHER}: it was gathered, or was never on several hosts",
            folder.display()
        )));
    };
    if let (true, Some(place)) = (pending.complete, &pending.place) {
        return Err(Error::Usage(format!("{} was gathered to {place}", folder.display())));
    }
    let rig = pending.resolve()?;
    let hosts = Hosts::open(&rig.hosts, rig.certs.as_deref())?;
    pending.go_to(args.to.as_deref().map(absolute))?;
    let place = match &pending.place {
        Some(place) => Place::parse(place, folder)?,
        None => Place::parse(&folder.to_string_lossy(), folder)?,
    };
    pending.write(folder)?;
    let pace = Pace::new(args.limit, Clock::machine());
    let stop = stop_on_signals()?;
    let gathered =
        gather_to((&hosts, folder, Some(&place), &pace), &mut pending, &stop, args.quiet)?;
    if args.json {
        print_json(&gathered.take)?;
    } else if !args.quiet {
        summary(folder, &gathered.take).iter().try_for_each(|line| print(line))?;
    }
    report_losses(&gathered.take);
    left(&gathered, folder, true);
    Ok(gathered.take.outcome.into())
}

/// A place as it is seen from everywhere.
fn absolute(place: &str) -> String {
    let path = std::path::absolute(place).ok().filter(|_| !place.contains("://"));
    path.map_or(place.to_owned(), |path| path.to_string_lossy().into_owned())
}
