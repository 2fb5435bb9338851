//! A cluster as a repair can keep it: its whole blocks, under a head of its own or a new one.

use super::block::{ClusterTime, ReadBlock};
use super::cluster::{Checksum, Cluster};
use crate::ebml::{Element, id, put_id, size_width};
use crate::{Error, ErrorKind};
use std::ops::Range;

/// Bytes that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where they are.
    pub bytes: Range<u64>,
    /// What they are.
    pub what: &'static str,
}

/// When the blocks of a cluster are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times {
    /// First block of each track: its number, and nanoseconds of the file.
    firsts: Vec<(u64, i64)>,
    /// Time of the last frame, in nanoseconds of the file.
    pub last_ns: i64,
}

impl Default for Times {
    fn default() -> Self {
        Self { firsts: Vec::new(), last_ns: i64::MIN }
    }
}

impl Times {
    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// Time of the first block of a track, in nanoseconds of the file.
    pub fn first_of(&self, track: Option<u64>) -> Option<i64> {
        let (_, ns) = self.firsts.iter().find(|(number, _)| Some(*number) == track)?;
        Some(*ns)
    }

    /// Takes the next block.
    pub fn meet(&mut self, block: &ReadBlock<'_>, scale_ns: u64) {
        let ahead_ns = block.duration_ns.map_or(0, |ns| ns.saturating_sub(scale_ns));
        self.last_ns = self.last_ns.max(block.time_ns.saturating_add_unsigned(ahead_ns));
        if self.first_of(Some(block.track)).is_none() {
            self.firsts.push((block.track, block.time_ns));
        }
    }
}

/// A cluster, as it can be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<'a> {
    pub(super) bytes: &'a [u8],
    /// Byte offset of the cluster.
    pub at: u64,
    /// What it begins with in place of its own head; empty where all of it is kept as it is.
    pub head: Vec<u8>,
    /// What is kept behind the head.
    pub(super) body: Vec<Range<usize>>,
    /// The element with its time.
    pub(super) timestamp: Range<usize>,
    pub(super) time: ClusterTime,
    pub(super) times: Times,
    /// What of it cannot be kept.
    pub lost: Vec<Lost>,
    /// Whether its checksum says that its bytes are not those that were written.
    pub changed: bool,
}

impl<'a> Kept<'a> {
    /// Its bytes, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let body = self.body.iter().map(|range| &self.bytes[range.clone()]);
        std::iter::once(self.head.as_slice()).chain(body)
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces().map(|piece| piece.len() as u64).sum()
    }

    /// Whether it has no bytes; none of those that are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of its earliest block, in nanoseconds of the file.
    #[must_use]
    pub fn first_ns(&self) -> i64 {
        self.times.firsts.iter().map(|(_, ns)| *ns).min().unwrap_or(0)
    }

    /// Time of its last frame, in nanoseconds of the file.
    #[must_use]
    pub fn last_ns(&self) -> i64 {
        self.times.last_ns
    }

    /// Where it ends, if its new head can be put over its own and the file cut behind it.
    pub(super) fn end_in_place(&self) -> Option<u64> {
        let begins = usize::try_from(self.at).ok()? + self.head.len();
        match &self.body[..] {
            [body] if body.start == begins => Some(body.end as u64),
            _ => None,
        }
    }

    /// What can be kept of a cluster; where it has no whole block, what that leaves.
    pub(super) fn of(cluster: &Cluster<'a>) -> Result<Self, Vec<Lost>> {
        let (bytes, element) = (cluster.bytes, &cluster.element);
        let mut kept = Self {
            bytes,
            at: element.at as u64,
            head: Vec::new(),
            body: Vec::new(),
            timestamp: 0..0,
            time: cluster.time,
            times: Times::default(),
            lost: Vec::new(),
            changed: false,
        };
        let mut time = None;
        let mut at = element.content.start;
        while at < element.content.end {
            let child = match Element::read(bytes, at, element.content.end) {
                Ok(child) if !child.cut && child.sized => child,
                _ => break,
            };
            let whole = at..child.content.end;
            at = whole.end;
            match child.id {
                id::SIMPLE_BLOCK | id::BLOCK_GROUP => {
                    match ReadBlock::read(bytes, &child, cluster.time) {
                        Ok(block) => kept.keep(whole, &block, cluster.time.scale_ns),
                        Err(error) => kept.lost.push(Lost::of(whole, &error)),
                    }
                }
                // As it is read: the first counts.
                id::TIMESTAMP => time = time.or(Some(whole)),
                _ => {}
            }
        }
        if at < element.content.end || element.cut {
            // No bytes where the cut lies between two blocks: what was to follow is lost.
            let what = match element.cut {
                true => "the rest of a cluster that was cut off",
                false => "bytes that are no block, in a cluster",
            };
            kept.lost.push(Lost { bytes: at as u64..element.content.end as u64, what });
        }
        if kept.times.is_empty() {
            return Err(kept.lost);
        }
        kept.timestamp = time.clone().unwrap_or_default();
        match time {
            Some(time) if !kept.lost.is_empty() || !element.sized || element.cut => {
                kept.lay_out_head(element, &bytes[time]);
            }
            _ => {
                kept.body.clear();
                kept.body.push(element.at..element.content.end);
                kept.changed = cluster.checksum() == Checksum::Bad;
            }
        }
        Ok(kept)
    }

    fn keep(&mut self, whole: Range<usize>, block: &ReadBlock<'_>, scale_ns: u64) {
        self.times.meet(block, scale_ns);
        match self.body.last_mut() {
            Some(last) if last.end == whole.start => last.end = whole.end,
            _ => self.body.push(whole),
        }
    }

    /// A head for what is kept: as wide as its own, so that it can take its place.
    fn lay_out_head(&mut self, element: &Element, time: &[u8]) {
        const CRC_BYTES: usize = 6;
        let blocks: usize = self.body.iter().map(ExactSizeIterator::len).sum();
        let size = (CRC_BYTES + time.len() + blocks) as u64;
        let width = match element.sized {
            true => (element.content.start - element.at - 4).max(size_width(size)),
            false => 8,
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(time);
        self.body.iter().for_each(|range| hasher.update(&self.bytes[range.clone()]));
        put_id(&mut self.head, id::CLUSTER);
        let marked = size | 1 << (7 * width);
        self.head.extend_from_slice(&marked.to_be_bytes()[8 - width..]);
        self.head.extend_from_slice(&[0xBF, 0x84]);
        self.head.extend_from_slice(&hasher.finalize().to_le_bytes());
        self.head.extend_from_slice(time);
    }
}

impl Lost {
    pub(super) fn of(bytes: Range<usize>, error: &Error) -> Self {
        let what = match error.kind {
            ErrorKind::Malformed(what) => what,
            _ => "a block that cannot be read",
        };
        Self { bytes: bytes.start as u64..bytes.end as u64, what }
    }
}
