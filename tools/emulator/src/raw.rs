//! Raw depth frames: the exact sizes of the device, its trailer, and images of our own making
//! inside.
//!
//! What a real frame holds between its head and its trailer only Microsoft's engine knows. Ours
//! holds the finished images, and our engine takes them out again.

use genlock_formats::k4a::DepthMode;

/// What the depth sensor does, by its number on the wire (usb-protocol.md 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensorMode {
    /// Passive IR.
    PseudoCommon = 3,
    /// Both narrow fields of view: binning is the engine's work.
    LongThrow = 4,
    /// Wide field of view, unbinned.
    MegaPixel = 5,
    /// Wide field of view, binned.
    QuarterMegaPixel = 7,
}

impl SensorMode {
    /// The mode with this number.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        [Self::PseudoCommon, Self::LongThrow, Self::MegaPixel, Self::QuarterMegaPixel]
            .into_iter()
            .find(|mode| *mode as u32 == id)
    }

    /// The sensor mode behind a depth mode.
    #[must_use]
    pub const fn of(mode: DepthMode) -> Self {
        match mode {
            DepthMode::Nfov2x2Binned | DepthMode::NfovUnbinned => Self::LongThrow,
            DepthMode::Wfov2x2Binned => Self::QuarterMegaPixel,
            DepthMode::WfovUnbinned => Self::MegaPixel,
            DepthMode::PassiveIr => Self::PseudoCommon,
        }
    }

    /// Exact bytes of a frame.
    #[must_use]
    pub const fn frame_bytes(self) -> usize {
        match self {
            Self::PseudoCommon => 1_678_024,
            Self::LongThrow => 5_310_760,
            Self::MegaPixel => 9_438_664,
            Self::QuarterMegaPixel => 3_777_232,
        }
    }
}

/// What the trailer of a frame says (usb-protocol.md 5.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trailer {
    /// Centre of exposure in 90 kHz ticks.
    pub exposure_ticks: u64,
    /// USB start of frame in 90 kHz ticks.
    pub sof_ticks: u64,
    /// Sensor temperature in °C.
    pub sensor_c: f32,
    /// Laser temperatures in °C.
    pub laser_c: [f32; 2],
}

const HEAD_BYTES: usize = 256;
const TRAILER_BYTES: usize = 40;
const COUNTER_AT: usize = 11;
const MARK_AT: usize = 16;
const MARK: &[u8; 4] = b"GLEM";

/// Images, packed as a frame carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    mode: DepthMode,
    bytes: Vec<u8>,
}

impl Body {
    /// Packs a depth and an IR image of `mode`, 16-bit little-endian; passive IR has no depth
    /// image. None when they do not fit a frame: of passive IR, some 26000 pixels may exceed 4095.
    ///
    /// # Panics
    /// When an image does not have the mode's size.
    #[must_use]
    pub fn pack(mode: DepthMode, depth: &[u8], ir: &[u8]) -> Option<Self> {
        assert_eq!(ir.len(), mode.image_bytes());
        assert_eq!(depth.len(), if mode.has_depth() { mode.image_bytes() } else { 0 });
        let bytes = if mode.has_depth() { [depth, ir].concat() } else { pack_12_bits(ir) };
        let room = SensorMode::of(mode).frame_bytes() - HEAD_BYTES - TRAILER_BYTES;
        (bytes.len() <= room).then_some(Self { mode, bytes })
    }

    /// Writes a frame with these images into `out`, which has the frame's size.
    ///
    /// # Panics
    /// When it has another.
    pub fn write(&self, number: u64, trailer: &Trailer, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(HEAD_BYTES);
        let (room, tail) = rest.split_at_mut(rest.len() - TRAILER_BYTES);
        head.fill(0);
        head[COUNTER_AT] = number as u8;
        head[MARK_AT..MARK_AT + 4].copy_from_slice(MARK);
        head[MARK_AT + 4] = self.mode as u8;
        let (images, unused) = room.split_at_mut(self.bytes.len());
        images.copy_from_slice(&self.bytes);
        unused.fill(0);
        tail.fill(0);
        tail[..4].copy_from_slice(b"MRMF");
        tail[8..16].copy_from_slice(&trailer.exposure_ticks.to_le_bytes());
        tail[16..20].copy_from_slice(&trailer.sensor_c.to_le_bytes());
        tail[20..24].copy_from_slice(&trailer.laser_c[0].to_le_bytes());
        tail[24..28].copy_from_slice(&trailer.laser_c[1].to_le_bytes());
        tail[32..40].copy_from_slice(&trailer.sof_ticks.to_le_bytes());
    }
}

/// A frame, taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame<'a> {
    /// The mode that its images were made for.
    pub mode: DepthMode,
    /// Its trailer.
    pub trailer: Trailer,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a frame apart; none where it is not one of ours.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (body, tail) = rest.split_at_checked(rest.len().checked_sub(TRAILER_BYTES)?)?;
        let marked = &head[MARK_AT..MARK_AT + 4] == MARK && &tail[..4] == b"MRMF";
        let mode = DepthMode::ALL.into_iter().find(|mode| *mode as u8 == head[MARK_AT + 4])?;
        let long = |at: usize| {
            tail[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        let float = |at: usize| f32::from_bits(long(at) as u32);
        let trailer = Trailer {
            exposure_ticks: long(8),
            sensor_c: float(16),
            laser_c: [float(20), float(24)],
            sof_ticks: long(32),
        };
        let sized = SensorMode::of(mode).frame_bytes() == bytes.len();
        (marked && sized).then_some(Self { mode, trailer, body })
    }

    /// Unpacks the images for an engine that makes images of `wanted`: depth, then IR; of passive
    /// IR, IR alone. Says false where the frame does not hold such images.
    #[must_use]
    pub fn unpack(&self, wanted: DepthMode, out: &mut [u8]) -> bool {
        let images = if wanted.has_depth() { 2 } else { 1 };
        if out.len() < images * wanted.image_bytes() {
            return false;
        }
        match (self.mode, wanted) {
            (DepthMode::PassiveIr, DepthMode::PassiveIr) => unpack_12_bits(self.body, out),
            (DepthMode::NfovUnbinned, DepthMode::Nfov2x2Binned) => {
                bin(self.body, out);
                true
            }
            (mode, wanted) if mode == wanted => {
                let bytes = images * wanted.image_bytes();
                out[..bytes].copy_from_slice(&self.body[..bytes]);
                true
            }
            _ => false,
        }
    }
}

/// Every second pixel of every second row, of both images: 640x576 becomes 320x288.
fn bin(body: &[u8], out: &mut [u8]) {
    let row_bytes = DepthMode::NfovUnbinned.size().0 as usize * 2;
    let pixels = body.chunks_exact(row_bytes).step_by(2).flat_map(|row| row.chunks_exact(4));
    for (binned, pixels) in out.chunks_exact_mut(2).zip(pixels) {
        binned.copy_from_slice(&pixels[..2]);
    }
}

/// The low 12 bits of every pixel, two pixels in three bytes; then a list of those that have more:
/// index and the high 4 bits in one number. (16 bits a pixel would not fit the frame.)
fn pack_12_bits(ir: &[u8]) -> Vec<u8> {
    let pixel = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let mut packed = Vec::with_capacity(ir.len() * 3 / 4);
    for pair in ir.chunks_exact(4) {
        let (a, b) = (pixel(pair) & 0xFFF, pixel(&pair[2..]) & 0xFFF);
        packed.extend([a as u8, (a >> 8 | b << 4) as u8, (b >> 4) as u8]);
    }
    let high = ir.chunks_exact(2).map(pixel).zip(0_u32..).filter(|(pixel, _)| *pixel > 0xFFF);
    let high: Vec<_> = high.map(|(pixel, index)| index << 4 | u32::from(pixel >> 12)).collect();
    packed.extend((high.len() as u32).to_le_bytes());
    high.iter().for_each(|entry| packed.extend(entry.to_le_bytes()));
    packed
}

fn unpack_12_bits(body: &[u8], out: &mut [u8]) -> bool {
    let (low, high) = body.split_at(DepthMode::PassiveIr.image_bytes() * 3 / 4);
    for (triple, pair) in low.chunks_exact(3).zip(out.chunks_exact_mut(4)) {
        pair[0] = triple[0];
        pair[1] = triple[1] & 0xF;
        pair[2] = triple[1] >> 4 | triple[2] << 4;
        pair[3] = triple[2] >> 4;
    }
    let mut words = high.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let count = words.next().unwrap_or(0) as usize;
    for entry in words.take(count) {
        let at = (entry >> 4) as usize * 2 + 1;
        let Some(byte) = out.get_mut(at) else {
            return false;
        };
        *byte |= (entry << 4) as u8;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Random;

    const TRAILER: Trailer =
        Trailer { exposure_ticks: 3000, sof_ticks: 4000, sensor_c: 31.5, laser_c: [30.0, 29.0] };

    fn random_image(mode: DepthMode, seed: u64, mask: u8) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut image: Vec<_> = (0..mode.image_bytes()).map(|_| random.next() as u8).collect();
        image.iter_mut().skip(1).step_by(2).for_each(|high| *high &= mask);
        image
    }

    #[test]
    fn images_of_every_mode_come_out_as_they_went_in() {
        for mode in DepthMode::ALL {
            let depth = if mode.has_depth() { random_image(mode, 1, 0xFF) } else { Vec::new() };
            let mut ir = random_image(mode, 2, if mode.has_depth() { 0xFF } else { 0x0F });
            ir[2001] = 0xAB;
            let body = Body::pack(mode, &depth, &ir).expect("it fits");
            let mut frame = vec![0xEE; SensorMode::of(mode).frame_bytes()];
            body.write(7, &TRAILER, &mut frame);
            let read = Frame::read(&frame).expect("one of ours");
            assert_eq!((read.mode, read.trailer), (mode, TRAILER));
            let mut out = vec![0; depth.len() + ir.len()];
            assert!(read.unpack(mode, &mut out));
            assert_eq!(out, [depth, ir].concat(), "{mode}");
        }
    }

    #[test]
    fn the_engine_bins_a_narrow_frame() {
        let mode = DepthMode::NfovUnbinned;
        let (depth, ir) = (random_image(mode, 3, 0xFF), random_image(mode, 4, 0xFF));
        let body = Body::pack(mode, &depth, &ir).expect("it fits");
        let mut frame = vec![0; SensorMode::LongThrow.frame_bytes()];
        body.write(0, &TRAILER, &mut frame);
        let mut out = vec![0; 2 * DepthMode::Nfov2x2Binned.image_bytes()];
        let read = Frame::read(&frame).expect("one of ours");
        assert!(read.unpack(DepthMode::Nfov2x2Binned, &mut out));
        assert_eq!(out[2..4], depth[4..6]);
        assert_eq!(out[640..642], depth[2 * 1280..2 * 1280 + 2]);
        assert_eq!(out[320 * 288 * 2..][..2], ir[..2]);
        assert!(!read.unpack(DepthMode::Wfov2x2Binned, &mut vec![0; 1 << 21]));
    }

    #[test]
    fn passive_ir_that_is_too_bright_does_not_fit() {
        let mode = DepthMode::PassiveIr;
        assert_eq!(Body::pack(mode, &[], &vec![0xFF; mode.image_bytes()]), None);
    }
}
