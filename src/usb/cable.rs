//! A sync cable between emulated cameras of several processes: a file that all of them name.
//!
//! It is a file and not a message because a real cable is not cut when the network is. The
//! processes share a machine, and with it CLOCK_MONOTONIC: times in the file are nanoseconds of
//! that.

use crate::clock::Clock;
use crate::error::{Error, Result};
use genlock_emulator::{Cable, Carrier, Pulses};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What a file of this version begins with.
const MAGIC: [u8; 8] = *b"glcable1";

/// Magic, pulses, and the CRC-32 of both.
const RECORD_BYTES: usize = MAGIC.len() + Pulses::BYTES + 4;

/// How long a look at the file is good for. Cameras ask thousands of times a second; a camera's
/// first frame comes 50 ms after the start of the pulses or later, so that none can tell.
const LOOK_NS: u64 = 1_000_000;

/// The end of a cable where no master is. The file is created if it is not there.
///
/// # Errors
/// `Disk` when it cannot be opened.
pub fn attach(path: &Path, clock: &Clock) -> Result<Cable> {
    Ok(Cable::new(Arc::new(Shared::new(open(path)?, false, clock))))
}

/// The end of a cable that its master drives. Pulses that a process of before has left running are
/// ended: whoever opens a camera stops its streams first. No other process can drive it while this
/// cable, or a clone of it, lives.
///
/// # Errors
/// `Disk` when the file cannot be opened; `Device` when another process drives the cable.
pub fn drive(path: &Path, clock: &Clock) -> Result<Cable> {
    let file = open(path)?;
    file.try_lock().map_err(|why| match why {
        TryLockError::WouldBlock => Error::Device(format!(
            "{}: another process drives this sync cable, which has room for one master; wait until \
             that has ended, or name another file",
            path.display()
        )),
        TryLockError::Error(why) => Error::disk("locking", path, &why),
    })?;
    let shared = Shared::new(file, true, clock);
    if let Some(left) = shared.pulses().filter(Pulses::go_on) {
        shared.carry(left.stopped(clock.now_ns()));
    }
    Ok(Cable::new(Arc::new(shared)))
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|why| Error::disk("opening the sync cable", path, &why))
}

/// The file, and what was last seen in it.
#[derive(Debug)]
struct Shared {
    file: File,
    drives: bool,
    clock: Clock,
    /// CLOCK_MONOTONIC when `clock` showed 0.
    zero_ns: i64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    pulses: Option<Pulses>,
    /// Until then nobody looks again.
    good_until_ns: u64,
}

impl Shared {
    fn new(file: File, drives: bool, clock: &Clock) -> Self {
        let (clock, zero_ns) = (clock.clone(), zero_ns(clock));
        Self { file, drives, clock, zero_ns, seen: Mutex::default() }
    }

    /// What is in the file, in the time of `clock`. Half a record, or anything else, is none; so is
    /// what begins later, which was written before this machine was started.
    fn read(&self, now_ns: u64) -> Option<Pulses> {
        let mut record = [0; RECORD_BYTES];
        self.file.read_exact_at(&mut record, 0).ok()?;
        let pulses = parsed(&record)?.moved(self.zero_ns.saturating_neg());
        (pulses.begun_ns() <= now_ns).then_some(pulses)
    }
}

impl Carrier for Shared {
    fn pulses(&self) -> Option<Pulses> {
        let now_ns = self.clock.now_ns();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ns >= seen.good_until_ns {
            *seen = Seen { pulses: self.read(now_ns), good_until_ns: now_ns + LOOK_NS };
        }
        seen.pulses
    }

    fn carry(&self, pulses: Pulses) -> bool {
        let record = written(&pulses.moved(self.zero_ns));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.good_until_ns = 0;
        // In one call, so that others see all of it; who sees half of it sees a wrong checksum.
        self.drives && self.file.write_at(&record, 0).is_ok_and(|bytes| bytes == RECORD_BYTES)
    }
}

fn written(pulses: &Pulses) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let (body, checksum) = record.split_at_mut(RECORD_BYTES - 4);
    body[..MAGIC.len()].copy_from_slice(&MAGIC);
    body[MAGIC.len()..].copy_from_slice(&pulses.to_bytes());
    checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    record
}

fn parsed(record: &[u8; RECORD_BYTES]) -> Option<Pulses> {
    let (body, checksum) = record.split_at(RECORD_BYTES - 4);
    let pulses = body.strip_prefix(&MAGIC)?.try_into().ok()?;
    let whole = crc32fast::hash(body).to_le_bytes() == checksum;
    whole.then(|| Pulses::from_bytes(pulses)).flatten()
}

/// CLOCK_MONOTONIC when a clock showed 0: that of the quickest of several looks at both, as this
/// thread may be put aside in the middle of one.
fn zero_ns(clock: &Clock) -> i64 {
    let monotonic_ns = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let look = |_| {
        let before_ns = monotonic_ns();
        let shown_ns = clock.now_ns() as i64;
        let took_ns = monotonic_ns() - before_ns;
        (took_ns, before_ns + took_ns / 2 - shown_ns)
    };
    (0..16).map(look).min().map_or(0, |(_, zero_ns)| zero_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_emulator::{DeviceClock, Faults};
    use genlock_formats::k4a::Rate;
    use std::os::unix::fs::PermissionsExt;

    fn pulses(clock: &Clock) -> Pulses {
        let faults = Faults { clock_ppm: 30.0, ..Faults::default() };
        Pulses::new(clock.now_ns(), Rate::Fps15, DeviceClock::running(&faults), &faults)
    }

    fn end(path: &Path, drives: bool, clock: &Clock) -> Shared {
        Shared::new(open(path).expect("a file"), drives, clock)
    }

    #[test]
    fn two_clocks_of_a_machine_tell_the_same_moments() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cable");
        let (clock, later) = (Clock::machine(), Clock::machine());
        let driven = end(&path, true, &clock);
        let heard = end(&path, false, &later);
        assert_eq!(heard.pulses(), None, "nobody has begun");
        let given = pulses(&clock);
        assert!(driven.carry(given));
        let got = fresh(&heard).expect("they have begun");
        assert_eq!(fresh(&driven), Some(given));
        let apart_ns = given.at_ns(90) as i64 - got.at_ns(90) as i64;
        let (now_ns, later_ns) = (clock.now_ns() as i64, later.now_ns() as i64);
        assert!((apart_ns - (now_ns - later_ns)).abs() < 5_000_000, "{apart_ns}");
        assert!(driven.carry(given.stopped(clock.now_ns())));
        assert!(!fresh(&heard).expect("they were").go_on());
        let mode = path.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// What a look at the file itself shows.
    fn fresh(end: &Shared) -> Option<Pulses> {
        end.read(end.clock.now_ns())
    }

    #[test]
    fn what_no_master_wrote_is_no_pulses() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cable");
        let clock = Clock::machine();
        let heard = end(&path, true, &clock);
        assert!(heard.carry(pulses(&clock)));
        let whole = std::fs::read(&path).expect("a file");
        let later = Clock::simulated();
        later.move_to(clock.now_ns() + 3_600_000_000_000);
        let unborn = written(&pulses(&later).moved(heard.zero_ns));
        let torn = |at: usize| [&whole[..at], &unborn[at..]].concat();
        for (what, bytes) in [
            ("short", whole[..RECORD_BYTES - 1].to_vec()),
            ("empty", Vec::new()),
            ("foreign", vec![b'x'; 4096]),
            ("of the last boot", unborn.to_vec()),
            ("torn", torn(16)),
            ("of another version", [b"glcable2", &whole[8..]].concat()),
        ] {
            std::fs::write(&path, bytes).expect("a file");
            assert_eq!(fresh(&heard), None, "{what}");
        }
        std::fs::write(&path, &whole).expect("a file");
        assert!(fresh(&heard).is_some());
    }

    #[test]
    fn a_cable_has_one_master_and_pulses_outlast_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cable");
        let clock = Clock::machine();
        let driven = drive(&path, &clock).expect("nobody drives it");
        let refused = drive(&path, &clock).expect_err("it is driven").to_string();
        assert!(refused.contains("another process drives this sync cable"), "{refused}");
        let heard = end(&path, false, &clock);
        assert!(!heard.carry(pulses(&clock)), "it does not drive the cable");
        drop(driven);
        let killed = end(&path, true, &clock);
        assert!(killed.carry(pulses(&clock)));
        drop(killed);
        assert!(fresh(&heard).is_some_and(|pulses| pulses.go_on()), "a camera has its own supply");
        let next = drive(&path, &clock).expect("nobody drives it any more");
        assert!(!next.pulses().expect("they were").go_on(), "it stops what was left running");
    }
}
