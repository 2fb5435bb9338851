//! Devices that die in mid-take: the others go on, who comes back joins them, and what is missing
//! is told.

mod support;

use genlock::clock::Clock;
use genlock::config::{
    DeviceConfig, Devices, Keeping, Opening, Output, Pick, Plan, Storing, Wanted,
};
use genlock::record::{self, Status};
use genlock::usb::Bus;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::Faults;
use genlock_formats::k4a::{DepthMode, Recording};
use genlock_formats::take::{Loss, Outcome, Take, Verdict};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use support::{genlock_exits, official_dump, turn};

const GONE_S: f64 = 2.0;

/// The faults of a rig of two, of which one leaves the bus after two seconds, and is back at
/// `back_s` or never.
fn faults(dies: usize, back_s: Option<f64>) -> [Faults; 2] {
    let mut faults = [Faults::default(), Faults::default()];
    faults[dies].gone_s = Some(GONE_S);
    faults[dies].back_s = back_s;
    faults
}

/// Records a take of that rig into the folder `output`.
fn record(
    faults: &[Faults],
    (triggers, rejoin_for_s): (Option<u64>, u64),
    output: &Path,
    watch: &mut dyn FnMut(&Status),
) -> record::Outcome {
    let rejoin_for = Duration::from_secs(rejoin_for_s);
    let plan = Plan {
        devices: Devices::emulated(faults.len(), None),
        wanted: Wanted::Alike {
            pick: Pick::All,
            config: DeviceConfig {
                color: Some("720p".parse().expect("a mode")),
                depth: Some(DepthMode::Nfov2x2Binned),
                ..DeviceConfig::default()
            },
            role_given: false,
            delay_given: false,
        },
        opening: Opening::default(),
        keeping: Keeping { rejoin_for, ..Keeping::default() },
        storing: Storing::default(),
        force: false,
        is_part: false,
        hosts: Vec::new(),
        certs: None,
        triggers,
        output: Output::Folder(output.to_owned()),
        depth_engine: None,
    };
    let _turn = turn();
    let clock = Clock::machine();
    let bus: Arc<dyn Bus> = Arc::new(EmulatedBus::rig(faults, None, clock.clone()));
    record::run(&plan, &bus, &clock, &AtomicBool::new(false), watch).expect("it began")
}

/// Every file of the take opens, and has the frames that `take.toml` says; frames and losses of
/// every image track are the take's triggers.
fn accounts_for_every_trigger(output: &Path, take: &Take) {
    for device in &take.devices {
        let file = output.join(device.file.as_ref().expect("a file"));
        let bytes = std::fs::read(&file).expect("it has its own name");
        let recording = Recording::open(&bytes).expect("it opens");
        assert!(recording.demuxer().is_finished());
        let color = recording.captures().flatten().filter(|capture| capture.color.is_some());
        assert_eq!(color.count() as u64, device.frames["color"]);
        for track in ["color", "depth", "ir"] {
            let lost = device.losses.iter().filter(|loss| loss.track == track);
            let lost: u64 = lost.map(Loss::count).sum();
            assert_eq!(device.frames[track] + lost, device.trigger_count, "{track}");
        }
        if let Some(dump) = official_dump(&file) {
            let dump = dump.expect("the official library opens it");
            assert_eq!(dump["captures_end"], "eof");
        }
    }
}

/// A take that finished with losses verifies as one.
fn verifies_with_losses(output: &Path) {
    let output = genlock_exits(3, &["verify", output.to_str().expect("a plain path")]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("out of the take"), "{told}");
}

#[test]
fn a_device_that_leaves_the_bus_is_missing_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let mut alarms = Vec::new();
    let outcome = record(&faults(1, None), (Some(150), 1), &output, &mut |status| {
        alarms.extend(status.alarms.clone());
    });
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.take.outcome, Outcome::Losses);
    let alarms = alarms.join("\n");
    for words in ["000000000002", "left the bus", "looked for during 1 s", "is given up"] {
        assert!(alarms.contains(words), "{alarms}");
    }
    let [master, dead] = &outcome.take.devices[..] else { panic!("two devices") };
    assert!(master.losses.is_empty() && master.outages.is_empty(), "{:?}", master.losses);
    assert_eq!((master.trigger_count, dead.trigger_count), (150, 150));
    let [outage] = &dead.outages[..] else { panic!("{:?}", dead.outages) };
    assert!(outage.why.contains("left the bus") && outage.clock_moved_us.is_none(), "{outage:?}");
    assert_eq!(outage.last_trigger, dead.first_trigger + 149);
    for loss in &dead.losses {
        // It may have died between the color and the depth frame of one trigger.
        let of_outage = loss.first_trigger + 1 >= outage.first_trigger;
        assert!(loss.cause == "device was away" && of_outage, "{loss:?} {outage:?}");
    }
    accounts_for_every_trigger(&output, &outcome.take);
    verifies_with_losses(&output);
}

/// From its files alone the take is told again, without what only its recorder knew.
fn repairs_as_in_step(output: &Path) {
    for name in ["take.toml", "triggers.csv"] {
        std::fs::remove_file(output.join(name)).expect("it is there");
    }
    let repaired = output.with_extension("repaired");
    let told = genlock_exits(3, &["repair", output.to_str().expect("a plain path")]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("repaired"));
    let toml = std::fs::read_to_string(repaired.join("take.toml")).expect("take.toml");
    let take = Take::from_toml(&toml).expect("a take");
    assert_eq!(take.verdict, Some(Verdict::Warn), "{toml}");
    let failed = genlock_exits(1, &["verify", repaired.to_str().expect("a plain path")]);
    let told = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(!told.contains("take.toml") && !told.contains("triggers.csv"), "{told}");
}

#[test]
fn a_device_that_is_back_goes_on_in_the_same_file_at_the_right_trigger() {
    for dies in [1, 0] {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("take");
        let outcome =
            record(&faults(dies, Some(GONE_S + 1.5)), (Some(270), 20), &output, &mut |_| {});
        assert_eq!((outcome.failure, outcome.take.outcome), (None, Outcome::Losses));
        let device = &outcome.take.devices[dies];
        let [outage] = &device.outages[..] else { panic!("{:?}", device.outages) };
        assert!(outage.clock_moved_us.is_some(), "{outage:?}");
        let missed = outage.last_trigger - outage.first_trigger + 1;
        // Away for 1.5 s, then looked for twice a second, started, and measured for a second.
        assert!((45..190).contains(&missed), "{missed} triggers");
        accounts_for_every_trigger(&output, &outcome.take);
        verifies_with_losses(&output);
        repairs_as_in_step(&output);
    }
}

#[test]
fn a_device_that_hangs_is_started_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let mut faults = [Faults::default(), Faults::default()];
    faults[1].hangs_s = Some(GONE_S);
    let mut alarms = Vec::new();
    let outcome = record(&faults, (Some(360), 20), &output, &mut |status| {
        alarms.extend(status.alarms.clone());
    });
    assert_eq!((outcome.failure, outcome.take.outcome), (None, Outcome::Losses));
    let alarms = alarms.join("\n");
    assert!(alarms.contains("no frames for 5 s") && alarms.contains("is back"), "{alarms}");
    let [outage] = &outcome.take.devices[1].outages[..] else { panic!("one outage") };
    assert!(outage.clock_moved_us.is_some(), "{outage:?}");
    accounts_for_every_trigger(&output, &outcome.take);
    verifies_with_losses(&output);
}

#[test]
fn a_device_that_dies_when_all_is_recorded_costs_the_take_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let mut faults = [Faults::default()];
    // It is there for all triggers, and gone before the take, held up here from the first it hears
    // of them on, stops it.
    let gone_s = 3.0 * GONE_S;
    faults[0].gone_s = Some(gone_s);
    let mut first_look = None;
    let outcome = record(&faults, (Some(30), 20), &output, &mut |status| {
        // Its time began before, with the bus.
        let begun = *first_look.get_or_insert_with(Instant::now);
        let has_begun = status.devices[0].frames > 0;
        while has_begun && begun.elapsed() < Duration::from_secs_f64(gone_s + 0.5) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    assert_eq!((outcome.failure, outcome.take.outcome), (None, Outcome::Whole));
    let told = outcome.unstopped.expect("it could not be stopped").to_string();
    assert!(told.contains("left the bus"), "{told}");
    genlock_exits(0, &["verify", output.to_str().expect("a plain path")]);
}

#[test]
fn a_take_of_which_nobody_is_left_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let outcome = record(&faults(1, None)[1..], (None, 1), &output, &mut |_| {});
    let failure = outcome.failure.expect("the device is gone").to_string();
    assert!(failure.contains("left the bus"), "{failure}");
    assert_eq!(outcome.take.outcome, Outcome::Failed);
    accounts_for_every_trigger(&output, &outcome.take);
}

#[test]
fn what_ended_the_take_is_told_before_what_then_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let foreign = output.join("take.toml");
    let outcome = record(&faults(1, None)[1..], (None, 0), &output, &mut |_| {
        std::fs::write(&foreign, "precious").expect("a file");
    });
    let failure = outcome.failure.expect("a device is gone").to_string();
    let (first, then) = failure.split_once("; then ").expect("two causes");
    assert!(first.contains("left the bus") && then.contains("take.toml"), "{failure}");
    assert_eq!(std::fs::read(&foreign).expect("it is still there"), b"precious");
    let ours = std::fs::read_to_string(output.join("take.toml.part")).expect("beside it");
    assert_eq!(Take::from_toml(&ours), Ok(outcome.take));
}
