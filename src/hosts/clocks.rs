//! How the clock of a host stands to the coordinator's: measured as NTP does, by asking it for the
//! time and looking at the own clock before and after. What is known becomes a passport of the
//! clock in `take.toml`.

use crate::rig::discipline::Discipline;
use genlock_formats::take::HostClock;
use serde::{Deserialize, Serialize};

/// One question for the time. All times are UTC in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Our clock, just before the question was sent.
    pub before_ns: i64,
    /// The host's clock, as it answered.
    pub theirs_ns: i64,
    /// Our clock, just after the answer came.
    pub after_ns: i64,
}

/// How a host's clock stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Offset {
    /// Microseconds by which it is ahead.
    pub offset_us: f64,
    /// By how much that may be wrong either way: half of the way there and back.
    pub uncertainty_us: f64,
}

/// The newest samples are looked at, so many at most.
const SAMPLES_MAX: usize = 256;

impl Sample {
    /// The offsets that agree with it, in nanoseconds: the answer was given between question and
    /// arrival. None where our clock went back between the two.
    fn offsets(&self) -> Option<(i128, i128)> {
        let (theirs, before) = (i128::from(self.theirs_ns), i128::from(self.before_ns));
        let after = i128::from(self.after_ns);
        (after >= before).then_some((theirs - after, theirs - before))
    }
}

/// UTC in nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// What samples tell: of those that agree with most others, the one with the shortest way. A clock
/// that is set between question and answer, or by a step between two samples, makes samples that
/// agree with few. None where none is sound.
#[must_use]
pub fn offset(samples: &[Sample]) -> Option<Offset> {
    let newest = samples.get(samples.len().saturating_sub(SAMPLES_MAX)..).unwrap_or_default();
    let sound: Vec<_> = newest.iter().filter_map(Sample::offsets).collect();
    let holds = |offset: i128| move |&(low, high): &(i128, i128)| (low..=high).contains(&offset);
    // Where most of them overlap, one of them begins; of two such places the newest tells how it
    // stands now.
    let count = |offset: i128| sound.iter().copied().filter(holds(offset)).count();
    let best = sound.iter().map(|(low, _)| *low).max_by_key(|low| count(*low))?;
    let agreeing = sound.iter().copied().filter(holds(best));
    let (low, high) = agreeing.min_by_key(|(low, high)| high - low)?;
    let tenths = |twice_ns: i128| (twice_ns as f64 / 200.0).round() / 10.0;
    Some(Offset { offset_us: tenths(low + high), uncertainty_us: tenths(high - low) })
}

/// The passport of a host's clock; its name, and what its part says, come with the part.
#[must_use]
pub fn passport(offset: Option<Offset>, discipline: Option<&Discipline>) -> HostClock {
    let synchronized = discipline.filter(|discipline| discipline.synchronized);
    HostClock {
        offset_us: offset.map(|offset| offset.offset_us),
        uncertainty_us: offset.map(|offset| offset.uncertainty_us),
        discipline: discipline.map(Discipline::word),
        error_us_max: synchronized.map(|discipline| discipline.error_us_max),
        ..HostClock::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::discipline::Keeper;

    const NOW_NS: i64 = 1_795_694_400_000_000_000;

    /// A question whose ways there and back took so many microseconds, to a clock that is ahead.
    fn sample(ahead_us: i64, there_us: i64, back_us: i64) -> Sample {
        let theirs_ns = NOW_NS + (there_us + ahead_us) * 1000;
        Sample { before_ns: NOW_NS, theirs_ns, after_ns: NOW_NS + (there_us + back_us) * 1000 }
    }

    #[test]
    fn the_shortest_way_tells_best() {
        let samples = [sample(500, 900, 100), sample(500, 60, 40), sample(500, 100, 5000)];
        let found = offset(&samples).expect("an offset");
        assert_eq!(found, Offset { offset_us: 510.0, uncertainty_us: 50.0 });
        let behind = offset(&[sample(-2_000_000, 10, 10)]).map(|found| found.offset_us);
        assert_eq!(behind, Some(-2_000_000.0));
    }

    #[test]
    fn whatever_the_ways_are_the_truth_is_within_the_uncertainty() {
        for ahead in [-7_000, 0, 3, 81_000] {
            let ways = [(5, 900), (900, 5), (300, 300), (40, 2_000_000)];
            let samples = ways.map(|(there, back)| sample(ahead, there, back));
            let found = offset(&samples).expect("an offset");
            assert!((found.offset_us - ahead as f64).abs() <= found.uncertainty_us, "{found:?}");
        }
    }

    #[test]
    fn clocks_that_are_set_and_nonsense_are_not_believed() {
        assert_eq!(offset(&[]), None);
        let back = Sample { after_ns: NOW_NS - 1, ..sample(0, 10, 10) };
        assert_eq!(offset(&[back]), None);
        // Our clock was set back while the answer was under way: the way seems short.
        let set = Sample { after_ns: NOW_NS + 1000, ..sample(0, 900, 900) };
        let good = [sample(0, 150, 50), sample(0, 50, 150), set];
        let found = offset(&good).expect("an offset");
        assert!(found.offset_us.abs() <= 50.0 && found.uncertainty_us == 100.0, "{found:?}");
        // Theirs was set by a step: what is so now is told.
        let stepped = [sample(0, 50, 50), sample(9000, 60, 60)];
        assert_eq!(offset(&stepped).map(|found| found.offset_us), Some(9000.0));
        let wild = Sample { before_ns: i64::MIN, theirs_ns: i64::MAX, after_ns: i64::MAX };
        assert!(offset(&[wild]).is_some_and(|found| found.uncertainty_us > 1e15));
        assert!(offset(&vec![wild; 10_000]).is_some());
    }

    #[test]
    fn a_passport_has_what_is_known() {
        assert_eq!(passport(None, None), HostClock::default());
        let kept = Discipline { synchronized: true, error_us_max: 800, keeper: Keeper::Chrony };
        let passport_of = |kept: &Discipline| {
            let passport = passport(offset(&[sample(1, 1, 1)]), Some(kept));
            (passport.discipline.unwrap_or_default(), passport.error_us_max)
        };
        assert_eq!(passport_of(&kept), ("chrony".to_owned(), Some(800)));
        let lost = Discipline { synchronized: false, ..kept };
        assert_eq!(passport_of(&lost), ("chrony, not synchronized".to_owned(), None));
    }
}
