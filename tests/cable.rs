//! Emulated cameras of one rig on several hosts, which share a sync cable through a file.

use genlock::clock::Clock;
use genlock::config::DeviceConfig;
use genlock::device::{self, Buffering, Device, Outputs};
use genlock::frame::Frame;
use genlock::lane::{Received, Receiver, lane};
use genlock::stage::Stage;
use genlock::usb::cable;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::{Cable, Faults};
use genlock_formats::k4a::{Rate, Role};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The color camera of one device, started.
struct Started {
    device: Device,
    stages: Vec<Box<dyn Stage>>,
    frames: Receiver<Frame>,
}

/// A rig of four whose crystals differ.
fn rig() -> Vec<Faults> {
    let of = |clock_ppm| Faults { clock_ppm, ..Faults::default() };
    [0.0, -40.0, 25.0, 10.0].map(of).into()
}

/// The devices of a host, opened: those at the places `here` of the rig.
fn host(here: &[usize], cable: Cable, clock: &Clock) -> Vec<Device> {
    let bus = EmulatedBus::part(&rig(), here, Some(cable), None, clock.clone());
    let found = device::find(&bus).expect("emulated devices are found");
    let open = |found| Device::open(&bus, found).expect("an emulated device opens");
    found.iter().map(open).collect()
}

fn start(mut device: Device, role: Role, clock: &Clock) -> Started {
    let config = DeviceConfig {
        color: "720p".parse().ok(),
        depth: None,
        imu: false,
        rate: Rate::Fps30,
        role,
        ..DeviceConfig::default()
    };
    let (color, frames) = lane(64);
    let outputs = Outputs {
        color,
        depth: lane(1).0,
        imu: lane(1).0,
        losses: lane(64).0,
        stop: Arc::default(),
        heard: Arc::default(),
        stale: Arc::default(),
        settled: Arc::default(),
        clock: clock.clone(),
        rejoins: false,
    };
    let buffering = Buffering { frames: 45, beyond: 0 };
    let stages = device.start(&config, None, outputs, buffering).expect("it starts");
    Started { device, stages, frames }
}

impl Started {
    /// Its next frame, none where it sends nothing for so long.
    fn next(&mut self, wait: Duration) -> Option<Frame> {
        let begun = Instant::now();
        while begun.elapsed() < wait {
            for stage in &mut self.stages {
                stage.step(Duration::from_millis(5)).expect("a sound device");
            }
            if let Received::Value(frame) = self.frames.receive(Duration::ZERO) {
                return Some(frame);
            }
        }
        None
    }

    /// Device times of its next frames.
    fn stamps_us(&mut self, count: usize) -> Vec<u64> {
        let next = |_| self.next(Duration::from_secs(20)).expect("pulses give frames").stamp_us;
        (0..count).map(next).collect()
    }

    fn stop(mut self) {
        self.stages.clear();
        self.device.stop().expect("it stops");
    }
}

/// Two hosts: the master and a subordinate, and two subordinates.
fn two_hosts(path: &Path) -> [(Clock, Vec<Device>); 2] {
    let (one, other) = (Clock::machine(), Clock::machine());
    let driven = cable::drive(path, &one).expect("nobody drives it");
    let heard = cable::attach(path, &other).expect("it is there");
    let hosts = [host(&[0, 1], driven, &one), host(&[2, 3], heard, &other)];
    let [first, second] = hosts;
    [(one, first), (other, second)]
}

#[test]
fn subordinates_of_another_host_follow_the_master() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(one, mut first), (other, second)] = two_hosts(&folder.path().join("cable"));
    let serials: Vec<_> = first.iter().chain(&second).map(|d| d.serial().to_owned()).collect();
    assert_eq!(serials, [1, 2, 3, 4].map(|number| format!("{number:012}")));
    let mut subordinates = vec![start(first.remove(1), Role::Subordinate, &one)];
    for device in second {
        subordinates.push(start(device, Role::Subordinate, &other));
    }
    for waiting in &mut subordinates {
        assert!(waiting.next(Duration::from_millis(100)).is_none(), "no pulses, no frames");
    }
    for _ in 0..2 {
        let mut master = start(first.remove(0), Role::Master, &one);
        let stamps_us = master.stamps_us(5);
        for subordinate in &mut subordinates {
            for (stamp_us, own_us) in stamps_us.iter().zip(subordinate.stamps_us(5)) {
                // What Microsoft's tests allow (usb-protocol.md 9.4).
                assert!(stamp_us.abs_diff(own_us) <= 110, "{stamp_us} and {own_us}");
            }
        }
        master.stages.clear();
        master.device.stop().expect("it stops");
        for subordinate in &mut subordinates {
            while subordinate.next(Duration::from_millis(200)).is_some() {}
        }
        // Once more: new pulses begin at zero again.
        first.insert(0, master.device);
    }
    subordinates.into_iter().for_each(Started::stop);
}

#[test]
fn a_host_that_comes_late_gets_the_pulses_that_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cable");
    let one = Clock::machine();
    let driven = cable::drive(&path, &one).expect("nobody drives it");
    let mut first = host(&[0], driven, &one);
    let mut master = start(first.remove(0), Role::Master, &one);
    master.stamps_us(3);
    let late = Clock::machine();
    let heard = cable::attach(&path, &late).expect("it is there");
    let mut second = host(&[3], heard, &late);
    let mut subordinate = start(second.remove(0), Role::Subordinate, &late);
    // Its clock was not set to zero: only the distances are the master's.
    let stamps_us = subordinate.stamps_us(20);
    for pair in stamps_us[9..].windows(2) {
        assert!((pair[1] - pair[0]).abs_diff(33_333) <= 110, "{stamps_us:?}");
    }
    master.stop();
    subordinate.stop();
}

#[test]
fn a_second_master_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cable");
    let driven = cable::drive(&path, &Clock::machine()).expect("nobody drives it");
    let refused = cable::drive(&path, &Clock::machine()).expect_err("it is driven").to_string();
    assert!(refused.contains(path.to_str().expect("a plain path")), "{refused}");
    assert!(refused.contains("another process drives this sync cable"), "{refused}");
    drop(driven);
    cable::drive(&path, &Clock::machine()).expect("nobody drives it any more");
    let nowhere = folder.path().join("no/cable");
    let refused = cable::attach(&nowhere, &Clock::machine()).expect_err("no folder").to_string();
    assert!(refused.contains("no/cable"), "{refused}");
}
