//! The profile `compact`: image tracks whose blocks are packed, and restored bit for bit.

use super::write::VIDEO_CODEC;
use crate::depth::{Decoder, Encoder, Level, Size};
use crate::mkv::{Header, Track, TrackKind};
use crate::take::Profile;
use crate::{Error, ErrorKind, Result};

/// Codec of an image track with packed blocks.
const PACKED_CODEC: &str = "V_GENLOCK/PLANES";

/// Version of the codec private data and of packed blocks.
const VERSION: u8 = 1;

/// A packed block begins with how it is packed, and a CRC-32 of what it unpacks to.
const HEAD_BYTES: usize = 5;

/// The block as it was: it has not the size of its track's images, or is no smaller packed.
const STORED: u8 = 0;

/// The block's planes, each behind its length.
const PLANES: u8 = 1;

/// Pixels of an image at most: those of the largest color mode (4096x3072), and some.
const PIXELS_MAX: usize = 1 << 24;

/// How the pixels of a track lie in its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// 16 bits, big-endian.
    Gray16,
    /// Luma, then pairs of chroma for each square of four pixels.
    Nv12,
    /// Luma and chroma in turn, chroma for each pair of pixels.
    Yuy2,
}

/// How the blocks of an image track are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    layout: Layout,
    size: Size,
}

impl Packing {
    /// The packing for a track of the profile `k4a`; none for one whose blocks are kept as they
    /// are: JPEG, the IMU, what other programs add.
    #[must_use]
    pub fn of(track: &Track) -> Option<Self> {
        if track.codec_id != VIDEO_CODEC {
            return None;
        }
        let (layout, size) = (layout(track.codec_private.get(16..20)?)?, size(track)?);
        let even = size.width % 2 == 0 && (size.height % 2 == 0 || layout != Layout::Nv12);
        (layout == Layout::Gray16 || even).then_some(Self { layout, size })
    }

    /// The packing of a track whose blocks are packed; none for every other track.
    ///
    /// # Errors
    /// When it is packed in a way that this version does not know.
    pub fn of_packed(track: &Track) -> Result<Option<Self>> {
        match unpacked_track(track)? {
            None => Ok(None),
            Some(track) => match Self::of(&track) {
                Some(packing) => Ok(Some(packing)),
                None => Err(unsupported("the images of the packed track", &track.name)),
            },
        }
    }

    /// Bytes of a whole unpacked block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.planes().map(Size::pixels).sum::<usize>() * self.bytes_per_sample()
    }

    fn bytes_per_sample(self) -> usize {
        if self.layout == Layout::Gray16 { 2 } else { 1 }
    }

    /// The planes: the image itself, or luma and two of chroma.
    fn planes(self) -> impl Iterator<Item = Size> {
        let Size { width, height } = self.size;
        let chroma = match self.layout {
            Layout::Gray16 => None,
            Layout::Nv12 => Some(Size { width: width / 2, height: height / 2 }),
            Layout::Yuy2 => Some(Size { width: width / 2, height }),
        };
        std::iter::once(self.size).chain(chroma).chain(chroma)
    }

    /// Where in a block the first sample of each plane lies, and how far apart its samples are.
    fn samples(self) -> [(usize, usize); 3] {
        match self.layout {
            Layout::Gray16 => [(0, 2); 3],
            Layout::Nv12 => [(0, 1), (self.size.pixels(), 2), (self.size.pixels() + 1, 2)],
            Layout::Yuy2 => [(0, 2), (1, 4), (3, 4)],
        }
    }
}

/// The same track with packed blocks: another codec, so that readers that do not know it say so,
/// whose private data hold those of the track before.
#[must_use]
pub fn packed_track(track: &Track) -> Track {
    let codec_private = [&[VERSION], &track.codec_private[..]].concat();
    Track { codec_id: PACKED_CODEC.to_owned(), codec_private, ..track.clone() }
}

/// The track that a packed one was; none for a track that is not packed.
///
/// # Errors
/// When it is packed in a way that this version does not know.
pub fn unpacked_track(track: &Track) -> Result<Option<Track>> {
    if track.codec_id != PACKED_CODEC {
        return Ok(None);
    }
    match track.codec_private.split_first() {
        Some((&VERSION, private)) => Ok(Some(Track {
            codec_id: VIDEO_CODEC.to_owned(),
            codec_private: private.to_vec(),
            ..track.clone()
        })),
        _ => Err(unsupported("another version of the packed track", &track.name)),
    }
}

/// The profile of a file with this front: none where no track of it is stored otherwise in one than
/// in the other.
#[must_use]
pub fn profile(header: &Header) -> Option<Profile> {
    let mut tracks = header.tracks.iter();
    if tracks.any(|track| track.codec_id == PACKED_CODEC) {
        return Some(Profile::Compact);
    }
    header.tracks.iter().find_map(Packing::of).map(|_| Profile::K4a)
}

fn unsupported(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::Unsupported(format!("{what} {name}")), 0)
}

fn layout(fourcc: &[u8]) -> Option<Layout> {
    match fourcc {
        b"b16g" => Some(Layout::Gray16),
        b"NV12" => Some(Layout::Nv12),
        b"YUY2" => Some(Layout::Yuy2),
        _ => None,
    }
}

fn size(track: &Track) -> Option<Size> {
    let TrackKind::Video { width, height } = track.kind else {
        return None;
    };
    let (width, height) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
    let pixels = width.checked_mul(height)?;
    (1..=PIXELS_MAX).contains(&pixels).then_some(Size { width, height })
}

/// Packs the blocks of one track. It keeps its memory from one to the next.
pub struct Packer {
    packing: Packing,
    encoder: Encoder,
    samples: Vec<u16>,
}

impl Packer {
    /// A packer of this level.
    #[must_use]
    pub fn new(packing: Packing, level: Level) -> Self {
        Self { packing, encoder: Encoder::new(level), samples: Vec::new() }
    }

    /// Appends a block of profile `k4a` to `packed`, which grows by no more than
    /// [`Packer::bytes_max`].
    pub fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) {
        let head = packed.len();
        packed.push(PLANES);
        packed.extend(crc32fast::hash(block).to_le_bytes());
        if block.len() == self.packing.block_bytes() {
            self.planes(block, packed);
            if packed.len() - head < HEAD_BYTES + block.len() {
                return;
            }
        }
        packed[head] = STORED;
        packed.truncate(head + HEAD_BYTES);
        packed.extend(block);
    }

    fn planes(&mut self, block: &[u8], packed: &mut Vec<u8>) {
        for (plane, (first, apart)) in self.packing.planes().zip(self.packing.samples()) {
            self.samples.clear();
            if self.packing.layout == Layout::Gray16 {
                let samples = block.as_chunks::<2>().0;
                self.samples.extend(samples.iter().map(|pixel| u16::from_be_bytes(*pixel)));
            } else {
                let samples = block[first..].iter().step_by(apart).take(plane.pixels());
                self.samples.extend(samples.map(|sample| u16::from(*sample)));
            }
            let length_at = packed.len();
            packed.extend([0; 4]);
            self.encoder.encode(plane, &self.samples, packed);
            let length = (packed.len() - length_at - 4) as u32;
            packed[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Bytes that a packed block has more than the block, at most: one that packing makes no
    /// smaller is stored.
    pub const GROWTH_MAX: usize = HEAD_BYTES;

    /// Bytes of the packed form of a block of so many bytes, at most; while it is packed.
    #[must_use]
    pub fn bytes_max(&self, block_bytes: usize) -> usize {
        let planes = self.packing.planes().map(|plane| 4 + Encoder::bytes_max(plane));
        HEAD_BYTES + block_bytes.max(planes.sum())
    }
}

/// Restores the blocks of one track. It keeps its memory from one to the next.
pub struct Unpacker {
    packing: Packing,
    decoder: Decoder,
    samples: Vec<u16>,
}

impl Unpacker {
    /// An unpacker for a track of this packing.
    #[must_use]
    pub fn new(packing: Packing) -> Self {
        Self { packing, decoder: Decoder::default(), samples: Vec::new() }
    }

    /// Puts the block of profile `k4a` that `packed` was in place of what is in `block`.
    ///
    /// # Errors
    /// Why `packed` is no packed block, or that it is not the one that was packed: its checksum
    /// says so; with the offset in it.
    pub fn unpack(&mut self, packed: &[u8], block: &mut Vec<u8>) -> Result<()> {
        self.unpack_as(packed, block, false)
    }

    /// The same with 16-bit pixels as a device gives them: little-endian.
    ///
    /// # Errors
    /// As [`Unpacker::unpack`].
    pub fn unpack_le(&mut self, packed: &[u8], block: &mut Vec<u8>) -> Result<()> {
        self.unpack_as(packed, block, self.packing.layout == Layout::Gray16)
    }

    fn unpack_as(&mut self, packed: &[u8], block: &mut Vec<u8>, turn: bool) -> Result<()> {
        let Some((&[method, crc @ ..], rest)) = packed.split_first_chunk::<HEAD_BYTES>() else {
            return Err(Error::new(ErrorKind::Truncated("a packed image"), packed.len() as u64));
        };
        let mut hasher = crc32fast::Hasher::new();
        match method {
            STORED => {
                block.clear();
                block.extend(rest);
                hash_and_turn(block, &mut hasher, turn);
            }
            PLANES => self.planes(packed, block, &mut hasher, turn)?,
            _ => return Err(Error::new(ErrorKind::Malformed("a way of packing unknown"), 0)),
        }
        match hasher.finalize() == u32::from_le_bytes(crc) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Changed("a packed image"), 1)),
        }
    }

    /// Bytes that `packed` unpacks to, as it says itself.
    #[must_use]
    pub fn unpacked_bytes(packing: Packing, packed: &[u8]) -> usize {
        match packed.first() {
            Some(&PLANES) => packing.block_bytes(),
            _ => packed.len().saturating_sub(HEAD_BYTES),
        }
    }

    fn planes(
        &mut self,
        packed: &[u8],
        block: &mut Vec<u8>,
        hasher: &mut crc32fast::Hasher,
        turn: bool,
    ) -> Result<()> {
        // What is there is written over: memory of the same length need not be cleared.
        block.resize(self.packing.block_bytes(), 0);
        let mut at = HEAD_BYTES;
        for (plane, (first, apart)) in self.packing.planes().zip(self.packing.samples()) {
            let truncated = || Error::new(ErrorKind::Truncated("a packed image"), at as u64);
            let length = packed.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
            let length = u32::from_le_bytes(*length) as usize;
            let coded = packed[at + 4..].get(..length).ok_or_else(truncated)?;
            self.samples.resize(plane.pixels(), 0);
            let decoded = self.decoder.decode(plane, coded, &mut self.samples);
            decoded.map_err(|error| Error::new(error.kind, error.at + at as u64 + 4))?;
            at += 4 + length;
            if self.packing.layout == Layout::Gray16 {
                let parts = block.chunks_mut(HOT_BYTES).zip(self.samples.chunks(HOT_BYTES / 2));
                for (bytes, samples) in parts {
                    for (bytes, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
                        *bytes = sample.to_be_bytes();
                    }
                    hash_and_turn(bytes, hasher, turn);
                }
                continue;
            }
            let bytes = block[first..].iter_mut().step_by(apart);
            for (byte, sample) in bytes.zip(&self.samples) {
                *byte = u8::try_from(*sample).map_err(|_| {
                    Error::new(ErrorKind::Malformed("a sample of color beyond 255"), at as u64)
                })?;
            }
        }
        if self.packing.layout != Layout::Gray16 {
            hasher.update(block);
        }
        match at == packed.len() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Malformed("bytes behind an image"), at as u64)),
        }
    }
}

/// So many bytes of an image are worked on at once: they stay in the processor's first cache from
/// one step to the next, where a whole image would not (`cargo bench --bench replay`).
const HOT_BYTES: usize = 8 << 10;

/// Hashes bytes of a block of profile `k4a`, and then turns its 16-bit pixels, if they are to be.
fn hash_and_turn(bytes: &mut [u8], hasher: &mut crc32fast::Hasher, turn: bool) {
    for part in bytes.chunks_mut(HOT_BYTES) {
        hasher.update(part);
        if turn {
            let pixels = part.as_chunks_mut::<2>().0;
            pixels.iter_mut().for_each(|pixel| *pixel = [pixel[1], pixel[0]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k4a::write::bitmap_info;

    fn track(fourcc: &str, width: u64, height: u64) -> Track {
        let bitmap = bitmap_info((width as u32, height as u32), fourcc, 16, 0);
        Track {
            number: 1,
            uid: 1,
            kind: TrackKind::Video { width, height },
            codec_id: VIDEO_CODEC.to_owned(),
            name: "DEPTH".to_owned(),
            codec_private: bitmap,
            default_duration_ns: None,
        }
    }

    #[test]
    fn blocks_come_back_and_changed_ones_do_not() {
        for (fourcc, bytes) in [("b16g", 60 * 40 * 2), ("NV12", 60 * 60), ("YUY2", 60 * 80)] {
            let track = track(fourcc, 60, 40);
            let packing = Packing::of(&track).expect("it is packed");
            assert_eq!(packing.block_bytes(), bytes);
            let there = Packing::of_packed(&packed_track(&track)).expect("it is known");
            assert_eq!(there, Some(packing));
            let mut packer = Packer::new(packing, Level::Default);
            let mut unpacker = Unpacker::new(packing);
            // Whole, a byte too short, too long, and empty.
            for len in [bytes, bytes - 1, bytes + 1, 0] {
                let block: Vec<_> = (0..len).map(|i| (i * i / 7) as u8).collect();
                let (mut packed, mut restored) = (Vec::new(), vec![9]);
                packer.pack(&block, &mut packed);
                assert!(packed.len() <= packer.bytes_max(len));
                unpacker.unpack(&packed, &mut restored).expect("it is ours");
                assert_eq!(restored, block);
                packed[1] ^= 1;
                let error = unpacker.unpack(&packed, &mut restored).expect_err("it was changed");
                assert_eq!(error.kind, ErrorKind::Changed("a packed image"));
            }
        }
    }

    #[test]
    fn jpeg_and_odd_color_are_kept_as_they_are() {
        assert_eq!(Packing::of(&track("MJPG", 60, 40)), None);
        assert_eq!(Packing::of(&track("NV12", 60, 41)), None);
        assert_eq!(Packing::of(&track("YUY2", 61, 40)), None);
        assert_eq!(Packing::of(&track("b16g", 1 << 40, 1 << 40)), None);
    }
}
