//! The processes of an agent: this program's `part`, in a group of its own, so that what ends the
//! agent does not end a take.

use super::messages::to_bytes;
use super::part::Work;
use crate::batch::{OURSELVES, pass_on, words};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a process may say of a host at most.
const TOLD_BYTES_MAX: u64 = 1 << 20;

/// A process that records a part.
pub struct Recorder {
    child: Child,
    ended: Option<ExitStatus>,
    /// Passes on what it tells, and ends with the first error of it.
    heard: Option<JoinHandle<Option<String>>>,
    error: Option<String>,
}

fn failed(cause: io::Error) -> Error {
    Error::Device(format!("genlock part cannot be started: {cause}"))
}

fn spawn(work: &Work, stdout: Stdio) -> io::Result<Child> {
    let mut command = Command::new(OURSELVES);
    command.arg0("genlock").arg("part").stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&to_bytes(work))?;
    }
    Ok(child)
}

impl Recorder {
    /// Starts it.
    ///
    /// # Errors
    /// `Device` when the system starts no process.
    pub fn start(work: &Work) -> Result<Self> {
        let mut child = spawn(work, Stdio::null()).map_err(failed)?;
        let heard = child.stderr.take().map(|stderr| thread::spawn(move || pass_on(stderr)));
        Ok(Self { child, ended: None, heard, error: None })
    }

    /// Whether it has ended.
    pub fn is_gone(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        let is_gone = self.ended.is_some();
        if let Some(heard) = self.heard.take_if(|_| is_gone) {
            self.error = heard.join().ok().flatten();
        }
        is_gone
    }

    /// The first error that it told, once it has ended.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.error.clone()
    }

    /// How it ended, in words.
    #[must_use]
    pub fn how_it_ended(&self) -> Option<String> {
        self.ended.map(words)
    }
}

/// Runs a process that says something of the host, for so long at most.
///
/// # Errors
/// What it told, as `Device`; or that it does not come to an end.
pub fn run_to_end<T: DeserializeOwned>(work: &Work, limit: Duration) -> Result<T> {
    let mut child = spawn(work, Stdio::piped()).map_err(failed)?;
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.map(|pipe| pipe.take(TOLD_BYTES_MAX).read_to_string(&mut text));
            text
        })
    };
    let stdout = reader(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = reader(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let begun = Instant::now();
    while child.try_wait().map_err(failed)?.is_none() {
        if begun.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            let seconds = limit.as_secs();
            let text = format!("it did not come to an end within {seconds} s; look at its devices");
            return Err(Error::Device(text));
        }
        thread::park_timeout(LOOK_EVERY);
    }
    let told = stdout.join().unwrap_or_default();
    serde_json::from_str(&told).map_err(|_| {
        let errors = stderr.join().unwrap_or_default();
        let error = errors.lines().find_map(|line| line.strip_prefix("error: "));
        Error::Device(error.unwrap_or("it said nothing").to_owned())
    })
}
