//! The layout of one cluster: heads of our own, payloads left where they are.

use super::sum::Sum;
use crate::ebml::{id, put_id, put_size, size_width};

/// One block to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Number of its track.
    pub track: u64,
    /// Time in ticks of the file.
    pub time_ticks: u64,
    /// What it carries.
    pub payload: Payload<'a>,
}

/// What a block carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One frame, in a SimpleBlock.
    Frame(&'a [u8]),
    /// Equal frames back to back, at most 255, in a BlockGroup with a duration: the form of IMU
    /// samples.
    Laced {
        /// The frames.
        bytes: &'a [u8],
        /// Bytes of each frame.
        frame_bytes: usize,
        /// From the first frame's time to the last's, plus one (recording-format.md 5.4).
        duration_ticks: u64,
    },
}

impl<'a> Block<'a> {
    /// A block of no track, which the muxer refuses: to fill arrays with.
    pub const EMPTY: Self = Self::frame(0, 0, &[]);

    /// A block of one frame.
    #[must_use]
    pub const fn frame(track: u64, time_ticks: u64, bytes: &'a [u8]) -> Self {
        Self { track, time_ticks, payload: Payload::Frame(bytes) }
    }

    fn bytes(&self) -> &'a [u8] {
        match self.payload {
            Payload::Frame(bytes) | Payload::Laced { bytes, .. } => bytes,
        }
    }

    /// The time of the last frame.
    #[must_use]
    pub fn end_ticks(&self) -> u64 {
        match self.payload {
            Payload::Frame(_) => self.time_ticks,
            Payload::Laced { duration_ticks, .. } => {
                self.time_ticks.saturating_add(duration_ticks.saturating_sub(1))
            }
        }
    }
}

/// The bytes of a cluster around its payloads. Reused from cluster to cluster, it allocates
/// nothing.
#[derive(Debug, Default)]
pub struct ClusterLayout {
    heads: Vec<u8>,
    /// Where in `heads` each block's payload goes.
    cuts: Vec<usize>,
    len: u64,
    /// Bytes before what the cluster's checksum covers, and that checksum.
    covered_at: usize,
    crc: u32,
}

/// Largest relative time of a block: the field is a signed 16-bit number.
const RELATIVE_MAX: u64 = i16::MAX as u64;

/// Most frames in a lace: the official reader never returns from one of 256 (recording-format.md
/// 5.5).
const LACE_MAX: usize = 255;

/// Bytes of a CRC-32 element.
const CRC_BYTES: u64 = 6;

impl ClusterLayout {
    /// Bytes of the whole cluster.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is laid out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The cluster's bytes in file order: heads and, between them, the payloads of `blocks`, which
    /// are those that were laid out.
    pub fn pieces<'a>(&'a self, blocks: &'a [Block<'a>]) -> impl Iterator<Item = &'a [u8]> {
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(std::iter::once(self.heads.len()));
        let heads = starts.zip(ends).map(|(start, end)| &self.heads[start..end]);
        let payloads = blocks.iter().map(Block::bytes).map(Some).chain(std::iter::once(None));
        heads.zip(payloads).flat_map(|(head, payload)| std::iter::once(head).chain(payload))
    }

    pub(super) fn lay_out(&mut self, blocks: &[Block<'_>]) -> Result<(), &'static str> {
        let Some(first) = blocks.first() else {
            return Err("a cluster without blocks");
        };
        let begin_ticks = first.time_ticks;
        let mut body = CRC_BYTES + 2 + uint_width(begin_ticks) as u64;
        for block in blocks {
            check(block, begin_ticks)?;
            body += Sizes::of(block).total();
        }
        self.heads.clear();
        self.cuts.clear();
        put_id(&mut self.heads, id::CLUSTER);
        put_size(&mut self.heads, body);
        let crc_at = self.heads.len();
        self.heads.extend([0; CRC_BYTES as usize]);
        self.put_uint(id::TIMESTAMP, begin_ticks);
        for block in blocks {
            self.put_head(block, begin_ticks);
            self.cuts.push(self.heads.len());
            if let Payload::Laced { duration_ticks, .. } = block.payload {
                self.put_uint(id::BLOCK_DURATION, duration_ticks);
            }
        }
        self.len = crc_at as u64 + body;
        self.covered_at = crc_at + CRC_BYTES as usize;
        self.crc = self.checksum(blocks, self.covered_at);
        self.heads[crc_at..crc_at + 2].copy_from_slice(&[0xBF, 0x84]);
        self.heads[crc_at + 2..crc_at + 6].copy_from_slice(&self.crc.to_le_bytes());
        Ok(())
    }

    /// The checksum of the whole cluster. It comes out of the one that the cluster holds: no
    /// payload is read again.
    pub(super) fn sum(&self) -> Sum {
        let covered = self.len - self.covered_at as u64;
        Sum::of(&self.heads[..self.covered_at]).then(Sum { crc32: self.crc, bytes: covered })
    }

    /// The CRC-32 of everything from `start` in the heads on.
    fn checksum(&self, blocks: &[Block<'_>], start: usize) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let mut pieces = self.pieces(blocks);
        if let Some(first) = pieces.next() {
            hasher.update(&first[start..]);
        }
        pieces.for_each(|piece| hasher.update(piece));
        hasher.finalize()
    }

    fn put_uint(&mut self, id: u32, value: u64) {
        put_id(&mut self.heads, id);
        put_size(&mut self.heads, uint_width(value) as u64);
        self.heads.extend_from_slice(&value.to_be_bytes()[8 - uint_width(value)..]);
    }

    fn put_head(&mut self, block: &Block<'_>, begin_ticks: u64) {
        let sizes = Sizes::of(block);
        let flags = match block.payload {
            Payload::Frame(_) => {
                put_id(&mut self.heads, id::SIMPLE_BLOCK);
                put_size(&mut self.heads, sizes.block);
                0x80
            }
            Payload::Laced { .. } => {
                put_id(&mut self.heads, id::BLOCK_GROUP);
                put_size(&mut self.heads, sizes.group);
                put_id(&mut self.heads, id::BLOCK);
                put_size(&mut self.heads, sizes.block);
                if sizes.frames > 1 { 0x04 } else { 0 }
            }
        };
        put_size(&mut self.heads, block.track);
        let relative = (block.time_ticks - begin_ticks) as i16;
        self.heads.extend_from_slice(&relative.to_be_bytes());
        self.heads.push(flags);
        if sizes.frames > 1 {
            self.heads.push((sizes.frames - 1) as u8);
        }
    }
}

/// Sizes of the elements of one block.
struct Sizes {
    frames: usize,
    /// Content of the Block or SimpleBlock.
    block: u64,
    /// Content of the BlockGroup; 0 where there is none.
    group: u64,
}

impl Sizes {
    fn of(block: &Block<'_>) -> Self {
        let track_and_time_and_flags = size_width(block.track) as u64 + 3;
        let content = track_and_time_and_flags + block.bytes().len() as u64;
        match block.payload {
            Payload::Frame(_) => Self { frames: 1, block: content, group: 0 },
            Payload::Laced { bytes, frame_bytes, duration_ticks } => {
                let frames = bytes.len() / frame_bytes;
                let block = content + u64::from(frames > 1);
                let duration = 2 + uint_width(duration_ticks) as u64;
                Self { frames, block, group: element(1, block) + duration }
            }
        }
    }

    /// The whole element in the cluster.
    fn total(&self) -> u64 {
        element(1, if self.group > 0 { self.group } else { self.block })
    }
}

/// Bytes of an element with an id of `id_bytes` and this much content.
fn element(id_bytes: u64, content: u64) -> u64 {
    id_bytes + size_width(content) as u64 + content
}

/// Bytes that an unsigned integer needs, at least one.
fn uint_width(value: u64) -> usize {
    8 - (value.leading_zeros() as usize / 8).min(7)
}

fn check(block: &Block<'_>, begin_ticks: u64) -> Result<(), &'static str> {
    let relative = block.time_ticks.checked_sub(begin_ticks);
    if relative.is_none_or(|relative| relative > RELATIVE_MAX) {
        return Err("a block's time lies outside of its cluster's 32767 ticks");
    }
    if block.bytes().is_empty() {
        return Err("a frame without bytes");
    }
    if let Payload::Laced { bytes, frame_bytes, .. } = block.payload {
        if frame_bytes == 0 || bytes.len() % frame_bytes != 0 {
            return Err("a lace that is not made of whole frames");
        }
        if bytes.len() / frame_bytes > LACE_MAX {
            return Err("a lace of more than 255 frames");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;

    fn laid_out(blocks: &[Block<'_>]) -> Result<Vec<u8>, &'static str> {
        let mut layout = ClusterLayout::default();
        layout.lay_out(blocks)?;
        let bytes: Vec<u8> = layout.pieces(blocks).flatten().copied().collect();
        assert_eq!(bytes.len() as u64, layout.len());
        Ok(bytes)
    }

    #[test]
    fn a_cluster_is_that_of_the_official_writer() {
        // recording-format.md, Appendix A: one IMU sample on track 4 at time 0.
        let sample = hex("082E0B1400000000 28D838C0 D97446BE 83FE16C1
             082E0B1400000000 57FC84BA 584CFFBA 9A60C53B");
        let payload = Payload::Laced { bytes: &sample, frame_bytes: 40, duration_ticks: 1 };
        let bytes = laid_out(&[Block { track: 4, time_ticks: 0, payload }]).expect("sound");
        let mut expected = hex("1F43B675 BC BF84 349E88E0 E78100 A0B1 A1AC 84 0000 00");
        expected.extend(&sample);
        expected.extend(hex("9B8101"));
        assert_eq!(bytes, expected);
    }

    #[test]
    fn images_are_simple_blocks_and_samples_are_laced() {
        let jpeg = [0xFF; 9];
        let samples = [7; 120];
        let lace = Payload::Laced { bytes: &samples, frame_bytes: 40, duration_ticks: 1201 };
        let blocks =
            [Block::frame(1, 1000, &jpeg), Block { track: 2, time_ticks: 1256, payload: lace }];
        let bytes = laid_out(&blocks).expect("sound");
        assert_eq!(bytes[12..][..10], hex("E7 82 03E8 A3 8D 81 0000 80"));
        assert_eq!(bytes[22 + 9..][..10], hex("A0 40 83 A1 FD 82 0100 04 02"));
        assert_eq!(bytes[bytes.len() - 4..], hex("9B 82 04B1"));
    }

    #[test]
    fn what_readers_stumble_over_is_refused() {
        let lace = |bytes, frame_bytes| {
            let payload = Payload::Laced { bytes, frame_bytes, duration_ticks: 1 };
            laid_out(&[Block { track: 1, time_ticks: 0, payload }])
        };
        assert!(laid_out(&[]).is_err());
        assert!(laid_out(&[Block::frame(1, 0, &[])]).is_err());
        assert!(lace(&[0; 256 * 2], 2).is_err());
        assert!(lace(&[0; 255 * 2], 2).is_ok());
        assert!(lace(&[0; 41], 40).is_err());
        assert!(lace(&[], 40).is_err());
        let far = [Block::frame(1, 0, &[1]), Block::frame(1, 32_768, &[1])];
        assert!(laid_out(&far).is_err());
        let back = [Block::frame(1, 5, &[1]), Block::frame(1, 4, &[1])];
        assert!(laid_out(&back).is_err());
    }
}
