//! Where one encoder is too slow for a camera, its frames are dealt to several in turn, and
//! collected in the same turn: so they stay in order, and nothing is sorted.

use crate::error::Result;
use crate::frame::{Cause, Frame, Loss, LostAt};
use crate::lane::{Received, Receiver, Sender};
use crate::stage::{Stage, Step};
use std::time::Duration;

/// Deals the frames of a camera to its encoders in turn.
pub(super) struct Dealer {
    name: String,
    input: Receiver<Frame>,
    outputs: Vec<Sender<Frame>>,
    turn: usize,
    losses: Sender<Loss>,
}

impl Dealer {
    /// For the camera of this name; `outputs` is not empty.
    pub fn new(
        name: &str,
        input: Receiver<Frame>,
        outputs: Vec<Sender<Frame>>,
        losses: Sender<Loss>,
    ) -> Self {
        Self { name: format!("{name} dealer"), input, outputs, turn: 0, losses }
    }
}

impl Stage for Dealer {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        let output = &self.outputs[self.turn];
        if output.is_closed() {
            // An encoder has failed, and with it this camera.
            return Ok(Step::Done);
        }
        match self.input.receive(wait) {
            Received::Nothing => return Ok(Step::Idle),
            Received::Closed => return Ok(Step::Done),
            Received::Value(frame) => match output.send(frame) {
                Ok(()) => self.turn = (self.turn + 1) % self.outputs.len(),
                // The turn stays: the collector counts the frames that were dealt.
                Err(frame) => lose(&self.losses, &frame),
            },
        }
        Ok(Step::Worked)
    }
}

/// Collects the frames of a camera from its encoders, in the turn in which they were dealt.
pub(super) struct Collector {
    name: String,
    inputs: Vec<Receiver<Frame>>,
    turn: usize,
    output: Sender<Frame>,
    losses: Sender<Loss>,
}

impl Collector {
    /// For the camera of this name; `inputs` is not empty, and gives a frame for each that was
    /// dealt.
    pub fn new(
        name: &str,
        inputs: Vec<Receiver<Frame>>,
        output: Sender<Frame>,
        losses: Sender<Loss>,
    ) -> Self {
        Self { name: format!("{name} collector"), inputs, turn: 0, output, losses }
    }
}

impl Stage for Collector {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.inputs[self.turn].receive(wait) {
            Received::Nothing => return Ok(Step::Idle),
            // Whose turn it is has got no frame more: no one after it has.
            Received::Closed => return Ok(Step::Done),
            Received::Value(frame) => {
                self.turn = (self.turn + 1) % self.inputs.len();
                if let Err(frame) = self.output.send(frame) {
                    lose(&self.losses, &frame);
                }
            }
        }
        Ok(Step::Worked)
    }
}

/// Tells that a lane was full.
pub(super) fn lose(losses: &Sender<Loss>, frame: &Frame) {
    let (track, at) = (frame.track, LostAt::Device(frame.stamp_us));
    // A full loss lane loses the cause alone: the gap itself is still seen.
    let _ = losses.send(Loss { track, at, cause: Cause::LaneFull });
}
