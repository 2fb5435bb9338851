//! The laser ladder: whether the lasers of a rig leave each other alone.
//!
//! A depth exposure is nine laser pulses of 125 us with idle gaps between them. Two cameras see the
//! same scene without harm when the pulses of one fall into the gaps of the other, at least 160 us
//! from pulse to pulse (usb-protocol.md 13.2).

use crate::config::DeviceConfig;
use crate::rig::{Finding, LADDER_STEP_US, raise_ladder};
use genlock_formats::k4a::{DepthMode, Role};
use genlock_formats::take::Delay;

// Times are ninths of a microsecond: then ticks of 11.1 us and microseconds are whole numbers.

/// A tick of a device's 90 kHz clock.
const TICK: i64 = 100;

/// A laser pulse: 125 us.
const PULSE: i64 = 125 * 9;

/// The least from pulse to pulse: what a device makes of a step of the ladder, in whole ticks.
const APART_MIN: i64 = LADDER_STEP_US as i64 * 9 / TICK * TICK;

/// From pulse to pulse within an exposure: pulse and idle gap. Passive IR has no laser.
fn pitch(mode: DepthMode) -> Option<i64> {
    match mode {
        DepthMode::PassiveIr => None,
        DepthMode::WfovUnbinned => Some(PULSE + 2390 * 9),
        DepthMode::Nfov2x2Binned | DepthMode::NfovUnbinned | DepthMode::Wfov2x2Binned => {
            Some(PULSE + 1450 * 9)
        }
    }
}

/// When a device's laser shines.
struct Laser<'s> {
    serial: &'s str,
    /// From the master's pulse to the centre of exposure, as the device rounds its delays.
    centre: i64,
    pitch: i64,
    period: i64,
}

impl<'s> Laser<'s> {
    fn of(serial: &'s str, config: &DeviceConfig) -> Option<Self> {
        let pitch = pitch(config.depth?)?;
        let off_master_us = match config.role {
            Role::Subordinate => i64::from(config.subordinate_delay_us),
            Role::Master | Role::Standalone => 0,
        };
        let ticks = Delay::of(off_master_us).ticks + Delay::of(config.depth_delay_us.into()).ticks;
        let period = config.rate.period_ticks() as i64 * TICK;
        Some(Self { serial, centre: ticks * TICK, pitch, period })
    }

    /// From a pulse of this laser to the nearest one of another, start to start, in this exposure
    /// or in those before and after it.
    fn apart(&self, other: &Self) -> i64 {
        let pulses = -4..=4;
        // Delays are at most a period each: centres are at most three periods apart.
        let exposures = (-3..=3).map(|frame| other.centre - self.centre + frame * self.period);
        let distances = exposures.flat_map(|between| {
            pulses.clone().flat_map(move |own| {
                (-4..=4).map(move |others| between + others * other.pitch - own * self.pitch)
            })
        });
        distances.map(i64::abs).min().unwrap_or(i64::MAX)
    }
}

/// The two lasers that disturb each other most, and how many pairs do.
fn worst(devices: &[(String, DeviceConfig)]) -> Option<(i64, &str, &str, usize)> {
    let lasers = devices.iter().filter_map(|(serial, config)| Laser::of(serial, config));
    let lasers: Vec<_> = lasers.collect();
    let pairs = lasers.iter().enumerate().flat_map(|(i, one)| {
        lasers[i + 1..].iter().map(move |other| (one.apart(other), one.serial, other.serial))
    });
    let close: Vec<_> = pairs.filter(|(apart, ..)| *apart < APART_MIN).collect();
    let (apart, one, other) = close.iter().copied().min_by_key(|(apart, ..)| *apart)?;
    Some((apart, one, other, close.len()))
}

/// Whether the lasers of a rig, by serial and configuration, leave each other alone.
#[must_use]
pub fn findings(devices: &[(String, DeviceConfig)]) -> Vec<Finding> {
    let lasers = devices.iter().filter_map(|(serial, config)| Laser::of(serial, config)).count();
    if lasers < 2 {
        return Vec::new();
    }
    let Some((apart, one, other, pairs)) = worst(devices) else {
        let what = format!("{lasers} depth exposures, no two laser pulses closer than 155 us");
        return vec![Finding::good("lasers", what)];
    };
    let us = |ninths: i64| ninths as f64 / 9.0;
    let what = if apart < PULSE {
        let overlap_us = us(PULSE - apart);
        format!("their laser pulses overlap for {overlap_us:.0} of 125 us: depth is disturbed")
    } else {
        let apart_us = us(apart);
        format!(
            "their laser pulses are {apart_us:.0} us apart: less than {LADDER_STEP_US} us leave no \
             room for the error of their clocks"
        )
    };
    let more = match pairs - 1 {
        0 => String::new(),
        more => format!(" ({more} more pairs are too close)"),
    };
    vec![Finding::warning(format!("{one} and {other}"), what + &more, fix(devices, lasers))]
}

fn fix(devices: &[(String, DeviceConfig)], lasers: usize) -> String {
    let mut ladder = devices.to_vec();
    let mut configs: Vec<_> = devices.iter().map(|(_, config)| config.clone()).collect();
    raise_ladder(&mut configs);
    for ((_, config), raised) in ladder.iter_mut().zip(configs) {
        *config = raised;
    }
    if worst(&ladder).is_none() {
        let step = |(serial, config): &(String, DeviceConfig)| {
            Laser::of(serial, config).map(|_| format!("{serial} {}", config.depth_delay_us))
        };
        let steps: Vec<_> = ladder.iter().filter_map(step).collect();
        return format!("set the depth delays to, in us: {}", steps.join(", "));
    }
    if lasers > 10 {
        return format!(
            "the gap between two pulses has room for 10 cameras, and these are {lasers}: turn \
             depth off or to PASSIVE_IR on some, or let those that do not see the same scene \
             share a delay"
        );
    }
    "give all one depth mode, color, and one delay off the master; then depth delays in steps of \
     160 us keep them apart"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Severity;

    fn rig(delays_us: &[i32]) -> Vec<(String, DeviceConfig)> {
        let device = |(i, delay_us): (usize, &i32)| {
            let role = if i == 0 { Role::Master } else { Role::Subordinate };
            let config =
                DeviceConfig { role, depth_delay_us: *delay_us, ..DeviceConfig::default() };
            (i.to_string(), config)
        };
        delays_us.iter().enumerate().map(device).collect()
    }

    fn raised(count: usize) -> Vec<(String, DeviceConfig)> {
        let mut configs: Vec<_> = rig(&vec![0; count]).into_iter().map(|(_, c)| c).collect();
        raise_ladder(&mut configs);
        configs.into_iter().enumerate().map(|(i, config)| (i.to_string(), config)).collect()
    }

    /// The finding of a rig whose lasers disturb each other.
    #[track_caller]
    fn warning(rig: &[(String, DeviceConfig)]) -> String {
        let findings = findings(rig);
        let [finding] = &findings[..] else { panic!("one finding: {findings:?}") };
        assert_eq!(finding.severity, Severity::Warning, "{finding}");
        finding.to_string()
    }

    #[track_caller]
    fn good(rig: &[(String, DeviceConfig)]) {
        let findings = findings(rig);
        assert!(findings.iter().all(|f| f.severity == Severity::Good), "{findings:?}");
    }

    #[test]
    fn lasers_at_once_are_named_with_a_ladder_that_helps() {
        let text = warning(&rig(&[0, 0]));
        assert!(text.contains("0 and 1") && text.contains("overlap for 125 of 125 us"), "{text}");
        assert!(text.ends_with("in us: 0 0, 1 160"), "{text}");
        let text = warning(&rig(&[0, 0, 0]));
        assert!(text.contains("2 more pairs"), "{text}");
    }

    #[test]
    fn a_step_of_the_ladder_is_the_least_distance() {
        good(&rig(&[0, 160]));
        good(&rig(&[-80, 80]));
        // 155 us are 13 ticks of 11.1 us: 144.4 us.
        assert!(warning(&rig(&[0, 155])).contains("144 us apart"));
        // 100 us are 9 ticks: 25 us of a pulse.
        assert!(warning(&rig(&[0, 100])).contains("overlap for 25 of 125 us"));
    }

    #[test]
    fn another_pulse_of_the_exposure_disturbs_too_and_other_exposures_do_not() {
        // The second pulse comes after 1575 us; 1578 us are 142 ticks.
        assert!(warning(&rig(&[0, 1578])).contains("overlap"));
        // The last of nine starts 12.6 ms after the first.
        good(&rig(&[0, 14_000]));
        // A frame later is the next exposure.
        assert!(warning(&rig(&[0, 33_333])).contains("overlap"));
        let mut delayed = rig(&[160, 0]);
        delayed[1].1.subordinate_delay_us = 160;
        assert!(warning(&delayed).contains("overlap for 125"));
    }

    #[test]
    fn a_rig_of_ten_has_a_ladder_and_one_of_eleven_has_none() {
        for count in 2..=10 {
            good(&raised(count));
        }
        let text = warning(&raised(11));
        assert!(text.contains("room for 10 cameras, and these are 11"), "{text}");
    }

    #[test]
    fn modes_of_different_spacing_collide_and_those_without_laser_do_not() {
        let mut mixed = rig(&[0, 160]);
        mixed[1].1.depth = Some(DepthMode::WfovUnbinned);
        let text = warning(&mixed);
        assert!(text.contains("one depth mode"), "{text}");
        for quiet in [Some(DepthMode::PassiveIr), None] {
            let mut rig = rig(&[0, 0, 160]);
            rig[1].1.depth = quiet;
            good(&rig);
            assert_eq!(findings(&rig[..2]), [], "one laser disturbs nobody");
        }
    }
}
