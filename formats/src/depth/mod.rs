//! Lossless coding of images of 16-bit pixels: depth, infrared, and the 8-bit planes of raw color.
//!
//! One image at a time, and none leans on another: a lost frame costs one frame. The bytes are
//! described in `docs/take.md`.

mod classed;
mod group;
mod lanes;
mod mask;
mod packed;
mod predict;
mod rows;
mod streams;

use crate::Result;
use classed::{Classed, Unclassed};
use lanes::{Lanes, Work, on_lanes};
use packed::{Packed, Unpacked};
use predict::Predictor;
use rows::{RowReader, RowWriter};
use streams::{Context, Reader, Writer};

/// How hard to try. Every level restores every image bit for bit, and one decoder reads them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// For machines with little to spare.
    Fast,
    /// What a recorder uses.
    #[default]
    Default,
}

/// Width and height of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// Pixels in all.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.width * self.height
    }
}

/// How the groups of an image are coded: its first byte.
const PACKED: u8 = 0;
const CLASSED: u8 = 1;
/// The pixels as they are, little-endian: noise has no shorter form.
const STORED: u8 = 2;

/// Codes images. It keeps its memory from one to the next.
#[derive(Default)]
pub struct Encoder {
    level: Level,
    is_portable: bool,
    rows: RowWriter,
    packed: Packed,
    classed: Classed,
    writer: Writer,
}

impl Encoder {
    /// An encoder of this level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self { level, ..Self::default() }
    }

    /// The same, in code for every processor: to hold what others give against it.
    #[must_use]
    pub fn portable(level: Level) -> Self {
        Self { is_portable: true, ..Self::new(level) }
    }

    /// Bytes of a coded image of this size, at most. While noise is coded `coded` may grow to some
    /// more than that for a moment.
    #[must_use]
    pub fn bytes_max(size: Size) -> usize {
        size.pixels() * 2 + 1
    }

    /// Appends the coded image to `coded`. `pixels` are its rows, top down.
    ///
    /// # Panics
    /// When there are not as many pixels as `size` says.
    pub fn encode(&mut self, size: Size, pixels: &[u16], coded: &mut Vec<u8>) {
        assert_eq!(pixels.len(), size.pixels());
        let is_portable = self.is_portable;
        let work = Encode { encoder: self, image: (size, pixels), coded };
        on_lanes(is_portable, work);
    }
}

struct Encode<'a> {
    encoder: &'a mut Encoder,
    image: (Size, &'a [u16]),
    coded: &'a mut Vec<u8>,
}

impl Work for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn on<L: Lanes>(self, lanes: L) {
        let (image, out) = (self.image, self.coded);
        let begins = out.len();
        let Encoder { level, rows, packed, classed, writer, .. } = self.encoder;
        let predictor = rows.choose(lanes, image.0, image.1);
        out.extend([if *level == Level::Fast { PACKED } else { CLASSED }, predictor as u8]);
        match level {
            Level::Fast => packed.write(lanes, image, predictor, rows, (writer, out)),
            Level::Default => classed.write(lanes, image, predictor, rows, (writer, out)),
        }
        if out.len() - begins > Encoder::bytes_max(image.0) {
            out.truncate(begins);
            out.push(STORED);
            out.extend(image.1.iter().flat_map(|pixel| pixel.to_le_bytes()));
        }
    }
}

/// Restores images. It keeps its memory from one to the next.
#[derive(Default)]
pub struct Decoder {
    is_portable: bool,
    rows: RowReader,
    unpacked: Unpacked,
    unclassed: Unclassed,
    context: Context,
}

impl Decoder {
    /// A decoder in code for every processor: to hold what others give against it.
    #[must_use]
    pub fn portable() -> Self {
        Self { is_portable: true, ..Self::default() }
    }

    /// Restores an image of this size from all of `coded` into `pixels`, its rows, top down.
    ///
    /// # Errors
    /// Why `coded` is no image of this size, with the offset in it.
    ///
    /// # Panics
    /// When there are not as many pixels as `size` says.
    pub fn decode(&mut self, size: Size, coded: &[u8], pixels: &mut [u16]) -> Result<()> {
        assert_eq!(pixels.len(), size.pixels());
        let is_portable = self.is_portable;
        on_lanes(is_portable, Decode { decoder: self, image: (size, pixels), coded })
    }
}

struct Decode<'a> {
    decoder: &'a mut Decoder,
    image: (Size, &'a mut [u16]),
    coded: &'a [u8],
}

impl Work for Decode<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn on<L: Lanes>(self, lanes: L) -> Result<()> {
        let Decoder { rows, unpacked, unclassed, context, .. } = self.decoder;
        let mut reader = Reader::new(context, self.coded);
        let coding = reader.byte()?;
        if coding == STORED {
            let (size, pixels) = self.image;
            let stored = reader.take(size.pixels() * 2)?;
            for (pixel, bytes) in pixels.iter_mut().zip(stored.as_chunks::<2>().0) {
                *pixel = u16::from_le_bytes(*bytes);
            }
            return reader.end();
        }
        let number = usize::from(reader.byte()?);
        let predictor = Predictor::ALL.get(number);
        let predictor = *predictor.ok_or_else(|| reader.malformed("an unknown predictor"))?;
        match coding {
            PACKED => unpacked.read(lanes, self.image, predictor, rows, &mut reader)?,
            CLASSED => unclassed.read(lanes, self.image, predictor, rows, &mut reader)?,
            _ => return Err(reader.malformed("an unknown coding")),
        }
        reader.end()
    }
}
