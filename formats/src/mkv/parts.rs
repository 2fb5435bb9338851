//! The parts of a file's front, read into values. Every count and length is limited: no file makes
//! the reader take more memory than its front is long, and fronts are short.

use super::schema::{Attachment, Cue, Info, Tag, Target, Track, TrackKind};
use crate::ebml::{Element, id};
use crate::{Error, ErrorKind, Result};

/// Limits beyond which no sound recording goes.
const TRACKS_MAX: usize = 1000;
const TAGS_MAX: usize = 100_000;
const ATTACHMENTS_MAX: usize = 1000;
const ATTACHMENT_BYTES_MAX: usize = 256 << 20;
const SEEKS_MAX: usize = 1000;

fn limited(what: &'static str, at: usize, size: usize, limit: usize) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    let kind = ErrorKind::TooLarge { what, size: size as u64, limit: limit as u64 };
    Err(Error::new(kind, at as u64))
}

/// Children with `id`, whole ones.
fn each<'a>(
    bytes: &'a [u8],
    parent: &Element,
    id: u32,
) -> impl Iterator<Item = Result<Element>> + 'a {
    parent.children(bytes).filter(move |child| match child {
        Ok(child) => child.id == id,
        Err(_) => true,
    })
}

pub(super) fn info(bytes: &[u8], element: &Element) -> Result<Info> {
    let mut info = Info { timestamp_scale_ns: 1_000_000, ..Info::default() };
    for child in element.children(bytes) {
        let child = child?;
        match child.id {
            id::TIMESTAMP_SCALE => info.timestamp_scale_ns = child.uint(bytes)?,
            id::MUXING_APP => info.muxing_app = child.text(bytes),
            id::WRITING_APP => info.writing_app = child.text(bytes),
            id::TITLE => info.title = child.text(bytes),
            id::DATE_UTC => info.date_utc_ns = Some(child.uint(bytes)? as i64),
            id::DURATION => info.duration_ticks = Some(child.float(bytes)?),
            _ => {}
        }
    }
    if info.timestamp_scale_ns == 0 {
        return Err(element.error("a time scale of 0"));
    }
    Ok(info)
}

pub(super) fn tracks(bytes: &[u8], element: &Element) -> Result<Vec<Track>> {
    let mut tracks = Vec::new();
    for entry in each(bytes, element, id::TRACK_ENTRY) {
        limited("a number of tracks", element.at, tracks.len() + 1, TRACKS_MAX)?;
        tracks.push(track(bytes, &entry?)?);
    }
    Ok(tracks)
}

pub(super) fn track(bytes: &[u8], entry: &Element) -> Result<Track> {
    let mut track = Track {
        number: 0,
        uid: 0,
        kind: TrackKind::Other(0),
        codec_id: String::new(),
        name: String::new(),
        codec_private: Vec::new(),
        default_duration_ns: None,
    };
    let (mut kind, mut size) = (0, (0, 0));
    for child in entry.children(bytes) {
        let child = child?;
        match child.id {
            id::TRACK_NUMBER => track.number = child.uint(bytes)?,
            id::TRACK_UID => track.uid = child.uint(bytes)?,
            id::TRACK_TYPE => kind = child.uint(bytes)?,
            id::CODEC_ID => track.codec_id = child.text(bytes),
            id::NAME => track.name = child.text(bytes),
            id::CODEC_PRIVATE => track.codec_private = child.bytes(bytes).to_vec(),
            id::DEFAULT_DURATION => track.default_duration_ns = Some(child.uint(bytes)?),
            id::VIDEO => size = video(bytes, &child)?,
            _ => {}
        }
    }
    track.kind = match kind {
        1 => TrackKind::Video { width: size.0, height: size.1 },
        17 => TrackKind::Subtitle,
        other => TrackKind::Other(other),
    };
    Ok(track)
}

fn video(bytes: &[u8], element: &Element) -> Result<(u64, u64)> {
    let mut size = (0, 0);
    for child in element.children(bytes) {
        let child = child?;
        match child.id {
            id::PIXEL_WIDTH => size.0 = child.uint(bytes)?,
            id::PIXEL_HEIGHT => size.1 = child.uint(bytes)?,
            _ => {}
        }
    }
    Ok(size)
}

pub(super) fn attachments(bytes: &[u8], element: &Element) -> Result<Vec<Attachment>> {
    let size = element.content.len();
    limited("an amount of attached bytes", element.at, size, ATTACHMENT_BYTES_MAX)?;
    let mut attachments = Vec::new();
    for file in each(bytes, element, id::ATTACHED_FILE) {
        limited("a number of attachments", element.at, attachments.len() + 1, ATTACHMENTS_MAX)?;
        let mut attachment =
            Attachment { name: String::new(), mime: String::new(), uid: 0, data: Vec::new() };
        for child in file?.children(bytes) {
            let child = child?;
            match child.id {
                id::FILE_NAME => attachment.name = child.text(bytes),
                id::FILE_MIME_TYPE => attachment.mime = child.text(bytes),
                id::FILE_UID => attachment.uid = child.uint(bytes)?,
                id::FILE_DATA => attachment.data = child.bytes(bytes).to_vec(),
                _ => {}
            }
        }
        attachments.push(attachment);
    }
    Ok(attachments)
}

/// The first SimpleTag of each Tag: others are invisible to the official reader, and so to its
/// writers.
pub(super) fn tags(bytes: &[u8], element: &Element) -> Result<Vec<Tag>> {
    let mut tags = Vec::new();
    for tag in each(bytes, element, id::TAG) {
        limited("a number of tags", element.at, tags.len() + 1, TAGS_MAX)?;
        let (mut target, mut simple) = (Target::File, None);
        for child in tag?.children(bytes) {
            let child = child?;
            match child.id {
                id::TARGETS => target = tag_target(bytes, &child)?,
                id::SIMPLE_TAG => {
                    simple.get_or_insert(child);
                }
                _ => {}
            }
        }
        if let Some(simple) = simple {
            let (mut name, mut value) = (String::new(), String::new());
            for child in simple.children(bytes) {
                let child = child?;
                match child.id {
                    id::TAG_NAME => name = child.text(bytes),
                    id::TAG_STRING => value = child.text(bytes),
                    _ => {}
                }
            }
            tags.push(Tag { target, name, value });
        }
    }
    Ok(tags)
}

fn tag_target(bytes: &[u8], targets: &Element) -> Result<Target> {
    let mut target = Target::File;
    for child in targets.children(bytes) {
        let child = child?;
        match child.id {
            id::TAG_TRACK_UID => target = Target::Track(child.uint(bytes)?),
            id::TAG_ATTACHMENT_UID => target = Target::Attachment(child.uint(bytes)?),
            _ => {}
        }
    }
    Ok(target)
}

pub(super) fn cues(
    bytes: &[u8],
    element: &Element,
    segment_start: usize,
    scale_ns: u64,
) -> Result<Vec<Cue>> {
    let mut cues = Vec::new();
    for point in each(bytes, element, id::CUE_POINT) {
        let mut cue = Cue { time_ns: 0, track: 0, cluster_at: 0 };
        for child in point?.children(bytes) {
            let child = child?;
            match child.id {
                id::CUE_TIME => cue.time_ns = child.uint(bytes)?.saturating_mul(scale_ns),
                id::CUE_TRACK_POSITIONS => {
                    for position in child.children(bytes) {
                        let position = position?;
                        let value = position.uint(bytes);
                        match position.id {
                            id::CUE_TRACK => cue.track = value?,
                            id::CUE_CLUSTER_POSITION => {
                                cue.cluster_at = value?.saturating_add(segment_start as u64);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        cues.push(cue);
    }
    Ok(cues)
}

/// Where the SeekHead says that elements are, counted from the Segment's content; what is malformed
/// is left out.
pub(super) fn seeks(bytes: &[u8], seek_head: &Element) -> Vec<(u32, u64)> {
    let mut seeks = Vec::new();
    for seek in each(bytes, seek_head, id::SEEK).flatten().take(SEEKS_MAX) {
        let (mut target, mut position) = (None, None);
        for child in seek.children(bytes).flatten() {
            match child.id {
                id::SEEK_ID => {
                    target = child.uint(bytes).ok().and_then(|id| u32::try_from(id).ok());
                }
                id::SEEK_POSITION => position = child.uint(bytes).ok(),
                _ => {}
            }
        }
        seeks.extend(target.zip(position));
    }
    seeks
}

/// The elements outside of clusters that hold elements.
const MASTERS: [u32; 17] = [
    id::EBML,
    id::SEEK_HEAD,
    id::SEEK,
    id::INFO,
    id::TRACKS,
    id::TRACK_ENTRY,
    id::VIDEO,
    id::ATTACHMENTS,
    id::ATTACHED_FILE,
    id::TAGS,
    id::TAG,
    id::TARGETS,
    id::SIMPLE_TAG,
    id::CHAPTERS,
    id::CUES,
    id::CUE_POINT,
    id::CUE_TRACK_POSITIONS,
];

/// How deep the parts of a front are nested: `Tags` holds `Tag` holds `Targets`. Deeper ones are a
/// trap for readers that follow them.
const DEPTH_MAX: usize = 4;

/// Adds `element`, and what it holds, where the checksum says that its bytes are not those that
/// were written.
pub(super) fn changed(bytes: &[u8], element: &Element, found: &mut Vec<Error>) {
    changed_within(bytes, element, DEPTH_MAX, found);
}

fn changed_within(bytes: &[u8], element: &Element, depth: usize, found: &mut Vec<Error>) {
    if depth == 0 || !MASTERS.contains(&element.id) {
        return;
    }
    if element.checksum(bytes) == Some(false) {
        found.push(Error::new(ErrorKind::Changed(name(element.id)), element.at as u64));
    }
    for child in element.children(bytes).flatten() {
        changed_within(bytes, &child, depth - 1, found);
    }
}

fn name(id: u32) -> &'static str {
    match id {
        id::EBML => "the head of the file",
        id::SEEK_HEAD => "the table of contents",
        id::INFO => "the segment information",
        id::TRACKS => "the list of tracks",
        id::ATTACHMENTS => "the list of attachments",
        id::TAGS => "the list of tags",
        id::CUES => "the index",
        _ => "an element",
    }
}

/// The first element in `element`, or in what it holds, whose length does not fit what holds it.
/// Reading goes on around such an element, but a sound file has none.
pub(super) fn fault(bytes: &[u8], element: &Element) -> Option<Error> {
    fault_within(bytes, element, DEPTH_MAX)
}

fn fault_within(bytes: &[u8], element: &Element, depth: usize) -> Option<Error> {
    if element.cut || !element.sized {
        return Some(element.error("an element that does not fit what holds it"));
    }
    if !MASTERS.contains(&element.id) {
        return None;
    }
    if depth == 0 {
        return Some(element.error("an element nested deeper than any in a recording"));
    }
    element.children(bytes).find_map(|child| match child {
        Ok(child) => fault_within(bytes, &child, depth - 1),
        Err(error) => Some(error),
    })
}
