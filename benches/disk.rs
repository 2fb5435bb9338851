//! What ways there are to write a recording, side by side: `cargo bench --bench disk`.
//!
//! Each writes the same frames of 32 + 737,280 bytes, in turns, and makes them durable each second
//! and at the end. Give it a folder on the disk to measure, a size in GB and, to see a rig rather
//! than the disk at its limit, MB/s: `cargo bench --bench disk -- /data 16 280`. On a noisy machine
//! the ratios are what counts.

use genlock::record::{Disk, PartFile};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const HEAD_BYTES: usize = 32;
const FRAME_BYTES: usize = 737_280;
const SYNC_EVERY: Duration = Duration::from_secs(1);
const WINDOW_BYTES: u64 = 8 << 20;

/// A way to write.
trait Way {
    fn append(&mut self, head: &[u8], frame: &[u8]);
    fn sync(&mut self);
}

/// The program's own, whichever it is.
struct Ours(PartFile);

impl Way for Ours {
    fn append(&mut self, head: &[u8], frame: &[u8]) {
        self.0.append(&mut [IoSlice::new(head), IoSlice::new(frame)]).expect("room on the disk");
    }

    fn sync(&mut self) {
        self.0.sync().expect("a sound disk");
    }
}

/// Buffered writes, with what is done for every 8 MiB of them.
struct Buffered {
    file: File,
    bytes: u64,
    rolled: u64,
    roll: fn(&File, u64),
}

impl Way for Buffered {
    fn append(&mut self, head: &[u8], frame: &[u8]) {
        let written = self.file.write_vectored(&[IoSlice::new(head), IoSlice::new(frame)]);
        assert_eq!(written.expect("room on the disk"), head.len() + frame.len());
        self.bytes += (head.len() + frame.len()) as u64;
        while self.bytes - self.rolled >= WINDOW_BYTES {
            (self.roll)(&self.file, self.rolled);
            self.rolled += WINDOW_BYTES;
        }
    }

    fn sync(&mut self) {
        self.file.sync_data().expect("a sound disk");
    }
}

fn nothing(_: &File, _: u64) {}

/// Starts the write-back of a window, waits for the one two behind and drops it from the cache.
fn write_back_and_wait(file: &File, at: u64) {
    range(file, at, libc::SYNC_FILE_RANGE_WRITE);
    if let Some(behind) = at.checked_sub(2 * WINDOW_BYTES) {
        let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        range(file, behind, wait);
        let _ = fadvise(file, behind, NonZeroU64::new(WINDOW_BYTES), Advice::DontNeed);
    }
}

fn range(file: &File, at: u64, flags: libc::c_uint) {
    let (at, len) = (at as libc::off64_t, WINDOW_BYTES as libc::off64_t);
    // SAFETY: the call takes no pointer, and the descriptor is open as long as `file` is borrowed.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), at, len, flags) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The same by advice alone: Linux starts the write-back of dirty pages that are not needed, and
/// drops clean ones.
fn advise(file: &File, at: u64) {
    let from = at.saturating_sub(2 * WINDOW_BYTES);
    let len = NonZeroU64::new(at + WINDOW_BYTES - from);
    let _ = fadvise(file, from, len, Advice::DontNeed);
}

/// The same into blocks that were allocated before.
fn allocate_and_advise(file: &File, at: u64) {
    advise(file, at);
    let _ = fallocate(file, FallocateFlags::KEEP_SIZE, at + WINDOW_BYTES, 3 * WINDOW_BYTES);
}

/// Aligned chunks past the cache. What does not fill one is in our memory, and goes out padded
/// when it is made durable.
struct Direct {
    file: File,
    chunk: Vec<u8>,
    used: usize,
    at: u64,
}

impl Direct {
    const CHUNK_BYTES: usize = 4 << 20;
    const ALIGNED: usize = 4096;

    fn create(path: &Path) -> Option<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).custom_flags(libc::O_DIRECT);
        let file = options.open(path).ok()?;
        Some(Self { file, chunk: vec![0; Self::CHUNK_BYTES + Self::ALIGNED], used: 0, at: 0 })
    }

    fn write(&mut self, bytes: usize) {
        let from = self.chunk.as_ptr().align_offset(Self::ALIGNED);
        let chunk = &self.chunk[from..from + bytes];
        std::os::unix::fs::FileExt::write_all_at(&self.file, chunk, self.at)
            .expect("room on the disk");
    }
}

impl Way for Direct {
    fn append(&mut self, head: &[u8], frame: &[u8]) {
        let from = self.chunk.as_ptr().align_offset(Self::ALIGNED);
        for mut piece in [head, frame] {
            while !piece.is_empty() {
                let (now, rest) = piece.split_at(piece.len().min(Self::CHUNK_BYTES - self.used));
                self.chunk[from + self.used..][..now.len()].copy_from_slice(now);
                (self.used, piece) = (self.used + now.len(), rest);
                if self.used == Self::CHUNK_BYTES {
                    self.write(Self::CHUNK_BYTES);
                    (self.used, self.at) = (0, self.at + Self::CHUNK_BYTES as u64);
                }
            }
        }
    }

    fn sync(&mut self) {
        self.write(self.used.next_multiple_of(Self::ALIGNED));
        self.file.set_len(self.at + self.used as u64).expect("a file that is ours");
        self.file.sync_data().expect("a sound disk");
    }
}

const NAMES: [&str; 6] =
    ["genlock", "plain", "sync_file_range", "fadvise", "fadvise+fallocate", "O_DIRECT 4 MiB"];

fn way(name: &str, path: &Path) -> Option<Box<dyn Way>> {
    let roll = match name {
        "genlock" => return Some(Box::new(Ours(PartFile::create(path).expect("a fresh file")))),
        "O_DIRECT 4 MiB" => return Some(Box::new(Direct::create(path)?)),
        "plain" => nothing,
        "sync_file_range" => write_back_and_wait,
        "fadvise" => advise,
        _ => allocate_and_advise,
    };
    let file = File::create_new(path).expect("a fresh file");
    Some(Box::new(Buffered { file, bytes: 0, rolled: 0, roll }))
}

/// What a way costs: the last are the longest single ones, and the most that was seen.
#[derive(Clone, Copy, Default)]
struct Cost {
    mb_per_s: f64,
    cpu_s_per_gb: f64,
    append_ms: f64,
    sync_ms: f64,
    dirty_mb: f64,
}

impl Cost {
    fn numbers(&self) -> [f64; 5] {
        [self.mb_per_s, self.cpu_s_per_gb, self.append_ms, self.sync_ms, self.dirty_mb]
    }
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Dirty pages of the machine, and those on their way to a disk.
fn dirty_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let named = |line: &&str| line.starts_with("Dirty:") || line.starts_with("Writeback:");
    let number = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines().filter(named).filter_map(number).sum()
}

fn longest_ms(longest: &mut f64, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    *longest = longest.max(begun.elapsed().as_secs_f64() * 1e3);
}

fn measure(way: &mut dyn Way, bytes: u64, bytes_per_s: f64) -> Cost {
    // A payload that no file system makes smaller.
    let frame: Vec<_> = (0..FRAME_BYTES as u64)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let (mut cost, mut written) = (Cost::default(), 0);
    let (done, most_kb) = (AtomicBool::new(false), AtomicU64::new(0));
    let (cpu, before_kb) = (cpu_s(), dirty_kb());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most_kb.fetch_max(dirty_kb(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let mut synced = begun;
        while written < bytes {
            let due = Duration::from_secs_f64(written as f64 / bytes_per_s);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            longest_ms(&mut cost.append_ms, || way.append(&[7; HEAD_BYTES], &frame));
            written += (HEAD_BYTES + FRAME_BYTES) as u64;
            if synced.elapsed() >= SYNC_EVERY {
                longest_ms(&mut cost.sync_ms, || way.sync());
                synced = Instant::now();
            }
        }
        longest_ms(&mut cost.sync_ms, || way.sync());
        cost.mb_per_s = written as f64 / 1e6 / begun.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
    });
    cost.cpu_s_per_gb = (cpu_s() - cpu) / (written as f64 / 1e9);
    cost.dirty_mb = most_kb.into_inner().saturating_sub(before_kb) as f64 / 1e3;
    cost
}

/// The middle one of each figure.
fn median(costs: &[Cost]) -> [f64; 5] {
    std::array::from_fn(|figure| {
        let mut all: Vec<_> = costs.iter().map(|cost| cost.numbers()[figure]).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    })
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    // `cargo test` runs benches with --test to see that they build and start.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    let number = |place: usize, otherwise: f64| {
        args.get(place).map_or(otherwise, |word| word.parse().expect("a number"))
    };
    let place = args.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(place).expect("a folder");
    let (bytes, bytes_per_s) = ((number(1, 2.0) * 1e9) as u64, number(2, f64::INFINITY) * 1e6);
    let mut costs: [Vec<Cost>; NAMES.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (name, costs) in NAMES.iter().zip(&mut costs) {
            let path = folder.path().join("frames");
            if let Some(mut way) = way(name, &path) {
                costs.push(measure(way.as_mut(), bytes, bytes_per_s));
            }
            for path in [path, folder.path().join("frames.part")] {
                let _ = std::fs::remove_file(path);
            }
        }
    }
    println!("{:.1} GB, medians of {ROUNDS} rounds, in turns; ratios to plain", bytes as f64 / 1e9);
    println!("                        MB/s    CPU s/GB   append ms     sync ms    dirty MB");
    let plain = median(&costs[1]);
    for (name, costs) in NAMES.iter().zip(&costs) {
        let row = median(costs).iter().zip(plain).fold(String::new(), |row, (figure, plain)| {
            row + &format!(
                " {figure:>6.*} {:>4.2}",
                if *figure < 10.0 { 2 } else { 0 },
                figure / plain
            )
        });
        println!("  {name:<18}{row}");
    }
}
