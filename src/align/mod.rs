//! What recordings alone tell of the take that they are of: which trigger each of their frames
//! answers, what is missing, and whether the rig was in step. Files that were recorded one by one
//! become a take by it.

mod evidence;
mod numbering;
mod take;

pub use evidence::{Causes, of};
pub use numbering::DeviceFile;
pub use take::{Keep, align};
