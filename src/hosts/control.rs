//! The line between an agent and the recorder of its part: a Unix socket that the recorder listens
//! at, and an agent finds again after it was started anew. Lines of JSON go both ways.

use super::messages::{MESSAGE_BYTES_MAX, PartStatus, from_bytes, to_bytes};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The name of the socket in an agent's store.
pub const SOCKET: &str = "part.sock";

/// How often a recorder tells how it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What an agent tells the recorder of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The coordinator was heard.
    Heard,
    /// Whoever gives pulses may start.
    Start,
    /// End before this trigger, or soon.
    Stop(Option<u64>),
}

/// What a recorder has heard, and how it is.
pub struct Control {
    /// Set when the take is to end.
    pub stop: Arc<AtomicBool>,
    /// Before which trigger; `u64::MAX` leaves it to the take.
    pub end: AtomicU64,
    state: Mutex<Spoken>,
    changed: Condvar,
}

struct Spoken {
    status: PartStatus,
    heard: Instant,
    started: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Listens in the folder `store`.
    ///
    /// # Errors
    /// `Disk` when no socket can be made there.
    pub fn listen(store: &Path, stop: Arc<AtomicBool>) -> Result<Arc<Self>> {
        let socket = store.join(SOCKET);
        let failed = |cause: io::Error| Error::disk("cannot listen at", &socket, &cause);
        // Nobody listens at one that is there: an agent has one part at a time, and a process that
        // is gone leaves its socket.
        match fs::remove_file(&socket) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(failed(cause)),
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        let control = Arc::new(Self {
            stop,
            end: AtomicU64::new(u64::MAX),
            state: Mutex::new(Spoken {
                status: PartStatus::default(),
                heard: Instant::now(),
                started: false,
            }),
            changed: Condvar::new(),
        });
        let listening = Arc::clone(&control);
        let listen = move || {
            for stream in listener.incoming().flatten() {
                let control = Arc::clone(&listening);
                // One agent at a time; what is told to a second is told to nobody's harm.
                let _ = Builder::new().name("control".to_owned()).spawn(move || {
                    let _ = control.converse(&stream);
                });
            }
        };
        let spawned = Builder::new().name("control".to_owned()).spawn(listen);
        spawned.map(|_| control).map_err(failed)
    }

    fn converse(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(TELL_EVERY))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut lines = Lines::new(stream);
        loop {
            while let Some(line) = lines.next()? {
                // What is no word says nothing.
                if let Ok(word) = from_bytes(&line) {
                    self.hear(word);
                }
            }
            let mut told = to_bytes(&lock(&self.state).status);
            told.push(b'\n');
            (&mut &*stream).write_all(&told)?;
        }
    }

    fn hear(&self, word: Word) {
        let mut state = lock(&self.state);
        state.heard = Instant::now();
        match word {
            Word::Heard => {}
            Word::Start => state.started = true,
            Word::Stop(end) => {
                if let Some(end) = end {
                    self.end.store(end, Ordering::Release);
                }
                self.stop.store(true, Ordering::Release);
            }
        }
        self.changed.notify_all();
    }

    /// Changes how the recorder is.
    pub fn tell(&self, change: impl FnOnce(&mut PartStatus)) {
        change(&mut lock(&self.state).status);
    }

    /// How long the coordinator has been silent.
    #[must_use]
    pub fn silence(&self) -> Duration {
        lock(&self.state).heard.elapsed()
    }

    /// Waits until whoever gives pulses may start.
    ///
    /// # Errors
    /// `Device` when the take is called off, or nobody was heard for `patience`.
    pub fn wait_for_start(&self, patience: Duration) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if state.started {
                return Ok(());
            }
            if self.stop.load(Ordering::Acquire) {
                return Err(Error::Device("called off before it began".to_owned()));
            }
            if state.heard.elapsed() > patience {
                let seconds = patience.as_secs();
                let text = format!("its coordinator was not heard for {seconds} s: called off");
                return Err(Error::Device(text));
            }
            let waited = self.changed.wait_timeout(state, TELL_EVERY);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

/// Lines of bounded length, from a socket whose reads have a limit of time.
struct Lines<'s> {
    reader: BufReader<&'s UnixStream>,
    line: Vec<u8>,
}

impl<'s> Lines<'s> {
    fn new(stream: &'s UnixStream) -> Self {
        Self { reader: BufReader::new(stream), line: Vec::new() }
    }

    /// The next whole line; none when none came in time.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = (MESSAGE_BYTES_MAX + 1).saturating_sub(self.line.len());
        match (&mut self.reader).take(room as u64).read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                self.line.pop();
                Ok(Some(std::mem::take(&mut self.line)))
            }
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(cause) if is_timeout(&cause) => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// An agent's end of the line.
pub struct Wire {
    stream: UnixStream,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    status: Option<PartStatus>,
    closed: bool,
}

impl Wire {
    /// The line to the recorder that listens in the folder `store`; none where nobody does.
    #[must_use]
    pub fn connect(store: &Path) -> Option<Self> {
        let stream = UnixStream::connect(store.join(SOCKET)).ok()?;
        stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
        let reading = stream.try_clone().ok()?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let listening = Arc::clone(&heard);
        let listen = move || {
            let mut lines = Lines::new(&reading);
            while let Ok(Some(line)) = lines.next() {
                if let Ok(status) = from_bytes(&line) {
                    lock(&listening).status = Some(status);
                }
            }
            lock(&listening).closed = true;
        };
        Builder::new().name("part".to_owned()).spawn(listen).ok()?;
        Some(Self { stream, heard })
    }

    /// Tells the recorder something. One that is gone does not hear it.
    pub fn tell(&self, word: Word) {
        let mut bytes = to_bytes(&word);
        bytes.push(b'\n');
        let _ = (&mut &self.stream).write_all(&bytes);
    }

    /// How the recorder last said that it is.
    #[must_use]
    pub fn status(&self) -> Option<PartStatus> {
        lock(&self.heard).status.clone()
    }

    /// Whether the recorder is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.heard).closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(what: &str, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn an_agent_that_was_started_anew_finds_the_recorder_again() {
        let store = tempfile::tempdir().expect("a folder");
        assert!(Wire::connect(store.path()).is_none(), "nobody listens");
        let control = Control::listen(store.path(), Arc::default()).expect("a socket");
        let first = Wire::connect(store.path()).expect("a line");
        control.tell(|status| status.latest = 7);
        until("it tells", || first.status().is_some_and(|status| status.latest == 7));
        drop(first);
        let second = Wire::connect(store.path()).expect("a line");
        second.tell(Word::Start);
        control.wait_for_start(Duration::from_secs(10)).expect("started");
        second.tell(Word::Stop(Some(99)));
        until("it hears", || control.stop.load(Ordering::Acquire));
        assert_eq!(control.end.load(Ordering::Acquire), 99);
    }

    #[test]
    fn a_take_that_nobody_starts_is_called_off() {
        let store = tempfile::tempdir().expect("a folder");
        let control = Control::listen(store.path(), Arc::default()).expect("a socket");
        let silent = control.wait_for_start(Duration::ZERO).expect_err("nobody");
        assert!(silent.to_string().contains("not heard"), "{silent}");
        control.stop.store(true, Ordering::Release);
        assert!(control.wait_for_start(Duration::from_secs(60)).is_err());
    }
}
