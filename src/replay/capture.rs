//! Captures: the frames of all devices for one trigger.

use super::cursor::{Found, FoundDevice, IMAGES};
use super::reader::Reader;
use crossbeam::queue::ArrayQueue;
use genlock_formats::k4a::{Image, ImageReader};
use genlock_formats::mkv::ReadBlock;
use std::borrow::Cow;
use std::sync::Arc;

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
pub struct Decoder {
    readers: Vec<[Option<ImageReader>; 3]>,
    spare: Spare,
    /// Whether 16-bit pixels are turned, so that every image is as a device gives it.
    turn: bool,
}

/// Memory of images that were unpacked and looked at. New memory for each would cost as much as
/// unpacking: the system clears every page of it.
#[derive(Debug, Clone)]
pub(super) struct Spare(Arc<ArrayQueue<Vec<u8>>>);

impl Spare {
    pub fn new() -> Self {
        /// As many as are ahead of whoever looks at them.
        const IMAGES_MAX: usize = 256;
        Self(Arc::new(ArrayQueue::new(IMAGES_MAX)))
    }

    pub fn take_back(&self, capture: Capture<'_>) {
        let devices = capture.devices.into_iter();
        for slot in devices.flat_map(|device| [device.color, device.depth, device.ir]) {
            if let Slot::Frame(Image { bytes: Cow::Owned(bytes), .. }) = slot {
                // What there is no place for is given to the system.
                let _ = self.0.push(bytes);
            }
        }
    }
}

impl Decoder {
    /// A decoder for the devices of a take.
    #[must_use]
    pub fn new(reader: &Reader<'_>) -> Self {
        Self::with(reader, Spare::new(), false)
    }

    pub(super) fn with(reader: &Reader<'_>, spare: Spare, turn: bool) -> Self {
        let readers = reader.devices().iter();
        let readers = readers.map(|one| IMAGES.map(|name| one.recording.image_reader(name)));
        Self { readers: readers.collect(), spare, turn }
    }

    /// The capture. An image that cannot be unpacked is lost, with the reason as its cause.
    pub fn decode<'f>(&mut self, found: Found<'f>) -> Capture<'f> {
        let devices = found.devices.into_iter().enumerate();
        let devices = devices.map(|(place, device)| self.decode_device(place, device));
        Capture { trigger: found.trigger, devices: devices.collect() }
    }

    /// The frames of the device at one place in the reader.
    pub(super) fn decode_device<'f>(
        &mut self,
        place: usize,
        found: FoundDevice<'f>,
    ) -> DeviceFrames<'f> {
        let FoundDevice { frames: [color, depth, ir] } = found;
        let [for_color, for_depth, for_ir] = &mut self.readers[place];
        let slot = |found, reader| slot(found, reader, &self.spare, self.turn);
        DeviceFrames {
            color: slot(color, for_color),
            depth: slot(depth, for_depth),
            ir: slot(ir, for_ir),
        }
    }
}

fn slot<'f>(
    found: Option<Result<ReadBlock<'f>, &'f str>>,
    reader: &mut Option<ImageReader>,
    spare: &Spare,
    turn: bool,
) -> Slot<'f> {
    let (block, reader) = match (found, reader) {
        (Some(Ok(block)), Some(reader)) => (block, reader),
        (Some(Err(cause)), _) => return Slot::Lost(Cow::Borrowed(cause)),
        (None, _) | (_, None) => return Slot::Off,
    };
    let mut memory = match reader.is_packed() || turn && reader.has_16_bits() {
        true => spare.0.pop().unwrap_or_default(),
        false => Vec::new(),
    };
    let image = match turn {
        true => reader.read_le(&block, &mut memory),
        false => reader.read(&block, &mut memory),
    };
    match image {
        Ok(image) => Slot::Frame(image),
        Err(error) => Slot::Lost(Cow::Owned(format!("damaged: {error}"))),
    }
}
