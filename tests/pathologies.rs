//! Rigs that suffer what rigs suffer, drawn from a seed, against the emulator's own truth: each
//! frame has the number of the pulse that it answers, each loss its right cause, who runs free is
//! noticed, and nobody else.

mod support;

use genlock::config::{Keeping, Shed, Storing};
use genlock::frame::{Cause, TrackName};
use genlock::record::Recorded;
use genlock_emulator::{Exposure, Fate, Faults};
use genlock_formats::k4a::Recording;
use genlock_formats::take::Profile;
use std::collections::BTreeMap;
use std::time::Duration;
use support::simulated::{Ran, Random, Scenario, SlowDisk, run};

const TRIGGERS: u64 = 150;

/// Color firmware whose first stamps are known (spec/users.md D).
const BUILDS: [u16; 5] = [102, 104, 107, 108, 110];

/// A rig of two to four: crystals, firmware, USB and losses as the seed has them.
fn rig(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let devices = 2 + random.below(3) as usize;
    let build = random.one_in(2).then(|| random.pick(&BUILDS));
    let mixed = random.one_in(8);
    let mut scenario = Scenario { depth: false, ..Scenario::sound(seed, devices, TRIGGERS) };
    for (place, faults) in (0..).zip(&mut scenario.faults) {
        *faults = Faults {
            seed: seed * 10 + place,
            hit_per_mille: random.pick(&[0, 10, 30]),
            clock_ppm: random.below(801) as f64 - 400.0,
            clock_drift_ppm_per_min: random.below(7) as f64 - 3.0,
            color_firmware_build: if mixed { Some(random.pick(&BUILDS)) } else { build },
            jitter_us: random.pick(&[0, 500, 3000]),
            stall_every_s: random.pick(&[0.0, 0.0, 1.0]),
            stall_ms: 20 + random.below(130),
            ..Faults::default()
        };
    }
    scenario.faults[0].rate_ppm = random.pick(&[0.0, 0.0, 3333.0, -1000.0]);
    scenario
}

/// Microseconds of a stamp, as libk4a rounds it.
fn us(ticks: u64) -> u64 {
    ticks * 100 / 9
}

/// The pulse that each color stamp answers.
fn pulses(exposures: &[Exposure]) -> BTreeMap<u64, u64> {
    let color = exposures.iter().filter(|exposure| !exposure.depth);
    color.map(|exposure| (us(exposure.ticks), exposure.pulse)).collect()
}

/// Color stamps of the take, by trigger.
fn numbered(recorded: &Recorded) -> Vec<(u64, u64)> {
    let first = recorded.report.as_ref().expect("every file is finished").first_trigger;
    let numbered = (first..).zip(recorded.evidence.color.iter().copied());
    numbered.filter(|(_, stamp)| *stamp > 0).collect()
}

/// What a trigger's number is more than its pulse's: the same for every frame of the rig.
fn checked_offset(seed: u64, ran: &Ran, frames_min: usize) -> u64 {
    let mut offset = None;
    for recorded in &ran.recorded {
        let serial = recorded.serial.as_str();
        let pulses = pulses(&ran.exposures[serial]);
        let numbered = numbered(recorded);
        assert!(numbered.len() >= frames_min, "seed {seed}: {serial} has few frames");
        for (trigger, stamp) in numbered {
            let of_frame = trigger - pulses[&stamp];
            let of_rig = *offset.get_or_insert(of_frame);
            assert_eq!(of_frame, of_rig, "seed {seed}: {serial}, trigger {trigger}");
        }
    }
    offset.expect("a rig has frames")
}

/// Every trigger is a frame in the file or a loss, and each loss has the cause that the emulator
/// knows.
fn check_losses(scenario: &Scenario, ran: &Ran, offset: u64) {
    let seed = scenario.seed;
    for (recorded, faults) in ran.recorded.iter().zip(&scenario.faults) {
        let serial = recorded.serial.as_str();
        let report = recorded.report.as_ref().expect("every file is finished");
        assert_eq!(report.trigger_count, TRIGGERS, "seed {seed}: {serial}");
        let lost = |trigger: u64| {
            let mut missing = report.missing.iter();
            let found = missing.find(|missing| {
                missing.track == TrackName::Color && missing.triggers.contains(&trigger)
            });
            found.map(|missing| missing.cause)
        };
        let recording = Recording::open(&ran.files[serial]).expect("it opens");
        let in_file = recording.captures().flatten().filter(|c| c.color.is_some()).count() as u64;
        let triggers = report.first_trigger..report.first_trigger + TRIGGERS;
        let all_lost = triggers.clone().filter(|trigger| lost(*trigger).is_some()).count() as u64;
        assert_eq!(in_file + all_lost, TRIGGERS, "seed {seed}: {serial}");
        check_causes(seed, faults, triggers, offset, lost);
    }
}

/// Holds the causes of losses against the emulator's. What a stall delivers at once cannot be told
/// apart by when it arrived: then the causes of neighbouring losses may stand in another order.
fn check_causes(
    seed: u64,
    faults: &Faults,
    triggers: std::ops::Range<u64>,
    offset: u64,
    lost: impl Fn(u64) -> Option<Cause>,
) {
    let in_order = faults.stall_every_s == 0.0;
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for trigger in triggers.clone() {
        let (cause, fate) = (lost(trigger), faults.fate(false, trigger - offset));
        let known = match fate {
            Fate::Sound => None,
            Fate::NotSent => Some(Cause::NotSent),
            Fate::Malformed | Fate::Garbled => Some(Cause::Malformed),
            Fate::Overlong => Some(Cause::Transfer),
            // What ends it is the next frame, if there is one.
            Fate::Unended => cause,
        };
        assert_eq!(cause.is_some(), known.is_some(), "seed {seed}: trigger {trigger} is {fate:?}");
        found.extend(cause);
        expected.extend(known);
        if cause.is_none() || in_order || trigger + 1 == triggers.end {
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "seed {seed}: up to trigger {trigger}");
            (found, expected) = (Vec::new(), Vec::new());
        }
    }
}

#[test]
fn every_frame_has_its_pulses_number_every_loss_its_cause_and_nobody_raises_a_false_alarm() {
    for seed in 10_000..10_500 {
        let scenario = rig(seed);
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "seed {seed}");
        assert_eq!(ran.alarms, [], "seed {seed}");
        let offset = checked_offset(seed, &ran, 75);
        check_losses(&scenario, &ran, offset);
    }
}

/// Nanoseconds of virtual time within which a pulled cable is to be told of.
const NOTICED_NS: u64 = 2_000_000_000;

#[test]
fn a_pulled_cable_is_told_of_within_two_seconds_by_the_jacks_or_by_the_frames() {
    for seed in 20_000..20_150 {
        let mut scenario = rig(seed);
        let mut random = Random::new(seed + 1);
        scenario.triggers = 210;
        scenario.look_at_cables = random.one_in(2);
        let place = 1 + random.below(scenario.faults.len() as u64 - 1) as usize;
        // The jacks tell at once; without them the crystals must differ enough to be seen.
        let master_ppm = scenario.faults[0].clock_ppm + scenario.faults[0].rate_ppm;
        let sub = &mut scenario.faults[place];
        let apart = if random.one_in(2) { 40.0 } else { -40.0 };
        if !scenario.look_at_cables && (sub.clock_ppm - master_ppm).abs() < 40.0 {
            sub.clock_ppm = master_ppm + apart;
        }
        let pulled_s = 3.0 + random.below(1500) as f64 / 1000.0;
        sub.unplugged_s = Some(pulled_s);
        let ran = run(&scenario);
        let serial = format!("{:012}", place + 1);
        let [(noticed_ns, alarm), ..] = &ran.alarms[..] else {
            panic!("seed {seed}: nobody noticed");
        };
        let pulled_ns = (pulled_s * 1e9) as u64;
        assert!(alarm.contains(&serial), "seed {seed}: {alarm}");
        let after_ns = noticed_ns.checked_sub(pulled_ns).expect("not before it happened");
        assert!(after_ns <= NOTICED_NS, "seed {seed}: noticed after {after_ns} ns");
        for recorded in &ran.recorded {
            let alarms = &recorded.evidence.alarms;
            assert_eq!(alarms.is_empty(), recorded.serial.as_str() != serial, "seed {seed}");
        }
    }
}

#[test]
fn a_clock_that_jumps_ahead_is_told_of() {
    let mut scenario = Scenario { depth: false, ..Scenario::sound(1, 2, 300) };
    scenario.faults[1].clock_jumps_s = Some(7.0);
    scenario.faults[1].clock_jump_ms = 250;
    let ran = run(&scenario);
    let [(at_ns, alarm), ..] = &ran.alarms[..] else {
        panic!("nobody noticed");
    };
    assert!(alarm.contains("000000000002") && alarm.contains("250 ms"), "{alarm}");
    assert!((7_000_000_000..7_200_000_000).contains(at_ns), "{at_ns}");
    let [alarm] = &ran.recorded[1].evidence.alarms[..] else {
        panic!("one alarm, not {:?}", ran.recorded[1].evidence.alarms);
    };
    let last = numbered(&ran.recorded[1]).last().expect("frames").0;
    assert!(alarm.first_trigger > 100 && alarm.last_trigger >= last, "{alarm:?}");
}

#[test]
fn a_clock_that_jumps_out_of_reach_is_numbered_anew() {
    // At several places of a packet of IMU samples, which spans 5 ms.
    for seed in 0..6 {
        let mut scenario = Scenario::sound(seed, 2, 300);
        scenario.faults[1].clock_jumps_s = Some(6.0 + seed as f64 * 0.0009);
        scenario.faults[1].clock_jump_ms = 2000 + 5000 * seed;
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "seed {seed}");
        accounts_for_every_trigger(seed, &ran);
        triggers_are_pulses(seed, &ran);
        let [outage] = &ran.recorded[1].outages[..] else { panic!("one outage") };
        assert!(outage.why.contains("its clock jumped"), "{outage:?}");
    }
}

/// The clock of a depth camera alone is not reset: its microseconds pass 32 bits in mid-take.
#[test]
fn time_beyond_32_bits_is_time_as_any_other() {
    let mut scenario = Scenario { depth_alone: true, ..Scenario::sound(2, 1, 60) };
    scenario.faults[0].uptime_s = 4294.2;
    let ran = run(&scenario);
    assert_eq!(ran.failures, []);
    let report = ran.recorded[0].report.as_ref().expect("a file");
    assert_eq!((report.trigger_count, report.missing.len()), (60, 0));
    let recording = Recording::open(&ran.files["000000000001"]).expect("it opens");
    let captures = recording.captures().map(|capture| capture.expect("a sound capture"));
    let times: Vec<_> = captures.filter_map(|capture| Some(capture.ir?.time_us)).collect();
    let limit = u64::from(u32::MAX);
    assert!(times[0] < limit && times[59] > limit, "{} to {}", times[0], times[59]);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 40_000));
}

/// Whom a take loses for a while: a device, or all of them.
fn leave(scenario: &mut Scenario, place: Option<usize>, gone_s: f64, back_s: Option<f64>) {
    for (at, faults) in scenario.faults.iter_mut().enumerate() {
        if place.is_none_or(|place| place == at) {
            (faults.gone_s, faults.back_s) = (Some(gone_s), back_s);
        }
    }
}

/// Every image track of every device has each trigger of the take as a frame or a loss; files,
/// which open, hold the frames, in order of their times.
fn accounts_for_every_trigger(seed: u64, ran: &Ran) {
    let spans: Vec<_> = ran
        .recorded
        .iter()
        .map(|recorded| recorded.report.as_ref().expect("every file is finished"))
        .map(|report| (report.first_trigger, report.trigger_count))
        .collect();
    assert!(spans.iter().all(|span| *span == spans[0]), "seed {seed}: {spans:?}");
    for recorded in &ran.recorded {
        let (serial, report) = (recorded.serial.as_str(), recorded.report.as_ref().expect("one"));
        let recording = Recording::open(&ran.files[serial]).expect("it opens");
        let captures = recording.captures().map(|capture| capture.expect("a sound capture"));
        let times: Vec<_> = captures.filter_map(|capture| Some(capture.color?.time_us)).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {serial}");
        let samples = recording.imu().map(|sample| sample.expect("a sound sample"));
        let samples: Vec<_> = samples.map(|sample| sample.accelerometer_ns).collect();
        assert!(samples.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {serial}");
        let missing = report.missing.iter().filter(|m| m.track == TrackName::Color);
        let lost: u64 = missing.map(|m| m.triggers.end - m.triggers.start).sum();
        assert_eq!(times.len() as u64 + lost, report.trigger_count, "seed {seed}: {serial}");
    }
}

#[test]
fn a_device_that_leaves_the_bus_is_missing_and_the_others_go_on() {
    for seed in 30_000..30_040 {
        let mut scenario = rig(seed);
        let mut random = Random::new(seed + 1);
        let place = random.below(scenario.faults.len() as u64) as usize;
        leave(&mut scenario, Some(place), 2.0 + random.below(2000) as f64 / 1000.0, None);
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "seed {seed}");
        let serial = format!("{:012}", place + 1);
        assert!(ran.alarms.iter().any(|(_, alarm)| alarm.contains(&serial)), "seed {seed}");
        accounts_for_every_trigger(seed, &ran);
        checked_offset(seed, &ran, 10);
        for recorded in &ran.recorded {
            let report = recorded.report.as_ref().expect("every file is finished");
            let away = report.missing.iter().filter(|missing| missing.cause == Cause::Away);
            let is_dead = recorded.serial == serial;
            assert_eq!(away.count() > 0, is_dead, "seed {seed}: {:?}", report.missing);
            assert_eq!(recorded.outages.len(), usize::from(is_dead), "seed {seed}");
        }
    }
}

/// Frames of one trigger were exposed by one pulse, whoever came back when: their host times tell.
fn triggers_are_pulses(seed: u64, ran: &Ran) {
    let mut by_trigger = BTreeMap::new();
    for recorded in &ran.recorded {
        let serial = recorded.serial.as_str();
        let exposures = ran.exposures[serial].iter().filter(|exposure| !exposure.depth);
        let exposures: Vec<_> = exposures.collect();
        let moved = |trigger: u64| {
            let back = recorded.outages.iter().filter(|outage| outage.last_trigger < trigger);
            back.filter_map(|outage| outage.clock_moved_us).next_back().unwrap_or(0)
        };
        let mut from = 0;
        for (trigger, stamp) in numbered(recorded) {
            let stamp_us = stamp.saturating_add_signed(-moved(trigger));
            // Clocks begin anew: the same stamp may come twice, one after the other.
            let at = exposures[from..].iter().position(|exposure| us(exposure.ticks) == stamp_us);
            from += at.unwrap_or_else(|| panic!("seed {seed}: {serial} has no {stamp_us} us"));
            let host_ns = exposures[from].host_ns;
            let first_ns = *by_trigger.entry(trigger).or_insert(host_ns);
            let apart_us = host_ns.abs_diff(first_ns) / 1000;
            // Delays are below 900 us, and exposures vary by 33.
            assert!(
                apart_us < 1000,
                "seed {seed}: {serial}, trigger {trigger}: {apart_us} us apart"
            );
        }
    }
    let times: Vec<_> = by_trigger.values().collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: time goes on");
}

#[test]
fn who_comes_back_joins_the_take_at_the_right_trigger() {
    for seed in 40_000..40_120 {
        let mut scenario = rig(seed);
        let mut random = Random::new(seed + 1);
        // Firmware that differs, and what it makes of a reset, is not known of a reset in mid-take.
        let build = scenario.faults[0].color_firmware_build;
        // Nor is it known whether clocks are set to zero once more when a master begins anew.
        let resets_max = random.one_in(2).then_some(1);
        for faults in &mut scenario.faults {
            (faults.color_firmware_build, faults.resets_max) = (build, resets_max);
        }
        scenario.triggers = 400;
        let everybody = random.one_in(6);
        let place = random.below(scenario.faults.len() as u64) as usize;
        let gone_s = 2.5 + random.below(1500) as f64 / 1000.0;
        let away_s = random.pick(&[0.05, 0.4, 1.7, 3.0]) + random.below(100) as f64 / 1000.0;
        let place = (!everybody).then_some(place);
        leave(&mut scenario, place, gone_s, Some(gone_s + away_s));
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "seed {seed}");
        accounts_for_every_trigger(seed, &ran);
        triggers_are_pulses(seed, &ran);
        for (at, recorded) in ran.recorded.iter().enumerate() {
            let left = place.is_none_or(|place| place == at);
            let back = recorded.outages.iter().filter(|outage| outage.clock_moved_us.is_some());
            // When the master begins anew, the others are numbered anew.
            let master = place.is_none_or(|place| place == 0);
            let least = usize::from(left || master);
            let most = least + usize::from(everybody);
            let count = back.count();
            assert!((least..=most).contains(&count), "seed {seed}: {:?}", recorded.outages);
            let last = numbered(recorded).last().expect("frames").0;
            let report = recorded.report.as_ref().expect("every file is finished");
            let end = report.first_trigger + report.trigger_count;
            assert!(last + 5 >= end, "seed {seed}: {} ends at {last} of {end}", recorded.serial);
        }
    }
}

/// A sound rig whose disk writes `percent` of what the rig delivers, from the third second on for
/// eight.
fn on_a_slow_disk(seed: u64, percent: u64, shed: &[Shed]) -> Ran {
    let scenario = Scenario::sound(seed, 2, 560);
    stored_on_a_slow_disk(scenario, percent, shed)
}

fn stored_on_a_slow_disk(mut scenario: Scenario, percent: u64, shed: &[Shed]) -> Ran {
    let seed = scenario.seed;
    scenario.keeping = Keeping { shed: shed.to_vec(), ..Keeping::default() };
    let healthy = run(&Scenario { triggers: 60, ..scenario.clone() });
    let bytes: usize = healthy.files.values().map(Vec::len).sum();
    scenario.slow = Some(SlowDisk {
        bytes_per_s: bytes as u64 / 2 * percent / 100,
        from_ns: 3_000_000_000,
        until_ns: 11_000_000_000,
    });
    let ran = run(&scenario);
    assert_eq!(ran.failures, [], "seed {seed}");
    accounts_for_every_trigger(seed, &ran);
    ran
}

/// Triggers that a device lacks of a track, with the cause.
fn missing(recorded: &Recorded, track: TrackName) -> Vec<(u64, Cause)> {
    let report = recorded.report.as_ref().expect("every file is finished");
    let of_track = report.missing.iter().filter(|missing| missing.track == track);
    of_track.flat_map(|m| m.triggers.clone().map(|trigger| (trigger, m.cause))).collect()
}

#[test]
fn a_slow_disk_costs_the_same_whole_triggers_of_every_device_and_nothing_else() {
    for (seed, percent) in [(1, 80), (2, 55), (3, 35), (4, 28)] {
        let ran = on_a_slow_disk(seed, percent, &[Shed::Trigger]);
        let [first, second] = &ran.recorded[..] else { panic!("two devices") };
        let shed = missing(first, TrackName::Color);
        assert!(shed.len() > 20 && shed.len() < 400, "{percent} %: {} triggers", shed.len());
        for (recorded, track) in [first, second]
            .into_iter()
            .flat_map(|r| [TrackName::Color, TrackName::Depth, TrackName::Ir].map(|t| (r, t)))
        {
            let other = missing(recorded, track);
            assert_eq!(other, shed, "{percent} %: {} {track}", recorded.serial);
        }
        assert!(shed.iter().all(|(_, cause)| *cause == Cause::Shed), "{percent} %: {shed:?}");
        assert!(ran.alarms.iter().any(|(_, alarm)| alarm.contains("too slow")), "{:?}", ran.alarms);
        assert!(ran.alarms.iter().any(|(_, alarm)| alarm.contains("keeps up again")));
    }
}

#[test]
fn in_compact_too_a_slow_disk_costs_whole_triggers_and_the_alarm_names_both_who_may_be_slow() {
    let storing = Storing { profile: Profile::Compact, ..Storing::default() };
    let scenario = Scenario { storing, ..Scenario::sound(9, 2, 560) };
    let ran = stored_on_a_slow_disk(scenario, 55, &[Shed::Trigger]);
    let shed = missing(&ran.recorded[0], TrackName::Color);
    assert!(shed.len() > 20 && shed.iter().all(|(_, cause)| *cause == Cause::Shed), "{shed:?}");
    for recorded in &ran.recorded {
        for track in [TrackName::Color, TrackName::Depth, TrackName::Ir] {
            assert_eq!(missing(recorded, track), shed, "{} {track}", recorded.serial);
        }
    }
    let told = |what: &str| ran.alarms.iter().any(|(_, alarm)| alarm.starts_with(what));
    assert!(told("the disk, or packing, is too slow: left out"), "{:?}", ran.alarms);
    assert!(told("the disk, or packing, keeps up again"), "{:?}", ran.alarms);
}

#[test]
fn a_track_that_may_be_left_out_saves_the_others() {
    let ran = on_a_slow_disk(5, 85, &[Shed::Track(TrackName::Ir), Shed::Trigger]);
    for recorded in &ran.recorded {
        assert_eq!(missing(recorded, TrackName::Color), []);
        assert_eq!(missing(recorded, TrackName::Depth), []);
        let ir = missing(recorded, TrackName::Ir);
        assert!(ir.len() > 20 && ir.iter().all(|(_, cause)| *cause == Cause::Shed), "{ir:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_ends_there_and_the_others_go_on() {
    let mut finished = 0;
    for calls in 0.. {
        let mut scenario = Scenario { depth: false, ..Scenario::sound(7, 2, 60) };
        scenario.second_fails_at = Some(calls);
        let ran = run(&scenario);
        assert_eq!(ran.failures, [], "call {calls}");
        let [good, bad] = &ran.recorded[..] else { panic!("two devices") };
        assert_eq!((missing(good, TrackName::Color), &good.failure), (vec![], &None));
        let report = bad.report.as_ref().expect("a report");
        let lost = missing(bad, TrackName::Color);
        assert!(lost.iter().all(|(_, cause)| *cause == Cause::Disk), "call {calls}: {lost:?}");
        let file = ran.files.get(&bad.serial).map(Vec::as_slice).unwrap_or_default();
        let in_file = match file {
            [] => 0,
            bytes => {
                let recording = Recording::open(bytes).expect("it opens");
                recording.captures().flatten().filter(|c| c.color.is_some()).count()
            }
        };
        assert_eq!(in_file + lost.len(), 60, "call {calls}");
        assert_eq!(report.bytes, file.len() as u64, "call {calls}");
        let Some(failure) = &bad.failure else { break };
        assert!(ran.alarms.iter().any(|(_, alarm)| alarm.contains(&failure.to_string())));
        // A file of which all is there but its end has lost nothing.
        assert_eq!(bad.outages.is_empty(), lost.is_empty(), "call {calls}: {:?}", bad.outages);
        finished += u64::from(lost.is_empty());
        assert!(calls < 1000, "it fails for ever");
    }
    assert!(finished > 2, "also the calls that finish the file fail");
}

#[test]
fn one_write_that_takes_most_of_a_second_costs_no_frame() {
    let mut scenario = Scenario::sound(6, 1, 200);
    let healthy = run(&Scenario { triggers: 60, ..scenario.clone() });
    let bytes_of_one = healthy.files.values().map(Vec::len).sum::<usize>() as u64 / 60;
    scenario.slow = Some(SlowDisk {
        bytes_per_s: bytes_of_one * 10 / 9,
        from_ns: 3_000_000_000,
        until_ns: 3_030_000_000,
    });
    let ran = run(&scenario);
    assert_eq!((ran.failures.len(), ran.alarms.len()), (0, 0), "{:?}", ran.alarms);
    let report = ran.recorded[0].report.as_ref().expect("a file");
    assert_eq!((report.trigger_count, &report.missing[..]), (200, &[][..]));
    assert!(ran.longest_append > Duration::from_millis(700), "{:?}", ran.longest_append);
}
