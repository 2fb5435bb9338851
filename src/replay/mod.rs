//! Takes and recordings, read again: the frames of all devices by trigger.
//!
//! ```no_run
//! use genlock::replay::{Files, Reader, Slot};
//!
//! let files = Files::open("takes/first".as_ref())?;
//! let reader = Reader::open(&files)?;
//! let (mut pixels, mut holes) = (0, Vec::new());
//! for capture in reader.captures(reader.triggers()) {
//!     for (device, frames) in reader.devices().iter().zip(&capture.devices) {
//!         match &frames.depth {
//!             Slot::Frame(depth) => pixels += depth.width * depth.height,
//!             Slot::Lost(why) => holes.push((capture.trigger, device.serial(), why.to_string())),
//!             Slot::Off => {}
//!         }
//!     }
//! }
//! # Ok::<(), genlock::Error>(())
//! ```
//!
//! Files are mapped, not read: what is not looked at costs nothing, and images that are not packed
//! are slices of the map. A frame is found by its time through the index of its file, which is made
//! anew where there is none; its time is what `triggers.csv` says of its trigger, or where there is
//! no such table, what the frames of the files tell ([`crate::align`]). Every trigger of every
//! track is a frame or a hole with its cause.

mod capture;
mod captures;
mod cursor;
mod files;
mod film;
mod messages;
mod pace;
mod player;
mod reader;
mod selection;
mod stretch;
mod times;

pub use capture::{Capture, Decoder, DeviceFrames, Slot};
pub use captures::Captures;
pub use cursor::{Cursor, Found, FoundDevice, IMAGES};
pub use files::Files;
pub use film::films;
pub use messages::Messages;
pub use pace::{Pace, Speed};
pub use player::{Played, play};
pub use reader::{Device, Reader};
pub use selection::{Chosen, Selected, Selection, track_word};
