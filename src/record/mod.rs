//! Takes: from the devices of a rig to files on disk.

mod blocks;
mod cameras;
mod counters;
mod disk;
mod encode;
mod evidence;
mod file;
mod ledger;
mod members;
mod monitor;
mod output;
mod preflight;
mod recorder;
mod room;
mod run;
mod settle;
mod status;
mod summary;
mod take;
mod window;

pub use cameras::Cameras;
pub use counters::Counters;
pub use disk::{Disk, PartFile, give_name, is_taken, part_path};
pub use encode::{Encoder, swap_bytes};
pub use evidence::UNNOTED;
pub use file::{About, RecordingFile};
pub use ledger::Missing;
pub use members::members;
pub use monitor::{Evidence, Monitor, Note, Watched};
pub use output::{Place, file_name, file_stem};
pub use preflight::{can_stream, check, preflight};
pub use recorder::{Lanes, Part, Recorder, Report};
pub use run::{Outcome, run, run_opened};
pub use status::{DeviceStatus, Status, Waiting};
pub use take::{Job, Member, Recorded, Surroundings, Take, delay_us};
