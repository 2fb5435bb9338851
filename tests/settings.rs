//! Every setting, typed at the top and found at the bottom: in the bytes that the emulated device
//! received, in the recording's tags and in `take.toml`.

use clap::Parser;
use genlock::cli::RecordArgs;
use genlock::clock::Clock;
use genlock::config::{self, Devices, Keeping, Opening, Plan, Shed, Storing, Wanted};
use genlock::record;
use genlock::usb::Bus;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::{Function, Playback, Received};
use genlock_formats::depth::Level;
use genlock_formats::k4a::{Recording, TrackName};
use genlock_formats::mkv::Demuxer;
use genlock_formats::take::{Control, Device, Profile, Take};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use toml::{Table, Value};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RecordArgs,
}

/// What became of a command line.
struct Bottom {
    /// What each device received, by serial.
    bus: Arc<EmulatedBus>,
    take: Take,
    folder: PathBuf,
    _keep: tempfile::TempDir,
}

/// Records as the words say; the emulated rig is ours, so that its journal can be read.
fn record_words(words: &[&str]) -> Bottom {
    let keep = tempfile::tempdir().expect("a folder");
    let folder = keep.path().join("take");
    let plan = plan(&[words, &["--frames", "3", folder.to_str().expect("a plain path")]].concat());
    let Devices::Emulated { faults, from } = &plan.devices else { panic!("emulated devices") };
    let playback = from.as_ref().map(|path| {
        let bytes = std::fs::read(path).expect("a recording");
        Arc::new(Playback::open(&bytes).expect("it can be played"))
    });
    let clock = Clock::machine();
    let bus = Arc::new(EmulatedBus::rig(faults, playback.as_ref(), clock.clone()));
    let door: Arc<dyn Bus> = bus.clone();
    let stop = AtomicBool::new(false);
    let outcome = record::run(&plan, &door, &clock, &stop, &mut |_| {}).expect("a take");
    assert_eq!(outcome.failure, None);
    Bottom { bus, take: outcome.take, folder, _keep: keep }
}

fn plan(words: &[&str]) -> Plan {
    let words = [&["record"], words].concat();
    Line::try_parse_from(words).expect("a sound line").args.resolve().expect("a sound plan")
}

/// Records emulated devices with the options given.
fn record(devices: usize, options: &str) -> Bottom {
    let count = devices.to_string();
    let mut words = vec!["--emulated", &count];
    words.extend(options.split_whitespace());
    record_words(&words)
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
    fn control(&self, serial: &str, unit: u8, selector: u8) -> Option<Vec<u8>> {
        let code = 0x2101 << 16 | u64::from(selector) << 8 | u64::from(unit) << 40;
        let matches = |r: &Received| r.code == code;
        self.bus.journal(serial).into_iter().rev().find(matches).map(|r| r.data)
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
/// Units of the color camera that have controls.
const CAMERA: u8 = 1;
const PROCESSING: u8 = 3;
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
        assert_eq!(bottom.control(MASTER, unit, selector).as_deref(), Some(bytes), "{option}");
        let applied = &bottom.device(MASTER).color_controls;
        assert_eq!(applied.get(name), Some(&Control::Value(read)), "{option}");
    }
    let bottom = record(1, SMALL);
    assert_eq!(bottom.control(MASTER, CAMERA, 4), None, "what is not asked for is left alone");
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

/// The codec of each track of a file, in its order.
fn codecs(bottom: &Bottom) -> Vec<String> {
    let bytes = std::fs::read(bottom.folder.join(format!("{MASTER}.mkv"))).expect("a file");
    let demuxer = Demuxer::open(&bytes).expect("a file");
    demuxer.header().tracks.iter().map(|track| track.codec_id.clone()).collect()
}

#[test]
fn profile_and_level_reach_the_tracks_and_the_take() {
    const PLAIN: &str = "V_MS/VFW/FOURCC";
    const PACKED: &str = "V_GENLOCK/PLANES";
    let (folder, path) = pair("profile = 'compact'\nlevel = 'fast'", "role = 'sub'");
    let of_rig = ["--rig", &path];
    let over_rig = ["--rig", &path, "--profile", "k4a"];
    let small = ["--emulated", "1", "-c", "720p", "-d", "NFOV_2X2BINNED", "--imu", "off"];
    let words = |more: &[&'static str]| [&small[..], more].concat();
    for (words, color, images, level) in [
        (words(&[]), PLAIN, PLAIN, None),
        (words(&["--profile", "k4a"]), PLAIN, PLAIN, None),
        (words(&["--profile", "compact"]), PLAIN, PACKED, Some("default")),
        (words(&["--profile", "compact", "--level", "default"]), PLAIN, PACKED, Some("default")),
        (words(&["--profile", "compact", "--level", "fast"]), PLAIN, PACKED, Some("fast")),
        (words(&["--set", "profile=compact", "--set", "level=fast"]), PLAIN, PACKED, Some("fast")),
        (
            words(&["--profile", "compact", "--set", "color_mode=720p_NV12"]),
            PACKED,
            PACKED,
            Some("default"),
        ),
        (
            words(&["--profile", "compact", "--set", "color_mode=720p_YUY2"]),
            PACKED,
            PACKED,
            Some("default"),
        ),
        (of_rig.to_vec(), PLAIN, PACKED, Some("fast")),
        (over_rig.to_vec(), PLAIN, PLAIN, None),
    ] {
        let bottom = record_words(&words);
        assert_eq!(codecs(&bottom), [color, images, images], "{words:?}");
        let text = std::fs::read_to_string(bottom.folder.join("take.toml")).expect("a take");
        let take = Take::from_toml(&text).expect("it reads");
        let packed = images == PACKED;
        let profile = if packed { Profile::Compact } else { Profile::K4a };
        assert_eq!((take.profile, take.level.as_deref()), (profile, level), "{words:?}");
    }
    drop(folder);
}

#[test]
fn a_level_that_nothing_is_packed_with_is_refused() {
    let refusal = |words: &[&str]| {
        let words = [&["record", "nowhere"], words].concat();
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string());
        let plan = parsed.map(|line| line.args.resolve().map_err(|error| error.to_string()));
        plan.and_then(|plan| plan).expect_err("it cannot be")
    };
    let told = refusal(&["--emulated", "1", "--level", "fast"]);
    assert!(told.contains("--level") && told.contains("--profile compact"), "{told}");
    let told = refusal(&["--emulated", "1", "--set", "encoders=2"]);
    assert!(told.starts_with("--set encoders=2: encoders is of profile compact"), "{told}");
    let told = refusal(&["--emulated", "1", "--profile", "compact", "--level", "best"]);
    assert!(told.contains("takes \"fast\" or \"default\""), "{told}");
    let told = refusal(&["--emulated", "1", "--profile", "zip"]);
    assert!(told.contains("takes \"k4a\" or \"compact\""), "{told}");
    let (_folder, rig) = pair("level = 'fast'", "role = 'sub'");
    let told = refusal(&["--rig", &rig]);
    assert!(told.contains("rig.toml:5:1: level"), "{told}");
}

/// Everything that a rig file says of a device: the key, a value, where it is found at the bottom
/// and what is there. The device is a subordinate, so that every key means something to it.
type Found = (&'static str, &'static str, fn(&Bottom) -> String, &'static str);

fn color_control(bottom: &Bottom, unit: u8, selector: u8, name: &str) -> String {
    let read = bottom.device(SUBORDINATE).color_controls.get(name);
    format!("{:?} {read:?}", bottom.control(SUBORDINATE, unit, selector).unwrap_or_default())
}

fn sync(bottom: &Bottom) -> Vec<u8> {
    bottom.command(SUBORDINATE, Function::Color, SET_SYS_CFG)
}

const DEVICE_KEYS: [Found; 17] = [
    ("name", "'front'", |b| b.device(SUBORDINATE).name.clone().unwrap_or_default(), "front"),
    (
        "role",
        "'secondary'",
        |b| {
            let tag = b.tag(SUBORDINATE, "K4A_WIRED_SYNC_MODE");
            format!("{:?} {tag:?} {}", &sync(b)[..4], b.device(SUBORDINATE).role)
        },
        "[2, 0, 0, 0] Some(\"SUBORDINATE\") subordinate",
    ),
    (
        "rate",
        "15",
        |b| {
            let bytes = b.command(SUBORDINATE, Function::Depth, 0x103);
            format!("{bytes:?} {}", b.device(SUBORDINATE).rate)
        },
        "[15, 0, 0, 0] 15",
    ),
    (
        "color_mode",
        "'720p'",
        |b| {
            let commit = b.command(SUBORDINATE, Function::Color, 0x2101_0200 | 1 << 32);
            let tag = b.tag(SUBORDINATE, "K4A_COLOR_MODE");
            format!("{:?} {tag:?} {}", &commit[2..4], b.device(SUBORDINATE).color_mode)
        },
        "[3, 1] Some(\"MJPG_720P\") MJPG_720P",
    ),
    (
        "depth_mode",
        "'WFOV_2X2BINNED'",
        |b| {
            let bytes = b.command(SUBORDINATE, Function::Depth, 0xE1);
            let tag = b.tag(SUBORDINATE, "K4A_DEPTH_MODE");
            format!("{bytes:?} {tag:?} {}", b.device(SUBORDINATE).depth_mode)
        },
        "[7, 0, 0, 0] Some(\"WFOV_2X2BINNED\") WFOV_2X2BINNED",
    ),
    (
        "imu",
        "false",
        |b| {
            let started = b.bus.journal(SUBORDINATE).iter().any(|r| r.code == 0x8000_0003);
            format!("{started} {}", b.device(SUBORDINATE).imu)
        },
        "false false",
    ),
    (
        "depth_delay_us",
        "-80",
        |b| {
            let tag = b.tag(SUBORDINATE, "K4A_DEPTH_DELAY_NS");
            let asked = b.device(SUBORDINATE).depth_delay_off_color.asked_us;
            format!("{:?} {tag:?} {asked}", &sync(b)[8..12])
        },
        "[249, 255, 255, 255] Some(\"-80000\") -80",
    ),
    (
        "delay_off_master_us",
        "160",
        |b| {
            let tag = b.tag(SUBORDINATE, "K4A_SUBORDINATE_DELAY_NS");
            let asked = b.device(SUBORDINATE).delay_off_master.asked_us;
            format!("{:?} {tag:?} {asked}", &sync(b)[4..8])
        },
        "[14, 0, 0, 0] Some(\"160000\") 160",
    ),
    // With mains of 50 Hz the sensor's next time.
    (
        "exposure",
        "8000",
        |b| color_control(b, CAMERA, 4, "exposure_us"),
        "[100, 0, 0, 0] Some(Value(10000))",
    ),
    (
        "white_balance",
        "5000",
        |b| color_control(b, PROCESSING, 0xA, "white_balance_k"),
        "[136, 19] Some(Value(5000))",
    ),
    ("brightness", "7", |b| color_control(b, PROCESSING, 2, "brightness"), "[7, 0] Some(Value(7))"),
    ("contrast", "9", |b| color_control(b, PROCESSING, 3, "contrast"), "[9, 0] Some(Value(9))"),
    (
        "saturation",
        "61",
        |b| color_control(b, PROCESSING, 7, "saturation"),
        "[61, 0] Some(Value(61))",
    ),
    ("sharpness", "3", |b| color_control(b, PROCESSING, 8, "sharpness"), "[3, 0] Some(Value(3))"),
    (
        "backlight_compensation",
        "1",
        |b| color_control(b, PROCESSING, 1, "backlight_compensation"),
        "[1, 0] Some(Value(1))",
    ),
    ("gain", "200", |b| color_control(b, PROCESSING, 4, "gain"), "[200, 0] Some(Value(200))"),
    (
        "powerline_hz",
        "50",
        |b| color_control(b, PROCESSING, 5, "powerline_hz"),
        "[1] Some(Value(50))",
    ),
];

/// A rig of a master and a subordinate, with these lines at the top and under the subordinate.
fn pair(top: &str, subordinate: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rig.toml");
    let text = format!(
        "rate = 15\nimu = false\ncolor_mode = '720p'\ndepth_mode = 'NFOV_2X2BINNED'\n{top}\n\
         [emulator]\ndevices = 2\n\
         [[device]]\nserial = '{MASTER}'\nrole = 'primary'\n\
         [[device]]\nserial = '{SUBORDINATE}'\n{subordinate}\n"
    );
    std::fs::write(&path, text).expect("a rig file");
    let path = path.to_str().expect("a plain path").to_owned();
    (folder, path)
}

fn all_found(bottom: &Bottom, how: &str) {
    for (key, value, find, expected) in DEVICE_KEYS {
        assert_eq!(find(bottom), expected, "{key} = {value}, typed {how}");
    }
}

#[test]
fn every_key_of_a_device_goes_from_its_table_in_the_rig_file_to_the_bottom() {
    let lines = DEVICE_KEYS.map(|(key, value, ..)| format!("{key} = {value}")).join("\n");
    let (_folder, rig) = pair("", &lines);
    all_found(&record_words(&["--rig", &rig]), "under [[device]]");
}

#[test]
fn every_key_of_a_device_goes_from_the_top_of_the_rig_file_to_the_bottom() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    let lines = DEVICE_KEYS.iter().filter(|(key, ..)| *key != "name");
    let lines: String = lines.map(|(key, value, ..)| format!("{key} = {value}\n")).collect();
    let text = format!(
        "{lines}[emulator]\n[[device]]\nserial = '{MASTER}'\nrole = 'master'\n\
         [[device]]\nserial = '{SUBORDINATE}'\nname = 'front'\n"
    );
    std::fs::write(&rig, text).expect("a rig file");
    all_found(&record_words(&["--rig", rig.to_str().expect("a plain path")]), "at the top");
}

#[test]
fn every_key_of_a_device_goes_from_set_to_the_bottom() {
    let sets = DEVICE_KEYS.map(|(key, value, ..)| match key {
        // Of the rig's devices there is one for each role and each name, and of rates there is one.
        "rate" => format!("{key}={value}"),
        _ => format!("{SUBORDINATE}.{key}={value}"),
    });
    let (_folder, rig) = pair("", "");
    let mut words = vec!["--rig", &rig];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    all_found(&record_words(&words), "with --set SERIAL.KEY");

    let for_one = ["name", "role", "delay_off_master_us"];
    let sets = DEVICE_KEYS.iter().filter(|(key, ..)| !for_one.contains(key));
    let sets: Vec<_> = sets.map(|(key, value, ..)| format!("{key}={value}")).collect();
    let lines = DEVICE_KEYS.iter().filter(|(key, ..)| for_one.contains(key));
    let lines: String = lines.map(|(key, value, ..)| format!("{key} = {value}\n")).collect();
    let (_folder, rig) = pair("gain = 1", &format!("brightness = 1\n{lines}"));
    let mut words = vec!["--rig", &rig];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    all_found(&record_words(&words), "with --set KEY");
}

#[test]
fn set_works_without_a_rig_file() {
    let sets = ["--set", "depth_delay_us=160", "--set", "gain=200"];
    let bottom =
        record_words(&[&["--emulated", "1", "-c", "720p", "-d", "PASSIVE_IR"], &sets[..]].concat());
    assert_eq!(bottom.tag(MASTER, "K4A_DEPTH_DELAY_NS").as_deref(), Some("160000"));
    assert_eq!(bottom.control(MASTER, PROCESSING, 4), Some(vec![200, 0]));
}

#[test]
fn every_key_of_the_rig_is_found_at_the_bottom() {
    let opening = Opening {
        warm_up: Duration::from_millis(1500),
        lock_exposure: true,
        lock_white_balance: true,
        copy_master: true,
        first_trigger: 0,
    };
    let keys = [
        ("warm_up", "'1.5s'"),
        ("lock_exposure", "true"),
        ("lock_white_balance", "true"),
        ("copy_master", "true"),
        ("sync_every", "0.5"),
        ("rejoin_for", "'2m'"),
        ("shed", "['ir', 'trigger']"),
        ("profile", "'compact'"),
        ("level", "'fast'"),
        ("encoders", "3"),
        ("depth_engine", "'/opt/engine.so'"),
    ];
    let keeping = Keeping {
        sync_every: Duration::from_millis(500),
        rejoin_for: Duration::from_secs(120),
        shed: vec![Shed::Track(TrackName::Ir), Shed::Trigger],
    };
    let storing = Storing { profile: Profile::Compact, level: Level::Fast, encoders: 3 };
    let (_folder, rig) = pair(&keys.map(|(key, value)| format!("{key} = {value}")).join("\n"), "");
    let of_file = plan(&["--rig", &rig, "--set", &format!("{SUBORDINATE}.role=sub"), "nowhere"]);
    let sets = keys.map(|(key, value)| format!("{key}={value}"));
    let mut words = vec!["--emulated", "1", "nowhere"];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    for plan in [of_file, plan(&words)] {
        assert_eq!((plan.opening, &plan.keeping), (opening, &keeping));
        assert_eq!(plan.storing, storing);
        assert_eq!(plan.depth_engine, Some(PathBuf::from("/opt/engine.so")));
    }
    let untouched = plan(&["--emulated", "1", "nowhere"]);
    assert_eq!((untouched.opening, untouched.depth_engine), (Opening::default(), None));
    assert_eq!(untouched.keeping, Keeping::default());
    assert_eq!(untouched.storing, Storing::default());
    assert!(!untouched.force && plan(&["--emulated", "1", "--force", "nowhere"]).force);
}

#[test]
fn every_key_of_the_emulator_is_found_at_the_bottom() {
    let folder = tempfile::tempdir().expect("a folder");
    let second =
        record_words(&["--emulated", "2", "--serial", SUBORDINATE, "-c", "720p", "-d", "OFF"]);
    let seen = second.folder.join(format!("{SUBORDINATE}.mkv"));
    std::fs::copy(seen, folder.path().join("seen.mkv")).expect("it is there");
    let rig = folder.path().join("rig.toml");
    std::fs::write(&rig, "[emulator]\ndevices = 2\nseed = 40\nfrom = 'seen.mkv'\n")
        .expect("a file");
    let rig = rig.to_str().expect("a plain path");
    let seeds = |plan: &Plan| match &plan.devices {
        Devices::Emulated { faults, .. } => faults.iter().map(|f| f.seed).collect(),
        Devices::Usb => Vec::new(),
    };
    assert_eq!(seeds(&plan(&["--rig", rig, "nowhere"])), [40, 41], "the seed, and the place");
    let other = ["record", "--rig", rig, "nowhere", "--set", "color_mode=1080p"];
    let refusal = Line::try_parse_from(other).expect("a sound line").args.resolve();
    let refusal = refusal.expect_err("it was filmed at 720p").to_string();
    assert!(refusal.starts_with("--set color_mode=1080p: "), "{refusal}");
    assert!(refusal.contains("seen.mkv") && refusal.contains("MJPG_720P"), "{refusal}");
    // Emulated devices play the file beside the rig file, in its modes, under its serial.
    let one = ["--set", "emulator.devices=1", "--set", "emulator.seed=7"];
    assert_eq!(seeds(&plan(&[&["--rig", rig, "nowhere"], &one[..]].concat())), [7]);
    let bottom = record_words(&[&["--rig", rig], &one[..]].concat());
    assert_eq!(bottom.take.devices.len(), 1);
    let device = bottom.device(SUBORDINATE);
    assert_eq!((device.color_mode.as_str(), device.depth_mode.as_str()), ("MJPG_720P", "OFF"));
}

/// What each emulated device of a plan has for a fault.
fn faults(plan: &Plan, name: &str) -> Vec<Option<Value>> {
    let Devices::Emulated { faults, .. } = &plan.devices else { panic!("emulated devices") };
    let table = |faults| Table::try_from(faults).expect("a table");
    faults.iter().map(|faults| table(faults).remove(name)).collect()
}

#[test]
fn every_fault_goes_to_all_emulated_devices_or_to_one() {
    let names: Vec<_> = config::keys()
        .into_iter()
        .filter_map(|key| key.strip_prefix("faults.").map(str::to_owned))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let same = |found: &Option<Value>, number: i64| {
        *found == Some(Value::from(number)) || *found == Some(Value::from(number as f64))
    };
    for name in &names {
        let top = format!("[emulator.faults]\n{name} = 3\n");
        let (_folder, rig) = pair("", &format!("role = 'sub'\n[device.faults]\n{name} = 4\n{top}"));
        let of_file = faults(&plan(&["--rig", &rig, "nowhere"]), name);
        assert!(same(&of_file[0], 3) && same(&of_file[1], 4), "{name}: {of_file:?}");
        let all = format!("faults.{name}=5");
        let also = format!("emulator.faults.{name}=5");
        for set in [&all, &also] {
            let over = faults(&plan(&["--rig", &rig, "nowhere", "--set", set]), name);
            assert!(over.iter().all(|found| same(found, 5)), "{name}: {over:?}");
        }
        let one = format!("{SUBORDINATE}.faults.{name}=6");
        let words = ["--emulated", "2", "nowhere", "--set", &one, "--set", &all];
        let over = faults(&plan(&words), name);
        assert!(same(&over[0], 5) && same(&over[1], 6), "{name}: {over:?}");
    }
    // And one of them at the very bottom: a device that sends nothing whole has losses.
    let bottom = record(1, &format!("{SMALL} --set faults.hit_per_mille=300 --set faults.seed=3"));
    assert!(!bottom.device(MASTER).losses.is_empty());
}

/// How far hosts are from here: what they record with these is held by `tests/hosts`.
#[test]
fn hosts_and_certificates_reach_the_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    let text = format!(
        "certs = 'lab/coordinator'\n[emulator]\n\
         [[host]]\nname = 'a'\nendpoint = 'tls/10.0.0.2:7447'\n\
         [[host]]\nname = 'b'\nendpoint = 'tls/10.0.0.3:7447'\n\
         [[device]]\nserial = '{MASTER}'\nrole = 'master'\nhost = 'a'\n\
         [[device]]\nserial = '{SUBORDINATE}'\nrole = 'sub'\nhost = 'b'\n"
    );
    std::fs::write(&rig, text).expect("a rig file");
    let words = ["--rig", rig.to_str().expect("a plain path"), "nowhere"];
    let hosts = |words: &[&str]| match plan(words).wanted {
        Wanted::Each(named) => named.into_iter().filter_map(|named| named.host).collect::<Vec<_>>(),
        Wanted::Alike { .. } => Vec::new(),
    };
    assert_eq!(hosts(&words), ["a", "b"]);
    assert_eq!(plan(&words).certs, Some(folder.path().join("lab/coordinator")));
    let endpoints: Vec<_> = plan(&words).hosts.into_iter().map(|host| host.endpoint).collect();
    assert_eq!(endpoints, ["tls/10.0.0.2:7447", "tls/10.0.0.3:7447"]);
    let over = format!("{SUBORDINATE}.host=a");
    assert_eq!(hosts(&[&words[..], &["--set", &over]].concat()), ["a", "a"]);
    let certs = plan(&[&words[..], &["--set", "certs=other"]].concat()).certs;
    assert_eq!(certs, Some("other".into()));
}

/// The keys of a rig are those that the tests above type.
#[test]
fn no_key_is_without_its_test() {
    let mut tested: BTreeSet<_> = DEVICE_KEYS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    tested.extend(
        ["warm_up", "lock_exposure", "lock_white_balance", "copy_master", "depth_engine"]
            .iter()
            .chain(&["sync_every", "rejoin_for", "shed", "profile", "level", "encoders"])
            .chain(&["emulator.devices", "emulator.seed", "emulator.from", "host", "certs"])
            .map(|key| (*key).to_owned()),
    );
    let keys: BTreeSet<_> =
        config::keys().into_iter().filter(|key| !key.starts_with("faults.")).collect();
    assert_eq!(keys, tested);
}

#[test]
fn devices_without_roles_in_the_rig_file_get_them_from_their_jacks() {
    let (folder, _) = pair("", "");
    let rig = folder.path().join("other.toml");
    let text = format!(
        "rate = 15\nimu = false\ncolor_mode = '720p'\ndepth_mode = 'OFF'\n\
         delay_off_master_us = 160\n[emulator]\n\
         [[device]]\nserial = '{SUBORDINATE}'\n[[device]]\nserial = '{MASTER}'\n"
    );
    std::fs::write(&rig, text).expect("a rig file");
    let bottom = record_words(&["--rig", rig.to_str().expect("a plain path")]);
    assert_eq!(sync(&bottom)[..8], [2, 0, 0, 0, 14, 0, 0, 0]);
    let master = bottom.command(MASTER, Function::Color, SET_SYS_CFG);
    assert_eq!(master[..8], [1, 0, 0, 0, 0, 0, 0, 0], "a master follows nobody");
}

#[test]
fn a_later_word_is_over_an_earlier_one() {
    let gains = |words: &[&str]| match plan(words).wanted {
        Wanted::Each(named) => named.iter().map(|n| n.config.controls.gain).collect::<Vec<_>>(),
        Wanted::Alike { .. } => Vec::new(),
    };
    let (_folder, rig) = pair("gain = 1", "role = 'sub'\nname = 'back'\ngain = 2");
    let mut words = vec!["--rig", &rig, "nowhere"];
    assert_eq!(gains(&words), [Some(1), Some(2)]);
    words.extend(["--gain", "3"]);
    assert_eq!(gains(&words), [Some(3), Some(3)]);
    words.extend(["--set", "back.gain=5", "--set", "gain=4"]);
    assert_eq!(gains(&words), [Some(4), Some(5)]);
    words.extend(["--set", "000000000002.gain=6"]);
    assert_eq!(gains(&words), [Some(4), Some(6)]);
}

#[test]
fn one_device_of_a_rig_records_alone_and_needs_no_pulses() {
    let (_folder, rig) = pair("", "role = 'sub'\ndelay_off_master_us = 160\ndepth_delay_us = 80");
    let bottom = record_words(&["--rig", &rig, "--serial", SUBORDINATE]);
    assert_eq!(bottom.take.devices.len(), 1);
    assert_eq!(sync(&bottom), [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]);
    let lone = ["--rig", &rig, "--serial", SUBORDINATE, "--external-sync", "sub", "nowhere"];
    let Wanted::Each(named) = plan(&lone).wanted else { panic!("a listed device") };
    assert_eq!(named[0].config.role.to_string(), "SUBORDINATE");
    assert_eq!(named[0].config.subordinate_delay_us, 160, "the file's, as the role is asked for");
}
