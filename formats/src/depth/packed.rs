//! The level `fast`: each group of residuals at the width of its largest.

use super::Size;
use super::group::GROUP;
use super::lanes::Lanes;
use super::predict::Predictor;
use super::rows::{RowReader, RowWriter};
use super::streams::{Reader, Writer};
use crate::Result;

/// Bytes that a write of a group may touch.
const SPARE: usize = 2 * GROUP;

/// A width is told by how much it is more than that of the group above, modulo 32.
const MORE: u8 = 31;

/// What an encoder keeps from one image to the next.
#[derive(Default)]
pub(super) struct Packed {
    above: Vec<u8>,
    widths: Vec<u8>,
    bits: Vec<u8>,
}

impl Packed {
    /// Writes an image.
    #[inline(always)]
    pub(super) fn write<L: Lanes>(
        &mut self,
        lanes: L,
        (size, pixels): (Size, &[u16]),
        predictor: Predictor,
        rows: &mut RowWriter,
        (writer, out): (&mut Writer, &mut Vec<u8>),
    ) {
        let groups = size.width.div_ceil(GROUP);
        self.above.clear();
        self.above.resize(groups, 0);
        self.widths.clear();
        let most = groups * size.height * 2 * GROUP + SPARE;
        if self.bits.len() < most {
            self.bits.resize(most, 0);
        }
        rows.begin(size);
        let mut at = 0;
        for pixels in pixels.chunks_exact(size.width) {
            rows.row(
                lanes,
                predictor,
                pixels,
                #[inline(always)]
                |place, residuals, word| {
                    if word != 0 {
                        let width = lanes.width(residuals);
                        let above = std::mem::replace(&mut self.above[place], width as u8);
                        self.widths.push((width as u8).wrapping_sub(above) & MORE);
                        let room = self.bits[at..].first_chunk_mut().expect("room was made");
                        lanes.pack(residuals, width, room);
                        at += 2 * width as usize;
                    }
                },
            );
        }
        rows.finish(writer, out);
        writer.bytes(out, &self.widths);
        Writer::stored(out, &self.bits[..at]);
    }
}

/// What a decoder keeps from one image to the next.
#[derive(Default)]
pub(super) struct Unpacked {
    above: Vec<u8>,
    widths: Vec<u8>,
}

impl Unpacked {
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
        self.above.clear();
        self.above.resize(size.width.div_ceil(GROUP), 0);
        let groups = self.above.len() * size.height;
        self.widths.clear();
        reader.bytes(&mut self.widths, groups)?;
        let bits = reader.stored(groups * 2 * GROUP)?;
        let (mut widths, mut at) = (self.widths.iter(), 0);
        for pixels in pixels.chunks_exact_mut(size.width) {
            let row = rows.row(
                lanes,
                predictor,
                pixels,
                #[inline(always)]
                |place, word| {
                    if word == 0 {
                        return Some(lanes.splat(0));
                    }
                    let above = &mut self.above[place];
                    *above = above.wrapping_add(*widths.next()?) & MORE;
                    let width = u32::from(*above);
                    let begins = at;
                    at += 2 * width as usize;
                    if at > bits.len() || width > u16::BITS {
                        return None;
                    }
                    match bits[begins..].first_chunk() {
                        Some(bytes) => Some(lanes.unpack(bytes, width)),
                        None => {
                            let (rest, mut spare) = (&bits[begins..], [0; SPARE]);
                            spare[..rest.len()].copy_from_slice(rest);
                            Some(lanes.unpack(&spare, width))
                        }
                    }
                },
            );
            row.ok_or_else(|| reader.malformed("the groups of a coded image, before this"))?;
        }
        match widths.next().is_none() && at == bits.len() && rows.is_at_end() {
            true => Ok(()),
            false => Err(reader.malformed("more groups than a coded image has, before this")),
        }
    }
}
