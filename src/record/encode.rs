//! The encoder stages: they bring frames into the form of the take's profile.

use crate::config::Storing;
use crate::error::Result;
use crate::frame::{Frame, Loss, TrackName};
use crate::lane::{Received, Receiver, Sender, lane};
use crate::record::dealing::{Collector, Dealer, lose};
use crate::rig::disk::noise;
use crate::stage::{Stage, Step};
use genlock_formats::depth::Level;
use genlock_formats::k4a::{Packer, Packing};
use genlock_formats::take::Profile;
use std::time::Duration;

/// Frames that fit on a lane. The pools behind hold about as many, so a lane is full only when its
/// receiver has stood still for a second, and one of images alone, which are fewer, never.
pub(super) const LANE_FRAMES: usize = 512;

/// Memory of an encoder in images: seven of its own, measured after noise, and zstd's.
const ENCODER_IMAGES: u64 = 8;

/// How the frames of a device are brought into the form of the take's profile, however often it is
/// opened.
#[derive(Debug, Clone)]
pub(super) struct Forms {
    packed: Vec<(TrackName, Packing)>,
    storing: Storing,
}

/// Where the image frames of a device go on their way to its recorder, and the stages there.
pub(super) struct Encoding {
    pub color: Sender<Frame>,
    /// Depth and IR.
    pub depth: Sender<Frame>,
    pub stages: Vec<Box<dyn Stage>>,
}

impl Forms {
    /// With these tracks packed, as profile `compact` has it.
    pub fn new(packed: Vec<(TrackName, Packing)>, storing: Storing) -> Self {
        Self { packed, storing }
    }

    /// Bytes that an image may grow by, at most: its buffer must have them.
    pub fn growth_max(&self) -> usize {
        if self.packed.is_empty() { 0 } else { Packer::GROWTH_MAX }
    }

    /// Bytes in which encoders pack, of all of them together, at most.
    pub fn encoder_bytes(&self) -> u64 {
        let images = self.packed.iter().map(|(_, packing)| packing.block_bytes() as u64);
        images.sum::<u64>() * ENCODER_IMAGES * self.storing.encoders as u64
    }

    /// The stages for the device with `serial`.
    pub fn encoding(
        &self,
        serial: &str,
        to_recorder: &Sender<Frame>,
        losses: &Sender<Loss>,
    ) -> Encoding {
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        if self.storing.profile == Profile::K4a {
            let (depth, input) = lane(LANE_FRAMES);
            let encoder = Encoder::new(serial, input, to_recorder.clone(), losses.clone());
            stages.push(Box::new(encoder));
            return Encoding { color: to_recorder.clone(), depth, stages };
        }
        let mut entry = |camera: &str, tracks: &[TrackName]| {
            let packings = self.packed.iter().filter(|(track, _)| tracks.contains(track));
            let count = packings.clone().count() * self.storing.encoders;
            packings.map(|(_, packing)| *packing).next().map_or(to_recorder.clone(), |packing| {
                let exit = (to_recorder, losses);
                self.packers(&format!("{serial} {camera}"), (packing, count), exit, &mut stages)
            })
        };
        let color = entry("color", &[TrackName::Color]);
        // Depth and IR have images of one size, so that all encoders of the depth camera pack both;
        // and they stay in the order in which the recorder numbers them.
        let depth = entry("depth", &[TrackName::Depth, TrackName::Ir]);
        Encoding { color, depth, stages }
    }

    /// So many encoders of one camera, and those around them where there are several. Gives where
    /// its frames go in.
    fn packers(
        &self,
        name: &str,
        (packing, count): (Packing, usize),
        (to_recorder, losses): (&Sender<Frame>, &Sender<Loss>),
        stages: &mut Vec<Box<dyn Stage>>,
    ) -> Sender<Frame> {
        let (entry, input) = lane(LANE_FRAMES);
        let mut packer = |number: usize, input, output| {
            stages.push(Box::new(Encoder {
                name: format!("{name} encoder {number}"),
                packed: Some(Packed::new(packing, self.storing.level)),
                input,
                output,
                losses: losses.clone(),
            }));
        };
        if count < 2 {
            packer(1, input, to_recorder.clone());
            return entry;
        }
        let (mut dealt, mut done) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let (to_encoder, of_dealer) = lane(LANE_FRAMES);
            let (to_collector, of_encoder) = lane(LANE_FRAMES);
            packer(number, of_dealer, to_collector);
            dealt.push(to_encoder);
            done.push(of_encoder);
        }
        stages.push(Box::new(Dealer::new(name, input, dealt, losses.clone())));
        stages.push(Box::new(Collector::new(name, done, to_recorder.clone(), losses.clone())));
        entry
    }
}

/// Packs images of one size. The memory that it needs is there before the first of them.
struct Packed {
    packer: Packer,
    scratch: Vec<u8>,
}

impl Packed {
    fn new(packing: Packing, level: Level) -> Self {
        let mut packed = Self { packer: Packer::new(packing, level), scratch: Vec::new() };
        // Noise takes as much memory as any image, and what it took is kept for them.
        packed.packer.pack(&noise(packing.block_bytes()), &mut packed.scratch);
        packed
    }

    /// Packs an image where it is: no second pool, and what is on its way to the disk is still
    /// counted by the device's own, whose buffers have room for [`Forms::growth_max`] more.
    fn pack(&mut self, frame: &mut Frame) {
        self.scratch.clear();
        self.packer.pack(&frame.buf, &mut self.scratch);
        frame.buf.set_len(self.scratch.len());
        frame.buf.copy_from_slice(&self.scratch);
    }
}

/// Brings frames into the form of profile `k4a`: depth and IR pixels big-endian
/// (recording-format.md 2.2), everything else as it is. In profile `compact` it then packs them:
/// what is packed, and what its checksum is of, is the block of profile `k4a`, and another pass
/// over an image is little beside packing it.
pub struct Encoder {
    name: String,
    packed: Option<Packed>,
    input: Receiver<Frame>,
    output: Sender<Frame>,
    losses: Sender<Loss>,
}

impl Encoder {
    /// An encoder of profile `k4a`, named for the device with `serial`.
    #[must_use]
    pub fn new(
        serial: &str,
        input: Receiver<Frame>,
        output: Sender<Frame>,
        losses: Sender<Loss>,
    ) -> Self {
        Self { name: format!("{serial} encoder"), packed: None, input, output, losses }
    }

    fn encode(&mut self, mut frame: Frame) {
        if matches!(frame.track, TrackName::Depth | TrackName::Ir) {
            swap_bytes(&mut frame.buf);
        }
        if let Some(packed) = &mut self.packed {
            packed.pack(&mut frame);
        }
        if let Err(frame) = self.output.send(frame) {
            lose(&self.losses, &frame);
        }
    }
}

impl Stage for Encoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.input.receive(wait) {
            Received::Nothing => Ok(Step::Idle),
            Received::Closed => Ok(Step::Done),
            Received::Value(frame) => {
                self.encode(frame);
                Ok(Step::Worked)
            }
        }
    }
}

/// Turns 16-bit pixels from little-endian to big-endian, in place.
pub fn swap_bytes(pixels: &mut [u8]) {
    let (pixels, _) = pixels.as_chunks_mut::<2>();
    for pixel in pixels {
        *pixel = u16::from_le_bytes(*pixel).to_be_bytes();
    }
}
