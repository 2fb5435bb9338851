//! Devices that fail in mid-take: the take ends, says why, and what was recorded is whole.

use genlock::clock::Clock;
use genlock::config::{DeviceConfig, Devices, Keeping, Opening, Output, Pick, Plan, Wanted};
use genlock::record::{self, Status};
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::{Cable, Kinect, Setup};
use genlock_formats::k4a::{DepthMode, Recording};
use genlock_formats::take::Outcome;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const GONE_S: f64 = 2.0;

/// A rig of two whose subordinate leaves the bus after two seconds.
fn rig(clock: &Clock) -> EmulatedBus {
    let cable = Cable::default();
    let kinect = |number: u64| {
        let mut setup = Setup::new(&format!("{number:012}"), number);
        match number {
            1 => setup.sync_out = Some(cable.clone()),
            _ => {
                setup.sync_in = Some(cable.clone());
                setup.faults.gone_s = Some(GONE_S);
            }
        }
        Kinect::new(setup)
    };
    EmulatedBus::new(vec![kinect(1), kinect(2)], clock.clone())
}

/// Records a take of that rig into the folder `output`.
fn record(output: &Path, watch: &mut dyn FnMut(&Status)) -> record::Outcome {
    let plan = Plan {
        devices: Devices::emulated(2, None),
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
        keeping: Keeping::default(),
        force: false,
        triggers: None,
        output: Output::Folder(output.to_owned()),
        depth_engine: None,
    };
    let clock = Clock::machine();
    let (bus, stop) = (rig(&clock), AtomicBool::new(false));
    record::run(&plan, &bus, &clock, &stop, watch).expect("it began")
}

#[test]
fn a_device_that_leaves_the_bus_ends_the_take_and_both_files_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let outcome = record(&output, &mut |_| {});
    let failure = outcome.failure.expect("a device is gone").to_string();
    assert!(failure.contains("000000000002") && failure.contains("left the bus"), "{failure}");
    assert_eq!(outcome.take.outcome, Outcome::Failed);
    let triggers: Vec<_> =
        outcome.take.devices.iter().map(|d| (d.first_trigger, d.trigger_count)).collect();
    assert_eq!(triggers[0], triggers[1], "the same triggers for both");
    assert!(!outcome.take.devices[1].losses.is_empty(), "what the dead device lacks is listed");
    for device in &outcome.take.devices {
        let file = output.join(device.file.as_ref().expect("a file"));
        let bytes = std::fs::read(file).expect("it has its own name");
        let recording = Recording::open(&bytes).expect("it opens");
        assert!(recording.demuxer().is_finished());
        let color = recording.captures().flatten().filter(|capture| capture.color.is_some());
        assert_eq!(color.count() as u64, device.frames["color"]);
        let lost: u64 = device
            .losses
            .iter()
            .filter(|loss| loss.track == "color")
            .map(|loss| loss.last_trigger - loss.first_trigger + 1)
            .sum();
        assert_eq!(device.frames["color"] + lost, device.trigger_count);
    }
}

#[test]
fn what_ended_the_take_is_told_before_what_then_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("take");
    let foreign = output.join("take.toml");
    let outcome = record(&output, &mut |_| {
        std::fs::write(&foreign, "precious").expect("a file");
    });
    let failure = outcome.failure.expect("a device is gone").to_string();
    let (first, then) = failure.split_once("; then ").expect("two causes");
    assert!(first.contains("left the bus") && then.contains("take.toml"), "{failure}");
    assert_eq!(std::fs::read(&foreign).expect("it is still there"), b"precious");
    let ours = std::fs::read_to_string(output.join("take.toml.part")).expect("beside it");
    assert_eq!(genlock_formats::take::Take::from_toml(&ours), Ok(outcome.take));
}
