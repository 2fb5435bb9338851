use super::*;
use genlock_formats::k4a::Role;
use genlock_formats::take::{Host, Verdict};

fn host(name: &str) -> HostName {
    HostName::try_from(name.to_owned()).expect("a name")
}

/// Two color cameras, the master at host a and the subordinate at host b.
fn rig() -> Vec<Expected> {
    let device = |name: &str, serial: &str, role| Expected {
        host: host(name),
        serial: serial.to_owned(),
        name: Some(format!("at {name}")),
        config: DeviceConfig { depth: None, role, ..DeviceConfig::default() },
    };
    vec![device("b", "2", Role::Subordinate), device("a", "1", Role::Master)]
}

/// What a host's recorder wrote of its only device.
fn part(expected: &Expected, triggers: Range<u64>) -> Part {
    let time = |trigger: u64| trigger * 100_000 / 3;
    let cells = |trigger| vec![Cell::At(time(trigger)), Cell::At(time(trigger) + 9_000)];
    let serial = &expected.serial;
    let count = triggers.end - triggers.start;
    let name = format!("{serial}.mkv");
    let device = Device {
        file: Some(name.clone()),
        first_trigger: triggers.start,
        trigger_count: count,
        bytes: 7,
        frames: [("color".to_owned(), count), ("imu".to_owned(), 9)].into(),
        firmware: [("color".to_owned(), "1.6.110".to_owned())].into(),
        ..part::unrecorded(expected)
    };
    let take = Take {
        format: FORMAT,
        genlock: "0.1.0".to_owned(),
        started: "2026-11-24T14:00:00Z".to_owned(),
        profile: Profile::K4a,
        level: None,
        outcome: Outcome::Whole,
        reason: None,
        triggers_asked: None,
        verdict: Some(Verdict::Pass),
        host: Some(Host {
            utc_at_zero: "2026-11-24T13:00:00.000001Z".to_owned(),
            utc_moved_us: 0.5,
        }),
        hosts: Vec::new(),
        devices: vec![Device { host: None, ..device }],
        files: vec![File::new(&name, 7, 1), File::of(TRIGGERS, b"of the part")],
    };
    let triggers = Triggers {
        columns: vec![format!("{serial}.color"), format!("{serial}.host")],
        first: triggers.start,
        rows: triggers.map(cells).collect(),
    };
    Part {
        host: expected.host.clone(),
        found: Found::Recorded { take: Box::new(take), triggers },
        clock: None,
    }
}

fn missing(name: &str) -> Part {
    let why = format!("its host {name} did not answer");
    Part { host: host(name), found: Found::Missing { why }, clock: None }
}

fn recorded(part: &mut Part) -> (&mut Take, &mut Triggers) {
    match &mut part.found {
        Found::Recorded { take, triggers } => (take, triggers),
        Found::Missing { why } => panic!("{why}"),
    }
}

const AGREED: Agreed = Agreed { first: 60, end: Some(210), asked: Some(150) };

/// Every trigger of every image track is a frame or a loss with the cause that is in its cell.
fn is_consistent(take: &Take, table: &Triggers) {
    for device in &take.devices {
        let track = format!("{}.color", device.serial);
        let cells = table.column(&track).expect("a column for each track");
        assert_eq!(device.trigger_count, table.rows.len() as u64);
        for (trigger, cell) in (table.first..).zip(cells) {
            let holds = |loss: &&genlock_formats::take::Loss| {
                loss.track == "color" && (loss.first_trigger..=loss.last_trigger).contains(&trigger)
            };
            let losses: Vec<_> = device.losses.iter().filter(holds).collect();
            match cell {
                Cell::At(_) => assert_eq!(losses.len(), 0, "{track} {trigger}"),
                Cell::Lost(cause) => {
                    assert_eq!(losses.len(), 1, "{track} {trigger}");
                    assert_eq!(losses[0].cause, *cause);
                }
            }
        }
        let imu = device.losses.iter().filter(|loss| loss.track == "imu");
        let imu: Vec<_> = imu.map(|loss| (loss.first_trigger, loss.last_trigger)).collect();
        assert!(imu.windows(2).all(|two| two[0].1 < two[1].0), "{imu:?}");
    }
    assert!(take.devices.windows(2).all(|two| two[0].serial < two[1].serial));
    assert_eq!(take.files.last(), Some(&File::of(TRIGGERS, table.to_csv().as_bytes())));
    assert_eq!(Take::from_toml(&take.to_toml()).as_ref(), Ok(take));
    assert_eq!(Triggers::from_csv(&table.to_csv()).as_ref(), Ok(table));
}

fn merged(parts: &[Part], agreed: &Agreed) -> (Take, Triggers) {
    let (take, table) = merge(parts, &rig(), agreed).expect("a take");
    is_consistent(&take, &table);
    (take, table)
}

/// The causes of a device's losses of color, with how many triggers they are of.
fn causes(device: &Device) -> Vec<(&str, u64)> {
    let color = device.losses.iter().filter(|loss| loss.track == "color");
    color.map(|loss| (loss.cause.as_str(), loss.count())).collect()
}

#[test]
fn parts_that_have_everything_are_a_whole_take() {
    let rig = rig();
    let mut parts = [part(&rig[0], 60..210), part(&rig[1], 60..210)];
    let measured = HostClock { offset_us: Some(12.5), ..HostClock::default() };
    parts[0].clock = Some(measured);
    let (take, table) = merged(&parts, &AGREED);
    assert_eq!((take.outcome, &take.reason), (Outcome::Whole, &None));
    assert_eq!(table.columns, ["1.color", "1.host", "2.color", "2.host"]);
    assert_eq!((table.first, table.rows.len()), (60, 150));
    let of: Vec<_> = take.devices.iter().map(|one| (one.host.as_deref(), &one.name)).collect();
    assert_eq!(of[0], (Some("a"), &Some("at a".to_owned())));
    assert_eq!(of[1].0, Some("b"));
    assert_eq!(take.devices[1].phase.as_ref().map(|phase| phase.pairs), Some(150));
    assert!(take.devices.iter().all(|one| one.clock.is_some()));
    assert_eq!(take.verdict, Some(Verdict::Pass));
    let names: Vec<_> = take.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["1.mkv", "2.mkv", TRIGGERS]);
    let clocks: Vec<_> = take.hosts.iter().map(|one| (one.name.as_str(), one.offset_us)).collect();
    assert_eq!(clocks, [("a", None), ("b", Some(12.5))]);
    assert_eq!(take.hosts[1].utc_at_zero.as_deref(), Some("2026-11-24T13:00:00.000001Z"));
}

#[test]
fn a_host_that_is_gone_is_a_device_that_was_away() {
    let (take, _) = merged(&[part(&rig()[1], 60..210), missing("b")], &AGREED);
    let gone = &take.devices[1];
    assert_eq!(take.outcome, Outcome::Losses);
    assert_eq!(take.reason.as_deref(), Some("host b did not answer"));
    assert_eq!(causes(gone), [("its host b did not answer", 150)]);
    assert_eq!((&gone.file, gone.outages.len(), gone.verdict), (&None, 1, Some(Verdict::Warn)));
    assert_eq!(take.devices[0].verdict, Some(Verdict::Pass));
    assert_eq!(gone.lost(), 300, "the IMU's are losses too");
}

#[test]
fn without_the_masters_part_the_others_are_a_take_that_says_so() {
    let (take, _) = merged(&[missing("a"), part(&rig()[0], 60..210)], &AGREED);
    let reason = take.reason.expect("a reason");
    assert!(reason.contains("host a did not answer; there is no file of the master"), "{reason}");
    assert_eq!(causes(&take.devices[1]), []);
    assert!(take.devices[1].clock.is_some() && take.devices[1].phase.is_none());
}

#[test]
fn parts_that_begin_late_or_end_early_say_why() {
    let rig = rig();
    let mut late = part(&rig[0], 70..150);
    recorded(&mut late).0.reason = Some("12 MB left on the disk, of b".to_owned());
    let (take, _) = merged(&[part(&rig[1], 60..210), late.clone()], &AGREED);
    let ended = "its host b: 12 MB left on the disk; of b";
    let expected = [("its host was not ready in time", 10), (ended, 60)];
    assert_eq!(causes(&take.devices[1]), expected);
    let outages = &take.devices[1].outages;
    assert_eq!((outages.len(), outages[0].first_trigger, outages[0].last_trigger), (1, 150, 209));
    assert_eq!(take.devices[1].phase.as_ref().map(|phase| phase.pairs), Some(80));
    recorded(&mut late).0.reason = Some(crate::repair::UNFINISHED.to_owned());
    recorded(&mut late).0.outcome = Outcome::Failed;
    let (take, _) = merged(&[part(&rig[1], 60..210), late.clone()], &AGREED);
    assert_eq!(causes(&take.devices[1])[1], ("its recorder was cut off", 60));
    assert_eq!(take.outcome, Outcome::Losses, "the other host went on");
    let (take, _) = merged(&[missing("a"), late], &AGREED);
    assert_eq!(take.outcome, Outcome::Failed, "nobody came to the end");
}

#[test]
fn what_is_on_a_disk_beyond_what_was_agreed_upon_is_kept() {
    let rig = rig();
    let parts = [part(&rig[1], 58..215), part(&rig[0], 60..210)];
    let (take, table) = merged(&parts, &AGREED);
    assert_eq!((table.first, table.rows.len()), (58, 157));
    let expected = [
        ("before the beginning that was agreed upon", 2),
        ("after the end that was agreed upon", 5),
    ];
    assert_eq!(causes(&take.devices[1]), expected);
    // Rows without a frame are no triggers of the take.
    let mut waiting = part(&rig[1], 60..220);
    for row in &mut recorded(&mut waiting).1.rows[150..] {
        *row = vec![Cell::Lost("not sent by the device".to_owned()); 2];
    }
    let (take, table) = merged(&[waiting, part(&rig[0], 60..210)], &AGREED);
    assert_eq!((table.rows.len(), take.outcome), (150, Outcome::Whole));
}

#[test]
fn where_no_end_is_known_the_take_is_what_is_there() {
    let rig = rig();
    let open = Agreed { first: 60, end: None, asked: None };
    let (take, table) = merged(&[part(&rig[1], 60..130), missing("b")], &open);
    assert_eq!((table.first, table.rows.len()), (60, 70));
    assert_eq!(causes(&take.devices[1]), [("its host b did not answer", 70)]);
    let refusal = merge(&[missing("a"), missing("b")], &rig, &AGREED).expect_err("no take");
    let expected = "no host has a frame of the take: host a did not answer; host b did not answer";
    assert_eq!(refusal, expected);
    assert!(merge(&[], &rig, &AGREED).is_err() && merge(&[], &[], &AGREED).is_err());
}

#[test]
fn what_does_not_fit_is_left_out_with_words() {
    let rig = rig();
    let of_a = || part(&rig[1], 60..210);
    let said = |spoil: &dyn Fn(&mut Take, &mut Triggers)| {
        let mut of_b = part(&rig[0], 60..210);
        let (take, table) = recorded(&mut of_b);
        spoil(take, table);
        let (take, _) = merged(&[of_a(), of_b], &AGREED);
        let causes = causes(&take.devices[1]).into_iter().map(|(cause, _)| cause.to_owned());
        (causes.collect::<Vec<_>>().join("; "), take)
    };
    let path = said(&|take, _| take.devices[0].file = Some("../../etc/passwd".to_owned()));
    assert!(path.0.contains("another name"), "{}", path.0);
    assert_eq!(path.1.devices[1].file, None);
    let columns = said(&|_, table| table.columns[0] = "7.color".to_owned());
    assert!(columns.0.contains("lacks a track"), "{}", columns.0);
    let rows = said(&|_, table| table.rows[3].truncate(1));
    assert!(rows.0.contains("rows are not alike"), "{}", rows.0);
    for first in [u64::MAX - 3, u64::MAX - 150, 1 << 40, 211 + 30 * 3600] {
        let far = said(&|_, table| table.first = first);
        assert!(far.0.contains("trigger"), "{first}: {}", far.0);
    }
    let other = said(&|take, _| take.devices[0].serial = "9".to_owned());
    assert!(other.0.contains("has nothing of it"), "{}", other.0);
    assert!(other.1.reason.is_some_and(|why| why.contains("was not asked for its 9")));
    // Of a device at two hosts the one counts that was asked for it.
    let twice = said(&|take, _| {
        let again = Device { serial: "1".to_owned(), ..take.devices[0].clone() };
        take.devices.push(again);
    });
    assert_eq!(twice.1.outcome, Outcome::Whole);
    assert!(twice.1.reason.is_some_and(|why| why.contains("was not asked for its 1")));
    let role = said(&|take, _| take.devices[0].imu = false);
    assert!(role.1.reason.is_some_and(|why| why.contains("otherwise than asked")));
}

#[test]
fn numbers_of_hosts_are_no_panic() {
    let rig = rig();
    let mut wild = part(&rig[0], 60..210);
    let (take, table) = recorded(&mut wild);
    for (place, row) in table.rows.iter_mut().enumerate() {
        row.fill(Cell::At(if place % 3 == 0 { u64::MAX } else { place as u64 }));
    }
    let device = &mut take.devices[0];
    let loss = |first, last| genlock_formats::take::Loss {
        track: "imu".to_owned(),
        first_trigger: first,
        last_trigger: last,
        cause: "7".to_owned(),
    };
    device.losses = vec![loss(0, u64::MAX)];
    let (why, what) = ("why".to_owned(), "what".to_owned());
    device.outages = vec![genlock_formats::take::Outage {
        first_trigger: 0,
        last_trigger: u64::MAX,
        why,
        clock_moved_us: Some(i64::MIN),
    }];
    device.alarms =
        vec![genlock_formats::take::Alarm { first_trigger: u64::MAX, last_trigger: 0, what }];
    device.delay_off_master.ticks = i64::MIN;
    let (take, _) = merged(&[part(&rig[1], 60..210), wild], &AGREED);
    let wild = &take.devices[1];
    assert_eq!((wild.outages[0].first_trigger, wild.outages[0].last_trigger), (60, 209));
    assert_eq!((wild.alarms.len(), wild.lost()), (0, 150));
}

/// Parts of any triggers, with any holes.
#[test]
fn every_trigger_is_a_frame_or_a_loss_whatever_the_parts_hold() {
    let rig = rig();
    let mut state = 1_u64;
    let mut below = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % bound
    };
    for round in 0..300 {
        let parts: Vec<_> = rig
            .iter()
            .map(|expected| {
                let first = 55 + below(100);
                let mut one = part(expected, first..first + 1 + below(150));
                for _ in 0..below(4) {
                    let rows = &mut recorded(&mut one).1.rows;
                    let at = below(rows.len() as u64) as usize;
                    rows[at][0] =
                        Cell::Lost(["lane full", "a,b", ""][below(3) as usize].to_owned());
                }
                if below(5) == 0 { missing(expected.host.as_ref()) } else { one }
            })
            .collect();
        let end = (below(3) > 0).then(|| 60 + below(150));
        let agreed = Agreed { first: 60, end, asked: None };
        let Ok((take, table)) = merge(&parts, &rig, &agreed) else { continue };
        is_consistent(&take, &table);
        let range = table.first..table.first + table.rows.len() as u64;
        assert!(range.start <= 60 && end.is_none_or(|end| range.end >= end), "{round}: {range:?}");
        for one in &parts {
            let Found::Recorded { triggers, .. } = &one.found else { continue };
            let frames = |table: &Triggers, name: &str| -> Vec<_> {
                let cells = table.column(name).expect("a column");
                cells.filter(|cell| matches!(cell, Cell::At(_))).cloned().collect()
            };
            let name = &triggers.columns[0];
            assert_eq!(frames(triggers, name), frames(&table, name), "{round}: none is lost");
        }
    }
}
