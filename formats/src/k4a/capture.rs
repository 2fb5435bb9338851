//! Captures: the images of one device that belong together.

use super::compact::{Unpacker, only_image};
use super::mode::TrackName;
use super::recording::{Recording, device_us, fourcc};
use crate::mkv::{ReadBlock, TrackKind};
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::VecDeque;

/// The images of one device for one trigger, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capture<'a> {
    /// Color image.
    pub color: Option<Image<'a>>,
    /// Depth image.
    pub depth: Option<Image<'a>>,
    /// Infrared image.
    pub ir: Option<Image<'a>>,
}

/// One image of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Image<'a> {
    /// Device time in microseconds.
    pub time_us: u64,
    /// Pixels in a row.
    pub width: u64,
    /// Rows.
    pub height: u64,
    /// The bytes as they are in a file of profile `k4a`; unpacked, where this file is `compact`.
    pub bytes: Cow<'a, [u8]>,
    big_endian: bool,
}

impl Image<'_> {
    /// The bytes as a device gives them: 16-bit pixels little-endian.
    #[must_use]
    pub fn pixels_le(&self) -> Cow<'_, [u8]> {
        if !self.big_endian {
            return Cow::Borrowed(&self.bytes);
        }
        let mut pixels = Vec::new();
        self.pixels_le_in(&mut pixels);
        Cow::Owned(pixels)
    }

    /// The same, in memory that is used again where pixels have to be turned.
    pub fn pixels_le_in<'m>(&'m self, pixels: &'m mut Vec<u8>) -> &'m [u8] {
        if !self.big_endian {
            return &self.bytes;
        }
        let (whole, rest) = self.bytes.as_chunks::<2>();
        pixels.clear();
        pixels.extend(whole.iter().flat_map(|[high, low]| [*low, *high]));
        pixels.extend(rest);
        pixels
    }
}

/// Makes images of the blocks of one track. It keeps its memory from one to the next.
pub struct ImageReader {
    size: (u64, u64),
    big_endian: bool,
    offset_ns: u64,
    unpacker: Option<Unpacker>,
}

impl ImageReader {
    /// The image in a block of its track: a slice of the file, where it is not packed.
    ///
    /// # Errors
    /// Why there is none, with the offset of the block.
    pub fn read<'a>(&mut self, block: &ReadBlock<'a>) -> Result<Image<'a>> {
        Ok(Image {
            time_us: device_us(block.time_ns, self.offset_ns),
            width: self.size.0,
            height: self.size.1,
            bytes: only_image(block, self.unpacker.as_mut())?,
            big_endian: self.big_endian,
        })
    }
}

/// The captures of a recording, in order.
pub struct Captures<'a> {
    blocks: Box<dyn Iterator<Item = Result<ReadBlock<'a>>> + 'a>,
    tracks: Vec<ImageTrack<'a>>,
    /// Images nearer than this to the earliest belong to its capture: half a frame period.
    window_ns: i64,
    ended: bool,
    errors: VecDeque<Error>,
}

struct ImageTrack<'a> {
    name: TrackName,
    number: u64,
    /// By how much the images count as later while they are paired.
    delay_ns: i64,
    waiting: VecDeque<ReadBlock<'a>>,
    reader: ImageReader,
}

impl ImageTrack<'_> {
    fn next_ns(&self) -> Option<i64> {
        self.waiting.front().map(|block| block.time_ns.saturating_add(self.delay_ns))
    }
}

impl<'a> Recording<'a> {
    /// The captures, paired as the official reader pairs them (recording-format.md 9.2).
    #[must_use]
    pub fn captures(&self) -> Captures<'a> {
        Captures::new(self)
    }

    /// What makes images of the blocks of a track; none where there is no such track of images.
    #[must_use]
    pub fn image_reader(&self, name: TrackName) -> Option<ImageReader> {
        let track = self.track(name)?;
        let TrackKind::Video { width, height } = track.kind else {
            return None;
        };
        Some(ImageReader {
            size: (width, height),
            big_endian: fourcc(track).is_ok_and(|fourcc| fourcc == "b16g"),
            offset_ns: self.configuration().start_offset_ns,
            unpacker: self.unpacker(name),
        })
    }
}

impl<'a> Captures<'a> {
    fn new(recording: &Recording<'a>) -> Self {
        let configuration = recording.configuration();
        let delay_ns = i64::from(configuration.depth_delay_us) * 1000;
        let track = |name| {
            let reader = recording.image_reader(name)?;
            // Positive delays hold color back, negative ones depth (recording-format.md 7.3).
            let delay_ns = match name {
                TrackName::Color => delay_ns.max(0),
                _ => (-delay_ns).max(0),
            };
            let number = recording.track(name)?.number;
            Some(ImageTrack { name, number, delay_ns, waiting: VecDeque::new(), reader })
        };
        let names = [TrackName::Color, TrackName::Depth, TrackName::Ir];
        Self {
            blocks: Box::new(recording.blocks()),
            tracks: names.into_iter().filter_map(track).collect(),
            window_ns: (configuration.rate.default_duration_ns() / 2) as i64,
            ended: false,
            errors: VecDeque::new(),
        }
    }

    /// Reads on until every track has an image waiting, or the file ends.
    fn fill(&mut self) {
        while !self.ended && self.tracks.iter().any(|track| track.waiting.is_empty()) {
            match self.blocks.next() {
                None => self.ended = true,
                Some(Err(error)) => self.errors.push_back(error),
                Some(Ok(block)) => {
                    let mut tracks = self.tracks.iter_mut();
                    if let Some(track) = tracks.find(|track| track.number == block.track) {
                        track.waiting.push_back(block);
                    }
                }
            }
            if !self.errors.is_empty() {
                return;
            }
        }
    }
}

impl<'a> Iterator for Captures<'a> {
    type Item = Result<Capture<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        if let Some(error) = self.errors.pop_front() {
            return Some(Err(error));
        }
        let first_ns = self.tracks.iter().filter_map(ImageTrack::next_ns).min()?;
        let mut capture = Capture::default();
        for track in &mut self.tracks {
            let within = |ns: i64| ns.saturating_sub(first_ns) < self.window_ns;
            if !track.next_ns().is_some_and(within) {
                continue;
            }
            let Some(block) = track.waiting.pop_front() else {
                continue;
            };
            let image = track.reader.read(&block);
            match (track.name, image) {
                (TrackName::Color, Ok(image)) => capture.color = Some(image),
                (TrackName::Depth, Ok(image)) => capture.depth = Some(image),
                (_, Ok(image)) => capture.ir = Some(image),
                (_, Err(error)) => self.errors.push_back(error),
            }
        }
        Some(self.errors.pop_front().map_or(Ok(capture), Err))
    }
}
