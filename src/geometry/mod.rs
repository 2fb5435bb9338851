//! Where the pixels of a camera are in space, from its calibration: rays, clouds, the images of one
//! camera seen from the other, and images without the bend of the lens.
//!
//! Frames and units are those of libk4a, and so are the results (`docs/geometry.md` says how
//! nearly): millimetres; x right, y down, z ahead; (0, 0) is the centre of the first pixel. Images
//! are slices of pixels, row by row, without padding. Outputs are vectors that are filled anew and
//! keep their memory from frame to frame.
//!
//! ```
//! use genlock::geometry::{Rays, Registration};
//! use genlock_formats::k4a::{Calibration, ColorMode, DepthMode};
//!
//! # let json = genlock_emulator::calibration::synthetic(1, "000000000001");
//! let mode: ColorMode = "720p".parse()?;
//! let calibration = Calibration::of(&json, Some(mode), Some(DepthMode::NfovUnbinned))?;
//! let depth = vec![1500; 640 * 576]; // a wall, 1.5 m ahead
//!
//! let camera = calibration.depth.as_ref().ok_or("no depth")?;
//! let mut cloud = Vec::new();
//! Rays::of(camera).cloud(&depth, &mut cloud)?;
//! assert_eq!(cloud[288 * 640 + 320][2], 1500.0);
//!
//! let mut registration = Registration::of(&calibration)?;
//! let mut in_color = Vec::new();
//! registration.depth_into_color(&depth, &mut in_color)?;
//! assert_eq!(in_color.len(), 1280 * 720);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod lens;
mod raster;
mod rays;
mod registration;
mod sample;
mod undistortion;

pub use lens::{project, unproject};
pub use rays::Rays;
pub use registration::Registration;
pub use sample::Channel;
pub use undistortion::{Pinhole, Undistortion};

use crate::{Error, Result};

/// Refuses an image that does not have a camera's pixels.
fn check(what: &str, pixels: usize, width: u32, height: u32) -> Result<()> {
    if pixels == width as usize * height as usize {
        return Ok(());
    }
    Err(Error::File(format!(
        "the {what} image has {pixels} pixels, and its camera {width}x{height}: \
         take the calibration in the mode of the recording"
    )))
}

/// Fills `out` with `len` times nothing.
fn clear<T: Clone + Default>(out: &mut Vec<T>, len: usize) {
    out.clear();
    out.resize(len, T::default());
}
