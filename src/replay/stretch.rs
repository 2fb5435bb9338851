//! Blocks found by their time: a file in stretches of about a second, each read when it is needed.

use genlock_formats::k4a::Recording;
use genlock_formats::mkv::{Demuxer, ReadBlock};
use std::collections::VecDeque;

/// Where a file has an index, its entries are about so far apart.
const STRETCH_NS: u64 = 1_000_000_000;

/// Stretches that are kept once they were read: what plays forwards or backwards needs the one that
/// it is in and the one beside it, for tracks that are not in step.
const KEPT: usize = 3;

/// Where the stretches of a file begin.
#[derive(Debug, Clone)]
pub(super) struct Stretches(Vec<Start>);

#[derive(Debug, Clone, Copy)]
struct Start {
    time_ns: i64,
    at: u64,
}

impl Stretches {
    /// Those of a file: as its index says, where it was finished; else the clusters are walked.
    pub fn of(demuxer: &Demuxer<'_>) -> Self {
        let cues = demuxer.cues();
        let mut starts: Vec<_> = match demuxer.is_finished() && !cues.is_empty() {
            true => cues.iter().map(|cue| Start::new(cue.time_ns, cue.cluster_at)).collect(),
            false => Self::walk(demuxer),
        };
        starts.sort_by_key(|start| start.at);
        starts.dedup_by_key(|start| start.at);
        // What is before the first entry of the index belongs to its stretch.
        if let (Some(start), Some(Ok(first))) = (starts.first_mut(), demuxer.clusters().next()) {
            start.at = start.at.min(first.at());
        }
        Self(starts)
    }

    fn walk(demuxer: &Demuxer<'_>) -> Vec<Start> {
        let (mut starts, mut next_ns) = (Vec::new(), 0);
        for cluster in demuxer.clusters().flatten() {
            if starts.is_empty() || cluster.time_ns() >= next_ns {
                starts.push(Start::new(cluster.time_ns(), cluster.at()));
                next_ns = cluster.time_ns().saturating_add(STRETCH_NS);
            }
        }
        starts
    }

    /// The place of the stretch that a device time falls into.
    fn place(&self, recording: &Recording<'_>, time_us: u64) -> usize {
        let begins_us = |start: &Start| recording.time_us(start.time_ns);
        self.0.partition_point(|start| begins_us(start) <= time_us).saturating_sub(1)
    }

    /// Byte offset of a cluster that no block of this device time, or later, is before.
    pub fn before(&self, recording: &Recording<'_>, time_us: u64) -> u64 {
        let place = self.place(recording, time_us).saturating_sub(1);
        self.0.get(place).map_or(u64::MAX, |start| start.at)
    }
}

impl Start {
    fn new(time_ns: u64, at: u64) -> Self {
        Self { time_ns: i64::try_from(time_ns).unwrap_or(i64::MAX), at }
    }
}

/// The blocks of one file, with those stretches that were read last.
pub(super) struct Blocks<'r, 'f> {
    recording: &'r Recording<'f>,
    stretches: &'r Stretches,
    read: VecDeque<(usize, Vec<Timed<'f>>)>,
}

/// A block with the number of its track and its device time: what stretches are ordered by.
struct Timed<'f> {
    key: (u64, u64),
    block: ReadBlock<'f>,
}

impl<'r, 'f> Blocks<'r, 'f> {
    pub fn new(recording: &'r Recording<'f>, stretches: &'r Stretches) -> Self {
        Self { recording, stretches, read: VecDeque::new() }
    }

    /// The block of track number `track` whose device time is nearest to `time_us`, and no further
    /// from it than `within_us`.
    pub fn find(&mut self, track: u64, time_us: u64, within_us: u64) -> Option<ReadBlock<'f>> {
        let place = self.stretches.place(self.recording, time_us);
        // An index counts by one track; the others may be a few clusters off.
        [Some(place), place.checked_sub(1), place.checked_add(1)]
            .into_iter()
            .flatten()
            .find_map(|place| nearest(self.stretch(place)?, (track, time_us), within_us))
    }

    fn stretch(&mut self, place: usize) -> Option<&[Timed<'f>]> {
        if let Some(at) = self.read.iter().position(|(read, _)| *read == place) {
            return self.read.get(at).map(|(_, blocks)| &blocks[..]);
        }
        let from = self.stretches.0.get(place)?.at;
        let to = self.stretches.0.get(place + 1).map_or(u64::MAX, |next| next.at);
        let mut blocks = match self.read.len() < KEPT {
            true => Vec::new(),
            false => self.read.pop_front().map(|(_, blocks)| blocks).unwrap_or_default(),
        };
        blocks.clear();
        let clusters = self.recording.demuxer().clusters_from(from).flatten();
        for cluster in clusters.take_while(|cluster| cluster.at() < to) {
            blocks.extend(cluster.blocks().flatten().map(|block| Timed {
                key: (block.track, self.recording.time_us(block.time_ns)),
                block,
            }));
        }
        blocks.sort_by_key(|timed| timed.key);
        self.read.push_back((place, blocks));
        self.read.back().map(|(_, blocks)| &blocks[..])
    }
}

fn nearest<'f>(blocks: &[Timed<'f>], key: (u64, u64), within_us: u64) -> Option<ReadBlock<'f>> {
    let behind = blocks.partition_point(|timed| timed.key < key);
    let both = [behind.checked_sub(1), Some(behind)].into_iter().flatten();
    let of_track = both.filter_map(|at| blocks.get(at)).filter(|timed| timed.key.0 == key.0);
    let apart_us = |timed: &&Timed<'f>| timed.key.1.abs_diff(key.1);
    let nearest = of_track.min_by_key(apart_us)?;
    (apart_us(&nearest) <= within_us).then(|| nearest.block.clone())
}
