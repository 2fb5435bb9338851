//! The depth source and the depth engine's stage: raw frames in, depth and IR frames out.

use crate::device::engine::{Engine, EngineParts, Processed};
use crate::device::source::{Exit, Look, Source, StaleGuard, ticks_to_us};
use crate::error::Result;
use crate::frame::{Cause, Frame, Loss, LostAt, TrackName};
use crate::lane::{Received, Receiver, Sender};
use crate::pool::{Buf, Pool};
use crate::stage::{Stage, Step};
use crate::usb::Stream;
use genlock_formats::k4a::DepthMode;
use std::time::Duration;

/// A raw depth frame on its way to the engine.
pub struct RawDepth {
    buf: Buf,
    arrived_ns: u64,
}

/// The track that a loss of the depth camera is reported for.
fn track(mode: DepthMode) -> TrackName {
    if mode.has_depth() { TrackName::Depth } else { TrackName::Ir }
}

/// Takes raw frames off the wire.
pub struct DepthSource {
    source: Source,
    frame_bytes: usize,
    output: Sender<RawDepth>,
}

impl DepthSource {
    /// For the device with `serial`, whose frames have exactly `frame_bytes`.
    #[must_use]
    pub fn new(
        serial: &str,
        stream: Box<dyn Stream>,
        (mode, frame_bytes): (DepthMode, usize),
        output: Sender<RawDepth>,
        exit: Exit,
    ) -> Self {
        let source = Source::new(serial, track(mode), stream, exit);
        Self { source, frame_bytes, output }
    }
}

impl Stage for DepthSource {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.source.look(wait)? {
            Look::Stopped => return Ok(Step::Done),
            Look::Nothing => return Ok(Step::Idle),
            Look::Lost => {}
            Look::Transfer(transfer) if transfer.buf.len() != self.frame_bytes => {
                self.source.lost(LostAt::Host(transfer.arrived_ns), Cause::Malformed);
            }
            Look::Transfer(transfer) => {
                let arrived_ns = transfer.arrived_ns;
                let raw = RawDepth { buf: transfer.buf, arrived_ns };
                if self.output.send(raw).is_err() {
                    self.source.lost(LostAt::Host(arrived_ns), Cause::LaneFull);
                }
            }
        }
        Ok(Step::Worked)
    }
}

/// Turns raw frames into depth and IR frames. The engine is created at the first step, on the
/// thread that the stage then stays on.
pub struct DepthEngine {
    name: String,
    parts: EngineParts,
    engine: Option<Engine>,
    input: Receiver<RawDepth>,
    scratch: Vec<u8>,
    images: Pool,
    output: Sender<Frame>,
    losses: Sender<Loss>,
    guard: StaleGuard,
}

impl DepthEngine {
    /// For the device with `serial`; `images` lends two buffers for each raw frame.
    #[must_use]
    pub fn new(
        serial: &str,
        parts: EngineParts,
        input: Receiver<RawDepth>,
        images: Pool,
        exit: Exit,
        guard: StaleGuard,
    ) -> Self {
        Self {
            name: format!("{serial} depth engine"),
            parts,
            engine: None,
            input,
            scratch: Vec::new(),
            images,
            output: exit.output,
            losses: exit.losses,
            guard,
        }
    }

    fn process(&mut self, raw: &mut RawDepth) -> Result<()> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        match engine.process(&mut raw.buf, &mut self.scratch)? {
            Processed::Dropped => {
                let at = LostAt::Host(raw.arrived_ns);
                self.lost(track(self.parts.mode), at, Cause::Engine);
            }
            // The sensor is starting: there is no exposure behind such a frame.
            Processed::Images { exposure_ticks: 0 } => {}
            Processed::Images { exposure_ticks } => {
                let stamp_us = ticks_to_us(exposure_ticks);
                if !self.guard.is_stale(stamp_us, raw.arrived_ns) {
                    self.send(stamp_us, raw.arrived_ns);
                }
            }
        }
        Ok(())
    }

    /// Sends the images in the scratch room on, depth first.
    fn send(&self, stamp_us: u64, arrived_ns: u64) {
        let mode = self.parts.mode;
        let tracks: &[_] = match mode.has_depth() {
            true => &[TrackName::Depth, TrackName::Ir],
            false => &[TrackName::Ir],
        };
        for (track, image) in tracks.iter().zip(self.scratch.chunks_exact(mode.image_bytes())) {
            let Some(mut buf) = self.images.lend() else {
                self.lost(*track, LostAt::Device(stamp_us), Cause::NoBuffer);
                continue;
            };
            buf.set_len(image.len());
            buf.copy_from_slice(image);
            let frame = Frame { track: *track, stamp_us, last_us: stamp_us, arrived_ns, buf };
            if self.output.send(frame).is_err() {
                self.lost(*track, LostAt::Device(stamp_us), Cause::LaneFull);
            }
        }
    }

    fn lost(&self, track: TrackName, at: LostAt, cause: Cause) {
        // A full lane loses the cause alone: the gap itself is still seen by its trigger.
        let _ = self.losses.send(Loss { track, at, cause });
    }
}

impl Stage for DepthEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        if self.engine.is_none() {
            let engine = Engine::create(&self.parts)?;
            self.scratch = vec![0; engine.output_bytes()];
            self.engine = Some(engine);
        }
        match self.input.receive(wait) {
            Received::Nothing => Ok(Step::Idle),
            Received::Closed => Ok(Step::Done),
            Received::Value(mut raw) => self.process(&mut raw).map(|()| Step::Worked),
        }
    }
}
