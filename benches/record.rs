//! What recording costs, in one table: `cargo bench --bench record`; what the profiles cost alone,
//! with `-- profiles`.
//!
//! Writing is measured beside a plain `write` of the same bytes and beside Microsoft's libk4arecord
//! on the same captures, in turns, in the same run: on a noisy machine the ratios are what counts.

use genlock::clock::Clock;
use genlock::frame::{Frame, TrackName};
use genlock::pool::Pool;
use genlock::record::{About, Disk, PartFile, RecordingFile, swap_bytes};
use genlock_formats::k4a::{self, Configuration, DepthMode, Rate, Role};
use genlock_formats::take::{Profile, Take};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "counting/mod.rs"]
mod counting;

const CAPTURES: usize = 300;
const JPEG_BYTES: usize = 300_000;
const ROUNDS: usize = 5;

/// Cost of one way to write the captures.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    bytes: f64,
}

impl Cost {
    fn measure(work: impl FnOnce() -> u64) -> Self {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let bytes = work() as f64;
        let cpu_s = (cpu_time() - cpu).as_secs_f64();
        Self { wall_s: wall.elapsed().as_secs_f64(), cpu_s, bytes }
    }

    fn row(&self) -> String {
        format!(
            "{:>8.0} MB/s {:>8.2} CPU s/GB {:>8.3} ms CPU/capture",
            self.bytes / 1e6 / self.wall_s,
            self.cpu_s / (self.bytes / 1e9),
            self.cpu_s * 1e3 / CAPTURES as f64
        )
    }
}

/// Processor time of this process, all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn plane() -> Vec<u8> {
    (0..DepthMode::NfovUnbinned.image_bytes()).map(|i| (i * 37 % 251) as u8).collect()
}

fn jpeg() -> Vec<u8> {
    let mut jpeg = vec![0; JPEG_BYTES];
    jpeg[..2].copy_from_slice(&[0xFF, 0xD8]);
    jpeg
}

fn about() -> About {
    About {
        configuration: Configuration {
            color: Some("1080p".parse().expect("a mode")),
            depth: Some(DepthMode::NfovUnbinned),
            rate: Rate::Fps30,
            imu: false,
            role: Role::Standalone,
            subordinate_delay_us: 0,
            depth_delay_us: 0,
            start_offset_ns: 0,
        },
        device: k4a::Device {
            serial: "000000000001".to_owned(),
            color_firmware: "1.6.110".to_owned(),
            depth_firmware: "1.6.79".to_owned(),
            calibration: b"{}".to_vec(),
        },
        written: k4a::About { writing_app: "bench".to_owned(), date_utc_ns: None, uid_seed: 1 },
        profile: Profile::K4a,
    }
}

/// The record path from finished frames on: encode to `k4a`, mux, write.
fn ours(path: &Path) -> u64 {
    let images = Pool::new(8, plane().len());
    let disk: Box<dyn Disk> = Box::new(PartFile::create(path).expect("a fresh file"));
    let mut file = RecordingFile::new(about(), disk, Clock::machine(), Duration::from_secs(1));
    let (plane, jpeg) = (plane(), jpeg());
    // The device's frames are in buffers when encoding begins: filling them is not part of the
    // work.
    let fill = |track, bytes: &[u8]| {
        let mut buf = images.lend().expect("eight buffers for three frames");
        buf.set_len(bytes.len());
        buf.copy_from_slice(bytes);
        Frame { track, stamp_us: 0, last_us: 0, arrived_ns: 0, buf }
    };
    let mut capture = [
        fill(TrackName::Color, &jpeg),
        fill(TrackName::Depth, &plane),
        fill(TrackName::Ir, &plane),
    ];
    for i in 0..CAPTURES as u64 {
        for frame in &mut capture {
            frame.stamp_us = 1_000_000 + i * 1_000_000 / 30;
        }
        for frame in &mut capture[1..] {
            swap_bytes(&mut frame.buf);
        }
        file.append(capture.iter()).expect("room on the disk");
    }
    file.finish().expect("room on the disk");
    file.bytes()
}

/// What any writer pays at least.
fn plain(path: &Path) -> u64 {
    let mut file = std::fs::File::create_new(path).expect("a fresh file");
    let (plane, jpeg) = (plane(), jpeg());
    for _ in 0..CAPTURES {
        for bytes in [&jpeg, &plane, &plane] {
            file.write_all(bytes).expect("room on the disk");
        }
    }
    file.sync_data().expect("room on the disk");
    (CAPTURES * (JPEG_BYTES + 2 * plane.len())) as u64
}

fn official(path: &Path) -> Option<Cost> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("GENLOCK_ORACLE_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| root.join(".venv-conformance/bin/python"));
    let output = Command::new(python)
        .arg(root.join("benches/libk4arecord.py"))
        .arg(path)
        .args([CAPTURES.to_string(), JPEG_BYTES.to_string()])
        // Its complaints about the speed of the disk cost time and are not what is measured.
        .env("K4A_LOG_LEVEL", "c")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let cost: serde_json::Value = serde_json::from_str(said.lines().last()?).ok()?;
    let number = |name: &str| cost[name].as_f64();
    Some(Cost { wall_s: number("wall_s")?, cpu_s: number("cpu_s")?, bytes: number("bytes")? })
}

/// Median by processor time.
fn median(mut costs: Vec<Cost>) -> Option<Cost> {
    costs.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
    costs.get(costs.len() / 2).copied()
}

fn write_table(place: &str, folder: &Path) {
    let fresh = |name: &str| {
        let path = folder.join(name);
        let _ = std::fs::remove_file(&path);
        path
    };
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let path = fresh("ours.mkv");
        costs[0].push(Cost::measure(|| ours(&path)));
        let path = fresh("plain.bin");
        costs[1].push(Cost::measure(|| plain(&path)));
        costs[2].extend(official(&fresh("official.mkv")));
    }
    for name in ["ours.mkv", "plain.bin", "official.mkv"] {
        fresh(name);
    }
    let [ours, plain, official] = costs.map(median);
    println!("writing {CAPTURES} captures to {place}, median of {ROUNDS}");
    for (name, cost) in [("genlock", ours), ("plain write", plain), ("libk4arecord", official)] {
        match cost {
            Some(cost) => println!("  {name:<14}{}", cost.row()),
            None => println!("  {name:<14} not here: run .ci/run once to install it"),
        }
    }
    if let (Some(ours), Some(official)) = (ours, official) {
        println!("  libk4arecord / genlock in CPU per capture: {:.1}", official.cpu_s / ours.cpu_s);
    }
}

/// A take of emulated devices, by the binary itself.
struct Taken {
    /// How it ended, or why it did not.
    verdict: String,
    /// Triggers without a frame, over all tracks and devices.
    lost: u64,
    bytes: u64,
    cores: f64,
}

const TAKE_S: u64 = 10;

impl Taken {
    /// Records so many devices into a folder that is gone afterwards.
    fn record(take: &Path, devices: u64, profile: Profile, level: &[&str]) -> Self {
        let (cpu, wall) = (children_time(), Instant::now());
        let output = Command::new(env!("CARGO_BIN_EXE_genlock"))
            .args(["record", "--quiet", "--emulated", &devices.to_string()])
            .args(["-l", &TAKE_S.to_string(), "--profile", &profile.to_string()])
            .args(level)
            .arg(take)
            .output()
            .expect("the binary was built with this bench");
        let cpu_s = (children_time() - cpu).as_secs_f64();
        let cores = cpu_s / wall.elapsed().as_secs_f64();
        let verdict = match output.status.code() {
            Some(0) => "whole".to_owned(),
            Some(3) => "with losses".to_owned(),
            _ => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        };
        let text = std::fs::read_to_string(take.join("take.toml")).unwrap_or_default();
        let said = Take::from_toml(&text).map(|take| take.devices).unwrap_or_default();
        let lost = said.iter().map(|device| device.lost()).sum();
        let bytes = said.iter().map(|device| device.bytes).sum();
        let _ = std::fs::remove_dir_all(take);
        Self { verdict, lost, bytes, cores }
    }
}

/// How many emulated devices record without a loss.
fn sustained(folder: &Path) {
    println!("emulated devices for {TAKE_S} s: 1080p MJPG, NFOV unbinned, IMU, 30 fps");
    for devices in [2, 4, 6, 8] {
        let take = folder.join(format!("sustained-{devices}"));
        let Taken { verdict, bytes, cores, .. } = Taken::record(&take, devices, Profile::K4a, &[]);
        println!("  {devices} devices: {verdict}, {} MB, {cores:.2} cores", bytes / 1_000_000);
    }
}

/// What a device costs in each profile, with four of them, in turns. What emulating a device and
/// its depth engine costs is in all of them.
fn profiles(folder: &Path) {
    const DEVICES: u64 = 4;
    let ways: [(&str, Profile, &[&str]); 3] = [
        ("k4a", Profile::K4a, &[]),
        ("compact, fast", Profile::Compact, &["--level", "fast"]),
        ("compact, default", Profile::Compact, &["--level", "default"]),
    ];
    println!("{DEVICES} emulated devices for {TAKE_S} s, {ROUNDS} rounds in turns");
    let mut taken: [Vec<Taken>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, profile, level), taken) in ways.iter().zip(&mut taken) {
            taken.push(Taken::record(&folder.join("profile"), DEVICES, *profile, level));
        }
    }
    for ((name, ..), mut taken) in ways.iter().zip(taken) {
        let lost: Vec<_> = taken.iter().map(|take| take.lost.to_string()).collect();
        taken.sort_by(|a, b| a.cores.total_cmp(&b.cores));
        let Some(Taken { verdict, bytes, cores, .. }) = taken.get(ROUNDS / 2) else { return };
        println!(
            "  {name:<17} {:>5.1} % of a core and {:>4} MB a device, frames lost in each round: {} \
             ({verdict} in the median)",
            cores * 100.0 / DEVICES as f64,
            bytes / 1_000_000 / DEVICES,
            lost.join(", ")
        );
    }
}

fn children_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 16 and 17, counted behind the name in parentheses: user and system time of children,
    // in hundredths of a second.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let hundredths = behind_name.split_whitespace().skip(13).take(2);
    Duration::from_millis(hundredths.filter_map(|time| time.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn main() {
    // `cargo test` runs benches with --test to see that they build and start.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let here = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder on the disk");
    if std::env::args().any(|arg| arg == "profiles") {
        return profiles(here.path());
    }
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        write_table("tmpfs", memory.path());
    }
    write_table("disk", here.path());
    sustained(here.path());
    profiles(here.path());
    for profile in [Profile::K4a, Profile::Compact] {
        let count = counting::allocations_in_mid_take(profile);
        println!("allocations in 15 s of a take in profile {profile}, all stages: {count}");
    }
}
