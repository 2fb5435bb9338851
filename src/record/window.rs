//! Puts the tracks of one device in time order.

use crate::frame::{Frame, TrackName};
use std::collections::VecDeque;

/// Device time that one cluster spans at most, in microseconds: the official writer's own
/// (recording-format.md 5.1), and under the 32767 that a block's time can count.
const CLUSTER_US: u64 = 32_000;

/// How long a silent track holds the others back, in microseconds of device time. What it delivers
/// later than that is a loss.
const LATENESS_US: u64 = 1_000_000;

/// Frames of one device on their way to the file, sorted by device time.
#[derive(Debug)]
pub struct Window {
    waiting: VecDeque<Frame>,
    tracks: Vec<Progress>,
    written_us: u64,
    newest_us: u64,
}

#[derive(Debug)]
struct Progress {
    track: TrackName,
    /// Frames up to here have been seen; `u64::MAX` once the track has ended.
    seen_us: u64,
}

/// Frames that fit without growing: a second of every track at 30 fps, IMU packets (208 a second)
/// included.
const CAPACITY: usize = 512;

impl Window {
    /// For these tracks, from device time `start_us` on.
    #[must_use]
    pub fn new(tracks: impl Iterator<Item = TrackName>, start_us: u64) -> Self {
        Self {
            waiting: VecDeque::with_capacity(CAPACITY),
            tracks: tracks.map(|track| Progress { track, seen_us: start_us }).collect(),
            written_us: start_us,
            newest_us: start_us,
        }
    }

    /// Whether a frame's time has been written already: it is too late.
    #[must_use]
    pub fn is_late(&self, frame: &Frame) -> bool {
        frame.stamp_us < self.written_us
    }

    /// Takes in a frame that is not late.
    pub fn push(&mut self, frame: Frame) {
        self.seen(frame.track, frame.stamp_us);
        self.newest_us = self.newest_us.max(frame.stamp_us);
        let place = self.waiting.partition_point(|other| other.stamp_us <= frame.stamp_us);
        self.waiting.insert(place, frame);
    }

    /// Nothing of `track` before `until_us` will come any more.
    pub fn seen(&mut self, track: TrackName, until_us: u64) {
        if let Some(progress) = self.tracks.iter_mut().find(|progress| progress.track == track) {
            progress.seen_us = progress.seen_us.max(until_us);
        }
    }

    /// Nothing of `track` will come any more.
    pub fn ended(&mut self, track: TrackName) {
        self.seen(track, u64::MAX);
    }

    /// The frames of the next cluster, oldest first, once nothing can come between them; fewer than
    /// `count_max`. They leave the window with [`Window::take`].
    #[must_use]
    pub fn next_cluster(&self, count_max: usize) -> usize {
        let Some(oldest) = self.waiting.front() else {
            return 0;
        };
        let end_us = oldest.stamp_us.saturating_add(CLUSTER_US);
        let seen_us = self.tracks.iter().map(|track| track.seen_us).min().unwrap_or(u64::MAX);
        let safe_us = seen_us.max(self.newest_us.saturating_sub(LATENESS_US));
        if safe_us < end_us {
            return 0;
        }
        self.waiting.partition_point(|frame| frame.stamp_us < end_us).min(count_max)
    }

    /// The waiting frames, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.waiting.iter()
    }

    /// Sends all buffers home: their frames are lost.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Sends the `count` oldest frames' buffers home: they are written.
    pub fn take(&mut self, count: usize) {
        if let Some(last) = count.checked_sub(1).and_then(|last| self.waiting.get(last)) {
            self.written_us = last.stamp_us;
        }
        self.waiting.drain(..count.min(self.waiting.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    fn frame(track: TrackName, stamp_us: u64) -> Frame {
        let buf = Pool::new(1, 1).lend().expect("a buffer");
        Frame { track, stamp_us, last_us: stamp_us, arrived_ns: 0, buf }
    }

    fn window() -> Window {
        Window::new([TrackName::Color, TrackName::Depth].into_iter(), 0)
    }

    #[test]
    fn a_cluster_waits_until_every_track_has_passed_it() {
        let mut window = window();
        window.push(frame(TrackName::Color, 100));
        window.push(frame(TrackName::Color, 33_433));
        assert_eq!(window.next_cluster(64), 0);
        window.push(frame(TrackName::Depth, 90));
        assert_eq!(window.next_cluster(64), 0);
        window.push(frame(TrackName::Depth, 33_423));
        assert_eq!(window.next_cluster(64), 2);
        let order: Vec<_> = window.frames().map(|frame| frame.stamp_us).collect();
        assert_eq!(order, [90, 100, 33_423, 33_433]);
        window.take(2);
        assert_eq!(window.next_cluster(64), 0);
        window.ended(TrackName::Color);
        window.ended(TrackName::Depth);
        assert_eq!(window.next_cluster(64), 2);
    }

    #[test]
    fn a_silent_track_holds_the_others_for_a_second_and_is_late_after_that() {
        let mut window = window();
        window.push(frame(TrackName::Color, 100));
        window.push(frame(TrackName::Color, 900_000));
        assert_eq!(window.next_cluster(64), 0);
        window.push(frame(TrackName::Color, 1_050_000));
        assert_eq!(window.next_cluster(64), 1);
        window.take(1);
        assert!(window.is_late(&frame(TrackName::Depth, 99)));
        assert!(!window.is_late(&frame(TrackName::Depth, 100)));
    }
}
