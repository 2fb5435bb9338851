//! `genlock replay`: the captures of a take again, at any pace, also for other programs.

use super::progress::Captures;
use super::select::SelectArgs;
use super::signals::stop_on_signals;
use super::{Verdict, print, print_json, tell};
use crate::error::{Error, Result};
use crate::record::is_taken;
use crate::replay::{self, Files, Played, Reader, Selected, Speed};
use clap::Args;
use std::io::{BufWriter, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

/// Options of `genlock replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A take, finished or not, or a recording of any recorder
    #[arg(value_name = "TAKE|FILE.mkv")]
    path: PathBuf,
    #[command(flatten)]
    select: SelectArgs,
    /// So many times as fast as recorded, or max
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// Begin again at the end, until stopped
    #[arg(long = "loop")]
    again: bool,
    /// Give the frames to another program on standard output (docs/replay.md)
    #[arg(long, conflicts_with = "socket")]
    stdout: bool,
    /// Give them to the first program that connects to this Unix socket, which is made
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print what was played as JSON; on standard error with --stdout
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

fn speed(text: &str) -> std::result::Result<Speed, String> {
    match text.parse() {
        _ if text == "max" => Ok(Speed::Most),
        Ok(times @ 0.001..=1000.0) => Ok(Speed::Times(times)),
        _ => Err("not a number from 0.001 to 1000, or max".to_owned()),
    }
}

pub(super) fn run(args: &ReplayArgs) -> Result<Verdict> {
    let files = Files::open(&args.path)?;
    let reader = Reader::open(&files)?;
    let selection = args.select.selection();
    let wanted = selection.of(&reader)?;
    let stop = stop_on_signals()?;
    let Some(mut to) = output(args, &stop)? else {
        return Ok(Verdict::Whole);
    };
    let mut losses = false;
    loop {
        let progress = Captures::new(args.quiet, wanted.count());
        let mut told = || progress.add();
        let played = replay::play(&reader, &wanted, args.speed, &mut to, &stop, &mut told);
        progress.finish();
        let played = played?;
        losses |= played.lost > 0;
        say(args, &wanted, &played)?;
        if !args.again || played.left || stop.load(Ordering::Relaxed) {
            return Ok(if losses { Verdict::Losses } else { Verdict::Whole });
        }
    }
}

/// Where the frames go; none when stopped before anybody asked for them.
fn output(args: &ReplayArgs, stop: &AtomicBool) -> Result<Option<Box<dyn Write>>> {
    /// Heads are collected up to so many bytes; images are larger, and pass by.
    const BUFFER: usize = 64 << 10;
    if let Some(path) = &args.socket {
        let client = Socket::bind(path)?.accept(stop, args.quiet)?;
        let client = client.map(|client| BufWriter::with_capacity(BUFFER, client));
        return Ok(client.map(|client| Box::new(client) as Box<dyn Write>));
    }
    Ok(Some(match args.stdout {
        true => Box::new(BufWriter::with_capacity(BUFFER, std::io::stdout())),
        false => Box::new(std::io::sink()),
    }))
}

/// A socket that is listened on. Its name goes when a program has connected: it serves one.
struct Socket<'p> {
    path: &'p Path,
    listener: UnixListener,
}

impl<'p> Socket<'p> {
    fn bind(path: &'p Path) -> Result<Self> {
        if is_taken(path) {
            let text = "is there already and is not overwritten: choose another name, or remove it";
            return Err(Error::Usage(format!("{}: {text}", path.display())));
        }
        let failed = |cause: std::io::Error| Error::disk("cannot listen on", path, &cause);
        let listener = UnixListener::bind(path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { path, listener })
    }

    /// The first program that connects.
    fn accept(&self, stop: &AtomicBool, quiet: bool) -> Result<Option<UnixStream>> {
        const LOOK: Duration = Duration::from_millis(20);
        if !quiet {
            tell(&format!("waiting for a program to connect to {}", self.path.display()));
        }
        while !stop.load(Ordering::Relaxed) {
            match self.listener.accept() {
                Ok((client, _)) => {
                    let failed = |cause| Error::disk("cannot write to", self.path, &cause);
                    client.set_nonblocking(false).map_err(failed)?;
                    return Ok(Some(client));
                }
                Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => park_timeout(LOOK),
                Err(cause) => return Err(Error::disk("cannot listen on", self.path, &cause)),
            }
        }
        Ok(None)
    }
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path);
    }
}

fn say(args: &ReplayArgs, wanted: &Selected<'_, '_>, played: &Played) -> Result<()> {
    if args.json {
        return match args.stdout {
            false => print_json(played),
            true => {
                // Numbers and words always make JSON.
                tell(&serde_json::to_string(played).unwrap_or_default());
                Ok(())
            }
        };
    }
    let per_s = |count: f64| count / played.took_s.max(1e-9);
    let mut line = format!(
        "{}: {} of {} captures in {:.2} s, {:.1} a second, {:.2} times as recorded, {:.0} MB/s",
        args.path.display(),
        played.captures,
        wanted.count(),
        played.took_s,
        per_s(played.captures as f64),
        per_s(played.recorded_s),
        per_s(played.bytes as f64 / 1e6)
    );
    if matches!(args.speed, Speed::Times(_)) {
        line += &format!("; the latest came {:.1} ms late", played.late_max_ms);
    }
    if played.lost > 0 {
        line += &format!("; {} frames are missing", played.lost);
    }
    if played.left {
        line += "; the reader went away";
    }
    match args.stdout {
        false => print(&line),
        true if args.quiet => Ok(()),
        true => {
            tell(&line);
            Ok(())
        }
    }
}
