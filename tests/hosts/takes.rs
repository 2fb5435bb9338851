//! Takes where nothing goes wrong, or nothing that a take must feel.

use crate::agents::{DESK, HOSTS, STRANGER, Studio};
use crate::ledger::{accounted, whole};
use std::fs;
use std::time::Duration;

#[test]
fn three_hosts_record_one_take() {
    let Some(studio) = Studio::open() else { return };
    studio.begin("takes/0001", 15).end().exits(0);
    whole(&studio, "takes/0001", 15);
    for host in HOSTS {
        assert!(studio.take("takes/0001").devices.iter().any(|d| d.host.as_deref() == Some(host)));
    }
    studio.begin("takes/0001", 15).end().exits(2).says(&["takes/0001"]);
}

#[test]
fn takes_follow_each_other() {
    let Some(studio) = Studio::open() else { return };
    let asked = std::env::var("GENLOCK_TAKES").ok().and_then(|count| count.parse().ok());
    for number in 1..=asked.unwrap_or(3) {
        let take = format!("takes/{number:04}");
        studio.begin(&take, 15).end().exits(0);
        whole(&studio, &take, 15);
    }
}

#[test]
fn a_slow_network_that_loses_packets_changes_nothing() {
    let Some(mut studio) = Studio::open() else { return };
    for (seed, host) in (1..).zip(HOSTS) {
        studio.network.worsen(host, Duration::from_millis(200), 0.05, seed);
    }
    // At this loss TCP moves some 20 kB/s: the ledger comes at once, the recordings later.
    let record = ["record", "--rig", "rig.toml", "--frames", "15", "--leave", "takes/0001"];
    studio.genlock(&record).exits(0);
    let take = studio.take("takes/0001");
    let lacks = take.devices.iter().flat_map(|device| &device.losses);
    assert_eq!(lacks.filter(|loss| loss.track != "imu").count(), 0);
    let dropped: u64 = HOSTS.iter().map(|host| studio.network.mend(host)).sum();
    assert!(dropped > 0, "packets were lost");
    studio.genlock(&["gather", "takes/0001"]).exits(0);
    whole(&studio, "takes/0001", 15);
}

#[test]
fn a_stranger_gets_nothing() {
    let Some(studio) = Studio::open() else { return };
    let rig = fs::read_to_string(studio.path("rig.toml")).expect("a rig file");
    // Without a certificate, and with one that another authority gave.
    let without = rig.replace("certs = \"lab/coordinator\"\n", "");
    fs::write(studio.path("without.toml"), without).expect("a file");
    let makes = ["agent", "certs", "other", "--host", "a=10.77.0.1"];
    studio.begin_on(STRANGER, &makes).end().exits(0);
    let other = rig.replace("lab/coordinator", "other/coordinator");
    fs::write(studio.path("other.toml"), other).expect("a file");
    for (rig, code) in [("without.toml", 2), ("other.toml", 1)] {
        for command in [
            &["list", "--rig", rig][..],
            &["record", "--rig", rig, "--frames", "15", "takes/stolen"],
        ] {
            let done = studio.begin_on(STRANGER, command).end();
            assert!(done.code == Some(code), "{command:?}: {done:?}");
        }
    }
    assert!(!studio.path("takes/stolen").exists());
    for host in HOSTS {
        assert!(studio.recordings(host).is_empty(), "{host} recorded for a stranger");
    }
    // Who belongs there is not disturbed.
    studio
        .begin_on(DESK, &["record", "--rig", "rig.toml", "--frames", "15", "takes/0001"])
        .end()
        .exits(0);
    accounted(&studio, "takes/0001", 15);
}
