//! What conversion costs: `cargo bench --bench convert -- RECORDING.mkv FOLDER`.
//!
//! A recording of profile `k4a`, such as one of `genlock record --emulated 1 -l 30`, is packed and
//! restored in FOLDER beside a plain copy of it, in turns, all made durable. MB are always those of
//! the recording in profile `k4a`.

use genlock::convert::{self, How, Watch};
use genlock_formats::depth::Level;
use genlock_formats::take::Profile;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const ROUNDS: usize = 5;

fn convert(from: &Path, to: &Path, how: How) {
    let stop = AtomicBool::new(false);
    let mut watch = Watch { stop: &stop, told: &mut |_| {} };
    convert::file(from, to, how, &mut watch).expect("a recording, and room for it");
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("room for a copy");
    File::open(to).expect("the copy").sync_all().expect("a disk");
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn main() {
    let paths: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [recording, folder] = &paths[..] else {
        println!("SKIPPED: name a recording and a folder: -- RECORDING.mkv FOLDER");
        return;
    };
    let (recording, folder) = (Path::new(recording), PathBuf::from(folder));
    let [copied, packed, restored] =
        ["copied", "packed", "restored"].map(|name| folder.join(format!("bench-{name}.mkv")));
    let bytes = fs::metadata(recording).expect("a recording").len() as f64;
    let compact = How { profile: Profile::Compact, level: Level::default() };
    let k4a = How { profile: Profile::K4a, ..compact };
    let (mut times, mut small) = ([const { Vec::new() }; 3], 0.0);
    for _ in 0..ROUNDS {
        times[0].push(seconds(|| copy(recording, &copied)));
        times[1].push(seconds(|| convert(recording, &packed, compact)));
        times[2].push(seconds(|| convert(&packed, &restored, k4a)));
        small = fs::metadata(&packed).expect("it was written").len() as f64;
        for path in [&copied, &packed, &restored] {
            fs::remove_file(path).expect("it was written");
        }
    }
    println!(
        "{:.0} MB, packed {:.2} times smaller; median of {ROUNDS}",
        bytes / 1e6,
        bytes / small
    );
    for (name, times) in ["plain copy", "to compact", "to k4a"].iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("  {name:<12} {:5.0} MB/s", bytes / times[ROUNDS / 2] / 1e6);
    }
}
