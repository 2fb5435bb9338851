//! Whether the devices of a take were in step, worked out once more from what is on the disk: its
//! table, or the times in its files, beside what `take.toml` says was noticed during the take.

use crate::sync::{Master, Series, Standing, Watch, judge, pairs};
use genlock_formats::k4a::Rate;
use genlock_formats::take::{Alarm, Device};

/// One device of a take with its times, one for each trigger, 0 where there is none.
#[derive(Debug, Clone, Copy)]
pub struct Reviewed<'a> {
    /// What `take.toml` says of it.
    pub device: &'a Device,
    /// Triggers per second.
    pub rate: Rate,
    /// The take's first trigger.
    pub first: u64,
    /// Device times in microseconds of the camera that leads.
    pub stamps_us: &'a [u64],
    /// Those of its color camera, where it is on.
    pub color_us: Option<&'a [u64]>,
    /// When frames arrived, in microseconds of its host's monotonic clock.
    pub arrived_us: &'a [u64],
}

impl Standing {
    /// Writes down how a device stood, with the alarms of its take.
    pub fn note(self, device: &mut Device, alarms: Vec<Alarm>) {
        device.alarms = alarms;
        device.verdict = Some(self.verdict);
        device.reasons = self.reasons;
        device.clock = self.clock;
        device.phase = self.phase;
    }
}

/// Judges a device beside the `master` of its take, if that has a file. Gives the alarms too: those
/// that `take.toml` lists, and those that the times show beside them.
#[must_use]
pub fn review(one: &Reviewed<'_>, master: Option<&Reviewed<'_>>) -> (Standing, Vec<Alarm>) {
    let device = one.device;
    // Of a device without a file there is nothing that could be in step.
    let follows = device.role == "subordinate" && device.file.is_some();
    let master = master.filter(|_| follows).and_then(|master| {
        let build = |device: &Device| device.firmware.get("color").cloned();
        Some(Master {
            stamps_us: master.color_us?,
            // Two hosts have two clocks, which run apart by more than crystals in step may.
            arrived_us: match device.shares_host_with(master.device) {
                true => master.arrived_us,
                false => &[],
            },
            delay_us: device.delay_after_master_us(),
            other_firmware: build(device) != build(master.device),
            outages: &master.device.outages,
        })
    });
    let mut series = Series {
        rate: one.rate,
        first: one.first,
        stamps_us: one.stamps_us,
        arrived_us: one.arrived_us,
        master,
        alarms: &device.alarms,
        outages: &device.outages,
        moves: 0,
        lost: device.lost(),
    };
    // During the take more is known than is in the files: the jacks, and the time before.
    let mut alarms = device.alarms.clone();
    let known = series.before_outages();
    if let Some(master) = &known.master {
        let last = one.first.saturating_add(one.stamps_us.len() as u64).saturating_sub(1);
        let all = pairs(one.first, master.stamps_us, known.stamps_us, master.delay_us);
        let (news, moves) = Watch::over(one.rate.fps(), all, last);
        series.moves = moves;
        let overlaps = |one: &Alarm, other: &Alarm| {
            one.first_trigger <= other.last_trigger && other.first_trigger <= one.last_trigger
        };
        let is_new = |new: &Alarm| !device.alarms.iter().any(|known| overlaps(known, new));
        alarms.extend(news.into_iter().filter(is_new));
    }
    (judge(&Series { alarms: &alarms, ..series }), alarms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::take::{Delay, Verdict};

    fn device(role: &str, host: &str) -> Device {
        Device {
            serial: role.to_owned(),
            name: None,
            host: Some(host.to_owned()),
            file: Some(format!("{role}.mkv")),
            role: role.to_owned(),
            color_mode: "MJPG_720P".to_owned(),
            depth_mode: "OFF".to_owned(),
            rate: 30,
            imu: false,
            first_trigger: 60,
            trigger_count: 900,
            bytes: 1,
            depth_delay_off_color: Delay::of(0),
            delay_off_master: Delay::of(0),
            frames: Default::default(),
            firmware: Default::default(),
            color_controls: Default::default(),
            verdict: None,
            reasons: Vec::new(),
            clock: None,
            phase: None,
            outages: Vec::new(),
            alarms: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// A period apart by a clock that runs `ppm` fast.
    fn times(ppm: f64) -> Vec<u64> {
        (60..960).map(|k| (f64::from(k) * 1e6 / 30.0 * (1.0 + ppm / 1e6)).round() as u64).collect()
    }

    /// The clock of the other host runs 100 ppm fast: frames that arrive by it seem to come from a
    /// device that runs free.
    #[test]
    fn arrivals_are_compared_within_a_host_and_never_across_two() {
        let (stamps, ours, theirs) = (times(0.0), times(0.0), times(100.0));
        let verdict = |hosts: [&str; 2]| {
            let (master, sub) = (device("master", hosts[0]), device("subordinate", hosts[1]));
            let of = |device, arrived_us| Reviewed {
                device,
                rate: Rate::Fps30,
                first: 60,
                stamps_us: &stamps,
                color_us: Some(&stamps),
                arrived_us,
            };
            let (standing, _) = review(&of(&sub, &theirs), Some(&of(&master, &ours)));
            assert!(standing.clock.is_some() && standing.phase.is_some(), "{standing:?}");
            standing.verdict
        };
        assert_eq!(verdict(["a", "b"]), Verdict::Pass);
        assert_eq!(verdict(["a", "a"]), Verdict::Fail);
    }
}
