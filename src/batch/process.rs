//! Processes that a batch starts: takes and hooks, each with a limit, and none left behind.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// This program, whatever has become of its file since it was started: sessions and agents run for
/// days.
pub const OURSELVES: &str = "/proc/self/exe";

/// How often is looked whether something has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a person, or the system, asks of a batch by signals.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Stop cleanly: finish the take's files.
    pub stop: Arc<AtomicBool>,
    /// The signal that asked once more: end at once. 0 is none.
    pub again: Arc<AtomicI32>,
}

impl Stop {
    /// Whether nothing more is to begin.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether nothing is to be waited for any more.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.again.load(Ordering::Acquire) != 0
    }

    /// Waits, unless it is asked to stop.
    pub fn wait(&self, time: Duration) {
        let begun = Instant::now();
        while !self.is_asked() && begun.elapsed() < time {
            thread::park_timeout(LOOK_EVERY.min(time.saturating_sub(begun.elapsed())));
        }
    }
}

/// How a process is watched.
struct Watch {
    /// It is asked to end when it has run so long,
    limit: Duration,
    /// and made to when it has not after so long.
    grace: Duration,
    /// Whether it is a take, which ends when the batch is asked to; it is in our own group, so a
    /// terminal's Ctrl-C has told it by itself, and it takes both for one. A hook runs to its end,
    /// in a group of its own, with all that it started.
    is_take: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// Whether it had to be ended.
    pub overdue: bool,
}

impl Ended {
    /// In words, such as `exit code 1`.
    #[must_use]
    pub fn words(&self) -> String {
        words(self.status)
    }
}

/// How a process ended, in words, such as `exit code 1`.
#[must_use]
pub fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nobody knows how".to_owned(),
    }
}

fn watch(child: &mut Child, how: &Watch, stop: &Stop) -> io::Result<Ended> {
    let begun = Instant::now();
    let (mut told, mut overdue) = (false, None);
    let signal = |child: &Child, signal| {
        // One that has ended is not there to be told.
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = match how.is_take {
                true => kill_process(pid, signal),
                false => kill_process_group(pid, signal),
            };
        }
    };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended { status, overdue: overdue.is_some() });
        }
        if begun.elapsed() > how.limit && overdue.is_none() {
            overdue = Some(Instant::now());
            signal(child, Signal::TERM);
        }
        if how.is_take && stop.is_asked() && !told {
            told = true;
            signal(child, Signal::TERM);
        }
        if stop.is_urgent() || overdue.is_some_and(|since| since.elapsed() > how.grace) {
            signal(child, Signal::KILL);
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// Everything that we start speaks to standard error: standard output is for what we report.
fn to_stderr() -> io::Result<Stdio> {
    Ok(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
}

/// Runs a command of the shell, for so long at most.
///
/// # Errors
/// The system's, when it cannot be started.
pub fn hook(command: &mut Command, limit: Duration, stop: &Stop) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(to_stderr()?).process_group(0);
    let how = Watch { limit, grace: Duration::from_secs(2), is_take: false };
    watch(&mut command.spawn()?, &how, stop)
}

/// Runs `genlock record`, for so long at most; gives the first error that it told too. That is
/// heard where standard error is no terminal: on one the take shows its progress itself.
///
/// # Errors
/// The system's, when it cannot be started.
pub fn take(
    command: &mut Command,
    limit: Duration,
    listen: bool,
    stop: &Stop,
) -> io::Result<(Ended, Option<String>)> {
    command.stdout(to_stderr()?);
    if listen {
        command.stderr(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let heard = child.stderr.take().map(|stderr| thread::spawn(move || pass_on(stderr)));
    // It may have gigabytes to write before its files are closed.
    let how = Watch { limit, grace: Duration::from_secs(60), is_take: true };
    let ended = watch(&mut child, &how, stop)?;
    Ok((ended, heard.and_then(|heard| heard.join().ok()).flatten()))
}

/// Passes on what is told, and gives the first error of it.
pub fn pass_on(told: ChildStderr) -> Option<String> {
    let (mut told, mut line, mut error) = (BufReader::new(told), Vec::new(), None);
    while matches!(told.read_until(b'\n', &mut line), Ok(1..)) {
        // Where nobody can hear it the exit code still speaks.
        let _ = io::stderr().write_all(&line);
        let text = String::from_utf8_lossy(&line);
        let said = text.strip_prefix("error: ").map(|text| text.trim_end().to_owned());
        error = error.or(said);
        line.clear();
    }
    error
}

/// A command that plays something while we go on; one that still plays is ended.
#[derive(Debug, Default)]
pub struct Player(Option<Child>);

impl Player {
    /// Plays what a shell makes of it. What cannot be played is not heard, and that is all.
    pub fn play(&mut self, shell: &mut Command) {
        self.end();
        shell.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        self.0 = shell.spawn().ok();
    }

    fn end(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        if let (Ok(None), Ok(pid)) = (child.try_wait(), i32::try_from(child.id())) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process_group(pid, Signal::KILL));
            let _ = child.wait();
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.end();
    }
}
