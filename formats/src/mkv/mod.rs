//! Matroska: the container of a recording.

mod block;
mod cluster;
mod cluster_layout;
mod demux;
mod in_place;
mod kept;
mod mux;
mod parts;
mod recast;
mod salvage;
mod schema;
mod sum;

pub use block::{Laces, ReadBlock};
pub use cluster::{Blocks, Checksum, Cluster, Clusters};
pub use cluster_layout::{Block, ClusterLayout, Payload};
pub use demux::{Demuxer, Note};
pub use in_place::{InPlace, Step};
pub use kept::{Kept, Lost};
pub use mux::{Finish, Muxer, Patch};
pub use recast::{Fate, Recast};
pub use salvage::{Salvage, Salvaged};
pub use schema::{Attachment, Cue, Header, Info, Parts, Tag, Target, Track, TrackKind};
