//! What a file holds, whichever way it is stored, as one hash.

use genlock_formats::k4a::unpacked_track;
use genlock_formats::mkv::{Demuxer, Parts, ReadBlock, Track, TrackKind};
use sha2::{Digest, Sha256};

/// SHA-256 of one block.
pub(super) type BlockHash = [u8; 32];

/// Takes in what a file holds, in file order: the scale of its times, its tracks as they are where
/// they are not packed, its attachments and tags byte for byte, and the hashes of its blocks.
/// `docs/take.md` says which bytes these are.
pub(super) struct Content(Sha256);

impl Content {
    /// That of the front of a file, with these attachments and tags.
    ///
    /// # Errors
    /// When a track is packed in a way that is not known.
    pub fn of_front(demuxer: &Demuxer<'_>, parts: &Parts) -> genlock_formats::Result<Self> {
        let mut content = Self(Sha256::new());
        let header = demuxer.header();
        content.number(header.info.timestamp_scale_ns);
        for packed in &header.tracks {
            let unpacked = unpacked_track(packed)?;
            content.track(unpacked.as_ref().unwrap_or(packed));
        }
        content.bytes(&parts.attachments);
        content.bytes(&parts.tags);
        Ok(content)
    }

    fn track(&mut self, track: &Track) {
        let (kind, width, height) = match track.kind {
            TrackKind::Video { width, height } => (1, width, height),
            TrackKind::Subtitle => (17, 0, 0),
            TrackKind::Other(kind) => (kind, 0, 0),
        };
        let numbers = [track.number, track.uid, kind, width, height];
        numbers.into_iter().for_each(|number| self.number(number));
        self.number(track.default_duration_ns.unwrap_or(0));
        self.bytes(track.codec_id.as_bytes());
        self.bytes(track.name.as_bytes());
        self.bytes(&track.codec_private);
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// The next blocks.
    pub fn blocks(&mut self, blocks: &[BlockHash]) {
        blocks.iter().for_each(|hash| self.0.update(hash));
    }

    /// The hash, in hexadecimal digits.
    pub fn finish(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}

/// The hash of a block: its track, time and duration, and its frames; of a packed one, the image
/// that it unpacks to.
pub(super) fn of_block(block: &ReadBlock<'_>, image: Option<&[u8]>) -> BlockHash {
    let mut hash = Content(Sha256::new());
    hash.number(block.track);
    hash.number(block.time_ns.cast_unsigned());
    hash.number(block.duration_ns.unwrap_or(u64::MAX));
    match image {
        Some(image) => hash.bytes(image),
        None => block.frames.clone().for_each(|frame| hash.bytes(frame)),
    }
    hash.0.finalize().into()
}
