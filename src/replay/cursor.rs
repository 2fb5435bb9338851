//! Frames found by trigger.

use super::reader::{Device, Reader};
use super::stretch::Blocks;
use super::times::When;
use genlock_formats::k4a::TrackName;
use genlock_formats::mkv::ReadBlock;

/// What is said of a frame that is listed and cannot be found.
const NOT_THERE: &str = "listed in triggers.csv, and not in its file";

/// Finds the frames of any trigger. It remembers where it was: what is near costs little.
pub struct Cursor<'r, 'f> {
    devices: Vec<OfDevice<'r, 'f>>,
}

struct OfDevice<'r, 'f> {
    device: &'r Device<'f>,
    tracks: [Option<u64>; 3],
    blocks: Blocks<'r, 'f>,
}

/// The tracks of images, in the order of [`FoundDevice::frames`].
pub const IMAGES: [TrackName; 3] = [TrackName::Color, TrackName::Depth, TrackName::Ir];

/// Where the frames of a trigger are: slices of the files, packed where the files are.
#[derive(Debug, Clone)]
pub struct Found<'f> {
    /// The trigger.
    pub trigger: u64,
    /// The devices, in the order of the reader.
    pub devices: Vec<FoundDevice<'f>>,
}

/// Where the frames of one device for one trigger are.
#[derive(Debug, Clone)]
pub struct FoundDevice<'f> {
    /// Color, depth and IR: the block of the frame, or why there is none; nothing of a track that
    /// was not recorded.
    pub frames: [Option<Result<ReadBlock<'f>, &'f str>>; 3],
}

impl<'f> Reader<'f> {
    /// Something that finds the frames of any trigger.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_, 'f> {
        Cursor::new(self)
    }
}

impl<'r, 'f> Cursor<'r, 'f> {
    fn new(reader: &'r Reader<'f>) -> Self {
        let of_device = |device: &'r Device<'f>| OfDevice {
            device,
            tracks: IMAGES.map(|name| device.recording.track(name).map(|track| track.number)),
            blocks: Blocks::new(&device.recording, &device.stretches),
        };
        Self { devices: reader.devices().iter().map(of_device).collect() }
    }

    /// Finds the frames of the device at one place in the reader.
    pub(super) fn find_device(&mut self, place: usize, trigger: u64) -> FoundDevice<'f> {
        self.devices[place].find(trigger)
    }

    /// Finds the frames of a trigger. No image is touched.
    pub fn find(&mut self, trigger: u64) -> Found<'f> {
        let find = |one: &mut OfDevice<'r, 'f>| one.find(trigger);
        Found { trigger, devices: self.devices.iter_mut().map(find).collect() }
    }
}

impl<'f> OfDevice<'_, 'f> {
    fn find(&mut self, trigger: u64) -> FoundDevice<'f> {
        let mut frames = [const { None }; 3];
        for ((frame, name), number) in frames.iter_mut().zip(IMAGES).zip(self.tracks) {
            let (Some(number), Some(times)) = (number, self.device.times(name)) else { continue };
            let period_us = self.device.period_us();
            let (time_us, within_us) = match times.when(trigger, period_us) {
                When::At(us) => (us, 0),
                When::About(us) => (us, period_us / 2),
                When::Lost(cause) => {
                    *frame = Some(Err(cause));
                    continue;
                }
            };
            *frame = Some(self.blocks.find(number, time_us, within_us).ok_or(NOT_THERE));
        }
        FoundDevice { frames }
    }
}
