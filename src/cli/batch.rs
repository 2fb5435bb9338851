//! `genlock batch`: a session of takes.

use super::signals::{end_as, stop_batch_on_signals};
use super::{Verdict, plain, print, print_json, tell};
use crate::batch::{self, Batch, Done, Event, Plan, is_gone, join, read_session};
use crate::error::Result;
use crate::rig::disk::free_bytes;
use clap::Args;
use genlock_formats::session::{Session, Standing, Take, Try};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Options of `genlock batch`.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// The plan: the takes, how they are made, and where they go (docs/batch.md)
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// Show what would be recorded, with time and disk space; record and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing but errors, losses and the summary
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &BatchArgs) -> Result<Verdict> {
    let plan = Plan::read(&args.plan)?;
    let left = Left::of(&plan)?;
    if args.dry_run {
        return left.show(args.json);
    }
    if !left.fits() {
        tell(&format!("warning: {}", left.room()));
    }
    left.tell_gone();
    let stop = stop_batch_on_signals()?;
    let batch = Batch {
        plan: &plan,
        exe: Path::new(batch::OURSELVES),
        quiet: args.quiet,
        listen: !std::io::stderr().is_terminal(),
        stop: &stop,
    };
    let done = batch::run(&batch, &mut |event| say(&event, args.quiet));
    let signal = stop.again.load(Ordering::Acquire);
    if signal != 0 {
        end_as(signal);
    }
    let Done { session, error } = done?;
    if args.json {
        print_json(&session)?;
    } else {
        table(&plan, &session).iter().try_for_each(|line| print(&plain(line)))?;
    }
    if stop.is_asked() {
        tell("stopped: the same command goes on with what is left");
    }
    error.map_or_else(|| Ok(verdict(&plan, &session)), Err)
}

fn verdict(plan: &Plan, session: &Session) -> Verdict {
    if session.planned().any(|take| is_gone(&plan.folder, take)) {
        return Verdict::Failed;
    }
    match session.planned().map(|take| take.standing).min() {
        None | Some(Standing::Whole) => Verdict::Whole,
        Some(Standing::Losses) => Verdict::Losses,
        Some(_) => Verdict::Failed,
    }
}

fn say(event: &Event<'_>, quiet: bool) {
    match event {
        Event::Warning(text) => tell(&format!("warning: {text}")),
        // A countdown is there to be heard.
        Event::Count(left, bell) => {
            tell(&left.to_string());
            if *bell {
                let _ = std::io::stderr().write_all(b"\x07");
            }
        }
        // What the batch has found itself, such as a hook that failed, nobody else tells.
        Event::Ended(take, tried) if quiet && tried.standing != Standing::Whole => {
            tell(&ended(take, tried));
        }
        _ if quiet => {}
        Event::Waiting => tell(
            "waiting: another batch works in this folder, or the last take of one that was killed",
        ),
        Event::Pause(time) => tell(&format!("pause: {}", span(*time))),
        Event::Begins(name, place, of) => tell(&format!("take {place} of {of}: {name}")),
        Event::Ended(take, tried) => tell(&ended(take, tried)),
    }
}

fn ended(take: &Take, tried: &Try) -> String {
    let reason = tried.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
    format!("{}: {}{reason}", take.name, tried.standing)
}

/// A line for each take, in columns, and one that sums them up.
fn table(plan: &Plan, session: &Session) -> Vec<String> {
    let row = |take: &Take| {
        let best = take.best();
        let of = |what: fn(&Try) -> u64| best.map_or(0, what);
        let sync = best.and_then(|tried| tried.verdict);
        let name = take.folder.as_ref().unwrap_or(&take.name).clone();
        let dropped = if take.dropped { "  not in the plan" } else { "" };
        [
            name,
            now(plan, take) + dropped,
            sync.map_or("-".to_owned(), |verdict| verdict.to_string()),
            take.tries.len().to_string(),
            of(|tried| tried.triggers).to_string(),
            of(|tried| tried.losses).to_string(),
            format!("{:.1}", of(|tried| tried.bytes) as f64 / 1e6),
        ]
    };
    let head = ["take", "outcome", "sync", "tries", "triggers", "losses", "MB"];
    let rows = session.takes.iter().map(row);
    let mut lines = columns(2, std::iter::once(head.map(ToOwned::to_owned)).chain(rows).collect());
    let count = |word| session.planned().filter(|take| now(plan, take) == word).count();
    let all = ["whole", "losses", GONE, "failed", "interrupted", "recording", "pending"];
    let counts: Vec<_> = all
        .map(|standing| (count(standing), standing))
        .iter()
        .filter(|(count, standing)| *count > 0 || *standing == "whole")
        .map(|(count, standing)| format!("{count} {standing}"))
        .collect();
    let bytes = session.takes.iter().filter_map(Take::best).map(|tried| tried.bytes);
    let bytes = bytes.fold(0_u64, u64::saturating_add);
    let planned = session.planned().count();
    let takes = takes(planned);
    lines.push(format!("{takes}: {}; {}", counts.join(", "), size(bytes)));
    lines
}

/// What is said of a take that is done, and whose folder is not there.
const GONE: &str = "gone";

/// How a take stands, in a word.
fn now(plan: &Plan, take: &Take) -> String {
    if is_gone(&plan.folder, take) { GONE.to_owned() } else { take.standing.to_string() }
}

/// Rows in columns: so many of text, the others of numbers at the right.
fn columns<const N: usize>(texts: usize, rows: Vec<[String; N]>) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < texts { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn takes(count: usize) -> String {
    if count == 1 { "1 take".to_owned() } else { format!("{count} takes") }
}

fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        3600.0.. => format!("{:.1} h", seconds / 3600.0),
        60.0.. => format!("{:.1} min", seconds / 60.0),
        _ => format!("{seconds:.1} s"),
    }
}

/// What is left to be done of a plan.
#[derive(Debug, Serialize)]
struct Left {
    folder: String,
    takes: Vec<Row>,
    /// Those that are done are not counted.
    seconds: f64,
    bytes: u64,
    /// Bytes that must be free beside those, for the last takes to begin: `genlock record` keeps
    /// some for the end of each.
    reserve_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// As in `session.toml`, or `gone`.
    standing: String,
    #[serde(skip)]
    is_done: bool,
    rig: String,
    devices: Vec<String>,
    seconds: f64,
    bytes: u64,
}

impl Left {
    /// Looks, and touches nothing.
    fn of(plan: &Plan) -> Result<Self> {
        let forecasts = batch::forecasts(plan)?;
        batch::look(&plan.folder)?;
        let session = join(plan, read_session(&plan.folder)?, &jiff::ZonedDateTime::now())?;
        batch::refuse_strangers(&plan.folder, &session)?;
        let both: Vec<_> = session.planned().zip(&forecasts).zip(&plan.takes).collect();
        let (mut time, mut bytes, mut needed) = (Duration::ZERO, 0_u64, 0);
        for ((take, forecast), _) in &both {
            if !take.standing.is_done() {
                time = time.saturating_add(forecast.time);
                needed = bytes.saturating_add(forecast.needed_bytes).max(needed);
                bytes = bytes.saturating_add(forecast.bytes);
            }
        }
        let rows = both.into_iter().map(|((take, forecast), planned)| Row {
            name: take.name.clone(),
            standing: now(plan, take),
            is_done: take.standing.is_done(),
            rig: planned.rig_name(),
            devices: forecast.devices.clone(),
            seconds: forecast.length.as_secs_f64(),
            bytes: forecast.bytes,
        });
        Ok(Self {
            folder: plan.folder.to_string_lossy().into_owned(),
            takes: rows.collect(),
            seconds: time.as_secs_f64(),
            bytes,
            reserve_bytes: needed.saturating_sub(bytes),
            free_bytes: free_bytes(&plan.folder),
        })
    }

    fn fits(&self) -> bool {
        let needed = self.bytes.saturating_add(self.reserve_bytes);
        self.free_bytes.is_none_or(|free| free >= needed)
    }

    /// Tells of takes that are done and not there; gives whether there are any.
    fn tell_gone(&self) -> bool {
        let gone = self.takes.iter().filter(|row| row.standing == GONE);
        let tell_one = |row: &Row| {
            tell(&format!(
                "warning: {} was recorded, and its folder is not in {}: put it back; to record it \
                 again, take its [[take]], with each [[take.try]], out of session.toml",
                row.name, self.folder
            ));
        };
        gone.map(tell_one).count() > 0
    }

    fn room(&self) -> String {
        let (bytes, reserve) = (size(self.bytes), size(self.reserve_bytes));
        let needs = match self.reserve_bytes {
            0 => format!("what is left needs about {bytes}"),
            _ => format!("what is left needs about {bytes}, and {reserve} to end takes with"),
        };
        match self.free_bytes {
            None => needs,
            Some(free) if self.fits() => format!("{needs}; {} are free", size(free)),
            Some(free) => format!(
                "{needs}; {} are free: free some space, or let the plan's folder be on \
                 another disk",
                size(free)
            ),
        }
    }

    fn show(&self, json: bool) -> Result<Verdict> {
        let is_well = !self.tell_gone() && self.fits();
        let verdict = if is_well { Verdict::Whole } else { Verdict::Failed };
        if json {
            print_json(self)?;
            return Ok(verdict);
        }
        let head = ["take", "rig", "devices", "now", "length", "MB"].map(ToOwned::to_owned);
        let row = |row: &Row| {
            let length = span(Duration::from_secs_f64(row.seconds));
            let megabytes = format!("{:.1}", row.bytes as f64 / 1e6);
            let devices = row.devices.join(", ");
            [row.name.clone(), row.rig.clone(), devices, row.standing.clone(), length, megabytes]
        };
        let rows = self.takes.iter().map(row);
        for line in columns(4, std::iter::once(head).chain(rows).collect()) {
            print(&plain(&line))?;
        }
        let left = self.takes.iter().filter(|row| !row.is_done).count();
        let time = span(Duration::from_secs_f64(self.seconds));
        print(&plain(&format!("{} to {}: {time} at least", takes(left), self.folder)))?;
        print(&self.room())?;
        Ok(verdict)
    }
}
