//! What repair costs: `cargo bench --bench repair`.
//!
//! A file that was never finished is repaired beside a plain copy of it, in turns, both made
//! durable: on a noisy machine the ratio is what counts. Give it a folder on the disk to measure
//! and a size in GB: `cargo bench --bench repair -- /data 4`.

use genlock::repair;
use genlock_formats::k4a::{self, Configuration, DepthMode, Rate, Role};
use genlock_formats::mkv::{Block, ClusterLayout, Muxer};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

const ROUNDS: usize = 7;
const JPEG_BYTES: usize = 300_000;

/// An unfinished recording of about `bytes`.
fn unfinished(path: &Path, bytes: u64) -> std::io::Result<()> {
    let configuration = Configuration {
        color: Some("1080p".parse().expect("a mode")),
        depth: Some(DepthMode::NfovUnbinned),
        rate: Rate::Fps30,
        imu: false,
        role: Role::Standalone,
        subordinate_delay_us: 0,
        depth_delay_us: 0,
        start_offset_ns: 1_000_000_000,
    };
    let about = k4a::About { writing_app: "bench".to_owned(), date_utc_ns: None, uid_seed: 1 };
    let (muxer, front) = Muxer::new(&k4a::header(&configuration, None, &about));
    let mut file = BufWriter::new(File::create_new(path)?);
    file.write_all(&front)?;
    let plane: Vec<_> =
        (0..DepthMode::NfovUnbinned.image_bytes()).map(|i| (i * 37 % 251) as u8).collect();
    let (mut layout, mut written, mut ticks) = (ClusterLayout::default(), 0, 0);
    while written < bytes {
        let jpeg = &plane[..JPEG_BYTES];
        let blocks = [(1, jpeg), (2, &plane[..]), (3, &plane[..])];
        let blocks = blocks.map(|(track, bytes)| Block::frame(track, ticks, bytes));
        muxer.cluster(&blocks, &mut layout).expect("a sound cluster");
        for piece in layout.pieces(&blocks) {
            file.write_all(piece)?;
        }
        written += layout.len();
        ticks += 33_333;
    }
    file.into_inner()?.sync_all()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// Through the same calls as `cp`, made durable as the repaired file is.
fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("room for a copy");
    File::open(to).expect("the copy").sync_all().expect("a disk");
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let place = args.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let gigabytes: f64 = args.get(1).map_or(2.0, |size| size.parse().expect("a number of GB"));
    let folder = tempfile::tempdir_in(place).expect("a folder");
    let (part, out) = (folder.path().join("a.mkv.part"), folder.path().join("a.mkv"));
    unfinished(&part, (gigabytes * 1e9) as u64).expect("room for a recording");
    let bytes = fs::metadata(&part).expect("a recording").len() as f64;
    let mut ratios = Vec::new();
    println!("{:.1} GB, {ROUNDS} rounds, MB/s", bytes / 1e9);
    for _ in 0..ROUNDS {
        let copied = seconds(|| copy(&part, &out));
        fs::remove_file(&out).expect("the copy");
        let repaired = seconds(|| {
            repair::into_new_file(&part, &out).expect("it is repaired");
        });
        fs::remove_file(&out).expect("the repaired file");
        let ratio = copied / repaired;
        let (copied, repaired) = (bytes / 1e6 / copied, bytes / 1e6 / repaired);
        println!("copy {copied:>6.0}   repair {repaired:>6.0}   {:>4.0} %", ratio * 100.0);
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: repair at {:.0} % of a copy", ratios[ROUNDS / 2] * 100.0);
}
