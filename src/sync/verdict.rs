//! What the evidence of a take says of one device.

use crate::sync::phase::quantile;
use crate::sync::{ClockFit, LowerHull, Pair, Phase, pairs};
use genlock_formats::k4a::Rate;
use genlock_formats::take::{self, Alarm, Outage, Verdict};
use std::ops::Range;

/// What a take knows of one device. Triggers are counted from the take's first; a stamp or time of
/// 0 stands for no frame.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Triggers per second, as planned.
    pub rate: Rate,
    /// The take's first trigger.
    pub first: u64,
    /// Device times in microseconds of the camera that leads.
    pub stamps_us: &'a [u64],
    /// When its frames arrived, in microseconds of the host's monotonic clock; empty where nobody
    /// knows.
    pub arrived_us: &'a [u64],
    /// Of a subordinate whose master is in the take.
    pub master: Option<Master<'a>>,
    /// What was noticed during the take.
    pub alarms: &'a [Alarm],
    /// When it was out of the take.
    pub outages: &'a [Outage],
    /// How often the middle of its exposures moved against the master's.
    pub moves: u64,
    /// Frames that are missing.
    pub lost: u64,
}

/// The master as its subordinates see it.
#[derive(Debug, Clone, Copy)]
pub struct Master<'a> {
    /// Device times of its color frames in microseconds.
    pub stamps_us: &'a [u64],
    /// When these arrived, in microseconds of the host's monotonic clock; empty where nobody knows.
    pub arrived_us: &'a [u64],
    /// How much later than these the subordinate's exposures are planned, in microseconds.
    pub delay_us: f64,
    /// Whether it runs another color firmware.
    pub other_firmware: bool,
    /// When it was out of the take.
    pub outages: &'a [Outage],
}

impl<'a> Series<'a> {
    /// What the stamps tell of: those of before the device or its master was out of the take, for
    /// what comes back has its clock set to another time.
    #[must_use]
    pub fn before_outages(self) -> Self {
        let of_master = self.master.map(|master| master.outages).unwrap_or_default();
        let first = self.outages.iter().chain(of_master).map(|outage| outage.first_trigger).min();
        let Some(first) = first else { return self };
        let count = usize::try_from(first.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let cut = |times: &'a [u64]| times.get(..count).unwrap_or(times);
        let master = self.master.map(|master| Master {
            stamps_us: cut(master.stamps_us),
            arrived_us: cut(master.arrived_us),
            ..master
        });
        let (stamps_us, arrived_us) = (cut(self.stamps_us), cut(self.arrived_us));
        Self { stamps_us, arrived_us, master, ..self }
    }
}

/// What the evidence says of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// In a word.
    pub verdict: Verdict,
    /// Why it is no pass.
    pub reasons: Vec<String>,
    /// Its clock against the host's.
    pub clock: Option<take::Clock>,
    /// Its exposures against the master's.
    pub phase: Option<take::Phase>,
}

/// Real rates beyond this many ppm of the planned one are worth a word: crystals are within 400
/// (spec/users.md D).
const RATE_PPM_MAX: f64 = 1000.0;

/// The phase's 99th percentile, in microseconds, that Microsoft's own test lets pass at a rate
/// (usb-protocol.md 9.4).
#[must_use]
pub fn phase_max_us(rate: Rate) -> f64 {
    match rate {
        Rate::Fps30 => 110.0,
        Rate::Fps15 => 220.0,
        Rate::Fps5 => 660.0,
    }
}

/// A take of fewer triggers may be too short to tell, which is nobody's fault.
const SHORT: usize = 10;

/// How many times [`phase_max_us`] is no synchronization any more.
const OUT_OF_PHASE: f64 = 10.0;

/// Judges one device.
#[must_use]
pub fn judge(device: &Series<'_>) -> Standing {
    let mut standing =
        Standing { verdict: Verdict::Pass, reasons: Vec::new(), clock: None, phase: None };
    for alarm in device.alarms {
        let Alarm { first_trigger, last_trigger, what } = alarm;
        standing.say(Verdict::Fail, format!("triggers {first_trigger} to {last_trigger}: {what}"));
    }
    for Outage { first_trigger, last_trigger, why, .. } in device.outages {
        let text = format!("triggers {first_trigger} to {last_trigger}: out of the take: {why}");
        standing.say(Verdict::Warn, text);
    }
    if let Some(outage) = device.master.and_then(|master| master.outages.first()) {
        let text = format!(
            "the master was out of the take: phase and clock are those of before trigger {}",
            outage.first_trigger
        );
        standing.say(Verdict::Warn, text);
    }
    let device = &device.before_outages();
    let ours = ClockLine::of(device.stamps_us, device.arrived_us);
    if let Some(master) = &device.master {
        standing.judge_phase(device, master, ours.as_ref());
    }
    standing.clock = ours.and_then(|ours| ours.summary(device.stamps_us));
    if let Some(clock) = &standing.clock {
        let nominal_hz = f64::from(device.rate.fps());
        if (clock.rate_hz / nominal_hz - 1.0).abs() * 1e6 > RATE_PPM_MAX {
            let text = format!("it runs at {:.3} frames a second", clock.rate_hz);
            standing.say(Verdict::Warn, text);
        }
    }
    if device.lost > 0 {
        standing.say(Verdict::Warn, format!("{} frames are missing", device.lost));
    }
    standing
}

impl Standing {
    fn say(&mut self, verdict: Verdict, reason: String) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason);
    }

    fn judge_phase(&mut self, device: &Series<'_>, master: &Master<'_>, ours: Option<&ClockLine>) {
        if master.other_firmware {
            let text = "its color firmware is not the master's: their clocks begin at different \
                        times, and the phase cannot be told; update both";
            return self.say(Verdict::Warn, text.to_owned());
        }
        let all = pairs(device.first, master.stamps_us, device.stamps_us, master.delay_us);
        let all: Vec<Pair> = all.collect();
        let Some(phase) = Phase::of(&all, &out_of_step(device.alarms)) else {
            let short = device.stamps_us.len() < SHORT;
            let verdict = if short { Verdict::Warn } else { Verdict::Fail };
            let text = "too few triggers in step with the master to tell the phase";
            return self.say(verdict, text.to_owned());
        };
        let [p50_us, p99_us, max_us] = phase.summary();
        let limit_us = phase_max_us(device.rate);
        let text = || format!("99 of 100 exposures are within {p99_us:.0} us of the master's plan");
        if device.moves > 0 {
            let text = format!(
                "its exposures, or the master's, changed length {} times, which moves their \
                 middle: lock_exposure holds them",
                device.moves
            );
            self.say(Verdict::Warn, text);
        }
        if p99_us > limit_us * OUT_OF_PHASE {
            self.say(Verdict::Fail, text());
        } else if p99_us > limit_us {
            self.say(Verdict::Warn, text());
        }
        let theirs = ClockLine::of(master.stamps_us, master.arrived_us);
        if let (Some(ours), Some(theirs)) = (ours, &theirs)
            && ours.runs_free_of(theirs, phase.drift_ppm)
        {
            let text = format!(
                "its clock runs {:+.0} ppm off the master's by when frames arrive, and {:+.0} by \
                 the stamps of common triggers: it does not follow the master's pulses",
                ours.fit.ppm() - theirs.fit.ppm(),
                phase.drift_ppm
            );
            self.say(Verdict::Fail, text);
        }
        self.phase = Some(take::Phase {
            p50_us: tenths(p50_us),
            p99_us: tenths(p99_us),
            max_us: tenths(max_us),
            drift_ppm: tenths(phase.drift_ppm),
            pairs: all.len() as u64,
        });
    }
}

/// The triggers of alarms.
fn out_of_step(alarms: &[Alarm]) -> Vec<Range<u64>> {
    let range = |alarm: &Alarm| alarm.first_trigger..alarm.last_trigger.saturating_add(1);
    alarms.iter().map(range).collect()
}

/// Tenths are more than any stamp can tell.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A device's clock against the host's, with how late its frames came.
pub struct ClockLine {
    fit: ClockFit,
    late_us: Vec<f64>,
}

/// Clocks that are further apart than this by arrival than by stamps, and than what is doubtful of
/// the arrivals, are not those of two cameras in step.
const FREE_PPM: f64 = 10.0;

/// So many arrivals are among the earliest at least.
const EARLIEST: f64 = 8.0;

impl ClockLine {
    /// From stamps and arrivals of the same triggers, 0 where there is none; none for fewer than
    /// two.
    #[must_use]
    pub fn of(stamps_us: &[u64], arrived_us: &[u64]) -> Option<Self> {
        let both = || {
            let both = stamps_us.iter().zip(arrived_us);
            both.filter(|(stamp, arrived)| **stamp > 0 && **arrived > 0)
        };
        let mut hull = LowerHull::default();
        both().for_each(|(stamp, arrived)| hull.push(*stamp, *arrived));
        let fit = hull.fit()?;
        let late = |(&stamp, &arrived): (&u64, &u64)| arrived as f64 - fit.host_us(stamp);
        Some(Self { fit, late_us: both().map(late).collect() })
    }

    /// Whether a device runs free of its master, though its stamps drift from the master's by
    /// `drift_ppm` alone: in step, that is what their clocks differ by.
    #[must_use]
    pub fn runs_free_of(&self, master: &Self, drift_ppm: f64) -> bool {
        let doubt = |line: &Self| {
            // The line goes through two of the earliest arrivals, of which a few may all be late.
            let earliest = (EARLIEST / line.late_us.len() as f64).max(0.05);
            line.fit.doubt_ppm(quantile(&line.late_us, earliest.min(1.0)))
        };
        let apart_ppm = self.fit.ppm() - master.fit.ppm() - drift_ppm;
        apart_ppm.abs() > FREE_PPM + doubt(self) + doubt(master)
    }

    fn summary(&self, stamps_us: &[u64]) -> Option<take::Clock> {
        let first = stamps_us.iter().position(|stamp| *stamp > 0)?;
        let last = stamps_us.iter().rposition(|stamp| *stamp > 0)?;
        let passed_us = self.fit.host_us(stamps_us[last]) - self.fit.host_us(stamps_us[first]);
        Some(take::Clock {
            offset_us: tenths(self.fit.host_us(0)),
            ppm: tenths(self.fit.ppm()),
            rate_hz: ((last - first) as f64 / passed_us * 1e10).round() / 1e4,
            late_p50_us: tenths(quantile(&self.late_us, 0.5)),
            late_p99_us: tenths(quantile(&self.late_us, 0.99)),
            late_max_us: tenths(quantile(&self.late_us, 1.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device at 30 fps whose clock is `ppm` off and `phase_us` late, from trigger 30 on.
    fn stamps(ppm: f64, phase_us: f64) -> Vec<u64> {
        let stamp = |k: u32| (f64::from(k) * 1e6 / 30.0 + phase_us) * (1.0 + ppm / 1e6);
        (30..930).map(|k| stamp(k).round() as u64).collect()
    }

    fn series<'a>(stamps_us: &'a [u64], master: &'a [u64]) -> Series<'a> {
        let master = Master {
            stamps_us: master,
            arrived_us: &[],
            delay_us: 160.0,
            other_firmware: false,
            outages: &[],
        };
        Series {
            rate: Rate::Fps30,
            first: 30,
            stamps_us,
            arrived_us: &[],
            master: Some(master),
            alarms: &[],
            outages: &[],
            moves: 0,
            lost: 0,
        }
    }

    #[test]
    fn a_device_in_step_passes() {
        let (master, sub) = (stamps(0.0, 0.0), stamps(300.0, 170.0));
        let standing = judge(&series(&sub, &master));
        assert_eq!((standing.verdict, standing.reasons.len()), (Verdict::Pass, 0));
        let phase = standing.phase.expect("a phase");
        assert!((phase.p50_us - 10.0).abs() < 1.0 && (phase.drift_ppm - 300.0).abs() < 0.2);
    }

    #[test]
    fn who_runs_free_from_the_start_is_seen_by_its_arrivals() {
        // Both cameras go by their own crystals, 50 ppm apart; their stamps cannot tell.
        let (master, sub) = (stamps(0.0, 0.0), stamps(0.0, 160.0));
        let arrived = |ppm: f64| -> Vec<u64> {
            let at = |k: u64| 1 + (k as f64 * 1e6 / 30.0 * (1.0 - ppm / 1e6)) as u64;
            (0..900).map(|k| at(k) + k * 7919 % 97).collect()
        };
        let (theirs, ours) = (arrived(0.0), arrived(50.0));
        let sound = series(&sub, &master);
        let with = sound.master.map(|master| Master { arrived_us: &theirs, ..master });
        let free = judge(&Series { arrived_us: &ours, master: with, ..sound });
        assert_eq!(free.verdict, Verdict::Fail, "{:?}", free.reasons);
        assert!(free.reasons[0].contains("does not follow"), "{:?}", free.reasons);
        let in_step = judge(&Series { arrived_us: &theirs, master: with, ..sound });
        assert_eq!(in_step.verdict, Verdict::Pass, "{:?}", in_step.reasons);
    }

    #[test]
    fn a_device_that_was_away_is_judged_by_what_came_before() {
        let (master, mut sub) = (stamps(0.0, 0.0), stamps(300.0, 170.0));
        let whole = judge(&series(&sub[..300], &master[..300]));
        sub[300..400].fill(0);
        // Its clock is another: by its stamps it would be far out of phase.
        sub[400..].iter_mut().for_each(|stamp| *stamp += 20_000);
        let why = || "left the bus".to_owned();
        let outage =
            Outage { first_trigger: 330, last_trigger: 429, why: why(), clock_moved_us: Some(1) };
        let outages = [outage];
        let standing = judge(&Series { outages: &outages, ..series(&sub, &master) });
        assert_eq!(standing.verdict, Verdict::Warn);
        assert_eq!(standing.reasons, ["triggers 330 to 429: out of the take: left the bus"]);
        assert_eq!(standing.phase, whole.phase);
        assert_eq!(judge(&series(&sub, &master)).verdict, Verdict::Fail);
    }

    #[test]
    fn each_fault_has_its_verdict_and_its_reason() {
        let (master, sub) = (stamps(0.0, 0.0), stamps(0.0, 160.0));
        let sound = series(&sub, &master);
        let said = |standing: Standing, verdict: Verdict, word: &str| {
            assert_eq!(standing.verdict, verdict, "{:?}", standing.reasons);
            assert!(standing.reasons[0].contains(word), "{:?}", standing.reasons);
        };
        said(judge(&Series { lost: 3, ..sound }), Verdict::Warn, "3 frames");
        said(judge(&Series { moves: 2, ..sound }), Verdict::Warn, "lock_exposure");
        let alarms =
            [Alarm { first_trigger: 40, last_trigger: 50, what: "out of step".to_owned() }];
        said(judge(&Series { alarms: &alarms, ..sound }), Verdict::Fail, "40 to 50");
        said(judge(&series(&stamps(0.0, 400.0), &master)), Verdict::Warn, "240 us");
        said(judge(&series(&stamps(0.0, 9000.0), &master)), Verdict::Fail, "8840 us");
        said(judge(&series(&[0; 900], &master)), Verdict::Fail, "too few");
        let other = sound.master.map(|master| Master { other_firmware: true, ..master });
        said(judge(&Series { master: other, ..sound }), Verdict::Warn, "firmware");
        // 30.1 frames a second by the host's clock.
        let arrived: Vec<_> = (0..900).map(|k| 1 + k * 10_000_000 / 301).collect();
        said(judge(&Series { arrived_us: &arrived, ..sound }), Verdict::Warn, "30.1");
    }
}
