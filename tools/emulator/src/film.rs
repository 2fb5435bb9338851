//! What emulated cameras play.

use crate::raw::Body;
use genlock_formats::k4a::{Configuration, ImuSample};
use std::fmt::Debug;
use std::sync::Arc;

/// Frames that a camera sends instead of a scene's, numbered by its pulses from 0 on. Where there
/// is none of a number the camera sends nothing for that pulse.
pub trait Film: Debug + Send + Sync {
    /// What it was recorded with: the modes that it has frames of.
    fn configuration(&self) -> &Configuration;

    /// The calibration of the camera that recorded it.
    fn calibration(&self) -> Option<&[u8]>;

    /// The payload of a color frame, as the camera sends it.
    fn color(&self, number: u64) -> Option<Arc<Vec<u8>>>;

    /// The images of a depth frame.
    fn depth(&self, number: u64) -> Option<Arc<Body>>;

    /// An IMU sample, calibrated; samples have numbers of their own.
    fn imu(&self, number: u64) -> Option<ImuSample>;
}
