//! A subordinate's exposures against the master's, through the pulses that both answer.

use crate::sync::line::Line;
use std::ops::Range;

/// A trigger that master and subordinate both have a frame of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The trigger.
    pub trigger: u64,
    /// The master's device time in microseconds.
    pub master_us: u64,
    /// By how much the subordinate's stamp is later than the master's and the delays between them,
    /// in microseconds. It holds what their clocks have drifted apart.
    pub apart_us: f64,
}

/// The pairs of two tracks: their stamps from the same trigger on, 0 where there is no frame.
/// `delay_us` is how much later the subordinate's exposures are planned.
pub fn pairs(
    first: u64,
    master: &[u64],
    subordinate: &[u64],
    delay_us: f64,
) -> impl Iterator<Item = Pair> + Clone {
    let both = (first..).zip(master.iter().zip(subordinate));
    both.filter(|(_, (master, subordinate))| **master > 0 && **subordinate > 0).map(
        move |(trigger, (&master_us, &subordinate_us))| {
            let apart = i128::from(subordinate_us) - i128::from(master_us);
            Pair { trigger, master_us, apart_us: apart as f64 - delay_us }
        },
    )
}

/// How a subordinate's exposures lie against the master's, where the plan has them coincide.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The phase of each pair in microseconds, in order; positive is later than planned.
    pub of_pairs: Vec<f64>,
    /// Error of the subordinate's clock in parts per million of the master's.
    pub drift_ppm: f64,
}

/// Clocks are taken to run evenly over so many pairs; crystals drift with the temperature, by
/// about a part per million in a minute.
const SEGMENT: usize = 512;

/// What two segments are apart where they meet is a step of the phase from here on; less is what
/// the noise of stamps and the bend of a warming crystal make of two lines.
const STEP_US: f64 = 30.0;

impl Phase {
    /// The phase of `pairs`; those within `out_of_step` do not tell how the clocks run. Both clocks
    /// were set to the same time at once, so what lies between them at device time 0 is phase, and
    /// what grows from there is drift. None for fewer than three pairs in step.
    #[must_use]
    pub fn of(pairs: &[Pair], out_of_step: &[Range<u64>]) -> Option<Self> {
        let in_step = |pair: &&Pair| !out_of_step.iter().any(|out| out.contains(&pair.trigger));
        let point = |pair: &Pair| (pair.master_us as f64, pair.apart_us);
        let sound = || pairs.iter().filter(in_step).map(point);
        if sound().count() < 3 {
            return None;
        }
        let overall = Line::through(sound())?;
        let mut of_pairs = Vec::with_capacity(pairs.len());
        let (mut offset_us, mut line) = (None, overall);
        for segment in pairs.chunks(SEGMENT) {
            let points = segment.iter().filter(in_step).map(point);
            // Where few are in step, the clocks run on as they did.
            if points.clone().count() > SEGMENT / 4 {
                let next = Line::through(points).unwrap_or(line);
                if let (Some(offset_us), Some(first)) = (&mut offset_us, segment.first()) {
                    let step_us = next.at(first.master_us as f64) - line.at(first.master_us as f64);
                    *offset_us += if step_us.abs() > STEP_US { step_us } else { 0.0 };
                }
                line = next;
            }
            let offset_us = *offset_us.get_or_insert(line.at(0.0));
            let phase = |pair: &Pair| offset_us + pair.apart_us - line.at(pair.master_us as f64);
            of_pairs.extend(segment.iter().map(phase));
        }
        let drift_ppm = overall.slope * 1e6;
        Some(Self { of_pairs, drift_ppm })
    }

    /// The phase's median, the 99th percentile of its size, and its greatest size, in microseconds.
    #[must_use]
    pub fn summary(&self) -> [f64; 3] {
        let sizes: Vec<_> = self.of_pairs.iter().map(|phase| phase.abs()).collect();
        [quantile(&self.of_pairs, 0.5), quantile(&sizes, 0.99), quantile(&sizes, 1.0)]
    }
}

/// The value below which the part `q` of the values lies; 0 of no values.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_taken_out_and_a_constant_phase_stays() {
        // 300 ppm between the crystals, and 25 us of true phase; the take begins at 2 s.
        let stamps = |ppm: f64, phase: f64| -> Vec<u64> {
            let stamp = |k: u32| (f64::from(k) * 33_333.3 + phase) * (1.0 + ppm / 1e6);
            (60..3060).map(|k| stamp(k).round() as u64).collect()
        };
        let (master, mut sub) = (stamps(100.0, 0.0), stamps(400.0, 185.0));
        sub[7] = 0;
        let pairs: Vec<_> = pairs(60, &master, &sub, 160.0).collect();
        assert_eq!((pairs.len(), pairs[7].trigger), (2999, 68));
        let phase = Phase::of(&pairs, &[]).expect("enough pairs");
        assert!((phase.drift_ppm - 300.0).abs() < 0.1, "{}", phase.drift_ppm);
        let [median, p99, max] = phase.summary();
        assert!((median - 25.0).abs() < 2.0 && p99 < 27.0 && max < 27.0, "{median} {p99} {max}");
    }

    #[test]
    fn what_is_out_of_step_shows_and_does_not_bend_the_rest() {
        let pair = |trigger: u64| {
            let apart_us = if trigger >= 800 { (trigger - 800) as f64 * 3.0 } else { 0.0 };
            Pair { trigger, master_us: trigger * 33_333, apart_us }
        };
        let pairs: Vec<_> = (10..1000).map(pair).collect();
        let out = [800..900, 900..1000];
        let [median, _, max] = Phase::of(&pairs, &out).expect("enough pairs").summary();
        assert!(median.abs() < 1.0 && (max - 597.0).abs() < 5.0, "{median} {max}");
        assert_eq!(Phase::of(&pairs[..2], &[]), None);
    }

    #[test]
    fn a_phase_that_moves_for_good_stays_moved() {
        let pair = |trigger: u64| {
            let apart_us = if trigger >= 1034 { 400.0 } else { 0.0 };
            Pair { trigger, master_us: trigger * 33_333, apart_us }
        };
        let pairs: Vec<_> = (10..3000).map(pair).collect();
        let [median, p99, _] = Phase::of(&pairs, &[]).expect("enough pairs").summary();
        assert!((median - 400.0).abs() < 2.0 && (p99 - 400.0).abs() < 2.0, "{median} {p99}");
    }

    #[test]
    fn quantiles_of_little_are_no_panic() {
        assert_eq!((quantile(&[], 0.5), quantile(&[3.0], 0.99)), (0.0, 3.0));
    }
}
