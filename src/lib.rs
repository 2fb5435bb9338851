//! genlock records several Azure Kinect DKs as one instrument.
//!
//! Rooms, lowest floor first: [`error`], [`clock`], [`pool`], [`lane`], [`stage`] know nothing of cameras;
//! [`frame`] and [`config`] are values; [`usb`] is the door to devices; [`device`] is one Azure Kinect;
//! [`record`] makes takes; [`cli`] holds the words of the user.

pub mod clock;
pub mod config;
pub mod error;
pub mod frame;
pub mod lane;
pub mod pool;
pub mod stage;
pub mod usb;

pub use error::{Error, Result};
