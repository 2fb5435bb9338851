//! Captures: the frames of all devices for one trigger.

use super::cursor::{Found, FoundDevice, IMAGES};
use super::reader::Reader;
use super::selection::Selected;
use crate::deal;
use crate::error::Result;
use genlock_formats::k4a::{Image, ImageReader};
use genlock_formats::mkv::ReadBlock;
use std::borrow::Cow;

/// What a take has for one trigger.
#[derive(Debug, Clone)]
pub struct Capture<'f> {
    /// The trigger.
    pub trigger: u64,
    /// The frames of each device, in the order of the reader.
    pub devices: Vec<DeviceFrames<'f>>,
}

/// The frames of one device for one trigger.
#[derive(Debug, Clone)]
pub struct DeviceFrames<'f> {
    /// Color, in the format of the device's color mode.
    pub color: Slot<'f>,
    /// Depth: millimetres, 16 bits; see [`Image::pixels_le`].
    pub depth: Slot<'f>,
    /// Infrared: 16 bits.
    pub ir: Slot<'f>,
}

/// What there is of one track for one trigger.
#[derive(Debug, Clone)]
pub enum Slot<'f> {
    /// A frame: a slice of its file, where it is not packed.
    Frame(Image<'f>),
    /// None, for this cause.
    Lost(Cow<'f, str>),
    /// The device did not record this track.
    Off,
}

impl<'f> Slot<'f> {
    /// The frame, where there is one.
    #[must_use]
    pub fn frame(&self) -> Option<&Image<'f>> {
        match self {
            Self::Frame(image) => Some(image),
            Self::Lost(_) | Self::Off => None,
        }
    }
}

impl<'f> DeviceFrames<'f> {
    /// Color, depth and IR, in this order.
    #[must_use]
    pub fn slots(&self) -> [&Slot<'f>; 3] {
        [&self.color, &self.depth, &self.ir]
    }
}

/// Makes images of what a cursor found. It keeps its memory from one capture to the next; several
/// can work on several cores.
pub struct Decoder(Vec<[Option<ImageReader>; 3]>);

impl Decoder {
    /// A decoder for the devices of a take.
    #[must_use]
    pub fn new(reader: &Reader<'_>) -> Self {
        let devices = reader.devices().iter();
        Self(devices.map(|device| IMAGES.map(|name| device.recording.image_reader(name))).collect())
    }

    /// The capture. An image that cannot be unpacked is lost, with the reason as its cause.
    pub fn decode<'f>(&mut self, found: Found<'f>) -> Capture<'f> {
        let devices = found.devices.into_iter().zip(&mut self.0);
        let devices = devices.map(|(frames, readers)| frames_of(frames, readers));
        Capture { trigger: found.trigger, devices: devices.collect() }
    }
}

fn frames_of<'f>(
    found: FoundDevice<'f>,
    readers: &mut [Option<ImageReader>; 3],
) -> DeviceFrames<'f> {
    let [color, depth, ir] = found.frames;
    let [for_color, for_depth, for_ir] = readers;
    DeviceFrames {
        color: slot(color, for_color.as_mut()),
        depth: slot(depth, for_depth.as_mut()),
        ir: slot(ir, for_ir.as_mut()),
    }
}

fn slot<'f>(
    found: Option<std::result::Result<ReadBlock<'f>, &'f str>>,
    reader: Option<&mut ImageReader>,
) -> Slot<'f> {
    match (found, reader) {
        (None, _) | (_, None) => Slot::Off,
        (Some(Err(cause)), _) => Slot::Lost(Cow::Borrowed(cause)),
        (Some(Ok(block)), Some(reader)) => match reader.read(&block) {
            Ok(image) => Slot::Frame(image),
            Err(error) => Slot::Lost(Cow::Owned(format!("damaged: {error}"))),
        },
    }
}

impl<'f> Reader<'f> {
    /// Gives the captures that are wanted to `take`, one after the other, and decodes ahead on
    /// other cores where images are packed.
    ///
    /// # Errors
    /// The first of `take`.
    pub fn play(
        &self,
        wanted: &Selected<'_, 'f>,
        take: impl FnMut(Capture<'f>) -> Result<()>,
    ) -> Result<()> {
        let packed = self
            .devices()
            .iter()
            .any(|device| IMAGES.into_iter().any(|name| device.recording.packing(name).is_some()));
        let workers = if packed { deal::cores() } else { 1 };
        let mut cursor = self.cursor();
        let jobs = wanted.triggers().map(|trigger| {
            let mut found = cursor.find(trigger);
            wanted.keep(&mut found);
            let bytes = self.decoded_bytes(&found);
            (found, bytes)
        });
        let begin = || {
            let mut decoder = Decoder::new(self);
            move |found| decoder.decode(found)
        };
        deal::in_order(workers, jobs, begin, take)
    }

    /// Bytes of memory that decoding a capture takes.
    #[must_use]
    pub fn decoded_bytes(&self, found: &Found<'f>) -> usize {
        let of_device = |(device, found): (&super::Device<'f>, &FoundDevice<'f>)| -> usize {
            let frames = found.frames.iter().zip(IMAGES);
            let of_frame = |(frame, name): (&Option<_>, _)| match frame {
                Some(Ok(_)) => device.recording.packing(name).map_or(0, |p| p.block_bytes()),
                _ => 0,
            };
            frames.map(of_frame).sum()
        };
        self.devices().iter().zip(&found.devices).map(of_device).sum()
    }
}
