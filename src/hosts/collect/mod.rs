//! Finished files move to one place, and are verified there. Only then may a host release them.
//!
//! Where bytes come from is a [`Source`]: nothing here knows a network. Where they go is a
//! [`Place`]: a folder, or a store that speaks S3. Whatever cuts a transfer off, the next one goes
//! on where it ended.

mod connection;
mod folder;
mod listing;
mod notes;
mod pace;
mod place;
mod store;

pub use pace::{Pace, Rate};
pub use place::Place;

use crate::error::{Error, Result};
use genlock_formats::take::File;
use listing::Wanted;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that a read of a [`Source`] gives at most.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// How often a file is fetched before its bytes are called wrong: what was damaged on the way comes
/// whole the second time.
const FETCHES: u32 = 2;

/// Where finished files come from: the part of a take that one host has.
pub trait Source {
    /// The host's name, for messages to the user.
    fn host(&self) -> &str;

    /// The files, as the part's manifest lists them.
    fn files(&self) -> &[File];

    /// Reads at most [`READ_BYTES_MAX`] bytes of the file at this place in [`Source::files`], from
    /// `offset` on, into `into`, which is empty before. It stays empty at the end of the file.
    ///
    /// # Errors
    /// The host's, when it does not answer: what was moved stays, and the caller may try again.
    fn read(&mut self, file: usize, offset: u64, into: &mut Vec<u8>) -> Result<()>;
}

/// What came of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Recordings that are at the place, and were verified there.
    pub verified: usize,
    /// Bytes that came from the host this time.
    pub fetched_bytes: u64,
    /// Whether it was stopped before its end: some recordings are not at the place.
    pub stopped: bool,
}

/// Moves the recordings of `source` to the place of the take, and verifies each of them there by
/// length and CRC-32. Its `triggers.csv` and `take.toml` are of its part, and stay. `told` hears of
/// all bytes that are at the place, found there or fetched; those of a file that is fetched twice
/// it hears of twice. Nothing of the source is changed, and no file of the place overwritten.
///
/// # Errors
/// `File` when the host offers what is no recording of ours, before anything is written, or when
/// its bytes are wrong twice; `Disk` when the place lacks room, cannot be written, does not answer,
/// or has another file of such a name; those of the source. What was moved stays for the next time.
pub fn collect(
    source: &mut dyn Source,
    place: &Place,
    pace: &Pace,
    told: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Collected> {
    let wanted = listing::recordings(source.host(), source.files())?;
    let buffer = Vec::with_capacity(READ_BYTES_MAX);
    let mut transfer = Transfer { source, pace, told, stop, buffer, fetched_bytes: 0 };
    let mut verified = 0;
    let stopped = match move_all(&wanted, place, &mut transfer, &mut verified) {
        Ok(()) => false,
        Err(Halt::Stopped) => true,
        Err(Halt::Failed(error)) => return Err(error),
    };
    Ok(Collected { verified, fetched_bytes: transfer.fetched_bytes, stopped })
}

fn move_all(
    wanted: &[Wanted],
    place: &Place,
    transfer: &mut Transfer<'_>,
    verified: &mut usize,
) -> Step<()> {
    place.prepare(wanted, transfer)?;
    for file in wanted {
        if !place.holds(file, transfer)? {
            fetch(file, place, transfer)?;
        }
        *verified += 1;
    }
    Ok(())
}

fn fetch(file: &Wanted, place: &Place, transfer: &mut Transfer<'_>) -> Step<()> {
    let mut wrong = String::new();
    for _ in 0..FETCHES {
        match place.fetch(file, transfer)? {
            Fetched::Verified => return Ok(()),
            Fetched::Wrong(why) => wrong = why,
        }
    }
    let (host, name) = (transfer.source.host(), &file.name);
    Err(Halt::Failed(Error::File(format!(
        "host {host}: {name} has other bytes than its manifest says, twice: {wrong}; nothing of it \
         was kept at {place}, and the host keeps its file: run genlock verify there"
    ))))
}

/// Why a transfer does not go on.
enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Step<T> = std::result::Result<T, Halt>;

/// What came of fetching a file.
enum Fetched {
    /// It is at the place, whole.
    Verified,
    /// It is not: why.
    Wrong(String),
}

impl Fetched {
    /// What to say of bytes with this checksum, `found` in some place.
    fn wrong(file: &Wanted, crc32: u32, found: &str) -> Self {
        Self::Wrong(format!("CRC-32 {crc32:08x} {found}, {:08x} in the manifest", file.crc32))
    }
}

/// The host's side of a transfer.
struct Transfer<'a> {
    source: &'a mut dyn Source,
    pace: &'a Pace,
    told: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
    buffer: Vec<u8>,
    fetched_bytes: u64,
}

impl Transfer<'_> {
    /// Fetches bytes of a file from `offset` on, at least one: the caller knows that there are
    /// more.
    fn read(&mut self, file: &Wanted, offset: u64) -> Step<&[u8]> {
        self.wait()?;
        self.buffer.clear();
        self.source.read(file.index, offset, &mut self.buffer)?;
        let bytes = self.buffer.len() as u64;
        let refused = |why: String| {
            let (host, name) = (self.source.host(), &file.name);
            Halt::Failed(Error::File(format!(
                "host {host}: {name} {why}, its manifest says {} bytes: run genlock verify there",
                file.bytes
            )))
        };
        if bytes == 0 {
            return Err(refused(format!("ends after {offset} bytes")));
        }
        if bytes > file.bytes.saturating_sub(offset) || self.buffer.len() > READ_BYTES_MAX {
            return Err(refused(format!("gave {bytes} bytes from {offset} on")));
        }
        self.pace.note(bytes);
        self.fetched_bytes += bytes;
        (self.told)(bytes);
        Ok(&self.buffer)
    }

    /// Waits until more may come in.
    fn wait(&self) -> Step<()> {
        if self.pace.wait(self.stop) { Ok(()) } else { Err(Halt::Stopped) }
    }

    /// What takes long has to ask now and then.
    fn go_on(&self) -> Step<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Halt::Stopped) } else { Ok(()) }
    }
}
