//! What reading a take costs: `cargo bench --bench replay -- FILE.mkv`, a recording of profile
//! `k4a`
//! of some hundred captures or more.
//!
//! It is read in order and at random places by the reader, and by Microsoft's playback library
//! where that is installed; then the same in profile `compact`. Every image is asked for as a
//! device gives it: 16-bit pixels little-endian, color as it is. With a take's folder instead it is
//! played as fast as it goes, and the memory of the process is told.

use genlock::convert::{self, How, Watch};
use genlock::replay::{Capture, Files, Reader, Selection, Slot};
use genlock_formats::depth::Level;
use genlock_formats::take::Profile;
use serde_json::Value;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const ROUNDS: usize = 5;
const SEEKS: usize = 300;

/// Asks for every image as a device gives it, and looks at each of its pages.
fn look(capture: &Capture<'_>, pixels: &mut Vec<u8>) {
    for slot in capture.devices.iter().flat_map(|device| device.slots()) {
        if let Slot::Frame(image) = slot {
            let bytes = image.pixels_le_in(pixels);
            black_box(bytes.iter().step_by(4096).fold(0, |sum, byte| sum ^ byte));
        }
    }
}

/// Captures in order and one at each trigger: seconds of both.
fn ours(reader: &Reader<'_>, triggers: &[u64]) -> (f64, f64) {
    let (all, mut pixels) = (Selection::default().of(reader).expect("triggers"), Vec::new());
    let begun = Instant::now();
    let played = reader.play(&all, |capture| {
        look(&capture, &mut pixels);
        Ok(())
    });
    played.expect("a sound recording");
    let in_order = begun.elapsed().as_secs_f64();
    let (mut captures, begun) = (reader.captures(0..0), Instant::now());
    for trigger in triggers {
        look(&captures.at(*trigger), &mut pixels);
    }
    (in_order, begun.elapsed().as_secs_f64())
}

fn official(file: &Path, times_us: &[u64]) -> Option<(f64, f64, u64)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("GENLOCK_ORACLE_PYTHON")
        .map_or_else(|| here.join(".venv-conformance/bin/python"), Into::into);
    let mut child = Command::new(python)
        .arg(here.join("benches/official_playback.py"))
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut to = child.stdin.take()?;
    times_us.iter().try_for_each(|us| writeln!(to, "{us}")).ok()?;
    drop(to);
    let output = child.wait_with_output().ok()?;
    let told: Value = serde_json::from_slice(&output.stdout).ok()?;
    let seconds = |name: &str| told[name].as_f64();
    Some((seconds("seconds")?, seconds("seek_seconds")?, told["captures"].as_u64()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory of this process that is not the page cache's, in MB.
fn own_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kb.unwrap_or(f64::NAN) / 1e3
}

fn play(take: &Path) {
    let files = Files::open(take).expect("a take");
    let reader = Reader::open(&files).expect("its recordings");
    let all = Selection::default().of(&reader).expect("triggers");
    let (mut captures, mut most_mb, mut pixels) = (0, 0.0_f64, Vec::new());
    let begun = Instant::now();
    let played = reader.play(&all, |capture| {
        look(&capture, &mut pixels);
        captures += 1;
        if captures % 100 == 0 {
            most_mb = most_mb.max(own_memory_mb());
        }
        Ok(())
    });
    played.expect("a sound take");
    let (took, bytes) = (begun.elapsed().as_secs_f64(), files.bytes() as f64);
    println!(
        "{:.2} GB, {captures} captures in {took:.1} s, {:.0} MB/s; at most {most_mb:.0} MB of \
         memory",
        bytes / 1e9,
        bytes / took / 1e6
    );
}

fn main() {
    let paths: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [path] = &paths[..] else {
        println!("SKIPPED: name a recording or a take: -- FILE.mkv");
        return;
    };
    let path = Path::new(path);
    if path.is_dir() {
        return play(path);
    }
    let folder = tempfile::tempdir_in(path.parent().unwrap_or(path)).expect("a folder");
    let packed = folder.path().join("compact.mkv");
    let stop = AtomicBool::new(false);
    let how = How { profile: Profile::Compact, level: Level::default() };
    let mut watch = Watch { stop: &stop, told: &mut |_| {} };
    convert::file(path, &packed, how, &mut watch).expect("a recording, and room beside it");
    let files = [path, &packed].map(|file| Files::open(file).expect("a recording"));
    let readers = files.each_ref().map(|files| Reader::open(files).expect("a recording"));
    let triggers = readers[0].triggers();
    let count = triggers.end - triggers.start;
    // The same places for all, none near the one before.
    let places: Vec<_> = (0..SEEKS as u64).map(|i| i * 7919 % (count - 1)).collect();
    let ours_at: Vec<_> = places.iter().map(|place| triggers.start + place).collect();
    let period_us = readers[0].period_us();
    let theirs_at: Vec<_> = places.iter().map(|place| place * period_us).collect();
    let names = ["genlock, k4a", "genlock, compact", "official, k4a"];
    let mut times = [const { (Vec::new(), Vec::new()) }; 3];
    for _ in 0..ROUNDS {
        for (reader, times) in readers.iter().zip(&mut times) {
            let (in_order, seeks) = ours(reader, &ours_at);
            times.0.push(in_order);
            times.1.push(seeks);
        }
        if let Some((in_order, seeks, captures)) = official(path, &theirs_at) {
            assert!(captures.abs_diff(count) <= 1, "{captures} captures, {count} triggers");
            times[2].0.push(in_order);
            times[2].1.push(seeks);
        }
    }
    println!("{count} captures, {SEEKS} seeks, median of {ROUNDS} rounds in turns");
    for (name, (in_order, seeks)) in names.iter().zip(times) {
        if in_order.is_empty() {
            println!("  {name:<18} SKIPPED: not installed");
            continue;
        }
        let (in_order, seek_ms) = (median(in_order), median(seeks) / SEEKS as f64 * 1e3);
        println!(
            "  {name:<18} {:7.0} captures/s, seek and read {seek_ms:7.3} ms",
            count as f64 / in_order
        );
    }
}
