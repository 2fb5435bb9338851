//! The level `default`: residuals as tokens, in a stream for each class of neighbourhood.
//!
//! How large the residuals of a group will be, the groups around it tell that are known already.
//! Groups of like expectation share a stream, and each stream has a Huffman table of its own.

use super::Size;
use super::group::{GROUP, Group};
use super::lanes::Lanes;
use super::predict::Predictor;
use super::rows::{RowReader, RowWriter};
use super::streams::{Reader, Writer};
use crate::Result;

/// Classes of groups: an octave of expected residuals each.
const CLASSES: usize = 13;

/// Classes whose tokens are below 16, and share a byte two by two: a Huffman code spends a bit on
/// each byte at least.
const QUIET: usize = 7;

/// The largest token stands for a residual that follows in the streams of large ones.
const fn largest_token(class: usize) -> u16 {
    if class < QUIET { 15 } else { 255 }
}

/// The class of a group by what the groups around it lead to expect.
#[inline(always)]
fn class_of(around: u32) -> u8 {
    // A mean of 1/16 a pixel is the end of the lowest class.
    let octave = 31 - (around >> 2 | 1).leading_zeros();
    octave.min(CLASSES as u32 - 1) as u8
}

/// Sums of the residuals of the groups of two rows, with one more on either side.
#[derive(Default)]
struct Sums {
    above: Vec<u32>,
    second: Vec<u32>,
    here: Vec<u32>,
}

impl Sums {
    fn reset(&mut self, groups: usize) {
        for sums in [&mut self.above, &mut self.second, &mut self.here] {
            sums.clear();
            sums.resize(groups + 2, 0);
        }
    }

    #[inline(always)]
    fn next_row(&mut self) {
        std::mem::swap(&mut self.second, &mut self.above);
        std::mem::swap(&mut self.above, &mut self.here);
        let last = self.above.len() - 1;
        self.above[0] = self.above[1];
        self.above[last] = self.above[last - 1];
    }

    /// Eight times the sum that the groups around lead to expect.
    #[inline(always)]
    fn around(&self, place: usize) -> u32 {
        let Some([left, above, right]) = self.above.get(place..).and_then(<[u32]>::first_chunk)
        else {
            return 0;
        };
        let second = self.second[place + 1];
        (above << 2).wrapping_add(left.wrapping_add(*right)).wrapping_add(second << 1)
    }

    /// Takes the sum of a group of which these pixels are there.
    #[inline(always)]
    fn take(&mut self, place: usize, sum: u32, word: u16, around: u32) {
        self.here[place + 1] = match word.count_ones() {
            0 => around >> 3,
            16 => sum,
            count => (sum << 4) / count,
        };
    }
}

/// What an encoder keeps from one image to the next.
#[derive(Default)]
pub(super) struct Classed {
    sums: Sums,
    residuals: Vec<Group>,
    words: Vec<u16>,
    classes: Vec<u8>,
    tokens: Vec<u8>,
    large: [Vec<u8>; 2],
}

impl Classed {
    /// Writes an image.
    #[inline(always)]
    pub(super) fn write<L: Lanes>(
        &mut self,
        lanes: L,
        image: (Size, &[u16]),
        predictor: Predictor,
        rows: &mut RowWriter,
        (writer, out): (&mut Writer, &mut Vec<u8>),
    ) {
        let counts = self.classify(lanes, image, predictor, rows);
        rows.finish(writer, out);
        let starts = starts(&counts);
        self.tokenize(lanes, starts);
        for class in 0..CLASSES {
            let tokens = &self.tokens[starts[class]..][..counts[class]];
            if class < QUIET {
                writer.nibbles(out, tokens);
            } else {
                writer.bytes(out, tokens);
            }
        }
        writer.bytes(out, &self.large[0]);
        writer.bytes(out, &self.large[1]);
    }

    /// Finds all residuals, and the class of each group. Gives how many pixels each class has.
    #[inline(always)]
    fn classify<L: Lanes>(
        &mut self,
        lanes: L,
        (size, pixels): (Size, &[u16]),
        predictor: Predictor,
        rows: &mut RowWriter,
    ) -> [usize; CLASSES] {
        let groups = size.width.div_ceil(GROUP);
        let Self { sums, residuals, words, classes, .. } = self;
        residuals.clear();
        words.clear();
        classes.clear();
        sums.reset(groups);
        rows.begin(size);
        let mut counts = [0; CLASSES];
        for pixels in pixels.chunks_exact(size.width) {
            sums.next_row();
            rows.row(
                lanes,
                predictor,
                pixels,
                #[inline(always)]
                |place, group, word| {
                    let around = sums.around(place);
                    sums.take(place, lanes.sum(group), word, around);
                    if word != 0 {
                        let class = class_of(around);
                        counts[usize::from(class)] += word.count_ones() as usize;
                        residuals.push(lanes.store(group));
                        words.push(word);
                        classes.push(class);
                    }
                },
            );
        }
        counts
    }

    /// Writes the tokens of each class from where they start.
    #[inline(always)]
    fn tokenize<L: Lanes>(&mut self, lanes: L, mut starts: [usize; CLASSES]) {
        let room = (self.residuals.len() + CLASSES) * GROUP;
        if self.tokens.len() < room {
            self.tokens.resize(room, 0);
        }
        self.large.iter_mut().for_each(Vec::clear);
        for (place, group) in self.residuals.iter().enumerate() {
            let (word, class) = (self.words[place], usize::from(self.classes[place]));
            let largest = largest_token(class);
            let tokens = lanes.least(lanes.load(group), lanes.splat(largest));
            let large = lanes.equal(tokens, lanes.splat(largest));
            let tokens = lanes.to_bytes(tokens);
            let start = &mut starts[class];
            let room: &mut [u8; GROUP] =
                self.tokens[*start..].first_chunk_mut().expect("room was made");
            *start += put(&tokens, word, room);
            if large != 0 {
                for residual in group.iter().filter(|residual| **residual >= largest) {
                    let [low, high] = residual.to_le_bytes();
                    self.large[0].push(low);
                    self.large[1].push(high);
                }
            }
        }
    }
}

/// Puts the tokens of pixels that are there one after another; gives how many there are. What
/// follows them is changed too.
#[inline(always)]
fn put(tokens: &[u8; GROUP], word: u16, room: &mut [u8; GROUP]) -> usize {
    if word == u16::MAX {
        *room = *tokens;
        return GROUP;
    }
    let mut next = 0;
    for (i, token) in tokens.iter().enumerate() {
        room[next & 15] = *token;
        next = next.wrapping_add(usize::from(word >> i & 1));
    }
    next
}

/// Where the tokens of each class begin. A group is written as one, beyond the pixels it has, so
/// that there is room for a group behind each class.
fn starts(counts: &[usize; CLASSES]) -> [usize; CLASSES] {
    let mut next = 0;
    counts.map(|count| {
        let start = next;
        next += count + GROUP;
        start
    })
}

/// What a decoder keeps from one image to the next.
#[derive(Default)]
pub(super) struct Unclassed {
    sums: Sums,
    tokens: Vec<u8>,
    large: [Vec<u8>; 2],
}

impl Unclassed {
    /// Reads an image.
    #[inline(always)]
    pub(super) fn read<L: Lanes>(
        &mut self,
        lanes: L,
        (size, pixels): (Size, &mut [u16]),
        predictor: Predictor,
        rows: &mut RowReader,
        reader: &mut Reader<'_>,
    ) -> Result<()> {
        rows.begin(size, reader)?;
        let groups = size.width.div_ceil(GROUP);
        let most = size.pixels();
        let mut ends = [0; CLASSES];
        self.tokens.clear();
        for (class, end) in ends.iter_mut().enumerate() {
            match class < QUIET {
                true => reader.nibbles(&mut self.tokens, most)?,
                false => reader.bytes(&mut self.tokens, most)?,
            }
            *end = self.tokens.len();
        }
        for large in &mut self.large {
            large.clear();
            reader.bytes(large, most)?;
        }
        let mut starts = [0; CLASSES];
        starts[1..].copy_from_slice(&ends[..CLASSES - 1]);
        let mut tokens = Tokens {
            tokens: &self.tokens,
            starts,
            ends,
            large: self.large[0].iter().zip(&self.large[1]),
        };
        self.sums.reset(groups);
        for pixels in pixels.chunks_exact_mut(size.width) {
            self.sums.next_row();
            let row = rows.row(
                lanes,
                predictor,
                pixels,
                #[inline(always)]
                |place, word| {
                    let around = self.sums.around(place);
                    let group = match word {
                        0 => lanes.splat(0),
                        _ => tokens.group(lanes, usize::from(class_of(around)), word)?,
                    };
                    self.sums.take(place, lanes.sum(group), word, around);
                    Some(group)
                },
            );
            row.ok_or_else(|| reader.malformed("the groups of a coded image, before this"))?;
        }
        match tokens.is_at_end() && self.large[0].len() == self.large[1].len() && rows.is_at_end() {
            true => Ok(()),
            false => Err(reader.malformed("more groups than a coded image has, before this")),
        }
    }
}

/// The streams of an image while its groups are read.
struct Tokens<'a, L> {
    tokens: &'a [u8],
    starts: [usize; CLASSES],
    ends: [usize; CLASSES],
    large: L,
}

impl<'a, L: Iterator<Item = (&'a u8, &'a u8)>> Tokens<'a, L> {
    /// The residuals of the next group of a class; none when its stream is at its end.
    #[inline(always)]
    fn group<P: Lanes>(&mut self, lanes: P, class: usize, word: u16) -> Option<P::Numbers> {
        let count = word.count_ones() as usize;
        let start = self.starts[class];
        self.starts[class] += count;
        if self.starts[class] > self.ends[class] {
            return None;
        }
        let tokens = self.tokens.get(start..)?;
        let tokens = match tokens.first_chunk() {
            Some(tokens) if word == u16::MAX => lanes.of_bytes(tokens),
            _ => {
                let mut some = [0; GROUP];
                some[..count].copy_from_slice(tokens.get(..count)?);
                lanes.spread(&some, word)
            }
        };
        let largest = largest_token(class);
        if lanes.equal(tokens, lanes.splat(largest)) == 0 {
            return Some(tokens);
        }
        let mut values = lanes.store(tokens);
        for value in values.iter_mut().filter(|value| **value == largest) {
            let (low, high) = self.large.next()?;
            *value = u16::from_le_bytes([*low, *high]);
        }
        Some(lanes.load(&values))
    }

    fn is_at_end(&mut self) -> bool {
        self.starts == self.ends && self.large.next().is_none()
    }
}
