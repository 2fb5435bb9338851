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

/// Classes of groups.
const CLASSES: usize = 24;

/// Classes whose tokens are below 16, and share a byte two by two.
const QUIET: usize = 9;

/// The largest token stands for a residual that follows in the stream of large ones.
const fn largest_token(class: usize) -> u16 {
    if class < QUIET { 15 } else { 255 }
}

/// Low bits of residuals that are noise, and are written as they are.
const fn low_bits(class: usize) -> u32 {
    if class < 17 { 0 } else { (class as u32 - 15) / 2 }
}

/// The class of a group by the sum of the residuals around it: two to an octave.
#[inline(always)]
fn class_of(around: u32) -> u8 {
    // A mean of 1/4 is the end of the lowest class.
    let scaled = around >> 4 | 1;
    let octave = 31 - scaled.leading_zeros();
    let half = (scaled << 1 >> octave) & 1;
    (2 * octave + half).min(CLASSES as u32 - 1) as u8
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
    low: Vec<u8>,
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
        Writer::stored(out, &self.low);
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
        self.low.clear();
        self.large.iter_mut().for_each(Vec::clear);
        for (place, group) in self.residuals.iter().enumerate() {
            let (word, class) = (self.words[place], usize::from(self.classes[place]));
            let (largest, bits) = (largest_token(class), low_bits(class));
            let residuals = lanes.load(group);
            let high = lanes.shift_down(residuals, bits);
            let tokens = lanes.least(high, lanes.splat(largest));
            let large = lanes.equal(tokens, lanes.splat(largest));
            let tokens = lanes.to_bytes(tokens);
            let start = &mut starts[class];
            let room: &mut [u8; GROUP] =
                self.tokens[*start..].first_chunk_mut().expect("room was made");
            *start += put(&tokens, word, room);
            if bits > 0 {
                let mut packed = [0; 2 * GROUP];
                let mut low = *group;
                for residual in &mut low {
                    *residual &= (1 << bits) - 1;
                }
                lanes.pack(lanes.load(&low), bits, &mut packed);
                self.low.extend_from_slice(&packed[..2 * bits as usize]);
            }
            if large != 0 {
                for high in lanes.store(high).iter().filter(|high| **high >= largest) {
                    self.large[0].push(*high as u8);
                    self.large[1].push((*high >> 8) as u8);
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

/// Puts as many tokens in the places of the pixels that are there, and 0 elsewhere.
#[inline(always)]
fn spread(tokens: &[u8], word: u16) -> [u8; GROUP] {
    let (mut some, mut all, mut next) = ([0; GROUP], [0; GROUP], 0_usize);
    some[..tokens.len()].copy_from_slice(tokens);
    for (i, token) in all.iter_mut().enumerate() {
        let is_there = (word >> i & 1) as u8;
        *token = some[next & 15] & is_there.wrapping_neg();
        next = next.wrapping_add(usize::from(is_there));
    }
    all
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
        let low = reader.stored(groups * size.height * 2 * GROUP)?;
        let mut starts = [0; CLASSES];
        starts[1..].copy_from_slice(&ends[..CLASSES - 1]);
        let mut tokens = Tokens {
            tokens: &self.tokens,
            starts,
            ends,
            low,
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
    low: &'a [u8],
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
            _ => lanes.of_bytes(&spread(tokens.get(..count)?, word)),
        };
        let (largest, bits) = (largest_token(class), low_bits(class));
        let large = lanes.equal(tokens, lanes.splat(largest));
        if large == 0 && bits == 0 {
            return Some(tokens);
        }
        let mut values = lanes.store(tokens);
        for value in values.iter_mut().filter(|value| **value == largest) {
            let (low, high) = self.large.next()?;
            *value = u16::from_le_bytes([*low, *high]);
        }
        if bits > 0 {
            let (bytes, rest) = self.low.split_at_checked(2 * bits as usize)?;
            self.low = rest;
            let mut packed = [0; 2 * GROUP];
            packed[..bytes.len()].copy_from_slice(bytes);
            let low = lanes.store(lanes.unpack(&packed, bits));
            for (value, low) in values.iter_mut().zip(low) {
                *value = *value << bits | low;
            }
        }
        Some(lanes.load(&values))
    }

    fn is_at_end(&mut self) -> bool {
        self.starts == self.ends && self.low.is_empty() && self.large.next().is_none()
    }
}
