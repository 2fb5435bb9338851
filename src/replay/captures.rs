//! Captures, one after the other.

use super::capture::{Capture, Decoder, Spare};
use super::cursor::{Cursor, Found, FoundDevice, IMAGES};
use super::reader::{Device, Reader};
use super::selection::Selected;
use crate::deal;
use crate::error::Result;
use std::ops::Range;

/// The captures of a range of triggers, from either end.
pub struct Captures<'r, 'f> {
    cursor: Cursor<'r, 'f>,
    decoder: Decoder,
    triggers: Range<u64>,
}

impl<'f> Captures<'_, 'f> {
    /// The capture of any trigger, whatever the range; what the range has left stays as it is.
    pub fn at(&mut self, trigger: u64) -> Capture<'f> {
        self.decoder.decode(self.cursor.find(trigger))
    }
}

impl<'f> Iterator for Captures<'_, 'f> {
    type Item = Capture<'f>;

    fn next(&mut self) -> Option<Capture<'f>> {
        let trigger = self.triggers.next()?;
        Some(self.at(trigger))
    }
}

impl<'f> DoubleEndedIterator for Captures<'_, 'f> {
    fn next_back(&mut self) -> Option<Capture<'f>> {
        let trigger = self.triggers.next_back()?;
        Some(self.at(trigger))
    }
}

impl<'f> Reader<'f> {
    /// The captures of these triggers, forwards, or backwards from the end.
    #[must_use]
    pub fn captures(&self, triggers: Range<u64>) -> Captures<'_, 'f> {
        Captures { cursor: self.cursor(), decoder: Decoder::new(self), triggers }
    }

    /// Gives the captures that are wanted to `take`, one after the other: every image as a device
    /// gives it, unpacked and its pixels turned ahead, on all cores.
    ///
    /// # Errors
    /// The first of `take`.
    pub fn play(
        &self,
        wanted: &Selected<'_, 'f>,
        mut take: impl FnMut(&Capture<'f>) -> Result<()>,
    ) -> Result<()> {
        let (mut cursor, spare) = (self.cursor(), Spare::new());
        let jobs = wanted.triggers().map(|trigger| {
            let mut found = cursor.find(trigger);
            wanted.keep(&mut found);
            let bytes = self.decoded_bytes(&found);
            (found, bytes)
        });
        let begin = || {
            let mut decoder = Decoder::with(self, spare.clone(), true);
            move |found| decoder.decode(found)
        };
        deal::in_order(deal::cores(), jobs, begin, |capture| {
            let taken = take(&capture);
            spare.take_back(capture);
            taken
        })
    }

    /// Bytes of memory that the images of a capture take, unpacked and turned.
    #[must_use]
    pub fn decoded_bytes(&self, found: &Found<'f>) -> usize {
        let of_device = |(device, found): (&Device<'f>, &FoundDevice<'f>)| -> usize {
            let frames = found.frames.iter().zip(IMAGES);
            let of_frame = |(frame, name): (&Option<_>, _)| match frame {
                Some(Ok(_)) => device.recording.image_bytes(name).unwrap_or(0),
                _ => 0,
            };
            frames.map(of_frame).sum()
        };
        self.devices().iter().zip(&found.devices).map(of_device).sum()
    }
}
