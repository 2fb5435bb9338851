//! The disk that a take goes to: its room, and how fast it really writes.

use crate::rig::Finding;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a measurement writes at most, and how long it goes on. A write that has begun is finished.
const MEASURED_BYTES: u64 = 128 << 20;
const MEASURED_TIME: Duration = Duration::from_millis(500);

/// Bytes between two syncs of a measurement, and of one write: those of a recording.
const SYNCED_BYTES: u64 = 16 << 20;
const BLOCK_BYTES: usize = 4 << 20;

/// Room for a take of unknown length: less is an error, or a warning.
const ROOM_MIN: Duration = Duration::from_secs(60);
const ROOM_AMPLE: Duration = Duration::from_secs(600);

/// A take ends while its disk still has room for so much of it: the frames before an agreed end
/// have three seconds to come in, and buffers for a second and a half are written behind them.
pub const ENDING: Duration = Duration::from_secs(5);

/// What is known of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The folder of the take, or the nearest one above it that exists.
    pub folder: PathBuf,
    /// Bytes that it still takes, where the file system says.
    pub free_bytes: Option<u64>,
    /// What came of writing to it.
    pub writing: Writing,
}

/// What came of writing to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    /// It was not tried.
    Untried,
    /// The system's reason against it.
    Refused(String),
    /// Bytes per second, on the disk and not in memory alone.
    BytesPerS(u64),
}

impl Disk {
    /// Looks at the disk under `place`, which need not exist.
    #[must_use]
    pub fn under(place: &Path) -> Self {
        let there = existing(place);
        // A person who reads of `.` would have to know where that was.
        let folder = std::path::absolute(there).unwrap_or(there.to_owned());
        let free_bytes = free_bytes(&folder);
        Self { folder, free_bytes, writing: Writing::Untried }
    }

    /// Writes to it for a moment. What was written is gone afterwards.
    pub fn measure(&mut self) {
        // A quarter of what is free stays far from filling the disk.
        let most = self.free_bytes.map_or(MEASURED_BYTES, |free| MEASURED_BYTES.min(free / 4));
        self.writing = match write_for_a_moment(&self.folder, most) {
            Ok(bytes_per_s) => Writing::BytesPerS(bytes_per_s),
            Err(cause) => Writing::Refused(cause.to_string()),
        };
    }
}

/// The folder at `place`, or the nearest one above it that exists.
fn existing(place: &Path) -> &Path {
    let there = place.ancestors().find(|path| path.exists());
    there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes that the disk under `place`, which need not exist, still takes of this user; nothing
/// where the file system does not say.
#[must_use]
pub fn free_bytes(place: &Path) -> Option<u64> {
    let stats = rustix::fs::statvfs(existing(place)).ok()?;
    // A file system without blocks, as those in memory can be, has no bound that it knows of.
    (stats.f_blocks > 0).then(|| stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// A file in `folder` without a name: it is gone whatever happens to this process. Until then it is
/// called `name`.
///
/// # Errors
/// The system's, when it cannot be created.
pub fn nameless(folder: &Path, name: &str) -> io::Result<File> {
    let path = folder.join(format!("{name}-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn write_for_a_moment(folder: &Path, most: u64) -> io::Result<u64> {
    let mut file = nameless(folder, ".genlock-check")?;
    let block = noise(BLOCK_BYTES);
    let begun = Instant::now();
    let mut written = 0;
    while written == 0 || (written < most && begun.elapsed() < MEASURED_TIME) {
        let next = SYNCED_BYTES.min(most.saturating_sub(written)).max(1);
        let mut left = usize::try_from(next).unwrap_or(BLOCK_BYTES);
        while left > 0 {
            let bytes = left.min(block.len());
            file.write_all(&block[..bytes])?;
            left -= bytes;
        }
        file.sync_data()?;
        written += next;
    }
    Ok((written as f64 / begun.elapsed().as_secs_f64().max(1e-6)) as u64)
}

/// Bytes that nobody makes smaller: no file system, no packing.
#[must_use]
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = Vec::with_capacity(bytes);
    while noise.len() < bytes {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Whether a disk has room for a take of `bytes_per_s`, of this length if it is known, and writes
/// fast enough.
#[must_use]
pub fn findings(disk: &Disk, bytes_per_s: u64, length: Option<Duration>) -> Vec<Finding> {
    let folder = disk.folder.display();
    let mb = |bytes: u64| bytes as f64 / 1e6;
    if !disk.folder.is_dir() {
        return vec![Finding::error(
            "disk",
            format!("cannot create a take below {folder}: it is not a folder"),
            "choose another OUTPUT",
        )];
    }
    if let Writing::Refused(cause) = &disk.writing {
        return vec![Finding::error(
            "disk",
            format!("cannot create a file in {folder}: {cause}"),
            "choose another OUTPUT, or allow this user to write there",
        )];
    }
    let mut findings: Vec<_> = room(disk, bytes_per_s, length).into_iter().collect();
    if let Writing::BytesPerS(measured) = disk.writing {
        let what = format!(
            "{folder} writes {:.0} MB/s, the take needs {:.0}",
            mb(measured),
            mb(bytes_per_s)
        );
        let fix = "record to a faster disk (NVMe), or choose smaller modes or a lower rate";
        findings.push(if measured < bytes_per_s {
            Finding::error("disk", what + ": frames will be lost", fix)
        } else if measured < bytes_per_s.saturating_mul(2) {
            Finding::warning("disk", what + ": nothing else may use it meanwhile", fix)
        } else {
            Finding::good("disk", what)
        });
    }
    findings
}

/// Bytes that must be free for a take of this length to begin: those of its seconds, a part of one
/// counts in full, and those that are kept for its end.
#[must_use]
pub fn needed_bytes(bytes_per_s: u64, length: Duration) -> u64 {
    let seconds = length.as_secs().saturating_add(u64::from(length.subsec_nanos() > 0));
    bytes_per_s.saturating_mul(seconds.saturating_add(ENDING.as_secs()))
}

fn room(disk: &Disk, bytes_per_s: u64, length: Option<Duration>) -> Option<Finding> {
    let free = disk.free_bytes?;
    let room = Duration::from_secs_f64(free as f64 / bytes_per_s.max(1) as f64);
    let bytes = |time: Duration| bytes_per_s.saturating_mul(time.as_secs());
    // The size of color frames is an estimate, so a known length should fit twice.
    let (least, ample) = match length {
        Some(length) => (needed_bytes(bytes_per_s, length), bytes(length.saturating_mul(2))),
        None => (bytes(ROOM_MIN), bytes(ROOM_AMPLE)),
    };
    let span = |time: Duration| match time.as_secs_f64() {
        seconds @ 60.0.. => format!("{:.1} minutes", seconds / 60.0),
        seconds => format!("{seconds:.1} seconds"),
    };
    let mut what = format!(
        "{} has room for {} at {:.0} MB/s",
        disk.folder.display(),
        span(room),
        bytes_per_s as f64 / 1e6
    );
    if let Some(length) = length {
        what += &format!(", the take has {}", span(length));
        if free < least {
            what += &format!(" and keeps {} free for its end", span(ENDING));
        }
    }
    let fix = "free some space, or record to another disk";
    Some(if free < least {
        Finding::error("disk", what, fix)
    } else if free < ample {
        Finding::warning("disk", what, fix)
    } else {
        Finding::good("disk", what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Severity;

    fn disk(free_bytes: u64, writing: Writing) -> Disk {
        Disk { folder: PathBuf::from("."), free_bytes: Some(free_bytes), writing }
    }

    fn severities(disk: &Disk, length: Option<u64>) -> Vec<Severity> {
        let findings = findings(disk, 1_000_000, length.map(Duration::from_secs));
        findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn room_is_counted_in_minutes_of_the_take() {
        let room = |mb: u64, length| severities(&disk(mb * 1_000_000, Writing::Untried), length);
        assert_eq!(room(59, None), [Severity::Error]);
        assert_eq!(room(60, None), [Severity::Warning]);
        assert_eq!(room(599, None), [Severity::Warning]);
        assert_eq!(room(600, None), [Severity::Good]);
        // Below, the take would be ended before its time.
        assert_eq!(room(14, Some(10)), [Severity::Error]);
        assert_eq!(room(15, Some(10)), [Severity::Warning]);
        assert_eq!(room(19, Some(10)), [Severity::Warning]);
        assert_eq!(room(20, Some(10)), [Severity::Good]);
        let text = findings(&disk(90_000_000, Writing::Untried), 1_000_000, None)[0].to_string();
        assert!(text.contains("1.5 minutes at 1 MB/s") && text.contains("free some"), "{text}");
        let take = Some(Duration::from_secs(1));
        let text = findings(&disk(2_000_000, Writing::Untried), 1_000_000, take)[0].to_string();
        assert!(text.contains("2.0 seconds at 1 MB/s, the take has 1.0 seconds and"), "{text}");
        assert_eq!(needed_bytes(1_000_000, Duration::from_millis(100)), 6_000_000);
        let unknown = Disk { free_bytes: None, ..disk(0, Writing::Untried) };
        assert_eq!(severities(&unknown, None), []);
    }

    #[test]
    fn a_disk_writes_twice_what_the_take_needs() {
        let writes = |bytes| severities(&disk(u64::MAX, Writing::BytesPerS(bytes)), None)[1];
        assert_eq!(writes(999_999), Severity::Error);
        assert_eq!(writes(1_000_000), Severity::Warning);
        assert_eq!(writes(1_999_999), Severity::Warning);
        assert_eq!(writes(2_000_000), Severity::Good);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        let below = Disk::under(&file.join("take"));
        assert_eq!(below.folder, file);
        assert_eq!(severities(&below, None), [Severity::Error]);
        // Nobody creates files there, root included.
        let mut kernels = Disk::under(Path::new("/proc/self/take"));
        kernels.measure();
        let text = findings(&kernels, 1, None)[0].to_string();
        assert!(text.contains("cannot create a file in /proc/self"), "{text}");
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut disk = Disk::under(&folder.path().join("a/b/take"));
        assert_eq!(disk.folder, folder.path());
        disk.measure();
        assert!(matches!(disk.writing, Writing::BytesPerS(1..)), "{disk:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn noise_does_not_repeat_itself() {
        let noise = noise(4096);
        let words: std::collections::BTreeSet<_> = noise.chunks_exact(8).collect();
        assert_eq!((noise.len(), words.len()), (4096, 512));
    }
}
