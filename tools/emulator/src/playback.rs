//! A real recording as what a camera sees: its color bytes, its depth and IR pixels, its IMU
//! samples.

use crate::film::Film;
use crate::raw::Body;
use genlock_formats::k4a::{Capture, Configuration, ImuSample, Recording};
use std::sync::Arc;

/// The frames of a recording, ready to be sent again.
#[derive(Debug)]
pub struct Playback {
    /// What the recording was configured to hold.
    pub configuration: Configuration,
    /// Serial number of the device that recorded it.
    pub serial: Option<String>,
    calibration: Option<Vec<u8>>,
    color: Vec<Arc<Vec<u8>>>,
    depth: Vec<Arc<Body>>,
    imu: Vec<ImuSample>,
    /// Captures that were left out, because an image of them is missing or memory would not hold
    /// them.
    pub left_out: usize,
}

/// Memory that a recording's frames may take.
const BYTES_MAX: usize = 1 << 30;

/// Samples that are kept: a minute of them.
const SAMPLES_MAX: usize = 100_000;

impl Playback {
    /// Loads a recording. Captures that lack an image are left out, and so is what comes after the
    /// first gigabyte.
    ///
    /// # Errors
    /// Why it cannot be played, in words for a person: not a recording, no whole capture, images
    /// that no device sends.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        let recording = Recording::open(bytes).map_err(|error| error.to_string())?;
        let mut playback = Self {
            configuration: recording.configuration().clone(),
            serial: recording.serial().map(str::to_owned),
            calibration: recording.calibration().map(<[u8]>::to_vec),
            color: Vec::new(),
            depth: Vec::new(),
            imu: recording.imu().take(SAMPLES_MAX).map_while(Result::ok).collect(),
            left_out: 0,
        };
        let color = playback.configuration.color;
        if color.is_some_and(|mode| mode.format == genlock_formats::k4a::ColorFormat::Bgra) {
            return Err("its color is BGRA, which no device sends".to_owned());
        }
        let mut held = 0;
        for capture in recording.captures() {
            let capture = capture.map_err(|error| error.to_string())?;
            if held >= BYTES_MAX || !playback.keep(&capture)? {
                playback.left_out += 1;
            } else {
                held += capture_bytes(&capture);
            }
        }
        if playback.color.is_empty() && playback.depth.is_empty() {
            return Err("it has no capture with all its images".to_owned());
        }
        Ok(playback)
    }

    /// Keeps a capture that is whole.
    fn keep(&mut self, capture: &Capture<'_>) -> Result<bool, String> {
        let Configuration { color, depth, .. } = self.configuration;
        let whole = capture.color.is_some() >= color.is_some()
            && capture.ir.is_some() >= depth.is_some()
            && capture.depth.is_some() >= depth.is_some_and(|mode| mode.has_depth());
        if !whole {
            return Ok(false);
        }
        if let (Some(mode), Some(ir)) = (depth, &capture.ir) {
            let depth = capture.depth.as_ref().map(|image| image.pixels_le()).unwrap_or_default();
            let expected = if mode.has_depth() { mode.image_bytes() } else { 0 };
            if ir.bytes.len() != mode.image_bytes() || depth.len() != expected {
                return Err(format!(
                    "an image at {} us does not have the size of {mode}",
                    ir.time_us
                ));
            }
            let body = Body::pack(mode, &depth, &ir.pixels_le()).ok_or_else(|| {
                format!("the IR image at {} us is too bright for a raw frame", ir.time_us)
            })?;
            self.depth.push(Arc::new(body));
        }
        if let (Some(_), Some(image)) = (color, &capture.color) {
            self.color.push(Arc::new(image.bytes.to_vec()));
        }
        Ok(true)
    }
}

/// A recording has no numbers: it is looped.
impl Film for Playback {
    fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    fn calibration(&self) -> Option<&[u8]> {
        self.calibration.as_deref()
    }

    fn color(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        nth(&self.color, number).cloned()
    }

    fn depth(&self, number: u64) -> Option<Arc<Body>> {
        nth(&self.depth, number).cloned()
    }

    fn imu(&self, number: u64) -> Option<ImuSample> {
        nth(&self.imu, number).copied()
    }
}

/// The item of a number, over and over again.
pub(crate) fn nth<T>(items: &[T], number: u64) -> Option<&T> {
    let count = items.len() as u64;
    items.get(number.checked_rem(count)? as usize)
}

fn capture_bytes(capture: &Capture<'_>) -> usize {
    let images = [&capture.color, &capture.depth, &capture.ir];
    images.into_iter().flatten().map(|image| image.bytes.len()).sum()
}
