//! Every setting, typed at the top and found at the bottom: in the bytes that the emulated device
//! received, in the recording's tags and in `take.toml`.

use clap::Parser;
use genlock::cli::RecordArgs;
use genlock::clock::Clock;
use genlock::record;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::{Faults, Function, Received};
use genlock_formats::k4a::Recording;
use genlock_formats::take::{Control, Device, Take};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RecordArgs,
}

/// What became of a command line.
struct Bottom {
    /// What each device received, by serial.
    bus: EmulatedBus,
    take: Take,
    folder: PathBuf,
    _keep: tempfile::TempDir,
}

/// Records with the options given; the emulated rig is ours, so that its journal can be read.
fn record(devices: usize, options: &str) -> Bottom {
    let keep = tempfile::tempdir().expect("a folder");
    let folder = keep.path().join("take");
    let count = devices.to_string();
    let mut words = vec!["record", "--emulated", &count, "--frames", "3"];
    words.extend(options.split_whitespace());
    words.push(folder.to_str().expect("a plain path"));
    let plan = Line::try_parse_from(words).expect("a sound line").args.resolve();
    let clock = Clock::machine();
    let bus = EmulatedBus::rig(&vec![Faults::default(); devices], None, clock.clone());
    let stop = AtomicBool::new(false);
    let plan = plan.expect("a sound plan");
    let outcome = record::run(&plan, &bus, &clock, &stop, &mut |_| {}).expect("a take");
    assert_eq!(outcome.failure, None);
    Bottom { bus, take: outcome.take, folder, _keep: keep }
}

impl Bottom {
    /// Arguments of the last command with this code.
    fn command(&self, serial: &str, function: Function, code: u64) -> Vec<u8> {
        let received = self.bus.journal(serial);
        let found = received.into_iter().rev();
        let mut found = found.filter(|r| r.function == function && r.code == code);
        found.next().unwrap_or_else(|| panic!("no command {code:#x}")).data
    }

    /// Data of the last control write to a selector of a UVC unit.
    fn control(&self, unit: u8, selector: u8) -> Option<Vec<u8>> {
        let code = 0x2101 << 16 | u64::from(selector) << 8 | u64::from(unit) << 40;
        let matches = |r: &Received| r.code == code;
        self.bus.journal(MASTER).into_iter().rev().find(matches).map(|r| r.data)
    }

    fn device(&self, serial: &str) -> &Device {
        self.take.devices.iter().find(|device| device.serial == serial).expect("a device")
    }

    fn tag(&self, serial: &str, name: &str) -> Option<String> {
        let bytes = std::fs::read(self.folder.join(format!("{serial}.mkv"))).expect("a file");
        let recording = Recording::open(&bytes).expect("a recording");
        recording.tag(name).map(str::to_owned)
    }
}

const MASTER: &str = "000000000001";
const SUBORDINATE: &str = "000000000002";
const SET_SYS_CFG: u64 = 0x8000_0001;
const SMALL: &str = "-c 720p -d NFOV_2X2BINNED";

#[test]
fn depth_delay_reaches_the_device_the_tag_and_the_take() {
    for (us, ticks, applied) in [("160", 14, 155.6), ("-80", -7, -77.8)] {
        let bottom = record(1, &format!("{SMALL} --depth-delay {us}"));
        let bytes = bottom.command(MASTER, Function::Color, SET_SYS_CFG);
        assert_eq!(bytes[8..12], i32::to_le_bytes(ticks));
        assert_eq!(bottom.tag(MASTER, "K4A_DEPTH_DELAY_NS"), Some(format!("{us}000")));
        let delay = bottom.device(MASTER).depth_delay_off_color;
        assert_eq!((delay.ticks, delay.applied_us), (i64::from(ticks), applied));
    }
}

#[test]
fn roles_come_from_the_jacks_and_reach_the_devices() {
    let bottom = record(2, SMALL);
    for (serial, role, number) in [(MASTER, "master", 1), (SUBORDINATE, "subordinate", 2)] {
        assert_eq!(bottom.command(serial, Function::Color, SET_SYS_CFG)[0], number);
        assert_eq!(bottom.tag(serial, "K4A_WIRED_SYNC_MODE"), Some(role.to_uppercase()));
        assert_eq!(bottom.device(serial).role, role);
    }
}

#[test]
fn a_master_alone_takes_its_role_from_the_command_line() {
    // The first of two emulated devices has a cable in sync-out.
    let bottom = record(2, &format!("{SMALL} --serial {MASTER} --external-sync master"));
    assert_eq!(bottom.command(MASTER, Function::Color, SET_SYS_CFG)[0], 1);
    assert_eq!(bottom.take.devices.len(), 1);
}

#[test]
fn modes_and_rate_reach_the_device_and_the_tags() {
    for (mode, id) in [
        ("NFOV_2X2BINNED", 4),
        ("NFOV_UNBINNED", 4),
        ("WFOV_2X2BINNED", 7),
        ("WFOV_UNBINNED", 5),
        ("PASSIVE_IR", 3),
    ] {
        let bottom = record(1, &format!("-c OFF -d {mode} -r 15 --imu off"));
        assert_eq!(bottom.command(MASTER, Function::Depth, 0xE1), u32::to_le_bytes(id));
        assert_eq!(bottom.command(MASTER, Function::Depth, 0x103), u32::to_le_bytes(15));
        assert_eq!(bottom.tag(MASTER, "K4A_DEPTH_MODE").as_deref(), Some(mode));
        assert_eq!(bottom.tag(MASTER, "K4A_IMU_MODE"), None);
        assert_eq!(bottom.tag(MASTER, "K4A_COLOR_MODE"), None);
        let device = bottom.device(MASTER);
        assert_eq!((device.depth_mode.as_str(), device.color_mode.as_str()), (mode, "OFF"));
        assert_eq!((device.rate, device.imu), (15, false));
    }
}

#[test]
fn the_color_mode_reaches_the_commit_and_the_tag() {
    for (mode, format, frame, tag) in
        [("720p_NV12", 2, 1, "NV12_720P"), ("1536p", 3, 4, "MJPG_1536P")]
    {
        let bottom = record(1, &format!("-c {mode} -d OFF -r 5"));
        // SET_CUR of commit on interface 1.
        let commit = bottom.command(MASTER, Function::Color, 0x2101_0200 | 1 << 32);
        assert_eq!((commit[2], commit[3]), (format, frame));
        assert_eq!(commit[4..8], u32::to_le_bytes(2_000_000));
        assert_eq!(bottom.tag(MASTER, "K4A_COLOR_MODE").as_deref(), Some(tag));
        assert_eq!(bottom.device(MASTER).color_mode, tag);
    }
}

#[test]
fn the_imu_is_started_only_when_it_is_wanted() {
    let starts = |options: &str| {
        let bottom = record(1, &format!("{SMALL} {options}"));
        bottom.bus.journal(MASTER).iter().any(|r| r.code == 0x8000_0003)
    };
    assert!(starts("--imu ON"));
    assert!(!starts("--imu OFF"));
}

#[test]
fn every_color_control_reaches_the_device_and_is_read_back() {
    const CAMERA: u8 = 1;
    const PROCESSING: u8 = 3;
    /// Option, value, unit and selector, bytes on the wire, name and value in take.toml.
    type Case = (&'static str, &'static str, (u8, u8), &'static [u8], (&'static str, i64));
    let controls: [Case; 9] = [
        ("--exposure-control", "8000", (CAMERA, 4), &[83, 0, 0, 0], ("exposure_us", 8330)),
        ("--gain", "200", (PROCESSING, 4), &[200, 0], ("gain", 200)),
        ("--brightness", "7", (PROCESSING, 2), &[7, 0], ("brightness", 7)),
        ("--contrast", "9", (PROCESSING, 3), &[9, 0], ("contrast", 9)),
        ("--saturation", "63", (PROCESSING, 7), &[63, 0], ("saturation", 63)),
        ("--sharpness", "4", (PROCESSING, 8), &[4, 0], ("sharpness", 4)),
        ("--white-balance", "5000", (PROCESSING, 0xA), &[0x88, 0x13], ("white_balance_k", 5000)),
        ("--backlight-compensation", "1", (PROCESSING, 1), &[1, 0], ("backlight_compensation", 1)),
        ("--powerline-frequency", "50", (PROCESSING, 5), &[1], ("powerline_hz", 50)),
    ];
    for (option, value, (unit, selector), bytes, (name, read)) in controls {
        let bottom = record(1, &format!("{SMALL} {option} {value}"));
        assert_eq!(bottom.control(unit, selector).as_deref(), Some(bytes), "{option}");
        let applied = &bottom.device(MASTER).color_controls;
        assert_eq!(applied.get(name), Some(&Control::Value(read)), "{option}");
    }
    let bottom = record(1, SMALL);
    assert_eq!(bottom.control(CAMERA, 4), None, "what is not asked for is left alone");
    let auto = Control::Word("auto".to_owned());
    assert_eq!(bottom.device(MASTER).color_controls.get("exposure_us"), Some(&auto));
}

/// libk4a's order (usb-protocol.md 10): what the firmware was tested with.
#[test]
fn a_device_is_opened_started_and_stopped_in_the_documented_order() {
    let bottom = record(1, SMALL);
    let journal = bottom.bus.journal(MASTER);
    let depth = journal.iter().filter(|r| r.function == Function::Depth).map(|r| r.code);
    let opening = [0x115, 0x111, 0x201, 0xF2, 0x0A];
    let starting = [0xE1, 0x22, 0x103, 0x09, 0xF1];
    let stopping = [0xF2, 0x0A];
    let expected = [&opening[..], &starting, &stopping].concat();
    assert_eq!(depth.collect::<Vec<_>>(), expected);
    let mcu = |r: &&Received| r.code & 0xFFFF_FF00 == 0x8000_0000 && r.code < 1 << 32;
    let color = journal.iter().filter(|r| r.function == Function::Color).filter(mcu);
    let expected = [0x8000_0004, 0x8000_0001, 0x8000_0003, 0x8000_0004];
    assert_eq!(color.map(|r| r.code).collect::<Vec<_>>(), expected);
    let place = |code: u64| journal.iter().position(|r| r.code == code).expect("received");
    let commit = 0x2101_0200 | 1 << 32;
    assert!(place(SET_SYS_CFG) < place(0xE1), "sync before depth");
    assert!(place(0xF1) < place(commit), "depth before color");
    assert!(place(commit) < place(0x8000_0003), "color before IMU");
}

#[test]
fn a_length_in_time_is_a_number_of_triggers() {
    let triggers = |options: &str| {
        let words = format!("record --emulated 1 {options} nowhere-yet");
        let line = Line::try_parse_from(words.split_whitespace()).expect("a sound line");
        line.args.resolve().expect("a sound plan").triggers
    };
    assert_eq!(triggers("-l 5"), Some(150));
    assert_eq!(triggers("-l 0.1s"), Some(3));
    assert_eq!(triggers("-l 2m -r 5"), Some(600));
    assert_eq!(triggers("--frames 7"), Some(7));
    assert_eq!(triggers(""), None);
}
