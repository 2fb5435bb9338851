//! What must hold of every take, whatever has happened to it.

use crate::agents::{DEVICES, HOSTS, Studio};
use genlock_formats::k4a::Recording;
use genlock_formats::take::{Loss, Take};
use genlock_formats::triggers::{Cell, Triggers};
use std::fs;

/// The tracks whose frames have triggers.
const TRACKS: [&str; 3] = ["color", "depth", "ir"];

/// Every trigger of every track is a frame or a loss with its cause, all devices have the same
/// triggers, and the files hold what the ledger says.
#[track_caller]
pub fn accounted(studio: &Studio, name: &str, triggers: u64) -> Take {
    let take = studio.take(name);
    assert_eq!(take.devices.len(), DEVICES);
    let first = take.devices[0].first_trigger;
    for (place, device) in take.devices.iter().enumerate() {
        let serial = &device.serial;
        assert_eq!(device.host.as_deref(), Some(HOSTS[place % HOSTS.len()]), "{serial}");
        assert_eq!((device.first_trigger, device.trigger_count), (first, triggers), "{serial}");
        for track in TRACKS {
            let losses = device.losses.iter().filter(|loss| loss.track == track);
            let lost: u64 = losses.map(Loss::count).sum();
            let frames = device.frames.get(track).copied().unwrap_or(0);
            assert_eq!(frames + lost, triggers, "{serial} {track}: {:?}", device.losses);
        }
        assert!(device.losses.iter().all(|loss| !loss.cause.is_empty()), "{serial}");
        let Some(file) = &device.file else { continue };
        let bytes = fs::read(studio.path(name).join(file)).expect("its file is in the take");
        let recording = Recording::open(&bytes).expect("it opens");
        let color = recording.captures().flatten().filter(|capture| capture.color.is_some());
        assert_eq!(color.count() as u64, device.frames["color"], "{serial}");
    }
    let table = fs::read_to_string(studio.path(name).join("triggers.csv")).expect("a table");
    let table = Triggers::from_csv(&table).expect("a sound table");
    assert_eq!((table.first, table.rows.len() as u64), (first, triggers));
    for device in &take.devices {
        for track in TRACKS {
            let column = format!("{}.{track}", device.serial);
            let place = table.columns.iter().position(|name| *name == column);
            let place = place.unwrap_or_else(|| panic!("no column {column}"));
            let there = table.rows.iter().filter(|row| matches!(row[place], Cell::At(_)));
            let frames = device.frames.get(track).copied().unwrap_or(0);
            assert_eq!(there.count() as u64, frames, "{column}");
        }
    }
    take
}

/// The take has every frame of every device, and `verify` says so.
#[track_caller]
pub fn whole(studio: &Studio, name: &str, triggers: u64) {
    let take = accounted(studio, name, triggers);
    for device in &take.devices {
        let images = device.losses.iter().filter(|loss| TRACKS.contains(&loss.track.as_str()));
        assert_eq!(images.count(), 0, "{}: {:?}", device.serial, device.losses);
    }
    studio.genlock(&["verify", name]).exits(0);
    let left = studio.path(name).join("gather.toml");
    assert!(!left.exists(), "nothing is left to be gathered");
}
