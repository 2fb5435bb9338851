//! Parts of a file laid out once more with something else in them, and all around it byte for byte.

use super::block::ReadBlock;
use super::demux::Demuxer;
use super::kept::{Kept, Times};
use super::parts;
use super::schema::{Parts, Tag, Track};
use super::sum::Sum;
use crate::Result;
use crate::ebml::{Element, id, put_id, put_size_of_width, size_width};

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Same,
    /// It gets another payload.
    Other,
    /// It is left out.
    Gone,
}

/// A cluster with other payloads in its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recast {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Of all its bytes.
    pub(super) sum: Sum,
    pub(super) times: Times,
}

impl Recast {
    /// Its bytes, in order.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.sum.bytes
    }

    /// Whether no block is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

impl<'a> Kept<'a> {
    /// Its elements: of a cluster that is kept as a whole all, else its time and its blocks.
    fn elements(&self) -> impl Iterator<Item = Element> + use<'a> {
        let bytes = self.bytes;
        let whole = self.head.is_empty();
        let time = (!whole).then(|| self.timestamp.clone());
        let ranges = time.into_iter().chain(self.body.clone());
        ranges.flat_map(move |range| {
            let outside = Element { id: 0, at: 0, content: range, sized: true, cut: false };
            let cluster = whole.then(|| outside.children(bytes).next()?.ok()).flatten();
            cluster.unwrap_or(outside).children(bytes).flatten()
        })
    }

    /// Byte offset behind the last of what is kept of it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.body.last().map_or(self.at, |range| range.end as u64)
    }

    /// Its blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = ReadBlock<'a>> + use<'a> {
        let (bytes, time) = (self.bytes, self.time);
        let is_block = |element: &Element| matches!(element.id, id::SIMPLE_BLOCK | id::BLOCK_GROUP);
        let blocks = self.elements().filter(is_block);
        blocks.filter_map(move |element| ReadBlock::read(bytes, &element, time).ok())
    }

    /// Lays the cluster out with other payloads: `each` says what becomes of a block, and puts what
    /// is to stand behind the block's head, if that changes, into a vector that is empty.
    ///
    /// A checksum that denied the bytes before denies those after, by as much: what was damaged
    /// does not come out as sound.
    #[must_use]
    pub fn recast(&self, each: &mut dyn FnMut(&ReadBlock<'a>, &mut Vec<u8>) -> Fate) -> Recast {
        let (mut head, mut times) = (Vec::new(), Times::default());
        let whole = self.body.first().filter(|_| self.head.is_empty());
        let cluster = whole.and_then(|all| Element::read(self.bytes, all.start, all.end).ok());
        let mut body = Vec::with_capacity(self.len() as usize);
        if cluster.is_none() {
            // As a repair writes it: with a checksum.
            body.extend_from_slice(&[0xBF, 0x84, 0, 0, 0, 0]);
        }
        let mut payload = Vec::new();
        for element in self.elements() {
            if !matches!(element.id, id::SIMPLE_BLOCK | id::BLOCK_GROUP) {
                // Where a cluster stands is written anew with the index, and not in it.
                if !matches!(element.id, id::POSITION | id::PREV_SIZE) {
                    body.extend_from_slice(&self.bytes[element.at..element.content.end]);
                }
                continue;
            }
            let Ok(block) = ReadBlock::read(self.bytes, &element, self.time) else { continue };
            payload.clear();
            match each(&block, &mut payload) {
                Fate::Gone => continue,
                Fate::Same => body.extend_from_slice(&self.bytes[element.at..element.content.end]),
                Fate::Other => put_block(self.bytes, &element, &payload, &mut body),
            }
            times.meet(&block, self.time.scale_ns);
        }
        match &cluster {
            Some(cluster) => renew_checksum(self.bytes, cluster, &mut body),
            None => put_checksum(&mut body, 6, 0),
        }
        put_head(cluster.as_ref(), id::CLUSTER, body.len(), &mut head);
        let sum = Sum::of(&head).then(Sum::of(&body));
        Recast { head, body, sum, times }
    }
}

impl Demuxer<'_> {
    /// Tracks, attachments and tags as the file has them, but for the codecs of the tracks that
    /// `each` gives another form, and with `more` tags behind its own.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn parts_recast(
        &self,
        more: &[Tag],
        each: &dyn Fn(&Track) -> Result<Option<Track>>,
    ) -> Result<Parts> {
        let mut parts = self.parts_with(more);
        let old = std::mem::take(&mut parts.tracks);
        let whole = Element::read(&old, 0, old.len())?;
        let mut failed = None;
        master(&old, &whole, &mut parts.tracks, &mut |entry, content| {
            let track = match entry.id {
                id::TRACK_ENTRY => parts::track(&old, entry).and_then(|track| each(&track)),
                _ => Ok(None),
            };
            match track {
                Ok(Some(track)) => put_entry(&old, entry, &track, content),
                Ok(None) => content.extend_from_slice(&old[entry.at..entry.content.end]),
                Err(error) => failed = failed.take().or(Some(error)),
            }
        });
        failed.map_or(Ok(parts), Err)
    }
}

/// A track's entry with the codec of `track`.
fn put_entry(bytes: &[u8], entry: &Element, track: &Track, out: &mut Vec<u8>) {
    master(bytes, entry, out, &mut |child, content| {
        let other = match child.id {
            id::CODEC_ID => track.codec_id.as_bytes(),
            id::CODEC_PRIVATE => &track.codec_private,
            _ => return content.extend_from_slice(&bytes[child.at..child.content.end]),
        };
        put_head(Some(child), child.id, other.len(), content);
        content.extend_from_slice(other);
    });
}

/// A block with another payload: in the element that it had, behind the head that it had.
fn put_block(bytes: &[u8], element: &Element, payload: &[u8], out: &mut Vec<u8>) {
    if element.id == id::BLOCK_GROUP {
        return master(bytes, element, out, &mut |child, content| match child.id {
            id::BLOCK => put_block(bytes, child, payload, content),
            _ => content.extend_from_slice(&bytes[child.at..child.content.end]),
        });
    }
    let content = element.bytes(bytes);
    // Track, time and flags; it was read a moment ago.
    let head = crate::ebml::number(content).map_or(0, |(_, width)| width + 3);
    put_head(Some(element), element.id, head + payload.len(), out);
    out.extend_from_slice(content.get(..head).unwrap_or_default());
    out.extend_from_slice(payload);
}

/// Lays an element out once more: its checksum renewed, of its other children what `each` makes.
fn master(
    bytes: &[u8],
    element: &Element,
    out: &mut Vec<u8>,
    each: &mut dyn FnMut(&Element, &mut Vec<u8>),
) {
    let mut content = Vec::with_capacity(element.content.len() + 64);
    for child in element.children(bytes).flatten() {
        match child.id {
            id::CRC_32 => content.extend_from_slice(&bytes[child.at..child.content.end]),
            _ => each(&child, &mut content),
        }
    }
    renew_checksum(bytes, element, &mut content);
    put_head(Some(element), element.id, content.len(), out);
    out.extend_from_slice(&content);
}

/// The head of an element with so much content. A size that had more bytes than it needed has as
/// many more now: what is packed and unpacked comes out bit for bit.
fn put_head(before: Option<&Element>, id: u32, content: usize, out: &mut Vec<u8>) {
    let id_bytes = 4 - id.leading_zeros() as usize / 8;
    let more = before.filter(|before| before.sized).map_or(0, |before| {
        let width = before.content.start - before.at - id_bytes;
        width.saturating_sub(size_width(before.content.len() as u64))
    });
    put_id(out, id);
    put_size_of_width(out, content as u64, (size_width(content as u64) + more).min(8));
}

/// Renews the checksum at the beginning of `content`, if `before` has one.
fn renew_checksum(bytes: &[u8], before: &Element, content: &mut [u8]) {
    let first = before.children(bytes).next().and_then(std::result::Result::ok);
    let Some(first) = first.filter(|first| first.id == id::CRC_32) else { return };
    let said = first.bytes(bytes).first_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
    let covered = bytes.get(first.content.end..before.content.end).unwrap_or_default();
    let (Some(said), 4) = (said, first.content.len()) else { return };
    let off_by = said ^ crc32fast::hash(covered);
    put_checksum(content, first.content.end - first.at, off_by);
}

/// Puts the checksum of what is behind the first `head` bytes into their last four.
fn put_checksum(content: &mut [u8], head: usize, off_by: u32) {
    if let Some((head, covered)) = content.split_at_mut_checked(head)
        && let Some(place) = head.last_chunk_mut::<4>()
    {
        *place = (crc32fast::hash(covered) ^ off_by).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::super::salvage::Salvaged;
    use super::super::schema::{Header, Info, TrackKind};
    use super::super::{Block, ClusterLayout, Muxer, Payload};
    use super::*;
    use crate::ebml::Writer;

    fn track(number: u64) -> Track {
        Track {
            number,
            uid: number + 7,
            kind: TrackKind::Video { width: 4, height: 2 },
            codec_id: "V_MS/VFW/FOURCC".to_owned(),
            name: "DEPTH".to_owned(),
            codec_private: vec![number as u8; 40],
            default_duration_ns: Some(33_333_333),
        }
    }

    /// A file of one cluster with these blocks behind its time; sizes are as wide as they need, or
    /// eight bytes.
    fn file(blocks: &[u8], wide: bool) -> Vec<u8> {
        let info = Info { timestamp_scale_ns: 1000, ..Info::default() };
        let header = Header { info, tracks: vec![track(1), track(2)], ..Header::default() };
        let (_, mut file) = Muxer::new(&header);
        let mut content = vec![0xBF, 0x84, 0, 0, 0, 0, 0xE7, 0x81, 5];
        content.extend_from_slice(blocks);
        put_checksum(&mut content, 6, 0);
        put_id(&mut file, id::CLUSTER);
        let needs = size_width(content.len() as u64);
        put_size_of_width(&mut file, content.len() as u64, if wide { 8 } else { needs });
        file.extend(content);
        file
    }

    fn kept<'a>(demuxer: &Demuxer<'a>) -> Kept<'a> {
        match demuxer.salvage().next() {
            Some(Salvaged::Kept(kept)) => kept,
            other => panic!("{other:?}"),
        }
    }

    /// The file with other payloads of track 2: what `change` makes of the old ones.
    fn recast(file: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let demuxer = Demuxer::open(file).expect("it opens");
        let recast = kept(&demuxer).recast(&mut |block, payload| {
            if block.track != 2 {
                return Fate::Same;
            }
            *payload = change(block.frames.clone().next().expect("a frame"));
            Fate::Other
        });
        let front = file.len() - kept(&demuxer).len() as usize;
        let cluster = recast.pieces().concat();
        assert_eq!((cluster.len() as u64, recast.sum), (recast.len(), Sum::of(&cluster)));
        assert_eq!(recast.times.first_of(Some(2)), Some(12_000));
        [&file[..front], &cluster].concat()
    }

    fn longer(payload: &[u8]) -> Vec<u8> {
        [payload, &[9; 5]].concat()
    }

    fn blocks() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.binary(id::SIMPLE_BLOCK, &[0x81, 0, 3, 0x80, 1, 1, 1]);
        writer.binary(id::SIMPLE_BLOCK, &[&[0x82, 0, 7, 0x80], &[5; 120][..]].concat());
        writer.master(id::BLOCK_GROUP, |group| {
            group.binary(id::BLOCK, &[0x82, 0, 9, 0, 6, 6, 6]);
            group.uint(id::BLOCK_DURATION, 700);
        });
        writer.master_with_crc(id::BLOCK_GROUP, |group| {
            group.binary(id::BLOCK, &[0x81, 0, 9, 4, 1, 6, 6, 6, 6]);
        });
        writer.into_bytes()
    }

    #[test]
    fn what_gets_another_payload_and_its_own_again_is_what_it_was() {
        for wide in [false, true] {
            let file = file(&blocks(), wide);
            // From a size of one byte to one of two, and back.
            let other = recast(&file, longer);
            assert_eq!(other.len(), file.len() + 2 * 5 + 1, "one size became wider");
            assert_eq!(recast(&other, |payload| payload[..payload.len() - 5].to_vec()), file);
        }
    }

    #[test]
    fn a_checksum_that_denies_goes_on_to() {
        let mut file = file(&blocks(), false);
        let sound = Demuxer::open(&file).is_ok_and(|demuxer| !kept(&demuxer).changed);
        let last = file.len() - 1;
        file[last] ^= 1;
        let other = recast(&file, longer);
        let changed = Demuxer::open(&other).is_ok_and(|demuxer| kept(&demuxer).changed);
        assert!(sound && changed);
    }

    #[test]
    fn blocks_that_are_left_out_leave_no_trace() {
        let mut layout = ClusterLayout::default();
        let info = Info { timestamp_scale_ns: 1000, ..Info::default() };
        let header = Header { info, tracks: vec![track(1), track(2)], ..Header::default() };
        let (muxer, mut file) = Muxer::new(&header);
        let lace = Payload::Laced { bytes: &[7; 80], frame_bytes: 40, duration_ticks: 601 };
        let blocks = [Block::frame(1, 5, &[1]), Block { track: 2, time_ticks: 6, payload: lace }];
        muxer.cluster(&blocks, &mut layout).expect("sound");
        layout.pieces(&blocks).for_each(|piece| file.extend_from_slice(piece));
        let demuxer = Demuxer::open(&file).expect("it opens");
        let without = |track| {
            kept(&demuxer).recast(&mut |block, _| match block.track == track {
                true => Fate::Gone,
                false => Fate::Same,
            })
        };
        muxer.cluster(&blocks[..1], &mut layout).expect("sound");
        let alone: Vec<u8> = layout.pieces(&blocks[..1]).flatten().copied().collect();
        assert_eq!(without(2).pieces().concat(), alone);
        assert_eq!((without(2).times.last_ns, without(1).times.last_ns), (5000, 606_000));
        let none = kept(&demuxer).recast(&mut |_, _| Fate::Gone);
        assert!(none.is_empty());
    }

    #[test]
    fn a_track_gets_another_codec_and_its_own_again_bit_for_bit() {
        let file = file(&blocks(), false);
        let demuxer = Demuxer::open(&file).expect("it opens");
        let packed = |track: &Track| Track {
            codec_id: "V_OTHER/LONGER_THAN_BEFORE".to_owned(),
            codec_private: [&[1], &track.codec_private[..]].concat(),
            ..track.clone()
        };
        let other =
            demuxer.parts_recast(&[], &|track| Ok((track.number == 2).then(|| packed(track))));
        let other = other.expect("they are read");
        let (_, front) = Muxer::with_parts(demuxer.header(), &other);
        let there = [&front, &file[file.len() - kept(&demuxer).len() as usize..]].concat();
        let demuxer = Demuxer::open(&there).expect("it opens");
        assert_eq!(demuxer.header().tracks, [track(1), packed(&track(2))]);
        let back = demuxer.parts_recast(&[], &|one| Ok((one.number == 2).then(|| track(2))));
        let was = Demuxer::open(&file).expect("it opens").parts_with(&[]);
        assert_eq!(back, Ok(was));
    }
}
