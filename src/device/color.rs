//! The color source: UVC payloads in, color frames out.

use crate::device::payload::{Assembled, Assembly};
use crate::device::settled::Settled;
use crate::device::source::{Exit, Look, Source, ticks_to_us};
use crate::error::Result;
use crate::frame::{Cause, Frame, LostAt, TrackName};
use crate::pool::{Buf, Pool};
use crate::stage::{Stage, Step};
use crate::usb::Stream;
use genlock_formats::k4a::{ColorFormat, ColorMode};
use std::sync::Arc;
use std::time::Duration;

/// Turns the color stream of one device into frames.
pub struct ColorSource {
    source: Source,
    assembly: Assembly,
    images: Pool,
    mode: ColorMode,
    settled: Arc<Settled>,
}

impl ColorSource {
    /// For the device with `serial`; `images` lends a buffer for each frame.
    #[must_use]
    pub fn new(
        serial: &str,
        stream: Box<dyn Stream>,
        mode: ColorMode,
        images: Pool,
        settled: Arc<Settled>,
        exit: Exit,
    ) -> Self {
        let source = Source::new(serial, TrackName::Color, stream, exit);
        Self { source, assembly: Assembly::default(), images, mode, settled }
    }

    fn finish(&self, assembled: Assembled, arrived_ns: u64) {
        match assembled {
            // The sensor is starting: there is no exposure behind such a frame.
            Assembled::Frame { ticks: 0, .. } => {}
            Assembled::Frame { image, ticks, ended, taken_with }
                if is_whole(&image, self.mode, ended) =>
            {
                if let Some(taken_with) = taken_with {
                    self.settled.note(taken_with);
                }
                let stamp_us = ticks_to_us(ticks);
                let track = TrackName::Color;
                let frame = Frame { track, stamp_us, last_us: stamp_us, arrived_ns, buf: image };
                self.source.send(frame);
            }
            Assembled::Frame { ticks, .. } => {
                self.source.lost(LostAt::Device(ticks_to_us(ticks)), Cause::Malformed);
            }
            Assembled::Damaged { ticks, no_buffer } => {
                let cause = if no_buffer { Cause::NoBuffer } else { Cause::Malformed };
                let at = ticks
                    .map_or(LostAt::Host(arrived_ns), |ticks| LostAt::Device(ticks_to_us(ticks)));
                self.source.lost(at, cause);
            }
        }
    }
}

/// Whether all of an image is there. A JPEG's length is not known, so one whose last payload did
/// not say so must end as a JPEG ends.
fn is_whole(image: &Buf, mode: ColorMode, ended: bool) -> bool {
    match mode.format {
        ColorFormat::Mjpg => {
            let padding = image.iter().rev().take_while(|byte| **byte == 0).count();
            let end = &image[..image.len() - padding];
            image.starts_with(&[0xFF, 0xD8]) && (ended || end.ends_with(&[0xFF, 0xD9]))
        }
        ColorFormat::Nv12 | ColorFormat::Yuy2 | ColorFormat::Bgra => {
            image.len() == mode.image_bytes_max()
        }
    }
}

impl Stage for ColorSource {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.source.look(wait)? {
            Look::Stopped => Ok(Step::Done),
            Look::Nothing => Ok(Step::Idle),
            Look::Lost => Ok(Step::Worked),
            Look::Transfer(transfer) => {
                for payload in transfer.payloads() {
                    let done = self.assembly.take(payload, || self.images.lend());
                    for assembled in done.into_iter().flatten() {
                        self.finish(assembled, transfer.arrived_ns);
                    }
                }
                Ok(Step::Worked)
            }
        }
    }
}
