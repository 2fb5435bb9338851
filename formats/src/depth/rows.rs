//! An image row by row: what is there, and its residuals.

use super::Size;
use super::group::{GROUP, Group};
use super::lanes::Lanes;
use super::mask::{MaskReader, MaskWriter};
use super::predict::{Contexts, Predictor};
use super::streams::{Reader, Writer};
use crate::Result;

/// Of so many rows two are looked at to choose the predictor.
const SAMPLED: usize = 16;

/// The groups of a row of pixels: its own, or those of a copy that is filled up with zeros.
fn whole<'a>(pixels: &'a [u16], filled: &'a mut Vec<Group>) -> &'a [Group] {
    let (groups, last) = pixels.as_chunks::<GROUP>();
    if last.is_empty() {
        return groups;
    }
    filled.clear();
    filled.extend_from_slice(groups);
    let mut group = [0; GROUP];
    group[..last.len()].copy_from_slice(last);
    filled.push(group);
    filled
}

/// Takes an image apart.
#[derive(Default)]
pub(super) struct RowWriter {
    contexts: Contexts,
    mask: MaskWriter,
    words: Vec<u16>,
    filled: Vec<Group>,
}

impl RowWriter {
    /// The predictor that leaves the smaller residuals.
    #[inline(always)]
    pub(super) fn choose<L: Lanes>(&mut self, lanes: L, size: Size, pixels: &[u16]) -> Predictor {
        let mut bits = [0_u64; 2];
        for rows in pixels.chunks(size.width * SAMPLED) {
            let mut last = 0;
            for (bits, predictor) in bits.iter_mut().zip(Predictor::ALL) {
                self.contexts.reset(size.width);
                for pixels in rows.chunks_exact(size.width).take(2) {
                    let mut row = self.contexts.next(lanes, predictor, size.width);
                    // The second counts: above the first is nothing.
                    last = 0;
                    for group in whole(pixels, &mut self.filled) {
                        let (residuals, _) = row.residuals(group);
                        last += u64::from(lanes.width(residuals));
                    }
                }
                *bits += last;
            }
        }
        if bits[0] <= bits[1] { Predictor::Plane } else { Predictor::Above }
    }

    /// Begins an image.
    #[inline(always)]
    pub(super) fn begin(&mut self, size: Size) {
        self.contexts.reset(size.width);
        self.mask.reset(size.width);
        self.words.clear();
        self.words.resize(size.width.div_ceil(GROUP), 0);
    }

    /// Takes the next row: `group` gets the number of each group, its residuals, and a bit for each
    /// of its pixels that is there.
    #[inline(always)]
    pub(super) fn row<L: Lanes>(
        &mut self,
        lanes: L,
        predictor: Predictor,
        pixels: &[u16],
        mut group: impl FnMut(usize, L::Numbers, u16),
    ) {
        let mut row = self.contexts.next(lanes, predictor, pixels.len());
        let groups = whole(pixels, &mut self.filled);
        // No zip of three: what is not inlined does not get a kind's instructions.
        for (place, pixels) in groups.iter().enumerate() {
            let (residuals, mask) = row.residuals(pixels);
            self.words[place] = mask;
            group(place, residuals, mask);
        }
        self.mask.row(&self.words, pixels.len());
    }

    /// Writes which pixels of all rows are there.
    pub(super) fn finish(&self, writer: &mut Writer, out: &mut Vec<u8>) {
        self.mask.finish(writer, out);
    }
}

/// Puts an image together.
#[derive(Default)]
pub(super) struct RowReader {
    contexts: Contexts,
    mask: MaskReader,
    words: Vec<u16>,
}

impl RowReader {
    /// Begins an image: reads which of its pixels are there.
    pub(super) fn begin(&mut self, size: Size, reader: &mut Reader<'_>) -> Result<()> {
        self.contexts.reset(size.width);
        self.words.clear();
        self.words.resize(size.width.div_ceil(GROUP), 0);
        self.mask.begin(size, reader)
    }

    /// Restores the next row into `pixels`; `group` gives the residuals of the group of that
    /// number, whose pixels the word tells. None when there is none such.
    #[inline(always)]
    pub(super) fn row<L: Lanes>(
        &mut self,
        lanes: L,
        predictor: Predictor,
        pixels: &mut [u16],
        mut group: impl FnMut(usize, u16) -> Option<L::Numbers>,
    ) -> Option<()> {
        self.mask.row(&mut self.words, pixels.len())?;
        let mut row = self.contexts.next_restored(lanes, predictor, pixels.len());
        let (groups, last) = pixels.as_chunks_mut::<GROUP>();
        for (place, pixels) in groups.iter_mut().enumerate() {
            let word = self.words[place];
            *pixels = row.restore(word, group(place, word)?);
        }
        if let (false, Some(word)) = (last.is_empty(), self.words.last()) {
            let pixels = row.restore(*word, group(groups.len(), *word)?);
            last.copy_from_slice(&pixels[..last.len()]);
        }
        Some(())
    }

    /// Whether all was read that tells which pixels are there.
    pub(super) fn is_at_end(&self) -> bool {
        self.mask.is_at_end()
    }
}
