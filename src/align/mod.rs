//! What recordings alone tell of the take that they are of: which trigger each of their frames
//! answers, what is missing, and whether the rig was in step.

mod evidence;
mod numbering;

pub use evidence::of;
pub use numbering::DeviceFile;
