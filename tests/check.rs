//! `genlock check` as a person meets it: what is ready, what is not, and what to do about it; and
//! what `record` makes of the same findings.

mod support;

use genlock::clock::Clock;
use genlock::config::{
    DeviceConfig, Devices, Keeping, Named, Opening, Output, Plan, Storing, Wanted,
};
use genlock::error::Result;
use genlock::record;
use genlock::rig::Finding;
use genlock::rig::host::Host;
use genlock::usb::emulated::EmulatedBus;
use genlock::usb::{Bus, Port, UsbDevice};
use genlock_emulator::{Faults, Function};
use genlock_formats::k4a::{Rate, Role};
use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{genlock, genlock_exits};
use tempfile::TempDir;

/// Small modes, and a second of them: what any disk has room for.
const SMALL: &str = "-c 720p -d NFOV_2X2BINNED -r 5 --imu off -l 1";

/// A folder for takes. In memory where possible: how fast a disk is must not depend on what else
/// the machine does.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

/// Checks a rig with these options, whose takes go to a folder of our own.
fn check(code: i32, options: &str) -> String {
    let folder = folder();
    let place = folder.path().join("takes/0001");
    let mut args = vec!["check"];
    args.extend(options.split_whitespace());
    args.push(place.to_str().expect("a plain path"));
    let output = genlock_exits(code, &args);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether a line has this severity and all of these words.
#[track_caller]
fn says(told: &str, severity: &str, words: &[&str]) {
    let mut lines = told.lines().filter(|line| line.starts_with(severity));
    let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "no {severity} with {words:?} in:\n{told}");
}

#[test]
fn a_rig_that_is_ready_is_told_so_with_its_numbers() {
    let told = check(0, &format!("--emulated 4 {SMALL}"));
    assert_eq!(told.lines().last(), Some("ready"));
    says(&told, "good", &["4 devices", "master 000000000001"]);
    says(&told, "good", &["sync cables"]);
    says(&told, "good", &["firmware", "1.6.110", "1.6.79"]);
    says(&told, "good", &["MJPG_720P", "NFOV_2X2BINNED", "5 fps"]);
    says(&told, "good", &["4 depth exposures"]);
    says(&told, "good", &["depth engine"]);
    // 5 310 760 bytes of raw depth and 0.4 bytes for each color pixel, five times a second.
    says(&told, "good", &["emulated bus 4: 29 of 400 MB/s (000000000004 29)"]);
    says(&told, "good", &["minutes at 15 MB/s, the take has 1.0 seconds"]);
    assert!(!told.contains("usbfs") && !told.contains("error"), "{told}");
}

#[test]
fn the_disk_is_held_against_what_the_profile_writes() {
    // Depth and IR of 640x576 pixels at 30 fps.
    let depth = "--emulated 1 -c OFF --imu off -l 1";
    says(&check(0, depth), "good", &["disk", "at 44 MB/s"]);
    says(&check(0, &format!("{depth} --profile compact")), "good", &["disk", "at 22 MB/s"]);
}

#[test]
fn one_device_is_checked_alone_and_ten_are_a_rig() {
    let told = check(0, &format!("--emulated 1 {SMALL}"));
    assert!(!told.contains("master") && !told.contains("depth exposures"), "{told}");
    let told = check(0, &format!("--emulated 10 {SMALL}"));
    says(&told, "good", &["10 depth exposures"]);
    says(&told, "warning", &["9 subordinates", "chain of 8"]);
    let told = check(0, &format!("--emulated 11 {SMALL}"));
    says(&told, "warning", &["laser pulses", "room for 10 cameras"]);
}

#[test]
fn the_place_is_the_current_folder_unless_named_and_may_exist() {
    let args = format!("check --emulated 1 {SMALL}");
    genlock_exits(0, &args.split_whitespace().collect::<Vec<_>>());
    let folder = folder();
    let args = format!("{args} {}", folder.path().to_str().expect("a plain path"));
    let output = genlock_exits(0, &args.split_whitespace().collect::<Vec<_>>());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    says(&told, "good", &[folder.path().to_str().expect("a plain path"), "has room"]);
}

#[test]
fn a_rig_that_is_not_ready_says_what_to_do() {
    let told = check(1, &format!("--emulated 1 {SMALL} --external-sync subordinate"));
    says(&told, "error", &["000000000001", "sync-in", "plug in"]);
    assert_eq!(told.lines().last(), Some("not ready: 1 error"));
    let told = check(1, &format!("--emulated 1 {SMALL} --external-sync master"));
    says(&told, "error", &["000000000001", "sync-out", "plug it in"]);
    let told = check(1, &format!("--emulated 2 {SMALL} --serial 000000000009"));
    says(&told, "error", &["000000000009", "there are: 000000000001, 000000000002"]);
}

#[test]
fn every_error_is_named_not_the_first_alone() {
    let told =
        check(1, &format!("--emulated 1 {SMALL} --external-sync sub --depth-engine /nowhere.so"));
    says(&told, "error", &["sync-in"]);
    says(&told, "error", &["depth engine", "/nowhere.so", "--depth-engine", "--depth-mode OFF"]);
    assert_eq!(told.lines().last(), Some("not ready: 2 errors"));
    let quiet = check(
        1,
        &format!("--emulated 1 {SMALL} -q --external-sync sub --depth-engine /nowhere.so"),
    );
    assert_eq!(quiet.lines().count(), 3, "two errors and the verdict:\n{quiet}");
}

#[test]
fn without_depth_no_engine_is_asked_for() {
    let told = check(0, "--emulated 1 -c 720p -d OFF -r 5 --depth-engine /nowhere.so");
    assert!(!told.contains("engine"), "{told}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").expect("a file");
    for place in [folder.path().join("file/take"), "/proc/self/take".into()] {
        let args = format!("check --emulated 1 {SMALL} {}", place.display());
        let output = genlock_exits(1, &args.split_whitespace().collect::<Vec<_>>());
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        says(&told, "error", &["disk", "cannot create", "another OUTPUT"]);
    }
}

#[test]
fn a_take_that_is_not_ready_is_refused_with_every_fix_before_anything_is_there() {
    let folder = folder();
    let place = folder.path().join("takes/0001");
    let options = "--emulated 1 --external-sync sub --frames 1";
    let args = format!("record {options} {}", place.display());
    let output = genlock_exits(1, &args.split_whitespace().collect::<Vec<_>>());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    says(&stderr, "error: 000000000001: ", &["wait for pulses for ever", "plug in the sync-out"]);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_take_that_does_not_fit_is_an_error_for_check_and_record() {
    let place = folder();
    let bus = shown(2, |_| {});
    let mut plan = rig(place.path(), Devices::emulated(2, None), 2);
    plan.triggers = Some(u64::MAX);
    let host = Host::machine();
    let fits_not = ["disk", "has room for", "free some space"];
    says(&told(&record::check(&plan, Ok(&bus), &host)), "error", &fits_not);
    let mut members = record::members(&plan, &bus).expect("both are there");
    says(&told(&record::preflight(&plan, &bus, &mut members, &host)), "error", &fits_not);
    plan.triggers = Some(5);
    let told = told(&record::preflight(&plan, &bus, &mut members, &host));
    assert!(told.lines().all(|line| line.starts_with("good")), "{told}");
}

#[test]
fn what_cannot_be_asked_for_is_a_matter_of_usage() {
    for options in ["-c OFF -d OFF", "-d WFOV_UNBINNED -r 30", "--no-such-flag"] {
        check(2, &format!("--emulated 1 {options}"));
    }
}

#[test]
fn findings_are_there_as_json() {
    let json = |code, options: &str| -> Value {
        serde_json::from_str(&check(code, &format!("--json {SMALL} {options}"))).expect("JSON")
    };
    let ready = json(0, "--emulated 2");
    assert_eq!(ready["ready"], true);
    let findings = ready["findings"].as_array().expect("a list");
    let rig = findings.iter().find(|f| f["about"] == "rig").expect("a finding about the rig");
    assert_eq!(rig["severity"], "good");
    assert!(rig["fix"].is_null() && rig["what"].is_string(), "{rig}");
    let not = json(1, "--emulated 1 --external-sync sub");
    assert_eq!(not["ready"], false);
    let first = &not["findings"][0];
    assert_eq!((&first["severity"], &first["about"]), (&"error".into(), &"000000000001".into()));
    assert!(first["fix"].as_str().is_some_and(|fix| fix.contains("sync-out")), "{first}");
}

#[test]
fn a_machine_without_cameras_hears_everything_else() {
    let output = genlock(["check", "/tmp"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    says(&told, "", &["disk", "/tmp"]);
    says(&told, "", &["host", "clock"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{told}");
    if !Path::new("/dev/bus/usb").exists() {
        says(&told, "error", &["USB", "--emulated 1"]);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_take_of_a_ready_rig_begins_without_a_warning() {
    let folder = folder();
    let place = folder.path().join("take");
    let args = format!("record --emulated 2 {SMALL} {}", place.display());
    let output = genlock_exits(0, &args.split_whitespace().collect::<Vec<_>>());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("warning") && !told.contains("error"), "{told}");
}

#[test]
fn warnings_let_a_take_begin_and_are_told_unless_quiet() {
    let folder = folder();
    for (name, quiet, told) in [("a", "", true), ("b", "-q", false)] {
        let place = folder.path().join(name);
        // One subordinate more than Microsoft supports in a chain.
        let options = "--emulated 10 -c 720p -d OFF --imu off -r 5 --frames 2";
        let args = format!("record {options} {quiet} {}", place.display());
        let output = genlock_exits(0, &args.split_whitespace().collect::<Vec<_>>());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.contains("warning: rig: 9 subordinates"), told, "{stderr}");
    }
}

/// Emulated cameras on a bus that shows them otherwise.
struct Shown {
    bus: EmulatedBus,
    show: fn(&mut Vec<UsbDevice>),
}

impl Bus for Shown {
    fn devices(&self) -> Result<Vec<UsbDevice>> {
        let mut devices = self.bus.devices()?;
        (self.show)(&mut devices);
        Ok(devices)
    }

    fn open(&self, device: &UsbDevice) -> Result<Box<dyn Port>> {
        self.bus.open(device)
    }
}

fn shown(count: usize, show: fn(&mut Vec<UsbDevice>)) -> Shown {
    let bus = EmulatedBus::rig(&vec![Faults::default(); count], None, Clock::machine());
    Shown { bus, show }
}

/// A rig file of a master and its subordinates.
fn rig(place: &Path, devices: Devices, count: usize) -> Plan {
    let named = |i: usize| Named {
        role_given: true,
        host: None,
        serial: format!("{i:012}"),
        name: None,
        config: DeviceConfig {
            rate: Rate::Fps5,
            role: if i == 1 { Role::Master } else { Role::Subordinate },
            depth_delay_us: 160 * (i as i32 - 1),
            ..DeviceConfig::default()
        },
    };
    Plan {
        devices,
        wanted: Wanted::Each((1..=count).map(named).collect()),
        opening: Opening::default(),
        keeping: Keeping::default(),
        storing: Storing::default(),
        triggers: Some(5),
        output: Output::Folder(place.join("take")),
        depth_engine: None,
        force: false,
        is_part: false,
        hosts: Vec::new(),
        certs: None,
    }
}

/// In lines that begin with their severity.
fn told(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{} {finding}\n", finding.severity)).collect()
}

#[test]
fn devices_that_are_not_there_or_not_whole_do_not_hide_the_others() {
    let place = folder();
    // Of five, the second has lost its depth half and the third runs at USB 2 speed; the fifth of
    // the rig file is not there at all.
    let bus = shown(4, |devices| {
        devices.retain(|d| d.serial != "000000000002" || d.product != 0x097C);
        devices.iter_mut().filter(|d| d.bus == 3).for_each(|d| d.superspeed = false);
    });
    let plan = rig(place.path(), Devices::emulated(4, None), 5);
    let told = told(&record::check(&plan, Ok(&bus), &Host::machine()));
    says(&told, "error", &["000000000002", "only its color camera", "power supply"]);
    says(&told, "error", &["000000000003", "USB 2 speed", "USB 3 port"]);
    says(&told, "error", &["000000000002, 000000000005", "not plugged in"]);
    says(&told, "good", &["5 devices, master 000000000001"]);
    says(&told, "good", &["emulated bus 4"]);
    says(&told, "good", &["depth engine"]);
    assert_eq!(told.lines().filter(|line| line.starts_with("error")).count(), 3, "{told}");
}

#[test]
fn a_check_creates_an_engine_and_leaves_the_device_stopped() {
    let place = folder();
    let bus = shown(1, |_| {});
    let mut plan = rig(place.path(), Devices::emulated(1, None), 1);
    if let Wanted::Each(named) = &mut plan.wanted {
        named[0].config.role = Role::Standalone;
    }
    says(&told(&record::check(&plan, Ok(&bus), &Host::machine())), "good", &["depth engine"]);
    let journal = bus.bus.journal("000000000001");
    let depth = journal.iter().filter(|r| r.function == Function::Depth).map(|r| r.code);
    // Opening, then the mode, the calibration blob, and stop; no start (usb-protocol.md 3.7).
    let expected = [0x115, 0x111, 0x201, 0xF2, 0x0A, 0xE1, 0x22, 0xF2, 0x0A];
    assert_eq!(depth.collect::<Vec<_>>(), expected);
}

#[test]
fn cameras_on_real_usb_are_held_against_controllers_and_memory() {
    let (place, machine) = (folder(), folder());
    let write = |path: &str, text: &str| {
        let path = machine.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let pci = "sys/devices/pci0000:00/0000:00:14.0";
    write(&format!("{pci}/vendor"), "0x8086\n");
    write("sys/module/usbcore/parameters/usbfs_memory_mb", "16\n");
    let buses = machine.path().join("sys/bus/usb/devices");
    fs::create_dir_all(&buses).expect("a folder");
    for bus in ["usb1", "usb2", "usb3"] {
        fs::create_dir_all(machine.path().join(pci).join(bus)).expect("a folder");
        let to = format!("../../../devices/pci0000:00/0000:00:14.0/{bus}");
        std::os::unix::fs::symlink(to, buses.join(bus)).expect("a link");
    }
    let mut plan = rig(place.path(), Devices::Usb, 3);
    plan.depth_engine = Some("/nowhere.so".into());
    if let Wanted::Each(named) = &mut plan.wanted {
        named.iter_mut().for_each(|named| named.config.rate = Rate::Fps30);
    }
    let bus = shown(3, |_| {});
    let host = Host::below(machine.path());
    let told = told(&record::check(&plan, Ok(&bus), &host));
    // 184 MB/s each: spec/usb-protocol.md 3.6, and 0.4 bytes for each color pixel.
    let controller = "Intel controller 0000:00:14.0: 553 of 400 MB/s";
    says(&told, "error", &[controller, "000000000003 185", "one camera into each"]);
    says(&told, "error", &["usbfs_memory_mb is 16", "need 70", "echo 128 |"]);
    says(&told, "error", &["depth engine", "/nowhere.so"]);
}
