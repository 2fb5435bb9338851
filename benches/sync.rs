//! How well frames are numbered, phases and clocks measured, and pulled cables noticed, against
//! what the emulator knows. `cargo bench --bench sync`; about three minutes.

#[path = "../tests/support/simulated.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod simulated;

use genlock::clock::Clock;
use genlock::config::{
    DeviceConfig, Devices, Keeping, Opening, Output, Pick, Plan, Storing, Wanted,
};
use genlock::record::{self, Recorded, delay_us};
use genlock::sync::{LowerHull, Phase, pairs, quantile};
use genlock::usb::Bus;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::{Exposure, Faults};
use simulated::{Ran, Random, Scenario, run};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Triggers of a take: two minutes at 30 fps.
const TRIGGERS: u64 = 3600;

/// Takes of each size of rig: a million frames in all.
const SEEDS: u64 = 19;

/// From a pulse to the frame's first byte on the emulated wire, in microseconds: what no clock fit
/// can know.
const LATENCY_US: f64 = 20_000.0;

#[derive(Default)]
struct Measured {
    frames: u64,
    wrong: u64,
    phase_errors_us: Vec<f64>,
    clock_errors_us: Vec<f64>,
}

/// Crystals within 388 ppm, USB up to 3 ms late, one frame in a hundred lost.
fn rig(seed: u64, devices: usize) -> Scenario {
    let mut random = Random::new(seed);
    let mut scenario =
        Scenario { depth: false, keep_files: false, ..Scenario::sound(seed, devices, TRIGGERS) };
    for (place, faults) in (0..).zip(&mut scenario.faults) {
        *faults = Faults {
            seed: seed * 10 + place,
            hit_per_mille: 10,
            clock_ppm: random.below(777) as f64 - 388.0,
            jitter_us: 3000,
            ..Faults::default()
        };
    }
    scenario
}

/// Color exposures by the stamp on their frames.
fn by_stamp(exposures: &[Exposure]) -> BTreeMap<u64, Exposure> {
    exposures.iter().map(|exposure| (exposure.ticks * 100 / 9, *exposure)).collect()
}

fn measure(scenario: &Scenario, ran: &Ran, into: &mut Measured) {
    let truth: Vec<_> = ran
        .recorded
        .iter()
        .map(|recorded| by_stamp(&ran.exposures[recorded.serial.as_str()]))
        .collect();
    let mut offset = None;
    for (recorded, truth) in ran.recorded.iter().zip(&truth) {
        let first = recorded.report.as_ref().expect("a file").first_trigger;
        let mut hull = LowerHull::default();
        let all = recorded.evidence.color.iter().zip(&recorded.evidence.arrived);
        for (trigger, (&stamp, &arrived)) in
            (first..).zip(all).filter(|(_, (stamp, _))| **stamp > 0)
        {
            let of_frame = trigger - truth[&stamp].pulse;
            into.frames += 1;
            into.wrong += u64::from(of_frame != *offset.get_or_insert(of_frame));
            hull.push(stamp, arrived);
        }
        let fit = hull.fit().expect("enough frames");
        let stamps = recorded.evidence.color.iter().filter(|stamp| **stamp > 0);
        into.clock_errors_us.extend(stamps.map(|stamp| {
            let true_us = truth[stamp].host_ns as f64 / 1000.0;
            (fit.host_us(*stamp) - true_us - LATENCY_US).abs()
        }));
    }
    let (master, subordinates) = ran.recorded.split_first().expect("a device");
    for ((place, recorded), sub_truth) in (1..).zip(subordinates).zip(&truth[1..]) {
        let delay_us = delay_us(&scenario.config(place));
        measure_phase((master, &truth[0]), (recorded, sub_truth), delay_us, into);
    }
}

type Known<'a> = (&'a Recorded, &'a BTreeMap<u64, Exposure>);

fn measure_phase(master: Known<'_>, sub: Known<'_>, delay_us: f64, into: &mut Measured) {
    let first = sub.0.report.as_ref().expect("a file").first_trigger;
    let (ours, theirs) = (&sub.0.evidence.color, &master.0.evidence.color);
    let all: Vec<_> = pairs(first, theirs, ours, delay_us).collect();
    let phase = Phase::of(&all, &[]).expect("enough pairs");
    for (pair, estimate) in all.iter().zip(&phase.of_pairs) {
        let our_stamp = ours[usize::try_from(pair.trigger - first).expect("a short take")];
        let apart_ns =
            i128::from(sub.1[&our_stamp].host_ns) - i128::from(master.1[&pair.master_us].host_ns);
        into.phase_errors_us.push((estimate - (apart_ns as f64 / 1000.0 - delay_us)).abs());
    }
}

/// Seconds until a subordinate whose cable is pulled is told of by its frames alone.
fn noticed_after_s(seed: u64, apart_ppm: f64) -> f64 {
    const PULLED_S: f64 = 6.0;
    let mut scenario = Scenario { triggers: 600, ..rig(seed, 2) };
    scenario.faults[1].clock_ppm = scenario.faults[0].clock_ppm + apart_ppm;
    scenario.faults[1].unplugged_s = Some(PULLED_S);
    let ran = run(&scenario);
    let (noticed_ns, _) = ran.alarms.first().expect("somebody noticed");
    *noticed_ns as f64 / 1e9 - PULLED_S
}

/// Seconds from the beginning of `record` to the first bytes of every device on disk, in real time.
fn first_bytes_after_s(devices: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DeviceConfig { imu: false, ..DeviceConfig::default() };
    let plan = Plan {
        devices: Devices::emulated(devices, None),
        wanted: Wanted::Alike { pick: Pick::All, config, role_given: false, delay_given: false },
        opening: Opening::default(),
        keeping: Keeping::default(),
        storing: Storing::default(),
        triggers: Some(15),
        output: Output::Folder(folder.path().join("take")),
        depth_engine: None,
        force: false,
        is_part: false,
        hosts: Vec::new(),
        certs: None,
    };
    let clock = Clock::machine();
    let bus = EmulatedBus::rig(&vec![Faults::default(); devices], None, clock.clone());
    let bus: Arc<dyn Bus> = Arc::new(bus);
    let (begun, mut first) = (Instant::now(), None::<Duration>);
    let stop = AtomicBool::new(false);
    record::run(&plan, &bus, &clock, &stop, &mut |status| {
        if status.devices.iter().all(|device| device.bytes > 0) {
            first.get_or_insert_with(|| begun.elapsed());
        }
    })
    .expect("an emulated take");
    first.map_or(f64::NAN, |first| first.as_secs_f64())
}

fn main() {
    println!("388 ppm, 3 ms of jitter, 1 % of frames lost, {TRIGGERS} triggers a take:");
    println!("devices | frames | numbers wrong | phase error p99 us | clock error p99 us");
    for devices in [1, 2, 4, 8] {
        let mut measured = Measured::default();
        for seed in 0..SEEDS {
            let scenario = rig(seed, devices);
            measure(&scenario, &run(&scenario), &mut measured);
        }
        let Measured { frames, wrong, phase_errors_us, clock_errors_us } = measured;
        let phase = quantile(&phase_errors_us, 0.99);
        let clock = quantile(&clock_errors_us, 0.99);
        println!("{devices:7} | {frames:6} | {wrong:13} | {phase:18.1} | {clock:18.1}");
    }
    println!("\na pulled cable, noticed by the frames alone:");
    println!("crystals apart ppm | median s | longest s of 20 takes");
    for apart_ppm in [25.0, 100.0, 388.0] {
        let after: Vec<_> = (0..20).map(|seed| noticed_after_s(100 + seed, apart_ppm)).collect();
        let (median, longest) = (quantile(&after, 0.5), quantile(&after, 1.0));
        println!("{apart_ppm:18} | {median:8.2} | {longest:.2}");
    }
    println!("\nfrom the beginning of a take to the first bytes of every device on disk:");
    println!("devices | s (emulated devices render their scenes in it)");
    for devices in [1, 2, 4, 8] {
        println!("{devices:7} | {:.2}", first_bytes_after_s(devices));
    }
}
