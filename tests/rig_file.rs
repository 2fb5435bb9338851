//! Rig files as a person meets them: the walk-through, and what is refused, how, and what is left
//! behind.

mod support;

use clap::Parser;
use genlock::cli::RecordArgs;
use genlock::config::{self, Devices, Wanted};
use genlock_formats::take::Take;
use std::fs;
use std::path::Path;
use support::genlock_exits;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RecordArgs,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// `record --rig` of this file must exit with 2, say all of `words`, and leave nothing behind.
fn refused_with(rig: &str, options: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rig.toml");
    fs::write(&path, rig).expect("a rig file");
    let take = folder.path().join("take");
    // Should it not be refused, it ends all the same.
    let args = ["record", "--frames", "3", "--rig", text(&path)];
    let args = [&args[..], options, &[text(&take)]].concat();
    let output = genlock_exits(2, &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(stderr.contains(word), "{rig}\n{options:?}: {stderr:?} lacks {word:?}");
    }
    assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{stderr}");
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "{rig}: leaves nothing but the rig file");
}

fn refused(rig: &str, words: &[&str]) {
    refused_with(rig, &[], words);
}

/// Two emulated devices; `first` and `second` are lines under each.
fn pair(first: &str, second: &str) -> String {
    format!(
        "[emulator]\n[[device]]\nserial = \"000000000001\"\n{first}\n[[device]]\n\
         serial = \"000000000002\"\n{second}\n"
    )
}

const MASTER: &str = "role = \"master\"";
const SUBORDINATE: &str = "role = \"subordinate\"";

#[test]
fn files_that_are_no_rig_files_are_refused() {
    refused("", &["rig.toml: no [[device]]", "genlock rig init"]);
    refused("rate = 30\n", &["no [[device]]"]);
    let nothing = "copy_master = true\n[[device]]\nserial = '000000000001'\n";
    refused(nothing, &["rig.toml:1:", "lock_exposure"]);
    refused("rate = 30\nrate = 15\n", &["rig.toml:2:1", "duplicate"]);
    refused("[[device]\n", &["rig.toml:1:"]);
    refused("[device]\nserial = \"1\"\n", &["rig.toml:1:", "[[device]]"]);
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path(), &folder.path().join("none.toml")] {
        let output = genlock_exits(2, &["record", "--frames", "3", "--rig", text(path), "take"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("cannot read the rig file"), "{stderr}");
    }
    let noise = folder.path().join("noise.toml");
    fs::write(&noise, [0xFF, 0xFE, 0, 1]).expect("a file");
    genlock_exits(2, &["record", "--frames", "3", "--rig", text(&noise), "take"]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    refused("rat = 30\n", &["rig.toml:1:1: unknown key rat", "did you mean rate?"]);
    refused(&pair("gian = 3", ""), &["rig.toml:4:1", "gian", "did you mean gain?"]);
    refused("[emulator]\n  fram = 3\n", &["rig.toml:2:3", "did you mean from?"]);
    refused("[emulator.faults]\njiter_us = 3\n", &["rig.toml:2:1", "did you mean jitter_us?"]);
    refused(&pair("faults.jiter_us = 3", ""), &["rig.toml:4:8", "did you mean jitter_us?"]);
    refused(&pair("copy_master = true", ""), &["rig.toml:4:1", "put it at the top"]);
}

#[test]
fn values_that_are_none_are_refused_with_their_place_and_what_would_be() {
    for (line, words) in [
        ("rate = 25", "takes 30, 15 or 5"),
        ("rate = \"30\"", "takes 30, 15 or 5"),
        ("color_mode = \"1081p\"", "720p_YUY2, OFF"),
        ("depth_mode = \"NARROW\"", "WFOV_UNBINNED, PASSIVE_IR, OFF"),
        ("depth_mode = 3", "a text in quotes"),
        ("imu = \"on\"", "true or false"),
        ("role = \"boss\"", "standalone, master, subordinate"),
        ("depth_delay_us = 1.5", "whole number from -200000 to 200000"),
        ("delay_off_master_us = -1", "from 0 to 200000"),
        ("exposure = -5", "from 1 to 200000, or auto"),
        ("white_balance = 2499", "2500 to 12500, or auto"),
        ("white_balance = 2505", "steps of 10"),
        ("brightness = 256", "0 to 255"),
        ("contrast = 11", "0 to 10"),
        ("saturation = 64", "0 to 63"),
        ("sharpness = 5", "0 to 4"),
        ("backlight_compensation = true", "0 to 1"),
        ("gain = \"much\"", "0 to 255, or auto"),
        ("powerline_hz = 55", "50 or 60"),
        ("name = \"\"", "printed"),
        ("faults.clock_ppm = \"fast\"", "invalid type"),
        ("faults.jitter_us = 9000000000000000000", "from 0 to 1000000000"),
    ] {
        let key = line.split(' ').next().expect("a key");
        refused(&pair(line, ""), &["rig.toml:4:", key, words]);
    }
    for (line, words) in [
        ("warm_up = \"soon\"", "up to 10 minutes"),
        ("sync_every = 0", "from 0.1 s to 1 minute"),
        ("rejoin_for = \"2d\"", "up to a day"),
        ("shed = [\"trigger\", \"ir\"]", "trigger as the last"),
        ("shed = [\"ir\", \"ir\"]", "at most once"),
        ("shed = \"ir\"", "takes a list"),
        ("lock_exposure = 1", "true or false"),
        ("depth_engine = \"\"", "a path"),
        ("emulator.devices = 33", "1 to 32"),
        ("emulator.devices = 0", "1 to 32"),
        ("emulator.seed = -1", "from 0"),
    ] {
        refused(line, &["rig.toml:1:", line.split(' ').next().expect("a key"), words]);
    }
}

#[test]
fn devices_that_cannot_be_told_apart_are_refused() {
    let twice = "[[device]]\nserial = \"1\"\n[[device]]\nserial = \"1\"\n";
    refused(twice, &["rig.toml:4:1", "rig.toml:2:1", "listed once"]);
    refused("[[device]]\nserial = \"1\\u0000\"\n", &["rig.toml:2:1", "printed"]);
    refused("[[device]]\nserial = 1\n", &["rig.toml:2:1", "quotes"]);
    refused("[[device]]\nname = \"a\"\n", &["rig.toml:1:1", "without a serial"]);
    let same_name = pair("name = \"a\"", "name = \"a\"");
    refused(&same_name, &["rig.toml:7:1", "000000000002", "rig.toml:4:1"]);
}

#[test]
fn roles_that_make_no_rig_are_refused_by_device_and_line() {
    let words = ["rig.toml:4:1: 000000000001", "no device of the rig is a master"];
    refused(&pair(SUBORDINATE, SUBORDINATE), &words);
    refused(&pair(MASTER, MASTER), &["rig.toml:7:1: 000000000002", "second", "rig.toml:4:1"]);
    let standalone = "role = \"standalone\"";
    refused(&pair(MASTER, standalone), &["rig.toml:7:1: 000000000002", "standalone", "--serial"]);
    refused(&pair(MASTER, ""), &["rig.toml:6:1: 000000000002", "no role", "subordinate"]);
    let dark = format!("{MASTER}\ncolor_mode = \"OFF\"");
    refused(&pair(&dark, SUBORDINATE), &["rig.toml:5:1: 000000000001", "master", "color_mode"]);
    let lone = format!("[emulator]\n[[device]]\nserial = \"000000000001\"\n{SUBORDINATE}\n");
    refused(&lone, &["rig.toml:4:1: 000000000001", "no master", "--external-sync subordinate"]);
    let slow = format!("{SUBORDINATE}\nrate = 15");
    refused(&pair(MASTER, &slow), &["rig.toml:8:1: 000000000002", "15", "one rate"]);
}

#[test]
fn settings_that_do_not_go_together_are_refused_by_device_and_line() {
    let late = format!("{SUBORDINATE}\ndelay_off_master_us = 33334");
    let words = ["rig.toml:8:1: 000000000002", "delay_off_master_us", "33333"];
    refused(&pair(MASTER, &late), &words);
    let late = format!("{MASTER}\ndelay_off_master_us = 1");
    refused(&pair(&late, SUBORDINATE), &["rig.toml:5:1: 000000000001", "for a subordinate"]);
    let late = format!("{MASTER}\ndepth_delay_us = -33334");
    refused(&pair(&late, SUBORDINATE), &["rig.toml:5:1: 000000000001", "depth_delay_us", "33333"]);
    let wide = format!("{MASTER}\ndepth_mode = \"WFOV_UNBINNED\"");
    refused(&pair(&wide, SUBORDINATE), &["rig.toml:5:1: 000000000001", "rate = 15"]);
    let dark = format!("{SUBORDINATE}\ncolor_mode = \"OFF\"\ngain = 3");
    refused(&pair(MASTER, &dark), &["rig.toml:9:1: 000000000002", "color controls"]);
    let blind = format!("{SUBORDINATE}\ncolor_mode = \"OFF\"\ndepth_mode = \"OFF\"");
    refused(&pair(MASTER, &blind), &["rig.toml:8:1: 000000000002", "both cameras are off"]);
}

#[test]
fn what_is_of_emulated_devices_needs_some() {
    let real = "[[device]]\nserial = \"1\"\n[device.faults]\nclock_ppm = 3\n";
    refused(real, &["rig.toml:4:1", "[emulator]"]);
    let rig = format!("{}emulator.devices = 1\n", "");
    let rig =
        rig + "[[device]]\nserial = \"000000000001\"\n[[device]]\nserial = \"000000000002\"\n";
    refused(&rig, &["rig.toml:5:1", "000000000002", "1 emulated"]);
    let real = "[[device]]\nserial = \"1\"\n";
    refused_with(
        real,
        &["--set", "faults.clock_ppm=3"],
        &["--set faults.clock_ppm=3", "--emulated"],
    );
    refused_with(real, &["--from", "a.mkv"], &["--from", "[emulator]"]);
    refused_with(real, &["--emulated", "2"], &["--rig", "--emulated"]);
}

#[test]
fn settings_of_the_command_line_are_refused_by_their_text() {
    let rig = pair(&format!("{MASTER}\nname = \"front\""), SUBORDINATE);
    for (set, words) in [
        ("gain", "KEY=VALUE"),
        ("gian=3", "unknown key gian: did you mean gain?"),
        ("front.gian=3", "unknown key gian: did you mean gain?"),
        ("frnt.gain=3", "no device frnt; there are front, 000000000001, 000000000002"),
        ("000000000009.gain=3", "no device 000000000009"),
        ("gain=300", "0 to 255"),
        ("faults.clok_ppm=3", "did you mean clock_ppm?"),
        ("front.warm_up=3", "of the whole rig"),
        ("name=a", "SERIAL.name"),
        ("serial=1", "unknown key serial"),
        ("front.role=subordinate", "no device of the rig is a master"),
        ("front.depth_delay_us=40000", "33333"),
        ("depth_mode=WFOV_UNBINNED", "15 frames"),
    ] {
        refused_with(&rig, &["--set", set], &[words]);
        if !words.contains("master") {
            refused_with(&rig, &["--set", set], &[&format!("--set {set}: ")]);
        }
    }
    let one_device = ["--external-sync", "for one device"];
    refused_with(&rig, &["--external-sync", "master"], &one_device);
    refused_with(&rig, &["--set", "role=master"], &one_device);
    refused_with(&rig, &["--sync-delay", "100"], &["for a subordinate", "000000000001"]);
    refused_with(&rig, &["--device", "0"], &["--device"]);
    refused_with(&rig, &["--serial", "9"], &["no device with serial 9", "000000000002"]);
    let args = ["record", "--frames", "3", "--emulated", "2", "take", "--set"];
    for set in ["000000000002.gain=3", "role=master"] {
        let output = genlock_exits(2, &[&args[..], &[set]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("--set {set}: ")), "{stderr}");
    }
}

#[test]
fn a_device_of_the_rig_that_is_not_there_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    fs::write(&rig, pair(MASTER, SUBORDINATE).replace("[emulator]\n", "")).expect("a rig file");
    let take = folder.path().join("take");
    // One of the two is not plugged in, or USB cannot be listed at all.
    let args = ["record", "--frames", "3", "--rig", text(&rig), text(&take)];
    let output = support::genlock(args);
    assert_ne!(output.status.code(), Some(0));
    assert!(!take.exists());
}

#[test]
fn the_walk_through_of_the_readme_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    fs::write(&rig, genlock_exits(0, &["rig", "init", "--emulated", "4"]).stdout).expect("a file");
    let take = folder.path().join("takes/0001");
    let small = ["--set", "depth_mode=NFOV_2X2BINNED", "-c", "720p", "-l", "0.2"];
    genlock_exits(0, &[&["record", "--rig", text(&rig)], &small[..], &[text(&take)]].concat());
    genlock_exits(0, &["verify", text(&take)]);
    let written = fs::read_to_string(take.join("take.toml")).expect("take.toml");
    let written = Take::from_toml(&written).expect("take.toml reads");
    let devices = written.devices.iter();
    let found: Vec<_> = devices.map(|d| (&*d.role, d.depth_delay_off_color.asked_us)).collect();
    let sub = "subordinate";
    assert_eq!(found, [("master", 0), (sub, 160), (sub, 320), (sub, 480)]);
}

#[test]
fn what_rig_init_writes_is_read_back_as_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    for count in [1, 2, 5] {
        let rig = folder.path().join(format!("{count}.toml"));
        let devices = count.to_string();
        let init = ["rig", "init", "--emulated", &devices, "--seed", "7", "-o", text(&rig)];
        let output = genlock_exits(0, &init);
        assert!(output.stdout.is_empty());
        let line = ["record", "--rig", text(&rig), "nowhere"];
        let plan = Line::try_parse_from(line).expect("a line").args.resolve().expect("a plan");
        let alike = ["record", "--emulated", &devices, "nowhere"];
        let alike = Line::try_parse_from(alike).expect("a line").args.resolve().expect("a plan");
        let Wanted::Alike { config, .. } = alike.wanted else { panic!("no rig file") };
        let Wanted::Each(named) = plan.wanted else { panic!("a rig file with devices") };
        assert_eq!(named.len(), count);
        for (place, named) in named.iter().enumerate() {
            let role = match (place, count) {
                (_, 1) => "standalone",
                (0, _) => "master",
                _ => "subordinate",
            };
            let mut expected = config.clone();
            expected.role = role.parse().expect("a role");
            expected.depth_delay_us = place as i32 * 160;
            assert_eq!(named.config, expected, "{place} of {count}");
            assert_eq!(named.serial, format!("{:012}", place + 1));
        }
        let Devices::Emulated { faults, from } = plan.devices else { panic!("emulated devices") };
        let seeds: Vec<_> = faults.iter().map(|faults| faults.seed).collect();
        assert_eq!(seeds, (7..7 + count as u64).collect::<Vec<_>>());
        assert_eq!((from, plan.depth_engine), (None, None));
    }
}

#[test]
fn rig_init_never_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = folder.path().join("rig.toml");
    fs::write(&rig, "precious").expect("a file");
    let output = genlock_exits(2, &["rig", "init", "--emulated", "2", "-o", text(&rig)]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("not overwritten"));
    assert_eq!(fs::read_to_string(&rig).expect("it is still there"), "precious");
    let inside = folder.path().join("none/rig.toml");
    genlock_exits(1, &["rig", "init", "--emulated", "2", "-o", text(&inside)]);
    genlock_exits(2, &["rig", "init", "--seed", "3"]);
    genlock_exits(2, &["rig", "init", "--emulated", "2", "--seed", "-3"]);
}

/// Wherever a rig file is cut, and whatever byte of it is another, it is read or refused.
#[test]
fn damaged_rig_files_are_read_or_refused_with_their_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rig.toml");
    let whole = genlock_exits(0, &["rig", "init", "--emulated", "2", "--seed", "3"]).stdout;
    let mut read = 0;
    let mut meet = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a rig file");
        let line = Line::try_parse_from(["record", "--rig", text(&path), "nowhere"]);
        match line.expect("a line").args.resolve() {
            Ok(_) => read += 1,
            Err(error) => assert!(error.to_string().contains("rig.toml"), "{error}"),
        }
    };
    for cut in 0..whole.len() {
        meet(&whole[..cut]);
    }
    for at in 0..whole.len() {
        for byte in *b"\0\"[]=.9\n\xFF" {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            meet(&damaged);
        }
    }
    assert!(read > 100, "comments may be anything: {read}");
}

#[test]
fn bottomless_values_are_refused() {
    let deep = "[".repeat(50_000);
    refused(&format!("rate = {deep}"), &["rig.toml:1:"]);
    refused(&format!("rate.{}x = 1", "a.".repeat(50_000)), &["rig.toml:1:"]);
    refused_with(&pair("", ""), &["--set", &format!("rate={deep}")], &["takes 30, 15 or 5"]);
}

#[test]
fn every_key_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rig.md");
    let page = fs::read_to_string(path).expect("docs/rig.md");
    for key in config::keys() {
        let name = key.strip_prefix("faults.").unwrap_or(&key);
        assert!(page.contains(&format!("`{name}`")), "docs/rig.md does not name {key}");
    }
}

#[test]
fn more_emulated_devices_than_there_can_be_are_refused() {
    let device = |n: u32| format!("[[device]]\nserial = \"{n:012}\"\n");
    let rig = (1..=300).map(device).collect::<String>() + "[emulator]\n";
    refused_with(&rig, &[], &[":66:", "more than 32 emulated devices"]);
}

/// Forty thousand devices took 17 s to be refused.
#[test]
fn a_rig_file_beyond_measure_is_refused_at_once() {
    let device = |n: u32| format!("[[device]]\nserial = \"{n:012}\"\n");
    refused_with(&(1..=40_000).map(device).collect::<String>(), &[], &["larger than 128 KiB"]);
}
