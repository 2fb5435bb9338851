//! What is left of a file that was never finished, or was damaged since: what can be kept of it,
//! byte for byte, and what cannot.

use super::cluster::Clusters;
use super::demux::{BEHIND_THE_END, Demuxer};
use super::kept::{Kept, Lost};
use super::mux::put_tag;
use super::parts;
use super::schema::{Parts, Tag};
use crate::ebml::{Element, Writer, id};

/// A piece of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Salvaged<'a> {
    /// A cluster with every block that is whole.
    Kept(Kept<'a>),
    /// What is no cluster, and no other part of a recording.
    Lost(Lost),
}

/// The pieces of a file, in order.
#[derive(Debug, Clone)]
pub struct Salvage<'a> {
    clusters: Clusters<'a>,
}

impl<'a> Iterator for Salvage<'a> {
    type Item = Salvaged<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let cluster = match self.clusters.next()? {
                Ok(cluster) => cluster,
                Err(error) => {
                    let bytes = error.at as usize..self.clusters.at() as usize;
                    return Some(Salvaged::Lost(Lost::of(bytes, &error)));
                }
            };
            let lost = match Kept::of(&cluster) {
                Ok(kept) => return Some(Salvaged::Kept(kept)),
                Err(lost) => lost,
            };
            // A cluster without blocks is no loss, and the official reader takes one at the end for
            // a recording without length (recording-format.md 7.5).
            if let Some(first) = lost.into_iter().next() {
                let bytes = cluster.at()..cluster.end();
                return Some(Salvaged::Lost(Lost { bytes, what: first.what }));
            }
        }
    }
}

impl<'a> Demuxer<'a> {
    /// What can be kept of the file, and what cannot. Reads every byte of its clusters.
    #[must_use]
    pub fn salvage(&self) -> Salvage<'a> {
        Salvage { clusters: self.clusters() }
    }

    /// Whether the file was closed, and nothing in its front or its index keeps a reader from what
    /// is in it. Its clusters are not looked at.
    #[must_use]
    pub fn is_sound_around_clusters(&self) -> bool {
        let harmless = self.notes().iter().all(|note| note.text == BEHIND_THE_END);
        self.is_finished() && harmless && self.front_fault().is_none()
    }

    /// Whether the file has segment information: time scale, program, date.
    #[must_use]
    pub fn has_info(&self) -> bool {
        self.parts.iter().any(|part| part.id == id::INFO)
    }

    /// Tracks, attachments and tags as the file has them, with `more` tags behind its own.
    #[must_use]
    pub fn parts_with(&self, more: &[Tag]) -> Parts {
        let find = |id| self.parts.iter().find(|part| part.id == id);
        let bytes = |part: &Element| self.bytes[part.at..part.content.end].to_vec();
        let whole = |id| find(id).map(bytes).unwrap_or_default();
        let tags = if more.is_empty() { whole(id::TAGS) } else { self.tags_with(more) };
        Parts { tracks: whole(id::TRACKS), attachments: whole(id::ATTACHMENTS), tags }
    }

    fn tags_with(&self, more: &[Tag]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.master_with_crc(id::TAGS, |all| {
            let own = self.parts.iter().find(|part| part.id == id::TAGS);
            for child in own.into_iter().flat_map(|tags| tags.children(self.bytes)).flatten() {
                if child.cut || !child.sized {
                    // It would reach over what comes behind it. What is read of it is kept.
                    let alone = Element { content: child.at..child.content.end, ..child };
                    let read = parts::tags(self.bytes, &alone).unwrap_or_default();
                    read.iter().for_each(|tag| put_tag(all, tag));
                } else if child.id != id::CRC_32 {
                    all.raw(&self.bytes[child.at..child.content.end]);
                }
            }
            more.iter().for_each(|tag| put_tag(all, tag));
        });
        writer.into_bytes()
    }
}
