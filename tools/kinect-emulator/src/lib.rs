//! Emulated Azure Kinect DKs behind a real USB stack: a USB/IP server.
//!
//! A [`Rig`] of cameras is attached to this machine's kernel, which then has two more USB devices
//! for each of them, or waits for hosts that come over TCP. What goes wrong on the wire is ordered
//! with [`Camera::order`].

mod camera;
mod control;
mod device;
mod error;
mod fault;
mod inbox;
mod listen;
mod pipe;
mod rig;
mod session;
mod socket;
mod vhci;
mod wire;

pub use camera::Camera;
pub use error::{Error, Result};
pub use fault::{Pipe, WireFault};
pub use genlock_emulator::{Exposure, Faults, Function, Playback, Received, Setup, chain};
pub use rig::Rig;
pub use session::End;
