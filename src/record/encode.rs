//! The encoder stage: brings depth and IR frames into the form of the take's profile.

use crate::error::Result;
use crate::frame::{Cause, Frame, Loss, LostAt, TrackName};
use crate::lane::{Received, Receiver, Sender};
use crate::stage::{Stage, Step};
use std::time::Duration;

/// Brings frames into the form of profile `k4a`: depth and IR pixels big-endian
/// (recording-format.md 2.2), everything else as it is.
pub struct Encoder {
    name: String,
    input: Receiver<Frame>,
    output: Sender<Frame>,
    losses: Sender<Loss>,
}

impl Encoder {
    /// An encoder named for the device with `serial`.
    #[must_use]
    pub fn new(
        serial: &str,
        input: Receiver<Frame>,
        output: Sender<Frame>,
        losses: Sender<Loss>,
    ) -> Self {
        Self { name: format!("{serial} encoder"), input, output, losses }
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
            Received::Value(mut frame) => {
                if matches!(frame.track, TrackName::Depth | TrackName::Ir) {
                    swap_bytes(&mut frame.buf);
                }
                let (track, at) = (frame.track, LostAt::Device(frame.stamp_us));
                if self.output.send(frame).is_err() {
                    // A full loss lane loses the cause alone: the gap itself is still seen.
                    let _ = self.losses.send(Loss { track, at, cause: Cause::LaneFull });
                }
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
