//! The whole chain under virtual time: emulated devices, stages stepped by a seeded scheduler,
//! faults from the seed. What must hold whatever happens: every trigger of every track is a frame
//! or a loss with a cause, files open and are in step, nothing waits for ever, and a seed gives the
//! same bytes each time.

mod support;

use genlock::config::Storing;
use genlock::frame::TrackName;
use genlock_emulator::Faults;
use genlock_formats::depth::Level;
use genlock_formats::k4a::Recording;
use genlock_formats::take::Profile;
use std::collections::BTreeMap;
use std::time::Duration;
use support::simulated::{Ran, Scenario, run};

const TRIGGERS: u64 = 12;

/// Devices that misbehave, as the seed has it.
fn scenario(seed: u64, devices: usize, faulty: bool, stall_ns_max: u64) -> Scenario {
    let mut scenario = Scenario { stall_ns_max, ..Scenario::sound(seed, devices, TRIGGERS) };
    for (place, faults) in (0..).zip(&mut scenario.faults) {
        if faulty {
            *faults = Faults::seeded(seed + place, 30);
        }
        faults.clock_ppm = (seed % 97) as f64 - 48.0;
    }
    scenario
}

/// Whether nothing can be lost.
fn is_sound(scenario: &Scenario) -> bool {
    scenario.stall_ns_max == 0 && scenario.faults.iter().all(|faults| faults.hit_per_mille == 0)
}

/// Checks what must hold of every run.
fn check(scenario: &Scenario, ran: &Ran) {
    let seed = scenario.seed;
    assert_eq!(ran.failures, [], "seed {seed}");
    let mut firsts = Vec::new();
    for recorded in &ran.recorded {
        let report = recorded.report.as_ref().expect("every file is finished");
        assert_eq!(report.trigger_count, TRIGGERS, "seed {seed}");
        firsts.push(report.first_trigger);
        let Some(file) = ran.files.get(recorded.serial.as_str()) else {
            // So slow a stage that not one frame came through: then all of them are missing.
            let lost: u64 = report.missing.iter().map(|m| m.triggers.end - m.triggers.start).sum();
            assert_eq!(lost, 4 * TRIGGERS, "seed {seed}");
            continue;
        };
        let recording = Recording::open(file).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut images = BTreeMap::<TrackName, u64>::new();
        for capture in recording.captures() {
            let capture = capture.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let tracks = [
                (TrackName::Color, capture.color.is_some()),
                (TrackName::Depth, capture.depth.is_some()),
                (TrackName::Ir, capture.ir.is_some()),
            ];
            tracks.iter().filter(|t| t.1).for_each(|t| *images.entry(t.0).or_default() += 1);
        }
        for track in [TrackName::Color, TrackName::Depth, TrackName::Ir] {
            let missing = report.missing.iter().filter(|missing| missing.track == track);
            let lost: u64 = missing.map(|m| m.triggers.end - m.triggers.start).sum();
            let there = images.get(&track).copied().unwrap_or(0);
            assert_eq!(there + lost, TRIGGERS, "seed {seed}: {track} of {:?}", report.missing);
        }
        let sound = is_sound(scenario);
        assert!(!sound || report.missing.is_empty(), "seed {seed}: {:?}", report.missing);
        let imu = recording.imu().map(|sample| sample.expect("a sound sample"));
        let times: Vec<_> = imu.map(|sample| sample.accelerometer_ns).collect();
        assert!(times.is_sorted(), "seed {seed}: IMU samples out of order");
        let gap = times.windows(2).any(|pair| pair[1] - pair[0] > 3_000_000);
        let told = report.missing.iter().any(|missing| missing.track == TrackName::Imu);
        assert!(told || !gap, "seed {seed}: samples are missing and nobody says so");
        assert!(!sound || times.len() > 600, "seed {seed}: {} samples", times.len());
    }
    assert!(firsts.iter().all(|first| *first == firsts[0]), "seed {seed}: {firsts:?}");
}

#[test]
fn a_sound_rig_loses_nothing() {
    for seed in 0..100 {
        let devices = 1 + (seed % 3) as usize;
        let scenario = scenario(seed, devices, false, 0);
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn every_trigger_is_a_frame_or_a_loss_whatever_the_devices_send() {
    for seed in 1000..1150 {
        let devices = 1 + (seed % 2) as usize;
        let scenario = scenario(seed, devices, true, 0);
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn every_trigger_is_a_frame_or_a_loss_however_slow_a_stage_is() {
    for seed in 2000..2100 {
        let devices = 1 + (seed % 2) as usize;
        let stall_ns_max = 50_000_000 << (seed % 6);
        let scenario = scenario(seed, devices, seed % 3 == 0, stall_ns_max);
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn a_seed_gives_the_same_bytes_each_time() {
    for seed in 3000..3010 {
        let scenario = scenario(seed, 2, true, 200_000_000);
        assert!(run(&scenario).files == run(&scenario).files, "seed {seed}");
    }
    let other = |seed| run(&scenario(seed, 1, false, 0)).files;
    assert!(other(1) != other(2), "two seeds see two scenes");
}

#[test]
fn no_byte_stays_longer_than_sync_every_without_being_durable() {
    // A cluster is what 32 ms bring; on top come a frame's way and the steps of this clock.
    const CLUSTER: Duration = Duration::from_millis(100);
    for (seed, every_ms) in [(1, 100), (2, 1500)] {
        let sync_every = Duration::from_millis(every_ms);
        let mut scenario = Scenario::sound(seed, 2, 240);
        scenario.keeping.sync_every = sync_every;
        // Silences of two seconds: also what was written before them is to be durable in time.
        for faults in &mut scenario.faults {
            (faults.stall_every_s, faults.stall_ms) = (3.0, 2000);
        }
        let ran = run(&scenario);
        assert_eq!(ran.failures, []);
        let waited = ran.unsynced_max;
        assert!(waited <= sync_every + CLUSTER, "a byte was not synced for {waited:?}");
        // Nor is the disk made to sync much more often.
        assert!(waited >= sync_every, "synced after {waited:?}");
    }
}

/// The scenario recorded in profile `compact`, as the seed has it.
fn compact(scenario: &Scenario) -> Scenario {
    let seed = scenario.seed;
    let storing = Storing {
        profile: Profile::Compact,
        level: if seed.is_multiple_of(2) { Level::Default } else { Level::Fast },
        encoders: 1 + (seed / 2 % 3) as usize,
    };
    Scenario { storing, ..scenario.clone() }
}

/// The images of a file, unpacked, by track and device time.
fn images(file: &[u8]) -> BTreeMap<(TrackName, u64), Vec<u8>> {
    let recording = Recording::open(file).expect("a recording");
    let mut images = BTreeMap::new();
    for capture in recording.captures() {
        let capture = capture.expect("a sound capture");
        let tracks = [
            (TrackName::Color, capture.color),
            (TrackName::Depth, capture.depth),
            (TrackName::Ir, capture.ir),
        ];
        for (track, image) in tracks {
            images.extend(image.map(|image| ((track, image.time_us), image.bytes.into_owned())));
        }
    }
    images
}

#[test]
fn compact_files_hold_what_the_same_devices_record_as_k4a() {
    for (seed, color) in (4000..4012).zip(["720p_NV12", "720p", "720p_YUY2"].iter().cycle()) {
        let devices = 1 + (seed % 2) as usize;
        let scenario = Scenario { color, ..scenario(seed, devices, false, 0) };
        let packed = compact(&scenario);
        let (plain, ran) = (run(&scenario), run(&packed));
        check(&packed, &ran);
        let packed_color = if *color == "720p" { 0 } else { 1 };
        let encoders = devices * (packed_color + 2) * packed.storing.encoders;
        assert_eq!((plain.encoders, ran.encoders), (devices, encoders), "seed {seed}");
        for (serial, file) in &ran.files {
            let (plain, packed) = (images(&plain.files[serial]), images(file));
            let same = packed.iter().filter(|(key, image)| {
                let other = plain.get(key);
                assert!(other.is_none_or(|other| other == *image), "seed {seed}: {key:?}");
                other.is_some()
            });
            // The turns of more stages come otherwise, so the takes may begin a trigger apart.
            assert!(same.count() as u64 >= 3 * (TRIGGERS - 2), "seed {seed}: hardly anything");
        }
    }
}

#[test]
fn in_compact_too_every_trigger_is_a_frame_or_a_loss() {
    for seed in 5000..5030 {
        let devices = 1 + (seed % 2) as usize;
        let stall_ns_max = if seed % 4 < 2 { 0 } else { 50_000_000 << (seed % 6) };
        let scenario = compact(&scenario(seed, devices, seed % 3 > 0, stall_ns_max));
        check(&scenario, &run(&scenario));
    }
}

#[test]
fn in_compact_too_a_device_that_comes_back_goes_on_in_its_file() {
    for seed in 6000..6004 {
        let mut scenario = compact(&Scenario::sound(seed, 2, 150));
        let place = (seed % 2) as usize;
        let faults = &mut scenario.faults[place];
        (faults.gone_s, faults.back_s) = (Some(2.0), Some(2.6));
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "seed {seed}");
        let [outage] = &ran.recorded[place].outages[..] else { panic!("seed {seed}: one outage") };
        assert!(outage.clock_moved_us.is_some(), "seed {seed}: it did not come back");
        let report = ran.recorded[place].report.as_ref().expect("its file is finished");
        let images = images(&ran.files[&ran.recorded[place].serial]);
        for track in [TrackName::Color, TrackName::Depth, TrackName::Ir] {
            let missing = report.missing.iter().filter(|missing| missing.track == track);
            let lost: u64 = missing.map(|m| m.triggers.end - m.triggers.start).sum();
            let there = images.keys().filter(|(name, _)| *name == track).count() as u64;
            assert_eq!(there + lost, 150, "seed {seed}: {track}");
            let back = outage.last_trigger + 1..report.first_trigger + 150;
            assert!(there > back.end - back.start && !back.is_empty(), "seed {seed}: {track}");
        }
    }
}
