//! What is left out of a take while the disk is too slow.
//!
//! Recorders that fall behind would lose whatever comes while their buffers are full: this frame of
//! one device, that of another. Instead they agree, without a lock, to leave out the same of all
//! devices, and early enough.

use crate::config::Shed;
use crate::frame::TrackName;
use std::sync::atomic::{AtomicU64, Ordering};

/// A frame that has waited so long says that its recorder is behind; buffers are for three times as
/// long.
const BEHIND_NS: u64 = 400_000_000;

/// One that has waited so long allows no more trying: half of what the buffers hold is full.
const TOO_FAR_NS: u64 = 750_000_000;

/// Who is behind for longer than this falls behind. One write that took its time, as every disk has
/// some, is made up for sooner, and costs nothing.
const LASTING_NS: u64 = 250_000_000;

/// No frame has waited longer than this when a recorder keeps up.
const KEEPS_UP_NS: u64 = 150_000_000;

/// From being told to the first trigger that is left out: nobody has written of it by then.
const AHEAD: u64 = 4;

/// Steps of [`Shed::Trigger`]: one of two, of four, of eight is kept.
const TRIGGER_STEPS: u64 = 3;

/// What is left out, agreed upon by all recorders of a take.
#[derive(Debug)]
pub struct Shedder {
    tracks: Vec<TrackName>,
    steps_max: u64,
    /// Triggers of a second.
    second: u64,
    /// How many steps are taken, how many were before, and from which trigger on: one word.
    word: AtomicU64,
    /// The latest trigger when a recorder was last seen not to keep up.
    pressed: AtomicU64,
}

/// The steps that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    before: u64,
    now: u64,
    from: u64,
}

const STEP_BITS: u32 = 8;
const STEP: u64 = (1 << STEP_BITS) - 1;

impl Steps {
    fn of(word: u64) -> Self {
        Self { before: word >> STEP_BITS & STEP, now: word & STEP, from: word >> (2 * STEP_BITS) }
    }

    fn word(self) -> u64 {
        self.from << (2 * STEP_BITS) | self.before << STEP_BITS | self.now
    }
}

impl Shedder {
    /// Leaves out `order`, one after the other, at `fps` triggers a second.
    #[must_use]
    pub fn new(order: &[Shed], fps: u32) -> Self {
        let track = |shed: &Shed| match shed {
            Shed::Track(track) => Some(*track),
            Shed::Trigger => None,
        };
        let tracks: Vec<_> = order.iter().filter_map(track).collect();
        let of_triggers = if order.contains(&Shed::Trigger) { TRIGGER_STEPS } else { 0 };
        Self {
            steps_max: tracks.len() as u64 + of_triggers,
            tracks,
            second: u64::from(fps),
            word: AtomicU64::new(0),
            pressed: AtomicU64::new(0),
        }
    }

    /// Whether the frame of `track` for `trigger` is left out.
    #[must_use]
    pub fn leaves_out(&self, track: TrackName, trigger: u64) -> bool {
        let steps = Steps::of(self.word.load(Ordering::Acquire));
        let taken = if trigger >= steps.from { steps.now } else { steps.before };
        let tracks = self.tracks.len() as u64;
        let of_tracks = usize::try_from(taken.min(tracks)).unwrap_or(0);
        // The IMU answers no trigger.
        let whole =
            track != TrackName::Imu && !trigger.is_multiple_of(1 << taken.saturating_sub(tracks));
        whole || self.tracks[..of_tracks].contains(&track)
    }

    /// A frame had waited for `waited_ns` when its recorder took it in, at `now_ns`, with `latest`
    /// being the latest trigger of all; `behind_since_ns` is the recorder's own memory.
    pub fn feel(
        &self,
        waited_ns: u64,
        behind_since_ns: &mut Option<u64>,
        now_ns: u64,
        latest: u64,
    ) {
        let since_ns = match waited_ns > BEHIND_NS {
            true => *behind_since_ns.get_or_insert(now_ns),
            false => {
                *behind_since_ns = None;
                now_ns
            }
        };
        let lasts = now_ns.saturating_sub(since_ns) >= LASTING_NS;
        if waited_ns > KEEPS_UP_NS {
            self.pressed.fetch_max(latest, Ordering::AcqRel);
        }
        let pressed = self.pressed.load(Ordering::Acquire);
        let change = |word: u64| {
            let steps = Steps::of(word);
            let since = |triggers: u64| {
                steps == Steps::of(0) || latest >= steps.from.saturating_add(triggers)
            };
            let kept_up = latest > pressed.saturating_add(2 * self.second);
            let now = match waited_ns {
                TOO_FAR_NS.. if lasts && since(0) => self.steps_max,
                BEHIND_NS.. if lasts && since(self.second / 2) => {
                    (steps.now + 1).min(self.steps_max)
                }
                ..BEHIND_NS if kept_up && since(2 * self.second) => steps.now.saturating_sub(1),
                _ => steps.now,
            };
            let from = latest.saturating_add(AHEAD);
            (now != steps.now).then(|| Steps { before: steps.now, now, from }.word())
        };
        // Nothing to change is the usual case.
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }

    /// What is left out now, in words; nothing when that is nothing.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let taken = Steps::of(self.word.load(Ordering::Acquire)).now;
        let tracks = self.tracks.len() as u64;
        let of_tracks = usize::try_from(taken.min(tracks)).unwrap_or(0);
        let mut words: Vec<_> =
            self.tracks[..of_tracks].iter().map(|track| track.to_string().to_lowercase()).collect();
        if taken > tracks {
            let one_of = 1_u64 << (taken - tracks);
            words.push(format!("{} of {one_of} triggers", one_of - 1));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: u64 = 500_000_000;

    /// A recorder whose frames wait for `waited_ns` while the trigger is `latest`, and have for a
    /// while.
    fn feel(shedder: &Shedder, waited_ns: u64, latest: u64) {
        let mut since_ns = Some(0);
        shedder.feel(waited_ns, &mut since_ns, LASTING_NS, latest);
    }

    #[test]
    fn tracks_go_first_then_whole_triggers_and_all_come_back() {
        let shedder = Shedder::new(&[Shed::Track(TrackName::Ir), Shed::Trigger], 30);
        let out = |track, triggers: std::ops::Range<u64>| {
            triggers.filter(|trigger| shedder.leaves_out(track, *trigger)).count()
        };
        feel(&shedder, 0, 100);
        assert_eq!((out(TrackName::Ir, 0..200), shedder.words()), (0, None));
        feel(&shedder, SLOW, 100);
        assert_eq!((out(TrackName::Ir, 100..104), out(TrackName::Ir, 104..110)), (0, 6));
        feel(&shedder, SLOW, 116);
        assert_eq!(out(TrackName::Color, 100..400), 0, "the first step has its time to help");
        feel(&shedder, SLOW, 140);
        assert_eq!(shedder.words().as_deref(), Some("ir, 1 of 2 triggers"));
        assert_eq!(out(TrackName::Color, 144..164), 10);
        assert_eq!(out(TrackName::Imu, 144..164), 0);
        for latest in [180, 220, 260, 300] {
            feel(&shedder, SLOW, latest);
        }
        assert_eq!(out(TrackName::Color, 304..320), 14, "one of eight is kept, and no fewer");
        feel(&shedder, 0, 360);
        assert_eq!(out(TrackName::Color, 364..380), 14, "two seconds of keeping up come first");
        for latest in [368, 432, 496, 560] {
            feel(&shedder, 0, latest);
        }
        assert_eq!((out(TrackName::Ir, 564..580), shedder.words()), (0, None));
    }

    #[test]
    fn one_slow_write_costs_nothing() {
        let shedder = Shedder::new(&[Shed::Trigger], 30);
        let mut since_ns = None;
        // The disk stood still for 1.2 s; what has waited is written within 0.2 s.
        for ms in 0..20 {
            let now_ns = 5_000_000_000 + ms * 10_000_000;
            shedder.feel(1_200_000_000 - ms * 60_000_000, &mut since_ns, now_ns, 100 + ms);
        }
        assert_eq!(shedder.words(), None);
    }

    #[test]
    fn who_is_far_behind_leaves_out_all_that_may_be() {
        let shedder = Shedder::new(&[Shed::Track(TrackName::Ir), Shed::Trigger], 30);
        feel(&shedder, 2 * SLOW, 100);
        assert_eq!(shedder.words().as_deref(), Some("ir, 7 of 8 triggers"));
    }

    #[test]
    fn nothing_is_left_out_where_nothing_may_be() {
        let shedder = Shedder::new(&[], 30);
        feel(&shedder, SLOW, 100);
        assert!(!shedder.leaves_out(TrackName::Ir, 200));
    }
}
