//! The muxer: values in, bytes out.
//!
//! The file is valid from its first byte: Info, Tracks, Attachments and Tags are complete before
//! the first cluster, and the Segment's size is unknown until the end. A crash between clusters
//! leaves a file that every reader opens (recording-format.md 8.7).

use super::cluster_layout::{Block, ClusterLayout};
use super::kept::{Kept, Times};
use super::recast::Recast;
use super::schema::{Attachment, Header, Info, Parts, Tag, Target, Track, TrackKind};
use super::sum::Sum;
use crate::ebml::{Writer, id};
use crate::{Error, ErrorKind, Result};

/// Where the Segment's content begins: behind the EBML head (40 bytes), its id and an 8-byte size.
/// Every position in the file counts from here.
pub(super) const SEGMENT_START: u64 = 52;

/// Bytes kept for the SeekHead and for Info, as the official writer keeps them (recording-format.md
/// 1.3).
pub(super) const SEEK_HEAD_RESERVE: usize = 1027;
pub(super) const INFO_RESERVE: usize = 259;

/// Least time between two cues, in nanoseconds: the official writer's own (recording-format.md 6).
const CUE_EVERY_NS: u64 = 1_000_000_000;

/// The id and size of the Cues, and a cue with numbers of eight bytes.
const CUES_HEAD_BYTES_MAX: u64 = 4 + 8;
const CUE_BYTES_MAX: u64 = 1 + 8 + (1 + 1 + 8) + (1 + 8) + (1 + 1 + 8) + (1 + 1 + 8);

/// Lays out a recording.
#[derive(Debug)]
pub struct Muxer {
    info: Info,
    tracks: Vec<u64>,
    seeks: Vec<(u32, u64)>,
    cues: Vec<Cue>,
    at: u64,
    end_ticks: u64,
    /// The front as it is now: it changes once more, when the file is closed.
    front: Vec<u8>,
    /// Of everything behind the front, as long as all of it was laid out here.
    rest: Option<Sum>,
}

#[derive(Debug, Clone, Copy)]
struct Cue {
    time_ticks: u64,
    track: u64,
    cluster_position: u64,
}

/// What closes a file: bytes to append, then bytes to overwrite, in this order. When a crash comes
/// between any two, the file still opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The Cues; empty where there is nothing to cue.
    pub append: Vec<u8>,
    /// What to overwrite in the front, first to last.
    pub patches: Vec<Patch>,
    /// CRC-32 of the whole file, then; none where some of its bytes were not laid out here.
    pub crc32: Option<u32>,
}

/// Bytes to overwrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Byte offset in the file.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Muxer {
    /// Lays out the front of a file. Gives the muxer and those bytes.
    #[must_use]
    pub fn new(header: &Header) -> (Self, Vec<u8>) {
        let parts = Parts {
            tracks: tracks(&header.tracks),
            attachments: attachments(&header.attachments),
            tags: tags(&header.tags),
        };
        Self::with_parts(header, &parts)
    }

    /// The same around parts that another file had, which are not laid out anew.
    #[must_use]
    pub fn with_parts(header: &Header, parts: &Parts) -> (Self, Vec<u8>) {
        let Parts { tracks, attachments, tags } = parts;
        let parts = [(id::TRACKS, tracks), (id::ATTACHMENTS, attachments), (id::TAGS, tags)];
        let mut seeks = vec![(id::INFO, SEEK_HEAD_RESERVE as u64)];
        let mut position = (SEEK_HEAD_RESERVE + INFO_RESERVE) as u64;
        for (id, bytes) in parts.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            seeks.push((*id, position));
            position += bytes.len() as u64;
        }
        let info = Info { duration_ticks: None, ..header.info.clone() };
        let mut front = ebml_head();
        front.extend(segment_head(None));
        front.extend(seek_head(&seeks));
        front.extend(info_with_void(&info));
        parts.iter().for_each(|(_, bytes)| front.extend_from_slice(bytes));
        let muxer = Self::resume(header, seeks, front.len() as u64);
        (Self { front: front.clone(), rest: Some(Sum::default()), ..muxer }, front)
    }

    /// A muxer of a file whose front is written, with these entries in its SeekHead, and whose
    /// first cluster is at `at`.
    pub(super) fn resume(header: &Header, seeks: Vec<(u32, u64)>, at: u64) -> Self {
        Self {
            info: Info { duration_ticks: None, ..header.info.clone() },
            tracks: header.tracks.iter().map(|track| track.number).collect(),
            seeks,
            cues: Vec::with_capacity(4096),
            at,
            end_ticks: 0,
            front: Vec::new(),
            rest: None,
        }
    }

    /// Lays out the next cluster: `blocks`, which are sorted by time. The bytes are `layout`'s
    /// pieces. Payloads are not copied, and nothing is allocated once `layout` has its working
    /// size.
    ///
    /// # Errors
    /// When a block breaks the rules of the file; nothing is laid out then.
    pub fn cluster(&self, blocks: &[Block<'_>], layout: &mut ClusterLayout) -> Result<()> {
        let error = |what| Error::new(ErrorKind::Malformed(what), self.at);
        if blocks.iter().any(|block| !self.tracks.contains(&block.track)) {
            return Err(error("a block of a track that the file does not have"));
        }
        layout.lay_out(blocks).map_err(error)
    }

    /// The cluster that was laid out is in the file: what follows counts from behind it. A cluster
    /// that could not be written is not told of, and the file can still be finished.
    pub fn written(&mut self, blocks: &[Block<'_>], layout: &ClusterLayout) {
        self.rest = self.rest.map(|rest| rest.then(layout.sum()));
        let first = self.tracks.first();
        let cued = blocks.iter().find(|block| Some(&block.track) == first);
        let end = blocks.iter().map(Block::end_ticks).max().unwrap_or(0);
        self.follow(layout.len(), cued.map(|block| block.time_ticks), end);
    }

    /// A cluster of another file is in this one.
    pub fn kept(&mut self, cluster: &Kept<'_>) {
        // Its bytes are not looked at here.
        self.rest = None;
        self.follow_times(cluster.len(), &cluster.times);
    }

    /// A cluster that was laid out around other payloads is in the file.
    pub fn recast(&mut self, cluster: &Recast) {
        self.rest = self.rest.map(|rest| rest.then(cluster.sum));
        self.follow_times(cluster.len(), &cluster.times);
    }

    fn follow_times(&mut self, len: u64, times: &Times) {
        let ticks = |ns: i64| u64::try_from(ns).unwrap_or(0) / self.info.timestamp_scale_ns.max(1);
        let cued = times.first_of(self.tracks.first().copied());
        self.follow(len, cued.map(ticks), ticks(times.last_ns));
    }

    /// A cluster of `len` bytes is in the file; the first block of the first track in it is at
    /// `cued`.
    fn follow(&mut self, len: u64, cued: Option<u64>, end_ticks: u64) {
        if let Some(ticks) = cued {
            self.cue(ticks);
        }
        self.at += len;
        self.end_ticks = self.end_ticks.max(end_ticks);
    }

    /// The official writer's rule: at most one cue a second, on the first track; a cue at time 0
    /// does not count as one (recording-format.md 6).
    fn cue(&mut self, time_ticks: u64) {
        let Some(&track) = self.tracks.first() else {
            return;
        };
        let every_ticks = CUE_EVERY_NS / self.info.timestamp_scale_ns.max(1);
        let last = self.cues.last().map_or(0, |cue| cue.time_ticks);
        if last == 0 || time_ticks.saturating_sub(last) >= every_ticks {
            let cluster_position = self.at - SEGMENT_START;
            self.cues.push(Cue { time_ticks, track, cluster_position });
        }
    }

    /// Bytes that closing the file appends at most, with one more cluster in it.
    #[must_use]
    pub fn cues_len_max(&self) -> u64 {
        CUES_HEAD_BYTES_MAX + (self.cues.len() as u64 + 1) * CUE_BYTES_MAX
    }

    /// What closes the file.
    #[must_use]
    pub fn finish(mut self) -> Finish {
        let append = cues(&self.cues);
        if !append.is_empty() {
            self.seeks.push((id::CUES, self.at - SEGMENT_START));
        }
        let size = self.at + append.len() as u64 - SEGMENT_START;
        self.info.duration_ticks = Some(self.end_ticks as f64);
        let patches = vec![
            Patch {
                at: SEGMENT_START + SEEK_HEAD_RESERVE as u64,
                bytes: info_with_void(&self.info),
            },
            Patch { at: SEGMENT_START, bytes: seek_head(&self.seeks) },
            Patch { at: SEGMENT_START - 12, bytes: segment_head(Some(size)) },
        ];
        let crc32 = self.rest.map(|rest| {
            for patch in &patches {
                let at = patch.at as usize;
                self.front[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
            }
            Sum::of(&self.front).then(rest).then(Sum::of(&append)).crc32
        });
        Finish { append, patches, crc32 }
    }
}

fn ebml_head() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.master(id::EBML, |head| {
        head.uint(id::EBML_VERSION, 1);
        head.uint(id::EBML_READ_VERSION, 1);
        head.uint(id::EBML_MAX_ID_LENGTH, 4);
        head.uint(id::EBML_MAX_SIZE_LENGTH, 8);
        head.text(id::DOC_TYPE, "matroska");
        head.uint(id::DOC_TYPE_VERSION, 2);
        head.uint(id::DOC_TYPE_READ_VERSION, 2);
    });
    writer.into_bytes()
}

/// The Segment's id and 8-byte size; all ones where the size is not known yet.
fn segment_head(size: Option<u64>) -> Vec<u8> {
    const EIGHT_BYTES: u64 = 1 << 56;
    let mut bytes = id::SEGMENT.to_be_bytes().to_vec();
    bytes.extend((size.unwrap_or(EIGHT_BYTES - 1) | EIGHT_BYTES).to_be_bytes());
    bytes
}

/// The element that `write` writes, filled up with a Void to `reserve` bytes.
fn reserved(reserve: usize, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.void(reserve - writer.len());
    writer.into_bytes()
}

fn seek_head(seeks: &[(u32, u64)]) -> Vec<u8> {
    reserved(SEEK_HEAD_RESERVE, |writer| {
        writer.master(id::SEEK_HEAD, |head| {
            for &(target, position) in seeks {
                head.master(id::SEEK, |seek| {
                    seek.binary(id::SEEK_ID, &target.to_be_bytes());
                    seek.uint(id::SEEK_POSITION, position);
                });
            }
        });
    })
}

fn info_with_void(info: &Info) -> Vec<u8> {
    // Names that would not fit the reserve are cut: they inform, nothing depends on them.
    let cut = |text: &str| text[..text.floor_char_boundary(48)].to_owned();
    reserved(INFO_RESERVE, |writer| {
        writer.master(id::INFO, |writer| {
            writer.uint(id::TIMESTAMP_SCALE, info.timestamp_scale_ns);
            writer.text(id::MUXING_APP, &cut(&info.muxing_app));
            writer.text(id::WRITING_APP, &cut(&info.writing_app));
            if let Some(ns) = info.date_utc_ns {
                writer.date(id::DATE_UTC, ns);
            }
            writer.text(id::TITLE, &cut(&info.title));
            if let Some(ticks) = info.duration_ticks {
                writer.float(id::DURATION, ticks);
            }
        });
    })
}

/// A master that is left out when it has no children.
fn unless_empty<T>(items: &[T], write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    if !items.is_empty() {
        write(&mut writer);
    }
    writer.into_bytes()
}

fn tracks(tracks: &[Track]) -> Vec<u8> {
    unless_empty(tracks, |writer| {
        writer.master(id::TRACKS, |all| {
            for track in tracks {
                all.master(id::TRACK_ENTRY, |entry| track_entry(entry, track));
            }
        });
    })
}

fn track_entry(entry: &mut Writer, track: &Track) {
    entry.uint(id::TRACK_NUMBER, track.number);
    entry.uint(id::TRACK_UID, track.uid);
    entry.uint(
        id::TRACK_TYPE,
        match track.kind {
            TrackKind::Video { .. } => 1,
            TrackKind::Subtitle => 17,
            TrackKind::Other(kind) => kind,
        },
    );
    entry.text(id::CODEC_ID, &track.codec_id);
    entry.text(id::NAME, &track.name);
    if !track.codec_private.is_empty() {
        entry.binary(id::CODEC_PRIVATE, &track.codec_private);
    }
    if let Some(ns) = track.default_duration_ns {
        entry.uint(id::DEFAULT_DURATION, ns);
    }
    if let TrackKind::Video { width, height } = track.kind {
        entry.master(id::VIDEO, |video| {
            video.uint(id::PIXEL_WIDTH, width);
            video.uint(id::PIXEL_HEIGHT, height);
        });
    }
}

fn attachments(attachments: &[Attachment]) -> Vec<u8> {
    unless_empty(attachments, |writer| {
        writer.master(id::ATTACHMENTS, |all| {
            for attachment in attachments {
                all.master(id::ATTACHED_FILE, |file| {
                    file.text(id::FILE_NAME, &attachment.name);
                    file.text(id::FILE_MIME_TYPE, &attachment.mime);
                    file.binary(id::FILE_DATA, &attachment.data);
                    file.uint(id::FILE_UID, attachment.uid);
                });
            }
        });
    })
}

fn tags(tags: &[Tag]) -> Vec<u8> {
    unless_empty(tags, |writer| {
        writer.master_with_crc(id::TAGS, |all| {
            tags.iter().for_each(|tag| put_tag(all, tag));
        });
    })
}

/// One Tag with one SimpleTag.
pub(super) fn put_tag(all: &mut Writer, tag: &Tag) {
    all.master(id::TAG, |writer| {
        writer.master(id::TARGETS, |targets| tag_target(targets, tag.target));
        writer.master(id::SIMPLE_TAG, |simple| {
            simple.text(id::TAG_NAME, &tag.name);
            simple.text(id::TAG_STRING, &tag.value);
        });
    });
}

fn tag_target(targets: &mut Writer, target: Target) {
    match target {
        Target::File => {}
        Target::Track(uid) => {
            targets.text(id::TARGET_TYPE, "TRACK");
            targets.uint(id::TAG_TRACK_UID, uid);
        }
        Target::Attachment(uid) => {
            targets.text(id::TARGET_TYPE, "ATTACHMENT");
            targets.uint(id::TAG_ATTACHMENT_UID, uid);
        }
    }
}

fn cues(cues: &[Cue]) -> Vec<u8> {
    unless_empty(cues, |writer| {
        writer.master(id::CUES, |all| {
            for cue in cues {
                all.master(id::CUE_POINT, |point| {
                    point.uint(id::CUE_TIME, cue.time_ticks);
                    point.master(id::CUE_TRACK_POSITIONS, |positions| {
                        positions.uint(id::CUE_TRACK, cue.track);
                        positions.uint(id::CUE_CLUSTER_POSITION, cue.cluster_position);
                    });
                });
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;

    fn one_track() -> Header {
        Header {
            info: Info {
                timestamp_scale_ns: 1000,
                title: "Azure Kinect".into(),
                ..Info::default()
            },
            tracks: vec![Track {
                number: 1,
                uid: 7,
                kind: TrackKind::Subtitle,
                codec_id: "S_K4A/IMU".into(),
                name: "IMU".into(),
                codec_private: Vec::new(),
                default_duration_ns: None,
            }],
            ..Header::default()
        }
    }

    #[test]
    fn the_front_begins_as_the_official_one_but_for_the_unknown_size() {
        let (_, front) = Muxer::new(&one_track());
        let head = "1A45DFA3 A3 42868101 42F78101 42F28104 42F38108 428288 6D6174726F736B61
                    42878102 42858102 18538067 01 FFFFFFFFFFFFFF 114D9B74";
        assert_eq!(front[..56], hex(head));
        assert_eq!(front[52 + 1027..][..4], hex("1549A966"));
        assert_eq!(front[52 + 1027 + 259..][..4], hex("1654AE6B"));
    }

    #[test]
    fn tags_are_those_of_the_official_writer() {
        // recording-format.md, Appendix A.
        let tag = |target, name: &str, value: &str| Tag {
            target,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let bytes = tags(&[tag(Target::File, "K4A_WIRED_SYNC_MODE", "STANDALONE")]);
        let expected = "7373A9 63C080 67C8A3 45A393 4B34415F57495245445F53594E435F4D4F4445
                        44878A 5354414E44414C4F4E45";
        assert_eq!(bytes[11..], hex(expected));
        assert_eq!(bytes[7..11], crc32fast::hash(&bytes[11..]).to_le_bytes());
        let uid = 0x0123_4567_89AB_CDEF;
        let bytes =
            tags(&[tag(Target::Attachment(uid), "K4A_CALIBRATION_FILE", "calibration.json")]);
        let expected = "7373C8 63C098 63CA8A 4154544143484D454E54 63C688 0123456789ABCDEF 67C8AA";
        assert_eq!(bytes[11..][..33], hex(expected));
    }

    #[test]
    fn finishing_fills_the_reserves_exactly_and_points_at_the_cues() {
        let (mut muxer, front) = Muxer::new(&one_track());
        let mut layout = ClusterLayout::default();
        let blocks = [Block::frame(1, 463_945, &[1])];
        muxer.cluster(&blocks, &mut layout).expect("a sound cluster");
        muxer.written(&blocks, &layout);
        let cues_at = front.len() as u64 + layout.len();
        let finish = muxer.finish();
        assert_eq!(finish.append[..4], hex("1C53BB6B"));
        assert_eq!(finish.append[5..11], hex("BB8E B3 83 0714")[..6]);
        let lens: Vec<_> = finish.patches.iter().map(|p| (p.at, p.bytes.len())).collect();
        assert_eq!(lens, [(52 + 1027, 259), (52, 1027), (40, 12)]);
        let size = cues_at + finish.append.len() as u64 - 52;
        assert_eq!(finish.patches[2].bytes[5..], size.to_be_bytes()[1..]);
    }

    #[test]
    fn the_cues_are_no_longer_than_was_said() {
        let (mut muxer, _) = Muxer::new(&one_track());
        let mut layout = ClusterLayout::default();
        for second in 1..=500 {
            let said = muxer.cues_len_max();
            let blocks = [Block::frame(1, second * 1_000_000, &[1])];
            muxer.cluster(&blocks, &mut layout).expect("a sound cluster");
            muxer.written(&blocks, &layout);
            let appended = cues(&muxer.cues).len() as u64;
            assert!(appended <= said && said < 200 + 4 * appended, "{appended}, not {said}");
        }
    }

    #[test]
    fn a_block_of_an_unknown_track_is_refused() {
        let (muxer, _) = Muxer::new(&one_track());
        let mut layout = ClusterLayout::default();
        let refused = muxer.cluster(&[Block::frame(2, 0, &[1])], &mut layout);
        assert!(refused.is_err());
    }
}
