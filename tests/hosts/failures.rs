//! Takes where hosts, their network or their coordinator fail.

use crate::agents::{DESK, HOSTS, LONG, Studio};
use crate::ledger::{accounted, whole};
use crate::network::until;
use crate::small_disk::SmallDisk;

/// Triggers of a take that lasts three seconds: so long there is a middle.
const TRIGGERS: u64 = 45;

/// The recorders of all hosts have ended.
fn all_done(studio: &Studio, but: &[&str]) {
    for host in HOSTS.into_iter().filter(|host| !but.contains(host)) {
        until(&format!("{host} ends"), LONG, || {
            let files = studio.recordings(host);
            !files.is_empty() && files.iter().all(|path| path.extension().is_some_and(is_mkv))
        });
    }
}

fn is_mkv(extension: &std::ffi::OsStr) -> bool {
    extension == "mkv"
}

#[test]
fn a_host_that_is_cut_off_before_a_take_is_named_and_nothing_is_recorded() {
    let Some(studio) = Studio::open() else { return };
    studio.network.cut("b");
    studio.begin("takes/0001", 15).end().exits(1).says(&["host b", "does not answer"]);
    assert!(!studio.path("takes/0001").exists(), "nothing is left behind");
    for host in HOSTS {
        assert!(studio.recordings(host).is_empty(), "{host}");
    }
    studio.network.heal("b");
    studio.begin("takes/0001", 15).end().exits(0);
    whole(&studio, "takes/0001", 15);
}

#[test]
fn hosts_that_are_cut_off_in_mid_take_record_to_the_agreed_end() {
    let Some(studio) = Studio::open() else { return };
    let running = studio.begin("takes/0001", TRIGGERS);
    studio.recording_everywhere(&running);
    for host in ["b", "c"] {
        studio.network.cut(host);
    }
    all_done(&studio, &["a"]);
    let done = running.end().exits(3).says(&["genlock gather", "host b", "host c"]);
    let take = accounted(&studio, "takes/0001", TRIGGERS);
    assert!(take.devices.iter().any(|device| !device.losses.is_empty()), "{done:?}");
    for host in ["b", "c"] {
        studio.network.heal(host);
    }
    studio.genlock(&["gather", "takes/0001"]).exits(0);
    whole(&studio, "takes/0001", TRIGGERS);
}

#[test]
fn a_host_that_is_cut_off_as_the_take_is_stopped_is_gathered_later() {
    let Some(studio) = Studio::open() else { return };
    let running = studio.begin_on(DESK, &["record", "--rig", "rig.toml", "takes/0001"]);
    studio.recording_everywhere(&running);
    studio.network.cut("c");
    let pid = running.child.id().to_string();
    let stop = std::process::Command::new("kill").args(["-INT", &pid]).status();
    assert!(stop.expect("kill").success());
    running.end().exits(3).says(&["host c", "genlock gather"]);
    studio.network.heal("c");
    // It has not heard of the end, and ends when its lease is over.
    all_done(&studio, &["a", "b"]);
    let triggers = studio.take("takes/0001").devices[0].trigger_count;
    studio.genlock(&["gather", "takes/0001"]).exits(3);
    // What it recorded behind the end is kept, and the others lack it.
    let longer = studio.take("takes/0001").devices[0].trigger_count;
    assert!(longer > triggers, "{longer} triggers");
    let take = accounted(&studio, "takes/0001", longer);
    for device in &take.devices {
        let images = device.losses.iter().filter(|loss| loss.track != "imu");
        let causes: Vec<_> = images.map(|loss| loss.cause.as_str()).collect();
        match device.host.as_deref() {
            Some("c") => assert_eq!(causes, [""; 0], "{}", device.serial),
            _ => assert_eq!(causes, ["after the end that was agreed upon"; 3], "{}", device.serial),
        }
    }
    studio.genlock(&["verify", "takes/0001"]).exits(3);
}

#[test]
fn an_agent_that_is_killed_and_started_again_finds_its_recorder() {
    let Some(mut studio) = Studio::open() else { return };
    let running = studio.begin("takes/0001", TRIGGERS);
    studio.recording_everywhere(&running);
    studio.kill_agent("b");
    studio.start("b");
    running.end().exits(0);
    whole(&studio, "takes/0001", TRIGGERS);
}

#[test]
fn a_host_that_lost_its_power_is_repaired_and_joined() {
    let Some(mut studio) = Studio::open() else { return };
    let running = studio.begin("takes/0001", TRIGGERS);
    studio.recording_everywhere(&running);
    studio.kill_host("b");
    let kept: Vec<_> = studio.recordings("b");
    assert!(!kept.is_empty());
    studio.start("b");
    let done = running.end();
    if studio.path("takes/0001/gather.toml").exists() {
        studio.genlock(&["gather", "takes/0001"]).exits(3);
    } else {
        done.exits(3);
    }
    let take = accounted(&studio, "takes/0001", TRIGGERS);
    for device in &take.devices {
        let is_b = device.host.as_deref() == Some("b");
        let lacks = device.losses.iter().any(|loss| loss.track == "color");
        assert_eq!(lacks, is_b, "{}: {:?}", device.serial, device.losses);
        assert!(!is_b || device.frames["color"] > 0, "what reached the disk is in the take");
    }
    studio.genlock(&["verify", "takes/0001"]).exits(3);
}

#[test]
fn a_take_whose_coordinator_was_killed_is_gathered() {
    let Some(studio) = Studio::open() else { return };
    let mut running = studio.begin("takes/0001", TRIGGERS);
    studio.recording_everywhere(&running);
    running.child.kill().expect("it runs");
    all_done(&studio, &[]);
    drop(running);
    studio.genlock(&["gather", "takes/0001"]).exits(0);
    whole(&studio, "takes/0001", TRIGGERS);
    studio.genlock(&["gather", "takes/0001"]).exits(2);
}

#[test]
fn a_host_whose_disk_is_full_stops_for_itself_alone() {
    let Some(disk) = SmallDisk::mount("tmpfs", 400) else { return };
    let Some(studio) = Studio::with_stores(&[("c", disk.path())]) else { return };
    let running = studio.begin("takes/0001", TRIGGERS);
    studio.recording_everywhere(&running);
    disk.fill();
    running.end().exits(3);
    let take = accounted(&studio, "takes/0001", TRIGGERS);
    for device in &take.devices {
        let is_c = device.host.as_deref() == Some("c");
        let lacks = device.losses.iter().any(|loss| loss.track == "color");
        assert_eq!(lacks, is_c, "{}: {:?}", device.serial, device.losses);
    }
    studio.genlock(&["verify", "takes/0001"]).exits(3);
}
