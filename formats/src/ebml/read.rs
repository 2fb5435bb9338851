//! Walking elements in a byte slice. Every length is checked against what holds it.

use super::id;
use crate::{Error, ErrorKind, Result};
use std::ops::Range;

/// One element: its id and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Id, length marker included.
    pub id: u32,
    /// Where it begins.
    pub at: usize,
    /// Its content, cut at the end of what holds it.
    pub content: Range<usize>,
    /// Whether it says how long it is.
    pub sized: bool,
    /// Whether its content reaches beyond what holds it.
    pub cut: bool,
}

impl Element {
    /// The element that begins at `at`, inside of something that ends at `end`.
    ///
    /// # Errors
    /// `Truncated` inside its head, `Malformed` where no element can begin so.
    pub fn read(bytes: &[u8], at: usize, end: usize) -> Result<Self> {
        let end = end.min(bytes.len());
        let (id, id_bytes) = vint(bytes, at, end, 4, "an element id")?;
        let size_at = at + id_bytes;
        let (size, size_bytes) = vint(bytes, size_at, end, 8, "an element size")?;
        let ones = (1_u64 << (7 * size_bytes)) - 1;
        let value = size & ones;
        let start = size_at + size_bytes;
        let room = end - start;
        let sized = value != ones;
        let cut = sized && value > room as u64;
        let len = if sized && !cut { value as usize } else { room };
        // An id of at most four bytes fits 32 bits.
        Ok(Self { id: id as u32, at, content: start..start + len, sized, cut })
    }

    /// Its content.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.content.clone()).unwrap_or_default()
    }

    /// Its content as an unsigned integer; empty means 0.
    ///
    /// # Errors
    /// `Malformed` when it is longer than eight bytes.
    pub fn uint(&self, bytes: &[u8]) -> Result<u64> {
        let content = self.bytes(bytes);
        if content.len() > 8 || self.cut {
            return Err(self.error("an integer that is not of 0 to 8 bytes"));
        }
        Ok(content.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Its content as a float of 0, 4 or 8 bytes.
    ///
    /// # Errors
    /// `Malformed` at any other length.
    pub fn float(&self, bytes: &[u8]) -> Result<f64> {
        let content = self.bytes(bytes);
        match *content {
            [] => Ok(0.0),
            [a, b, c, d] => Ok(f64::from(f32::from_be_bytes([a, b, c, d]))),
            [a, b, c, d, e, f, g, h] => Ok(f64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => Err(self.error("a float that is not of 0, 4 or 8 bytes")),
        }
    }

    /// Its content as text, up to the first NUL.
    #[must_use]
    pub fn text(&self, bytes: &[u8]) -> String {
        let content = self.bytes(bytes).split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(content).into_owned()
    }

    /// The elements in its content.
    #[must_use]
    pub fn children<'a>(&self, bytes: &'a [u8]) -> Children<'a> {
        Children { bytes, at: self.content.start, end: self.content.end }
    }

    /// What the checksum says that an element may hold as its first child: none where there is
    /// none, else whether the bytes behind it are those that were written. Reads every one of them.
    #[must_use]
    pub fn checksum(&self, bytes: &[u8]) -> Option<bool> {
        let first = self.children(bytes).next()?.ok()?;
        if first.id != id::CRC_32 || first.cut || self.cut {
            return None;
        }
        let covered = bytes.get(first.content.end..self.content.end)?;
        Some(first.bytes(bytes) == crc32fast::hash(covered).to_le_bytes())
    }

    /// That this element is malformed.
    #[must_use]
    pub fn error(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Malformed(what), self.at as u64)
    }
}

/// The elements in a range, one after the other. Ends at the first that cannot be stepped over.
#[derive(Debug, Clone)]
pub struct Children<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Iterator for Children<'_> {
    type Item = Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let element = Element::read(self.bytes, self.at, self.end);
        self.at = element.as_ref().map_or(self.end, |element| element.content.end);
        Some(element)
    }
}

/// A variable-length number of at most `width_max` bytes at `at`, marker included, and its width.
fn vint(
    bytes: &[u8],
    at: usize,
    end: usize,
    width_max: usize,
    what: &'static str,
) -> Result<(u64, usize)> {
    let room = bytes.get(at..end).unwrap_or_default();
    let truncated = || Error::new(ErrorKind::Truncated(what), at as u64);
    let first = *room.first().ok_or_else(truncated)?;
    let width = first.leading_zeros() as usize + 1;
    if width > width_max {
        return Err(Error::new(ErrorKind::Malformed(what), at as u64));
    }
    let digits = room.get(..width).ok_or_else(truncated)?;
    Ok((digits.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), width))
}

/// The variable-length number at the start of `bytes`, marker removed, and its width; none where
/// there is no whole one.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let (value, width) = vint(bytes, 0, bytes.len(), 8, "a number").ok()?;
    Some((value & ((1 << (7 * width)) - 1), width))
}

/// Whether `id` is one that stands directly in a Segment.
#[must_use]
pub fn is_top_level(id: u32) -> bool {
    matches!(
        id,
        id::SEEK_HEAD
            | id::INFO
            | id::TRACKS
            | id::ATTACHMENTS
            | id::TAGS
            | id::CLUSTER
            | id::CUES
            | id::CHAPTERS
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;

    #[test]
    fn an_element_is_bounded_by_what_holds_it() {
        let bytes = hex("E7 82 03E8 EC 84 00");
        let time = Element::read(&bytes, 0, bytes.len()).expect("whole");
        assert_eq!((time.id, time.uint(&bytes)), (id::TIMESTAMP, Ok(1000)));
        let void = Element::read(&bytes, 4, bytes.len()).expect("its head is whole");
        assert!(void.cut);
        assert_eq!(void.content, 6..7);
        assert!(Element::read(&bytes, 7, bytes.len()).is_err());
    }

    #[test]
    fn unknown_sizes_reach_to_the_end_of_what_holds_them() {
        for size in ["FF", "01FFFFFFFFFFFFFF"] {
            let bytes = hex(&format!("1F43B675 {size} E7 81 00"));
            let cluster = Element::read(&bytes, 0, bytes.len()).expect("whole");
            assert!(!cluster.sized && !cluster.cut);
            assert_eq!(cluster.content.end, bytes.len());
        }
    }

    #[test]
    fn no_input_makes_the_walk_go_on_for_ever() {
        for first in 0..=255 {
            let bytes = [first; 64];
            let all = Element { id: 0, at: 0, content: 0..64, sized: true, cut: false };
            assert!(all.children(&bytes).count() <= 64);
        }
    }
}
