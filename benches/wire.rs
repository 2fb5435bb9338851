//! What the USB stack of a guest carries, and what genlock needs for it:
//! `cargo bench --bench wire`.
//!
//! The guest's processor is translated, so the figures say what it can do, not a real machine; what
//! a camera sends is printed beside them. Camera and driver are programs of their own there and
//! share the one processor.

use genlock::clock::Clock;
use genlock::config::DeviceConfig;
use genlock::device::{self, Buffering, Device, EngineLibrary, Outputs, raw_frame_bytes};
use genlock::frame::Frame;
use genlock::lane::{Received, Receiver, lane};
use genlock::pool::Pool;
use genlock::stage;
use genlock::sync::quantile;
use genlock::usb::host::HostBus;
use genlock::usb::{Bus, Port, StreamEndpoint, TransferKind};
use genlock_emulator::Faults;
use genlock_formats::k4a::{DepthMode, Rate};
use genlock_guest::Guest;
use kinect_emulator::{Rig, chain};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(8);
const DEPTH: DepthMode = DepthMode::NfovUnbinned;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["camera", rate_ppm] => camera(rate_ppm.parse().expect("a number")),
        ["driver"] => driver(),
        _ => host(),
    }
}

/// On the machine that measures: the guest.
fn host() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let guest = Guest { shown: true, ..Guest::new(&target) };
    let share = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("a path");
    let outcome = guest.run(&this, &["driver"], share.path()).expect("a guest");
    assert_eq!(outcome.code, 0, "it failed in the guest");
}

/// A camera on the guest's USB, until its standard input ends.
fn camera(rate_ppm: f64) {
    let mut setups = chain(&[Faults { rate_ppm, ..Faults::default() }], None);
    for setup in &mut setups {
        assert!(setup.prepare("720p".parse().ok(), Some(DEPTH)));
    }
    let rig = Rig::new(setups, Instant::now());
    rig.attach().expect("a free port");
    let _ = std::io::stdin().read(&mut [0]);
}

/// A camera in a program of its own, seen on the bus.
#[expect(clippy::zombie_processes, reason = "`unplugged` waits for it")]
fn plugged_in(rate_ppm: f64) -> (Child, HostBus, device::Found) {
    let this = std::env::current_exe().expect("a path");
    let camera = Command::new(this)
        .args(["camera", &rate_ppm.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it runs");
    let bus = HostBus::new(Clock::machine()).expect("USB");
    loop {
        if let Some(found) = device::find(&bus).ok().and_then(|mut found| found.pop()) {
            return (camera, bus, found);
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}

fn unplugged(mut camera: Child, bus: &HostBus) {
    drop(camera.stdin.take());
    camera.wait().expect("it ends");
    while bus.devices().is_ok_and(|devices| !devices.is_empty()) {
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Seconds of processor that this process has used.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
    // Hundredths of a second of user and system time, fields 14 and 15 of the line.
    (ticks(11) + ticks(12)) / 100.0
}

fn driver() {
    depth_alone();
    for rate in [Rate::Fps5, Rate::Fps15, Rate::Fps30] {
        whole_camera(rate);
    }
}

/// A command of the depth microcontroller, its response passed over.
fn command(port: &mut dyn Port, code: u32, argument: Option<u32>) {
    let words = [0x0602_2009, 0, 0, code, 0];
    let bytes: Vec<u8> =
        words.into_iter().chain(argument).flat_map(|word: u32| word.to_le_bytes()).collect();
    port.bulk_out(0x02, &bytes).expect("a command");
    assert_eq!(port.bulk_in(0x81, &mut [0; 16]), Ok(16));
}

/// Depth frames as fast as they come: the camera offers more than anything carries.
fn depth_alone() {
    let (camera, bus, found) = plugged_in(4_000_000.0);
    let mut port = bus.open(&found.depth).expect("it opens");
    port.claim(0).expect("nobody else has it");
    for (code, argument) in [(0xE1, Some(4)), (0x103, Some(30)), (0x09, None), (0xF1, None)] {
        command(port.as_mut(), code, argument);
    }
    let endpoint = StreamEndpoint { address: 0x83, kind: TransferKind::Bulk };
    let frame_bytes = raw_frame_bytes(DEPTH);
    let pool = Pool::new(4, frame_bytes.next_multiple_of(1024));
    let mut stream = port.stream(endpoint, pool).expect("it starts");
    let (begun, cpu, mut frames, mut other) = (Instant::now(), cpu_s(), 0, 0);
    while begun.elapsed() < RUN {
        match stream.next(Duration::from_millis(50)) {
            Some(transfer) if transfer.buf.len() == frame_bytes => frames += 1,
            Some(_) => other += 1,
            None => {}
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = f64::from(frames) * frame_bytes as f64 / 1e6 / seconds;
    let used = 100.0 * (cpu_s() - cpu) / seconds;
    println!(
        "depth as fast as it goes: {rate:.0} MB/s, {frames} frames whole and {other} not, driver \
         {used:.0} % of the processor"
    );
    drop(stream);
    drop(port);
    unplugged(camera, &bus);
}

/// Frames of a lane until it closes: how many, their bytes, and from the end of their last
/// transfer to here in microseconds.
fn drained(lane: Receiver<Frame>, clock: Clock) -> thread::JoinHandle<(usize, f64, Vec<f64>)> {
    thread::spawn(move || {
        let (mut count, mut bytes, mut late_us) = (0, 0.0, Vec::new());
        loop {
            match lane.receive(Duration::from_millis(50)) {
                Received::Value(frame) => {
                    late_us.push((clock.now_ns() - frame.arrived_ns) as f64 / 1000.0);
                    count += 1;
                    bytes += frame.buf.len() as f64;
                }
                Received::Nothing => {}
                Received::Closed => return (count, bytes, late_us),
            }
        }
    })
}

/// Depth through its engine, color and IMU of one camera at a rate, without a file.
fn whole_camera(rate: Rate) {
    let (camera, _, found) = plugged_in(0.0);
    let clock = Clock::machine();
    let bus = HostBus::new(clock.clone()).expect("USB");
    let mut device = Device::open(&bus, &found).expect("it opens");
    let engine = EngineLibrary::emulated().expect("the emulator's");
    let config = DeviceConfig {
        color: "720p".parse().ok(),
        depth: Some(DEPTH),
        imu: true,
        rate,
        ..DeviceConfig::default()
    };
    let ((color, colors), (depth, depths), (imu, imus)) = (lane(64), lane(64), lane(512));
    let (losses, lost) = lane(4096);
    let stop = Arc::<AtomicBool>::default();
    let outputs = Outputs {
        color,
        depth,
        imu,
        losses,
        stop: Arc::clone(&stop),
        heard: Arc::default(),
        stale: Arc::default(),
        settled: Arc::default(),
        clock: clock.clone(),
        rejoins: false,
    };
    let buffering = Buffering { frames: 45, beyond: 0 };
    let stages = device.start(&config, Some(&engine), outputs, buffering).expect("it starts");
    let running: Vec<_> =
        stages.into_iter().map(|one| stage::spawn(one).expect("a thread")).collect();
    let lanes = [colors, depths, imus].map(|lane| drained(lane, clock.clone()));
    let (begun, cpu) = (Instant::now(), cpu_s());
    thread::park_timeout(RUN);
    let used = 100.0 * (cpu_s() - cpu) / begun.elapsed().as_secs_f64();
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Release);
    running.into_iter().for_each(|stage| drop(stage::join(stage)));
    let _ = device.stop();
    let [color, depth, imu] = lanes.map(|lane| lane.join().expect("it ends"));
    let wire = (color.1 + (depth.0 / 2 * raw_frame_bytes(DEPTH)) as f64) / 1e6 / seconds;
    let nominal = raw_frame_bytes(DEPTH) as f64 * f64::from(rate.fps()) / 1e6;
    let mut reported = 0;
    while let Received::Value(_) = lost.receive(Duration::ZERO) {
        reported += 1;
    }
    println!(
        "{} fps: {wire:.0} MB/s (depth of a camera: {nominal:.0}), {} depth, {} color of {:.0}, \
         {reported} losses reported, driver and engine {used:.0} % of the processor",
        rate.fps(),
        depth.0 / 2,
        color.0,
        seconds * f64::from(rate.fps())
    );
    for (name, (_, _, late_us)) in [("color", color), ("depth", depth), ("IMU", imu)] {
        let [median, most] = [0.5, 0.99].map(|q| quantile(&late_us, q));
        println!("  {name}: from transfer to lane {median:.0} us, 99 of 100 within {most:.0}");
    }
    drop(device);
    unplugged(camera, &bus);
}
