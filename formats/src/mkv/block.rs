//! Blocks as they are read: whose, when, and the frames in them.

use crate::ebml::{Element, id, number};
use crate::{Error, ErrorKind, Result};

/// One block of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadBlock<'a> {
    /// Byte offset of its element.
    pub at: u64,
    /// Byte offset behind it.
    pub end: u64,
    /// Number of its track.
    pub track: u64,
    /// Time of its first frame in nanoseconds of the file.
    pub time_ns: i64,
    /// From its first frame on, in nanoseconds, where the file says it.
    pub duration_ns: Option<u64>,
    /// The frames in it.
    pub frames: Laces<'a>,
}

/// Scale and time of the cluster that a block stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClusterTime {
    pub scale_ns: u64,
    pub ticks: u64,
}

impl<'a> ReadBlock<'a> {
    /// Reads a SimpleBlock or BlockGroup.
    pub(super) fn read(bytes: &'a [u8], element: &Element, time: ClusterTime) -> Result<Self> {
        if element.id == id::SIMPLE_BLOCK {
            return Self::content(bytes, element, time, None);
        }
        if !element.sized {
            return Err(element.error("a block group without an end of its own"));
        }
        let (mut block, mut duration) = (None, None);
        for child in element.children(bytes) {
            let child = child?;
            match child.id {
                id::BLOCK => block = Some(child),
                id::BLOCK_DURATION => duration = Some(child.uint(bytes)?),
                _ => {}
            }
        }
        let block = block.ok_or_else(|| element.error("a block group without a block"))?;
        let duration_ns = duration.map(|ticks| ticks.saturating_mul(time.scale_ns));
        Self::content(bytes, &block, time, duration_ns)
    }

    fn content(
        bytes: &'a [u8],
        element: &Element,
        time: ClusterTime,
        duration_ns: Option<u64>,
    ) -> Result<Self> {
        if element.cut || !element.sized {
            return Err(element.error("a block without an end of its own"));
        }
        let short = || element.error("a block shorter than its head");
        let content = element.bytes(bytes);
        let (track, width) = number(content).ok_or_else(short)?;
        let (head, payload) = content[width..].split_first_chunk::<3>().ok_or_else(short)?;
        let relative = i64::from(i16::from_be_bytes([head[0], head[1]]));
        let ticks = i64::try_from(time.ticks).unwrap_or(i64::MAX).saturating_add(relative);
        let scale_ns = i64::try_from(time.scale_ns).unwrap_or(i64::MAX);
        Ok(Self {
            at: element.at as u64,
            end: element.content.end as u64,
            track,
            time_ns: ticks.saturating_mul(scale_ns),
            duration_ns,
            frames: Laces::read(payload, head[2]).map_err(|what| element.error(what))?,
        })
    }

    /// The time of frame `index` in nanoseconds of the file, as the official reader spreads the
    /// duration over a lace (recording-format.md 7.2).
    #[must_use]
    pub fn frame_time_ns(&self, index: usize) -> i64 {
        let gaps = self.frames.len().saturating_sub(1) as i128;
        let span_ns = i128::from(self.duration_ns.unwrap_or(0)) - 1;
        if gaps == 0 || span_ns <= 0 {
            return self.time_ns;
        }
        let ahead = index as i128 * span_ns / gaps;
        self.time_ns.saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX))
    }

    /// The only frame of an image block.
    ///
    /// # Errors
    /// `Malformed` when there are several, or it has no bytes.
    pub fn only_frame(&self) -> Result<&'a [u8]> {
        let malformed = |what| Error::new(ErrorKind::Malformed(what), self.at);
        if self.frames.len() != 1 {
            return Err(malformed("an image block that does not hold one frame"));
        }
        match self.frames.clone().next() {
            Some(frame) if !frame.is_empty() => Ok(frame),
            _ => Err(malformed("an image without bytes")),
        }
    }
}

/// The frames of a block, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Laces<'a> {
    rest: &'a [u8],
    sizes: Sizes,
    laced: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Sizes {
    /// This many frames of this size.
    Equal { count: usize, bytes: usize },
    /// Sizes, last frame first.
    Listed(Vec<usize>),
}

impl<'a> Laces<'a> {
    fn read(payload: &'a [u8], flags: u8) -> std::result::Result<Self, &'static str> {
        const SHORT: &str = "a lace that is longer than its block";
        let lacing = flags & 0x06;
        if lacing == 0 {
            let sizes = Sizes::Equal { count: 1, bytes: payload.len() };
            return Ok(Self { rest: payload, sizes, laced: false });
        }
        let (&count, payload) = payload.split_first().ok_or("a lace without a count")?;
        let count = usize::from(count) + 1;
        if lacing == 0x04 {
            let bytes = payload.len() / count;
            return if bytes * count == payload.len() {
                Ok(Self { rest: payload, sizes: Sizes::Equal { count, bytes }, laced: true })
            } else {
                Err("a lace of equal frames that does not divide evenly")
            };
        }
        let mut rest = payload;
        let mut sizes = Vec::with_capacity(count);
        while sizes.len() + 1 < count {
            let size = if lacing == 0x02 {
                xiph_size(&mut rest)
            } else {
                ebml_size(&mut rest, sizes.last().copied())
            };
            sizes.push(size.ok_or(SHORT)?);
        }
        let listed = sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size));
        let last = listed.and_then(|listed| rest.len().checked_sub(listed)).ok_or(SHORT)?;
        sizes.push(last);
        sizes.reverse();
        Ok(Self { rest, sizes: Sizes::Listed(sizes), laced: true })
    }

    /// Whether the block says how its frames are laced, be it a single one.
    #[must_use]
    pub fn is_laced(&self) -> bool {
        self.laced
    }
}

/// Bytes of 255 and a last one that is less, added up.
fn xiph_size(rest: &mut &[u8]) -> Option<usize> {
    let mut size = 0;
    loop {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        size += usize::from(byte);
        if byte < 255 {
            return Some(size);
        }
    }
}

/// The first size as a number, every other as its difference from the one before.
fn ebml_size(rest: &mut &[u8], before: Option<usize>) -> Option<usize> {
    let (value, width) = number(rest)?;
    *rest = &rest[width..];
    let value = i64::try_from(value).ok()?;
    let size = match before {
        None => value,
        Some(before) => {
            let bias = (1_i64 << (7 * width - 1)) - 1;
            i64::try_from(before).ok()?.checked_add(value - bias)?
        }
    };
    usize::try_from(size).ok()
}

impl<'a> Iterator for Laces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = match &mut self.sizes {
            Sizes::Equal { count: 0, .. } => return None,
            Sizes::Equal { count, bytes } => {
                *count -= 1;
                *bytes
            }
            Sizes::Listed(sizes) => sizes.pop()?,
        };
        let (frame, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(frame)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.sizes {
            Sizes::Equal { count, .. } => *count,
            Sizes::Listed(sizes) => sizes.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Laces<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(payload: &[u8], flags: u8) -> std::result::Result<Vec<Vec<u8>>, &'static str> {
        Laces::read(payload, flags).map(|laces| laces.map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn all_four_lacings_give_their_frames() {
        let three = Ok(vec![vec![1], vec![2, 2], vec![3, 3, 3]]);
        assert_eq!(frames(&[7, 7], 0x80), Ok(vec![vec![7, 7]]));
        assert_eq!(frames(&[2, 1, 2, 1, 2, 2, 3, 3, 3], 0x02), three);
        assert_eq!(frames(&[2, 0x81, 0xC0, 1, 2, 2, 3, 3, 3], 0x06), three);
        assert_eq!(frames(&[1, 5, 5, 6, 6], 0x04), Ok(vec![vec![5, 5], vec![6, 6]]));
        assert_eq!(frames(&[0, 9, 9], 0x06), Ok(vec![vec![9, 9]]));
        assert_eq!(frames(&[255; 257], 0x04).map(|frames| frames.len()), Ok(256));
    }

    #[test]
    fn laces_that_lie_are_refused() {
        assert!(frames(&[], 0x04).is_err());
        assert!(frames(&[1, 5, 5, 6], 0x04).is_err());
        assert!(frames(&[2, 200, 1, 1], 0x02).is_err());
        assert!(frames(&[2, 0x81, 0x80, 1], 0x06).is_err());
        assert!(frames(&[1, 255, 255], 0x02).is_err());
    }
}
