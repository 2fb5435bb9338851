//! The Azure Kinect profile of Matroska: which tracks, tags and attachments a recording has, and
//! what is inside its blocks.

mod calibration;
mod capture;
mod compact;
mod configuration;
mod factory;
mod imu;
mod mode;
mod rebuild;
mod recording;
mod write;

pub use calibration::{Calibration, Camera};
pub use capture::{Capture, Captures, Image, ImageReader};
pub use compact::{Packer, Packing, Unpacker, only_image, packed_track, profile, unpacked_track};
pub use configuration::Configuration;
pub use factory::{CalibrationError, Factory, FactoryCamera, FactoryInertial, LensModel, Rigid};
pub use imu::ImuSample;
pub use mode::{
    ColorFormat, ColorMode, DepthMode, ParseModeError, Rate, Resolution, Role, TrackName,
};
pub use rebuild::Rebuilt;
pub use recording::Recording;
pub use write::{About, Device, header, split_start_offset, track_number, tracks_of};
