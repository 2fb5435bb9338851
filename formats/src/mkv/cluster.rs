//! Clusters as they are read, also from files that were never finished or are damaged.

use super::block::{ClusterTime, ReadBlock};
use crate::ebml::{Children, Element, id, is_top_level};
use crate::{Error, ErrorKind, Result};

/// One cluster.
#[derive(Debug, Clone)]
pub struct Cluster<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) element: Element,
    pub(super) time: ClusterTime,
}

/// What a cluster's checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// There is none.
    Absent,
    /// The bytes are those that were written.
    Good,
    /// The bytes have changed.
    Bad,
}

impl<'a> Cluster<'a> {
    fn read(bytes: &'a [u8], element: Element, scale_ns: u64) -> Result<Self> {
        // The time may stand behind the blocks; heads alone are touched on the way to it.
        for child in element.children(bytes) {
            let Ok(child) = child else { break };
            if child.id == id::TIMESTAMP {
                let time = ClusterTime { scale_ns, ticks: child.uint(bytes)? };
                return Ok(Self { bytes, element, time });
            }
        }
        Err(element.error("a cluster without a time"))
    }

    /// Byte offset of the cluster.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.element.at as u64
    }

    /// Byte offset behind the cluster.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.element.content.end as u64
    }

    /// Time of the cluster in nanoseconds of the file.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time.ticks.saturating_mul(self.time.scale_ns)
    }

    /// Whether all its bytes are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.element.cut
    }

    /// Checks the cluster against its checksum; reads every byte of it.
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        match self.element.checksum(self.bytes) {
            None => Checksum::Absent,
            Some(true) => Checksum::Good,
            Some(false) => Checksum::Bad,
        }
    }

    /// The blocks, in file order. A block that breaks the rules is an error, and the walk goes on
    /// behind it; where the file is cut, the walk ends.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'a> {
        let children = self.element.children(self.bytes);
        Blocks { bytes: self.bytes, children, time: self.time }
    }
}

/// The blocks of a cluster.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    children: Children<'a>,
    time: ClusterTime,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<ReadBlock<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let element = match self.children.next()? {
                Ok(element) if element.cut => return None,
                Err(error) if matches!(error.kind, ErrorKind::Truncated(_)) => return None,
                Err(error) => return Some(Err(error)),
                Ok(element) => element,
            };
            if matches!(element.id, id::SIMPLE_BLOCK | id::BLOCK_GROUP) {
                return Some(ReadBlock::read(self.bytes, &element, self.time));
            }
        }
    }
}

/// The clusters of a file. What lies between them and is no element is an error that names where it
/// begins; the walk goes on with the next cluster.
#[derive(Debug, Clone)]
pub struct Clusters<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the Segment ends, if it says so truly; else where the file ends.
    end: usize,
    scale_ns: u64,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, end: usize, scale_ns: u64) -> Self {
        Self { bytes, at, end, scale_ns }
    }

    /// Where the walk stands.
    pub(super) fn at(&self) -> u64 {
        self.at as u64
    }

    fn damaged(&mut self, from: usize) -> Error {
        self.at = next_cluster(self.bytes, from + 1, self.end);
        let what = if self.at < self.end {
            "bytes that are no element where a cluster should be"
        } else if self.end - from > SEARCH_MAX {
            "no cluster in the 256 MiB from here on: reading ended"
        } else if self.bytes[from..self.end].iter().all(|byte| *byte == 0) {
            "zeros behind the last cluster"
        } else {
            "bytes that are no element behind the last cluster"
        };
        Error::new(ErrorKind::Malformed(what), from as u64)
    }
}

impl<'a> Iterator for Clusters<'a> {
    type Item = Result<Cluster<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.end {
            let from = self.at;
            let Ok(element) = Element::read(self.bytes, from, self.end) else {
                return Some(Err(self.damaged(from)));
            };
            let known = is_top_level(element.id) || matches!(element.id, id::VOID | id::CRC_32);
            if element.id == id::CLUSTER {
                let mut element = sized(self.bytes, element);
                if element.cut {
                    // A damaged size may reach over whole clusters: they are looked for, and each
                    // byte belongs to one of them.
                    let start = element.content.start;
                    element.content = start..next_cluster(self.bytes, start, self.end);
                }
                self.at = element.content.end.max(from + 1);
                return Some(Cluster::read(self.bytes, element, self.scale_ns));
            }
            if !known || element.cut || !element.sized {
                return Some(Err(self.damaged(from)));
            }
            self.at = element.content.end;
        }
        None
    }
}

/// Gives a cluster of unknown size its size: up to the first element that stands directly in a
/// Segment.
fn sized(bytes: &[u8], element: Element) -> Element {
    if element.sized {
        return element;
    }
    let outside = element.children(bytes).find(|child| match child {
        Ok(child) => is_top_level(child.id),
        Err(_) => true,
    });
    let end = match outside {
        Some(Ok(child)) => child.at,
        Some(Err(error)) => error.at as usize,
        None => element.content.end,
    };
    Element { content: element.content.start..end.max(element.content.start), ..element }
}

/// Bytes that are looked through for the next cluster: several seconds of a camera. Without a bound
/// a file that somebody grew to terabytes would be read for hours.
const SEARCH_MAX: usize = 256 << 20;

/// Where the next cluster begins, from `from` on; `end` where there is none, or none near. A
/// cluster is believed when its first child is one that clusters have.
pub(super) fn next_cluster(bytes: &[u8], from: usize, end: usize) -> usize {
    let needle = id::CLUSTER.to_be_bytes();
    let near = end.min(from.saturating_add(SEARCH_MAX));
    let mut from = from;
    while let Some(room) = bytes.get(from..near) {
        let Some(found) = room.windows(4).position(|window| window == needle) else {
            break;
        };
        let at = from + found;
        let first = Element::read(bytes, at, end).ok().and_then(|c| c.children(bytes).next());
        let believed = matches!(first, Some(Ok(child)) if matches!(
            child.id,
            id::CRC_32 | id::TIMESTAMP | id::SIMPLE_BLOCK | id::BLOCK_GROUP | id::VOID
        ));
        if believed {
            return at;
        }
        from = at + 1;
    }
    end
}
