//! What exports cost: `cargo bench --bench export -- TAKE FOLDER`.
//!
//! A take, such as one of `genlock record --emulated 2 -l 10`, is exported to every format into
//! FOLDER beside a plain copy of it, in turns, all made durable. MB are always those of the take.

use genlock::export::{Export, Format, Options, Watch};
use genlock::replay::Files;
use genlock::replay::Selection;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const ROUNDS: usize = 3;

/// What is measured, by name: a format, and whether with clouds.
const KINDS: [(&str, Format, bool); 6] = [
    ("png", Format::Png, false),
    ("mcap", Format::Mcap, false),
    ("mcap --clouds", Format::Mcap, true),
    ("tum", Format::Tum, false),
    ("webdataset", Format::Webdataset, false),
    ("ply", Format::Ply, false),
];

fn export(take: &Path, out: &Path, to: Format, clouds: bool) {
    let stop = AtomicBool::new(false);
    let mut watch = Watch { stop: &stop, told: &mut |_| {} };
    let files = Files::open(take).expect("a take");
    let options = Options { to, clouds, shard_size: 100, selection: Selection::default() };
    Export::new(&files, &options).run(out, &mut watch).expect("a take, and room for it");
}

/// Copies the files of a folder, durably.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("room for a copy");
    for entry in fs::read_dir(from).expect("a take") {
        let path = entry.expect("an entry").path();
        let copied = to.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &copied).expect("room for a copy");
        File::open(&copied).expect("the copy").sync_all().expect("a disk");
    }
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder");
    let of = |path: PathBuf| match path.is_dir() {
        true => bytes(&path),
        false => path.metadata().map_or(0, |data| data.len()),
    };
    entries.map(|entry| of(entry.expect("an entry").path())).sum()
}

/// Seconds that some work takes, and bytes that it leaves in a folder, which is removed.
fn measured(out: &Path, work: impl FnOnce()) -> (f64, u64) {
    let begun = Instant::now();
    work();
    let seconds = begun.elapsed().as_secs_f64();
    let left = bytes(out);
    fs::remove_dir_all(out).expect("it was made");
    (seconds, left)
}

fn main() {
    let paths: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [take, folder] = &paths[..] else {
        println!("SKIPPED: name a take and a folder: -- TAKE FOLDER");
        return;
    };
    let (take, out) = (Path::new(take), Path::new(folder).join("bench-export"));
    let source = bytes(take) as f64;
    let mut times = vec![Vec::new(); KINDS.len() + 1];
    for _ in 0..ROUNDS {
        times[0].push(measured(&out, || copy(take, &out)));
        for ((_, to, clouds), times) in KINDS.into_iter().zip(&mut times[1..]) {
            times.push(measured(&out, || export(take, &out, to, clouds)));
        }
    }
    println!("{:.0} MB; median of {ROUNDS}", source / 1e6);
    let names = std::iter::once("plain copy").chain(KINDS.map(|(name, ..)| name));
    for (name, mut times) in names.zip(times) {
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (seconds, left) = times[ROUNDS / 2];
        let (rate, left) = (source / seconds / 1e6, left as f64 / 1e6);
        println!("  {name:<14} {rate:5.0} MB/s, {left:6.0} MB written");
    }
}
