//! Which pixels are there at all. Their regions are connected, so each row is told by how its edges
//! differ from those of the row above, as fax machines do it (ITU-T T.6).

use super::Size;
use super::group::GROUP;
use super::streams::{Reader, Writer};
use crate::Result;

/// An edge lies up to so many pixels left or right of one above; these are the first tokens.
const NEAR: u32 = 6;

/// Two edges above have none below.
const PASS: u8 = 13;

/// An edge lies farther from the one above: its distance from the edge before it follows, in a
/// stream of its own.
const FAR: u8 = 14;

/// The edges of a row and of the one above it: where pixels that are there begin and end in turn.
/// The end of the row is the last of them.
#[derive(Debug, Default)]
struct Edges {
    above: Vec<u32>,
    here: Vec<u32>,
}

impl Edges {
    fn reset(&mut self, width: u32) {
        self.here.clear();
        self.here.push(width);
    }

    fn next_row(&mut self) {
        std::mem::swap(&mut self.above, &mut self.here);
        self.here.clear();
    }

    /// Which edges above come next, for the edge number `count` of this row behind `at`: the first
    /// that changes the same way, and the one behind it. `seek` is where to look from.
    #[inline]
    fn above(&self, seek: &mut usize, count: usize, at: Option<u32>, width: u32) -> (u32, u32) {
        // Never back: what lies before the last edge stays there. One back may be behind it still.
        *seek = seek.saturating_sub(1);
        let edge = |place: usize| self.above.get(place).copied().unwrap_or(width);
        while edge(*seek) < width
            && (at.is_some_and(|at| edge(*seek) <= at) || *seek % 2 != count % 2)
        {
            *seek += 1;
        }
        (edge(*seek), edge(*seek + 1))
    }
}

/// Writes the rows of a mask.
#[derive(Debug, Default)]
pub(super) struct MaskWriter {
    edges: Edges,
    tokens: Vec<u8>,
    far: Vec<u8>,
}

impl MaskWriter {
    pub(super) fn reset(&mut self, width: usize) {
        self.edges.reset(width as u32);
        self.tokens.clear();
        self.far.clear();
    }

    /// Takes the next row: a bit for each pixel, the first being the lowest of the first word.
    pub(super) fn row(&mut self, words: &[u16], width: usize) {
        self.edges.next_row();
        let mut before = 0;
        for (place, word) in words.iter().enumerate() {
            let mut changes = word ^ (word << 1 | before);
            before = word >> 15;
            while changes != 0 {
                let at = place * GROUP + changes.trailing_zeros() as usize;
                if at < width {
                    self.edges.here.push(at as u32);
                }
                changes &= changes - 1;
            }
        }
        self.edges.here.push(width as u32);
        self.tell(width as u32);
    }

    fn tell(&mut self, width: u32) {
        let (mut at, mut seek, mut count) = (None, 0, 0);
        while count < self.edges.here.len() {
            let edge = self.edges.here[count];
            let (first, second) = self.edges.above(&mut seek, count, at, width);
            if second < edge {
                self.tokens.push(PASS);
                at = Some(second);
                continue;
            }
            let off = (edge + NEAR).wrapping_sub(first);
            if off <= 2 * NEAR {
                self.tokens.push(off as u8);
            } else {
                self.tokens.push(FAR);
                self.far.extend((edge - at.unwrap_or(0)).to_le_bytes());
            }
            at = Some(edge);
            count += 1;
        }
    }

    /// Writes what there is to tell of all rows.
    pub(super) fn finish(&self, writer: &mut Writer, out: &mut Vec<u8>) {
        writer.nibbles(out, &self.tokens);
        writer.bytes(out, &self.far);
    }
}

/// Reads the rows of a mask.
#[derive(Debug, Default)]
pub(super) struct MaskReader {
    edges: Edges,
    tokens: Vec<u8>,
    far: Vec<u8>,
    next: usize,
    next_far: usize,
}

impl MaskReader {
    /// Reads what there is of a mask of so many pixels.
    pub(super) fn begin(&mut self, size: Size, reader: &mut Reader<'_>) -> Result<()> {
        self.edges.reset(size.width as u32);
        // A token for each edge at most, and for two edges that are not told.
        let most = (size.width + 1) * size.height * 2;
        self.tokens.clear();
        self.far.clear();
        reader.nibbles(&mut self.tokens, most)?;
        reader.bytes(&mut self.far, most * 4)?;
        (self.next, self.next_far) = (0, 0);
        Ok(())
    }

    /// The next row; none when what is there is no mask.
    pub(super) fn row(&mut self, words: &mut [u16], width: usize) -> Option<()> {
        self.edges.next_row();
        self.hear(width as u32)?;
        words.fill(0);
        for run in self.edges.here.chunks_exact(2) {
            fill(words, run[0] as usize, run[1] as usize);
        }
        Some(())
    }

    fn hear(&mut self, width: u32) -> Option<()> {
        let (mut at, mut seek, mut count) = (None, 0, 0);
        while at != Some(width) || count == 0 {
            let token = *self.tokens.get(self.next)?;
            self.next += 1;
            let (first, second) = self.edges.above(&mut seek, count, at, width);
            let edge = match token {
                PASS => {
                    at = Some(second);
                    if second == width {
                        return None;
                    }
                    continue;
                }
                FAR => {
                    let bytes = self.far.get(self.next_far..)?.first_chunk()?;
                    self.next_far += 4;
                    at.unwrap_or(0).checked_add(u32::from_le_bytes(*bytes))?
                }
                near if u32::from(near) <= 2 * NEAR => {
                    (first + u32::from(near)).checked_sub(NEAR)?
                }
                _ => return None,
            };
            if edge > width || at.is_some_and(|at| edge <= at) {
                return None;
            }
            self.edges.here.push(edge);
            at = Some(edge);
            count += 1;
        }
        Some(())
    }

    /// Whether nothing is left of it.
    pub(super) fn is_at_end(&self) -> bool {
        self.next == self.tokens.len() && self.next_far == self.far.len()
    }
}

/// Sets the bits from `from` to before `to`.
fn fill(words: &mut [u16], from: usize, to: usize) {
    let (first, last) = (from / GROUP, to / GROUP);
    let (head, tail) = (u16::MAX << (from % GROUP), !(u16::MAX << (to % GROUP)));
    if first == last {
        words[first] |= head & tail;
        return;
    }
    words[first] |= head;
    words[first + 1..last].fill(u16::MAX);
    if tail != 0 {
        words[last] |= tail;
    }
}
