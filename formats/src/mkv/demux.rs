//! The demuxer: bytes in, values out.
//!
//! Reads what the official writer makes, finished or not, and what other tools make of it
//! (recording-format.md 0.2 and 10). What is odd but readable is noted, with its byte offset.

use super::cluster::{Clusters, next_cluster};
use super::parts;
use super::schema::{Cue, Header};
use crate::ebml::{Element, id, is_top_level};
use crate::{Error, ErrorKind, Result};

/// Something odd that does not keep the file from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Byte offset of what is odd.
    pub at: u64,
    /// What is odd.
    pub text: &'static str,
}

/// A Matroska file.
#[derive(Debug, Clone)]
pub struct Demuxer<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) header: Header,
    notes: Vec<Note>,
    cues: Vec<Cue>,
    pub(super) segment_at: usize,
    pub(super) clusters_at: usize,
    end: usize,
    finished: bool,
    /// The parts that were read, wherever they stand.
    pub(super) parts: Vec<Element>,
}

/// Ticks of 1 us, as every official writer since 1.0 makes them: assumed for a recording that was
/// killed before it could say so (recording-format.md 8.5).
const SCALE_ASSUMED_NS: u64 = 1000;

/// A note that is no fault of the recording.
pub(super) const BEHIND_THE_END: &str = "bytes behind the end of the recording: not read";

/// Matroska's own default.
const SCALE_DEFAULT_NS: u64 = 1_000_000;

impl<'a> Demuxer<'a> {
    /// Reads the front of a file.
    ///
    /// # Errors
    /// `NotMatroska`, or what is missing or malformed in the front, with its offset.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let demuxer = Self::open_with(bytes, segment_end)?;
        if demuxer.finished && demuxer.end < bytes.len() && demuxer.is_cut_by_its_end() {
            // Written on behind a flush, whose size for the Segment no longer holds.
            return Self::open_with(bytes, |bytes, segment, notes| {
                let text = "a cluster across the segment's end: the recording was not finished";
                notes.push(Note { at: segment.at as u64, text });
                bytes.len()
            });
        }
        Ok(demuxer)
    }

    fn open_with(
        bytes: &'a [u8],
        segment_end: impl FnOnce(&[u8], &Element, &mut Vec<Note>) -> usize,
    ) -> Result<Self> {
        let segment = segment(bytes)?;
        let mut notes = Vec::new();
        let end = segment_end(bytes, &segment, &mut notes);
        let finished = segment.sized && !segment.content.is_empty() && end == segment.content.end;
        let mut front = Front::default();
        let clusters_at = front.walk(bytes, segment.content.start, end)?;
        front.follow_seek_head(bytes, segment.content.start, end, &mut notes);
        if front.tracks.is_none() || front.info.is_none() || front.tags.is_none() {
            front.search_behind_clusters(bytes, clusters_at, end);
        }
        let mut demuxer = Self {
            bytes,
            header: Header::default(),
            notes,
            cues: Vec::new(),
            segment_at: segment.content.start,
            clusters_at,
            end,
            finished: finished && !segment.cut,
            parts: front.parts().cloned().collect(),
        };
        demuxer.read_parts(&front, segment.content.start)?;
        Ok(demuxer)
    }

    /// Whether a cluster reaches beyond what the Segment says of its end. An index that can be used
    /// stands behind the last cluster, and then none does.
    fn is_cut_by_its_end(&self) -> bool {
        self.cues.is_empty() && self.clusters().flatten().last().is_some_and(|c| !c.is_complete())
    }

    fn read_parts(&mut self, front: &Front, segment_start: usize) -> Result<()> {
        let tracks = front.tracks.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Missing("the list of tracks"), segment_start as u64)
        })?;
        self.header.tracks = parts::tracks(self.bytes, tracks)?;
        if let Some(element) = &front.attachments {
            self.header.attachments = parts::attachments(self.bytes, element)?;
        }
        if let Some(element) = &front.tags {
            self.header.tags = parts::tags(self.bytes, element)?;
        }
        match &front.info {
            Some(element) => self.header.info = parts::info(self.bytes, element)?,
            None => self.note(segment_start, "no segment information: never finished"),
        }
        let scale_ns = &mut self.header.info.timestamp_scale_ns;
        if *scale_ns == 0 {
            let k4a = self.header.tags.iter().any(|tag| tag.name.starts_with("K4A_"))
                || self.header.tracks.iter().any(|track| track.codec_id.starts_with("S_K4A/"));
            let assume = k4a && front.info.is_none();
            *scale_ns = if assume { SCALE_ASSUMED_NS } else { SCALE_DEFAULT_NS };
        }
        if let Some(element) = &front.cues {
            let scale_ns = *scale_ns;
            let cues = parts::cues(self.bytes, element, segment_start, scale_ns);
            let sound = |cue: &Cue| {
                let at = usize::try_from(cue.cluster_at).unwrap_or(usize::MAX);
                Element::read(self.bytes, at, self.end).is_ok_and(|e| e.id == id::CLUSTER)
            };
            match cues {
                Ok(cues) if cues.iter().all(sound) => self.cues = cues,
                _ => self.note(element.at, "an index that does not point at clusters: not used"),
            }
        }
        Ok(())
    }

    fn note(&mut self, at: usize, text: &'static str) {
        self.notes.push(Note { at: at as u64, text });
    }

    /// The front of the file.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What is odd.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The index; empty where there is none that can be used.
    #[must_use]
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// Whether the file was closed by who wrote it, and is all there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What is wrong in the front of the file and could be read around; nothing in a sound file.
    /// Other readers are less forgiving: some reserve as much memory as a broken length says.
    #[must_use]
    pub fn front_fault(&self) -> Option<Error> {
        let all = |at, end| Element { id: 0, at, content: at..end, sized: true, cut: false };
        let head = all(0, self.bytes.len()).children(self.bytes).take(1);
        let front = all(self.segment_at, self.clusters_at).children(self.bytes);
        head.chain(front).find_map(|element| match element {
            Ok(element) => parts::fault(self.bytes, &element),
            Err(error) => Some(error),
        })
    }

    /// Every element of the front and the index that carries a checksum and does not have the
    /// bytes that were written.
    #[must_use]
    pub fn changed_parts(&self) -> Vec<Error> {
        let mut changed = Vec::new();
        let all = 0..self.bytes.len();
        let head = Element { id: 0, at: 0, content: all, sized: true, cut: false };
        let head = head.children(self.bytes).take(1).flatten();
        for part in head.chain(self.parts.iter().cloned()) {
            parts::changed(self.bytes, &part, &mut changed);
        }
        changed
    }

    /// Every cluster, in file order.
    #[must_use]
    pub fn clusters(&self) -> Clusters<'a> {
        self.clusters_from(self.clusters_at as u64)
    }

    /// The clusters from byte offset `at` on, which is a cluster's own.
    #[must_use]
    pub fn clusters_from(&self, at: u64) -> Clusters<'a> {
        let at = usize::try_from(at).unwrap_or(self.end);
        Clusters::new(self.bytes, at, self.end, self.header.info.timestamp_scale_ns)
    }
}

/// The Segment behind the EBML head.
fn segment(bytes: &[u8]) -> Result<Element> {
    let not_matroska = |_| Error::new(ErrorKind::NotMatroska, 0);
    let head = Element::read(bytes, 0, bytes.len()).map_err(not_matroska)?;
    if head.id != id::EBML || head.cut || !head.sized {
        return Err(Error::new(ErrorKind::NotMatroska, 0));
    }
    for child in head.children(bytes) {
        let child = child?;
        if child.id == id::DOC_TYPE && !matches!(child.text(bytes).as_str(), "matroska" | "webm") {
            return Err(Error::new(ErrorKind::NotMatroska, child.at as u64));
        }
    }
    let rest = Element { content: head.content.end..bytes.len(), ..head };
    for element in rest.children(bytes) {
        let element = element?;
        if element.id == id::SEGMENT {
            return Ok(element);
        }
    }
    Err(Error::new(ErrorKind::Missing("the segment"), rest.content.start as u64))
}

/// Where the Segment really ends. A size of 0, or one that clusters follow, was written by a
/// recorder that never came to correct it.
fn segment_end(bytes: &[u8], segment: &Element, notes: &mut Vec<Note>) -> usize {
    let mut note = |text| notes.push(Note { at: segment.at as u64, text });
    if !segment.sized {
        note("a segment of unknown size: the recording was not finished");
        return bytes.len();
    }
    if segment.cut {
        note("the file ends before its segment does: it was cut");
        return bytes.len();
    }
    let end = segment.content.end;
    if segment.content.is_empty() && end < bytes.len() {
        note("a segment of size 0: the recording was not finished");
        return bytes.len();
    }
    if next_cluster(bytes, end, bytes.len()) < bytes.len() {
        note("clusters behind the segment's end: the recording was not finished");
        return bytes.len();
    }
    if end < bytes.len() {
        notes.push(Note { at: end as u64, text: BEHIND_THE_END });
    }
    end
}

/// Where the parts of the front are.
#[derive(Debug, Default)]
struct Front {
    info: Option<Element>,
    tracks: Option<Element>,
    attachments: Option<Element>,
    tags: Option<Element>,
    cues: Option<Element>,
    seek_head: Option<Element>,
}

impl Front {
    /// Keeps an element; the first of a kind wins.
    fn keep(&mut self, element: Element) {
        let place = match element.id {
            id::INFO => &mut self.info,
            id::TRACKS => &mut self.tracks,
            id::ATTACHMENTS => &mut self.attachments,
            id::TAGS => &mut self.tags,
            id::CUES => &mut self.cues,
            id::SEEK_HEAD => &mut self.seek_head,
            _ => return,
        };
        if !element.cut && element.sized {
            place.get_or_insert(element);
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Element> {
        let Self { info, tracks, attachments, tags, cues, seek_head } = self;
        [seek_head, info, tracks, attachments, tags, cues].into_iter().flatten()
    }

    /// Keeps what stands before the first cluster, and gives where that is.
    fn walk(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<usize> {
        let mut at = start;
        while at < end {
            let Ok(element) = Element::read(bytes, at, end) else {
                return Ok(next_cluster(bytes, at, end));
            };
            if element.id == id::CLUSTER {
                return Ok(at);
            }
            if is_top_level(element.id) && element.cut {
                let text = "the front of the file";
                return Err(Error::new(ErrorKind::Truncated(text), element.at as u64));
            }
            if element.cut || !element.sized {
                return Ok(next_cluster(bytes, at, end));
            }
            at = element.content.end;
            self.keep(element);
        }
        Ok(end)
    }

    /// Keeps what the SeekHead points at and is really there.
    fn follow_seek_head(&mut self, bytes: &[u8], start: usize, end: usize, notes: &mut Vec<Note>) {
        let Some(seek_head) = self.seek_head.clone() else {
            return;
        };
        for (id, position) in parts::seeks(bytes, &seek_head) {
            let at = usize::try_from(position).ok().and_then(|p| start.checked_add(p));
            match at.and_then(|at| Element::read(bytes, at, end).ok()) {
                Some(element) if element.id == id => self.keep(element),
                _ => notes.push(Note {
                    at: seek_head.at as u64,
                    text: "a seek entry that points at something else: not used",
                }),
            }
        }
    }

    /// Keeps what stands behind the first cluster: heads are read to the end of the file.
    fn search_behind_clusters(&mut self, bytes: &[u8], from: usize, end: usize) {
        let mut at = from;
        while at < end {
            let Ok(element) = Element::read(bytes, at, end) else {
                return;
            };
            if element.cut || !element.sized {
                return;
            }
            at = element.content.end;
            self.keep(element);
        }
    }
}
