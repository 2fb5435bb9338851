//! What a take has to be set going: stages, with the places of their devices.

use crate::stage::Stage;

/// A stage of a take.
pub enum Job {
    /// Between the device at this place and its recorder.
    Source(usize, Box<dyn Stage>),
    /// The recorder of the device at this place, which is done when its file is.
    Recorder(usize, Box<dyn Stage>),
    /// Of no device alone: the monitor, which is done when all recorders are gone, and what brings
    /// devices back.
    Helper(Box<dyn Stage>),
}
