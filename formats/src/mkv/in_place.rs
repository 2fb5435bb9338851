//! Finishing a file of our own where it lies: what to write over it, and in which order.

use super::demux::Demuxer;
use super::mux::{INFO_RESERVE, Muxer, Patch, SEEK_HEAD_RESERVE, SEGMENT_START};
use super::salvage::Salvaged;
use crate::ebml::{Element, id};
use crate::{Error, ErrorKind, Result};

/// How to finish a file where it lies. A crash between any two steps, or with a part of what is
/// appended, leaves a file that reads no worse than before. A write over a few bytes is taken to
/// happen as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Bytes of the finished file.
    pub bytes: u64,
}

/// One thing to do to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Cut it to so many bytes.
    Cut(u64),
    /// Write over it, or behind its end.
    Write(Patch),
    /// Make durable what was done: what comes next relies on it.
    Sync,
}

impl Demuxer<'_> {
    /// Whether the file has the front that [`Muxer::new`] lays out, and says that it is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let places = [
            (id::SEEK_HEAD, SEGMENT_START),
            (id::INFO, SEGMENT_START + SEEK_HEAD_RESERVE as u64),
            (id::TRACKS, SEGMENT_START + (SEEK_HEAD_RESERVE + INFO_RESERVE) as u64),
        ];
        let is_there = |(id, at): (u32, u64)| {
            self.parts.iter().any(|part| part.id == id && part.at as u64 == at)
        };
        let head = self.bytes.get(SEGMENT_START as usize - 12..).unwrap_or_default();
        let begins = self.segment_at as u64 == SEGMENT_START
            && head.starts_with(&[0x18, 0x53, 0x80, 0x67, 0x01]);
        begins
            && places.into_iter().all(is_there)
            && self.header.info.muxing_app.starts_with("genlock-")
    }

    /// Where what stands behind the SeekHead and Info, which are written over, leads elsewhere than
    /// to the first cluster, or has parts that are not read now. A reader that gets past those two
    /// then finds other things than one that is stopped by them, and searches.
    fn front_astray(&self) -> Option<u64> {
        let mut at = SEGMENT_START as usize + SEEK_HEAD_RESERVE + INFO_RESERVE;
        while at < self.clusters_at {
            match Element::read(self.bytes, at, self.bytes.len()) {
                Ok(element) if self.is_as_read(&element) => at = element.content.end,
                _ => break,
            }
        }
        (at != self.clusters_at).then_some(at as u64)
    }

    /// Whether an element of the front is one that readers pass over, or the part that was read.
    fn is_as_read(&self, element: &Element) -> bool {
        let of_kind = self.parts.iter().find(|part| part.id == element.id);
        let known = matches!(element.id, id::TRACKS | id::ATTACHMENTS | id::TAGS | id::VOID);
        let read = element.id == id::VOID || of_kind.is_some_and(|part| part.at == element.at);
        known && read && element.sized && !element.cut
    }

    /// How to finish this file where it lies. `tell` hears of every piece that is kept or lost.
    ///
    /// # Errors
    /// `Unsupported` for a file that is not ours, and for one that is damaged before its last
    /// cluster or in its front: such a file is copied, and not written over.
    pub fn finish_in_place(&self, tell: &mut dyn FnMut(&Salvaged<'_>)) -> Result<InPlace> {
        let refuse = |what: &str, at| Err(Error::new(ErrorKind::Unsupported(what.to_owned()), at));
        if !self.is_ours() {
            return refuse("a file of another recorder cannot be finished where it lies", 0);
        }
        if let Some(at) = self.front_astray() {
            return refuse("its front is damaged, and it is to be copied", at);
        }
        let wanted = [id::INFO, id::TRACKS, id::ATTACHMENTS, id::TAGS];
        let position = |id| Some((id, self.parts.iter().find(|part| part.id == id)?.at as u64));
        let seeks =
            wanted.into_iter().filter_map(position).map(|(id, at)| (id, at - SEGMENT_START));
        let mut end = self.clusters_at as u64;
        let mut muxer = Muxer::resume(&self.header, seeks.collect(), end);
        let (mut head, mut is_over) = (None, false);
        for piece in self.salvage() {
            tell(&piece);
            let Salvaged::Kept(kept) = piece else {
                is_over = true;
                continue;
            };
            let Some(kept_end) = kept.end_in_place().filter(|_| !is_over && kept.at == end) else {
                return refuse("it is damaged before its end, and is to be copied", kept.at);
            };
            muxer.kept(&kept);
            end = kept_end;
            if !kept.head.is_empty() {
                head = Some(Patch { at: kept.at, bytes: kept.head });
                is_over = true;
            }
        }
        if end == self.clusters_at as u64 {
            return Err(Error::new(ErrorKind::Missing("every frame"), end));
        }
        let finish = muxer.finish();
        let bytes = end + finish.append.len() as u64;
        let mut steps = Vec::new();
        // An index that is there already may be pointed at already, and is not cut off again.
        if head.is_some() || self.bytes.get(end as usize..) != Some(&finish.append[..]) {
            steps.extend((self.bytes.len() as u64 > end).then_some(Step::Cut(end)));
            steps.extend(head.map(Step::Write));
            steps.push(Step::Sync);
            steps.push(Step::Write(Patch { at: end, bytes: finish.append }));
            steps.push(Step::Sync);
        }
        steps.extend(finish.patches.into_iter().map(Step::Write));
        steps.push(Step::Sync);
        Ok(InPlace { steps, bytes })
    }
}
