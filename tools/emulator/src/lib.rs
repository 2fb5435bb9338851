//! An Azure Kinect DK as a state machine.
//!
//! USB requests and the time go in, payloads come out. It opens no socket and knows no clock.

mod cable;
pub mod calibration;
mod chain;
mod controls;
mod descriptors;
pub mod engine;
mod faults;
mod film;
mod imu;
mod kinect;
mod mcu;
mod noise;
mod playback;
pub mod plugin;
pub mod raw;
mod scene;
mod timing;
mod usb;
mod uvc;
mod view;

pub use cable::{Cable, Carrier};
pub use chain::{EMULATED_MAX, chain, chain_of_films, chain_part, emulated_serial};
pub use descriptors::{ColorTransfer, Descriptors, Function};
pub use faults::{Fate, Faults};
pub use film::Film;
pub use kinect::{Exposure, Kinect, Setup};
pub use playback::Playback;
pub use scene::Scene;
pub use timing::{DeviceClock, Pulses};
pub use usb::{Read, Received, Request, Stall};
pub use view::{ImuReading, View};
