//! The Azure Kinect profile of Matroska: which tracks, tags and attachments a recording has, and what is
//! inside its blocks.

mod mode;

pub use mode::{
    ColorFormat, ColorMode, DepthMode, ParseModeError, Rate, Resolution, Role, TrackName,
};
