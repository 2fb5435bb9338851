//! Takes: from the devices of a rig to files on disk.

mod blocks;
mod cameras;
mod counters;
mod dealing;
mod disk;
mod encode;
mod evidence;
mod file;
mod job;
mod ledger;
mod members;
mod monitor;
mod output;
mod preflight;
mod recorder;
mod reopen;
mod room;
mod run;
mod running;
mod settle;
mod shed;
mod status;
mod summary;
mod take;
mod window;

pub use cameras::Cameras;
pub use counters::{Counters, Presence};
pub use disk::{Disk, PartFile, give_name, is_taken, keep_name, part_path, replace_text};
pub use encode::{Encoder, swap_bytes};
pub use evidence::UNNOTED;
pub use file::{About, RecordingFile};
pub use job::Job;
pub use ledger::Missing;
pub use members::members;
pub use monitor::{Evidence, Monitor, Note, Watched};
pub use output::{
    GATHER, Place, TAKE, TRIGGERS, elsewhere, file_name, file_stem, is_recording, read_take,
    read_take_text, read_triggers,
};
pub use preflight::{check, check_with_facts, facts, of_rig, preflight};
pub use recorder::{Feed, Lanes, Outage, Part, Recorder, Report};
pub use run::{Cue, Outcome, run, run_opened};
pub use shed::Shedder;
pub use status::{DeviceStatus, Status, Waiting};
pub use take::{Member, Recorded, Surroundings, Take, delay_us};
