//! genlock records several Azure Kinect DKs as one instrument.
//!
//! Rooms, lowest floor first: [`error`], [`clock`], [`pool`], [`lane`], [`stage`] and [`deal`] know
//! nothing of cameras; [`frame`] and [`config`] are values, [`geometry`] the arithmetic of space;
//! [`usb`] is the door to devices, [`sync`] the arithmetic of time; [`device`] is one Azure Kinect,
//! [`rig`] many as one; [`record`] makes takes, [`batch`] one after the other; [`align`] tells a
//! take from its files alone, [`repair`] finishes what a crash left open, [`convert`] stores takes
//! otherwise, [`replay`] reads them, [`export`] turns them into what other programs read. With the
//! feature `hosts`, `hosts` makes one rig of several machines.

pub mod align;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod convert;
pub mod deal;
pub mod device;
pub mod error;
pub mod export;
pub mod frame;
pub mod geometry;
#[cfg(feature = "hosts")]
pub mod hosts;
pub mod lane;
pub mod map;
pub mod pool;
pub mod record;
pub mod repair;
pub mod replay;
pub mod rig;
pub mod stage;
pub mod sync;
pub mod usb;

pub use error::{Error, Result};
