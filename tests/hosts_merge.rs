//! A take of several hosts: its parts are merged, and `verify` finds what the merged take says.

#![cfg(feature = "hosts")]

mod support;

use genlock::config::DeviceConfig;
use genlock::hosts::merge::{Agreed, Expected, Found, Part, merge};
use genlock::hosts::name::HostName;
use genlock_formats::k4a::{Rate, Recording, Role};
use genlock_formats::take::{Device, HostClock, Outcome, Take};
use genlock_formats::triggers::{Cell, Triggers};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{genlock, genlock_exits};

/// Which host has which of the four devices; the first is the master.
const HOSTS: [&str; 4] = ["a", "a", "b", "c"];

const NOT_THERE: &str = "its host b did not answer";

/// A take of four devices as one host recorded it.
struct Recorded {
    folder: PathBuf,
    take: Take,
    triggers: Triggers,
    _keep: tempfile::TempDir,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn read(folder: &Path) -> (Take, Triggers) {
    let file = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of the take");
    let take = Take::from_toml(&file("take.toml")).expect("it reads");
    (take, Triggers::from_csv(&file("triggers.csv")).expect("it reads"))
}

/// Recorded once for all tests.
fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let keep = tempfile::tempdir().expect("a folder");
        let init = genlock_exits(0, &["rig", "init", "--emulated", "4"]);
        let rig = String::from_utf8(init.stdout).expect("a text");
        let rig = rig
            .replace("color_mode = \"MJPG_1080P\"", "color_mode = \"720p\"")
            .replace("depth_mode = \"NFOV_UNBINNED\"", "depth_mode = \"NFOV_2X2BINNED\"")
            .replace("rate = 30", "rate = 15");
        let path = keep.path().join("rig.toml");
        fs::write(&path, rig + "[emulator.faults]\njitter_us = 20\nclock_ppm = 50\n")
            .expect("a file");
        let folder = keep.path().join("take");
        // A busy machine may lose frames: the merged take is held against what was recorded.
        genlock(["record", "--rig", text(&path), "-l", "4", text(&folder)]);
        let (take, triggers) = read(&folder);
        assert_eq!(take.devices.len(), 4);
        Recorded { folder, take, triggers, _keep: keep }
    })
}

fn host(name: &str) -> HostName {
    HostName::try_from(name.to_owned()).expect("a name")
}

/// What was asked of the four devices.
fn expected() -> Vec<Expected> {
    let by_role = |device: &Device| {
        Role::ALL.into_iter().find(|role| role.to_string().to_lowercase() == device.role)
    };
    let one = |(device, name): (&Device, &str)| Expected {
        host: host(name),
        serial: device.serial.clone(),
        name: device.name.clone(),
        config: DeviceConfig {
            color: Some(device.color_mode.parse().expect("a mode")),
            depth: Some(device.depth_mode.parse().expect("a mode")),
            rate: Rate::Fps15,
            role: by_role(device).expect("a role"),
            depth_delay_us: device.depth_delay_off_color.asked_us as i32,
            subordinate_delay_us: device.delay_off_master.asked_us as u32,
            ..DeviceConfig::default()
        },
    };
    recorded().take.devices.iter().zip(HOSTS).map(one).collect()
}

fn agreed() -> Agreed {
    let triggers = &recorded().triggers;
    let count = triggers.rows.len() as u64;
    Agreed { first: triggers.first, end: Some(triggers.first + count), asked: Some(count) }
}

/// What the recorder of a host would have written: its devices alone, nothing of a master that is
/// elsewhere, and arrivals by a clock of its own.
fn part(name: &str) -> Part {
    let Recorded { take, triggers, .. } = recorded();
    let (mut take, mut triggers) = (take.clone(), triggers.clone());
    let has = |serial: &str| {
        let place = recorded().take.devices.iter().position(|device| device.serial == serial);
        place.is_some_and(|place| HOSTS[place] == name)
    };
    take.devices.retain(|device| has(&device.serial));
    take.files.retain(|file| has(file.name.trim_end_matches(".mkv")));
    for device in take.devices.iter_mut().filter(|_| name != "a") {
        (device.phase, device.verdict, device.reasons) = (None, None, Vec::new());
    }
    let stem = |column: &str| column.split_once('.').expect("a column").0.to_owned();
    let keep: Vec<_> = triggers.columns.iter().map(|column| has(&stem(column))).collect();
    // Monotonic clocks begin when their machines do, and run apart.
    let own = |us: u64| if name == "a" { us } else { us + us / 5_000 + 3_600_000_000 };
    for row in &mut triggers.rows {
        let mut of_column = keep.iter().zip(&triggers.columns);
        row.retain_mut(|cell| {
            let Some((keep, column)) = of_column.next() else { return false };
            if let (Cell::At(us), true) = (cell, column.ends_with(".host")) {
                *us = own(*us);
            }
            *keep
        });
    }
    let mut kept = keep.iter();
    triggers.columns.retain(|_| kept.next() == Some(&true));
    Part {
        host: host(name),
        found: Found::Recorded { take: Box::new(take), triggers },
        clock: None,
    }
}

fn missing(name: &str) -> Part {
    let why = format!("its host {name} did not answer");
    Part { host: host(name), found: Found::Missing { why }, clock: None }
}

/// Writes the merged take with its recordings, which are in `folders` by host, or where all were
/// recorded. `verify` finds in it what its outcome says, and no contradiction.
fn verify(take: &Take, triggers: &Triggers, folders: &BTreeMap<&str, PathBuf>) {
    let keep = tempfile::tempdir().expect("a folder");
    for device in &take.devices {
        let Some(file) = &device.file else { continue };
        let host = device.host.as_deref().expect("a host");
        let from = folders.get(host).unwrap_or(&recorded().folder).join(file);
        fs::copy(from, keep.path().join(file)).expect("a copy");
    }
    fs::write(keep.path().join("triggers.csv"), triggers.to_csv()).expect("a file");
    fs::write(keep.path().join("take.toml"), take.to_toml()).expect("a file");
    let code = match take.outcome {
        Outcome::Whole => 0,
        Outcome::Losses => 3,
        Outcome::Failed => 1,
    };
    let output = genlock(["verify", "--json", text(keep.path())]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = said[0]["problems"].as_array().expect("problems");
    let told = |problem: &&serde_json::Value| {
        problem.as_str().is_some_and(|text| text.starts_with("the take failed: "))
    };
    let others: Vec<_> = problems.iter().filter(|problem| !told(problem)).collect();
    assert!(others.is_empty(), "{}{others:?}", take.to_toml());
    assert_eq!(output.status.code(), Some(code), "{}{said}", take.to_toml());
    let info = genlock_exits(0, &["info", text(keep.path())]);
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    for clock in &take.hosts {
        let name = &clock.name;
        assert!(info.contains(&format!("  host {name}: UTC ")), "{info}");
        assert!(info.contains(&format!(" at {name}: ")), "{info}");
    }
}

/// Merges, and holds every cell against the losses.
fn merged(parts: &[Part], agreed: &Agreed) -> (Take, Triggers) {
    let (take, triggers) = merge(parts, &expected(), agreed).expect("a take");
    for device in &take.devices {
        for track in ["color", "depth", "ir"] {
            let cells = triggers.column(&format!("{}.{track}", device.serial));
            for (trigger, cell) in (triggers.first..).zip(cells.expect("a column")) {
                let loss = device.losses.iter().find(|loss| {
                    let range = loss.first_trigger..=loss.last_trigger;
                    loss.track == track && range.contains(&trigger)
                });
                let cause = loss.map(|loss| Cell::Lost(loss.cause.clone()));
                let is_frame = matches!(cell, Cell::At(_)) && cause.is_none();
                assert!(is_frame || cause.as_ref() == Some(cell), "{track} {trigger}: {cell:?}");
            }
        }
    }
    (take, triggers)
}

fn device_of<'a>(take: &'a Take, host: &str) -> &'a Device {
    let of_host = |device: &&Device| device.host.as_deref() == Some(host);
    take.devices.iter().rfind(of_host).expect("a device")
}

/// How many triggers of color a device lost for this cause.
fn lost_for(device: &Device, cause: &str) -> u64 {
    let losses = device.losses.iter();
    let losses = losses.filter(|loss| loss.track == "color" && loss.cause == cause);
    losses.map(|loss| loss.last_trigger + 1 - loss.first_trigger).sum()
}

/// The last device's recording as a recorder leaves it that was cut off, and that began late: of
/// its clusters those from `from` to `to` hundredths. Repaired as an agent repairs it.
fn cut_off(name: &str, from: usize, to: usize) -> (Part, PathBuf, tempfile::TempDir) {
    let keep = tempfile::tempdir().expect("a folder");
    let place = HOSTS.iter().position(|host| *host == name).expect("a host");
    let file = recorded().take.devices[place].file.clone().expect("a file");
    let bytes = fs::read(recorded().folder.join(&file)).expect("a recording");
    let recording = Recording::open(&bytes).expect("it opens");
    let clusters: Vec<_> = recording.demuxer().clusters().flatten().collect();
    let place = |hundredth: usize| clusters[clusters.len() * hundredth / 100].at() as usize;
    let front = &bytes[..place(0)];
    let folder = keep.path().join("part");
    fs::create_dir(&folder).expect("a folder");
    // The last cluster is torn.
    let cut = [front, &bytes[place(from)..place(to) + 1000]].concat();
    fs::write(folder.join(format!("{file}.part")), cut).expect("a file");
    genlock_exits(3, &["repair", text(&folder)]);
    let folder = keep.path().join("part.repaired");
    let (take, triggers) = read(&folder);
    let found = Found::Recorded { take: Box::new(take), triggers };
    (Part { host: host(name), found, clock: None }, folder, keep)
}

#[test]
fn parts_of_one_take_are_that_take_again() {
    let Recorded { take: whole, triggers, .. } = recorded();
    let mut parts = ["c", "a", "b"].map(part);
    parts[0].clock = Some(HostClock { offset_us: Some(3.5), ..HostClock::default() });
    let (take, table) = merged(&parts, &agreed());
    assert_eq!((take.outcome, take.verdict), (whole.outcome, whole.verdict));
    assert_eq!((table.first, table.rows.len()), (triggers.first, triggers.rows.len()));
    assert_eq!((&take.host, take.hosts.len()), (&None, 3));
    assert_eq!((take.hosts[2].name.as_str(), take.hosts[2].offset_us), ("c", Some(3.5)));
    for (one, was) in take.devices.iter().zip(&whole.devices) {
        assert_eq!((&one.phase, &one.losses), (&was.phase, &was.losses));
        assert_eq!((&one.frames, one.verdict), (&was.frames, was.verdict), "{:?}", one.reasons);
        let ppm = |device: &Device| device.clock.as_ref().map(|clock| clock.ppm).expect("a clock");
        let apart = ppm(one) - ppm(was);
        let is_elsewhere = one.host.as_deref() != Some("a");
        let limit = if is_elsewhere { -210.0..-190.0 } else { -0.1..0.1 };
        assert!(limit.contains(&apart), "of its own host's clock: {apart}");
    }
    verify(&take, &table, &BTreeMap::new());
}

#[test]
fn a_host_that_did_not_answer_is_on_the_list() {
    let (take, table) = merged(&[part("a"), missing("b"), part("c")], &agreed());
    assert_eq!(take.outcome, Outcome::Losses);
    let gone = device_of(&take, "b");
    assert_eq!((&gone.file, lost_for(gone, NOT_THERE)), (&None, table.rows.len() as u64));
    verify(&take, &table, &BTreeMap::new());
    let (take, table) = merged(&[missing("a"), missing("b"), part("c")], &agreed());
    assert!(take.reason.as_ref().is_some_and(|why| why.contains("no file of the master")));
    verify(&take, &table, &BTreeMap::new());
}

#[test]
fn a_part_that_began_late_and_was_cut_off_is_joined() {
    for (name, from, to) in [("b", 20, 70), ("b", 0, 40), ("c", 50, 99)] {
        let (cut, folder, _keep) = cut_off(name, from, to);
        let parts =
            ["a", "b", "c"].map(|other| if other == name { cut.clone() } else { part(other) });
        let (take, table) = merged(&parts, &agreed());
        assert_eq!((take.outcome, table.first), (Outcome::Losses, agreed().first));
        assert_eq!(table.rows.len(), recorded().triggers.rows.len());
        let joined = device_of(&take, name);
        let late = lost_for(joined, "its host was not ready in time");
        let ended = lost_for(joined, "its recorder was cut off");
        assert!((late > 0) == (from > 0) && ended > 0, "{name}: {late} late, {ended} at the end");
        // What is joined keeps the numbers that it had.
        let column = format!("{}.color", joined.serial);
        let both = table.column(&column).expect("a column");
        let both: Vec<_> = both.zip(recorded().triggers.column(&column).expect("one")).collect();
        let same = both.iter().filter(|(one, was)| one == was && matches!(one, Cell::At(_)));
        assert_eq!(same.count() as u64, joined.frames["color"]);
        assert!(joined.phase.is_some(), "{:?}", joined.reasons);
        verify(&take, &table, &BTreeMap::from([(name, folder)]));
    }
}

#[test]
fn what_a_host_has_beyond_the_agreed_end_is_kept() {
    let (cut, folder, _keep) = cut_off("b", 0, 50);
    let whole = agreed();
    let early = Agreed { first: whole.first + 3, end: whole.end.map(|end| end - 4), asked: None };
    let (take, table) = merged(&[part("a"), cut, part("c")], &early);
    assert_eq!(
        (table.first, Some(table.first + table.rows.len() as u64)),
        (whole.first, whole.end)
    );
    let joined = device_of(&take, "b");
    assert_eq!(lost_for(joined, "after the end that was agreed upon"), 4);
    verify(&take, &table, &BTreeMap::from([("b", folder)]));
    // With nobody to tell the end, and the longest gone, the take is what is there.
    let open = Agreed { end: None, ..whole };
    let (cut, folder, _keep) = cut_off("b", 10, 50);
    let (take, table) = merged(&[missing("a"), cut, missing("c")], &open);
    assert!(table.rows.len() < recorded().triggers.rows.len());
    assert_eq!(take.outcome, Outcome::Failed, "nobody came to an end");
    verify(&take, &table, &BTreeMap::from([("b", folder)]));
}
