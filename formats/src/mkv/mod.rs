//! Matroska: the container of a recording.

mod block;
mod cluster;
mod cluster_layout;
mod demux;
mod mux;
mod parts;
mod schema;
mod sum;

pub use block::{Laces, ReadBlock};
pub use cluster::{Blocks, Checksum, Cluster, Clusters};
pub use cluster_layout::{Block, ClusterLayout, Payload};
pub use demux::{Demuxer, Note};
pub use mux::{Finish, Muxer, Patch};
pub use schema::{Attachment, Cue, Header, Info, Tag, Target, Track, TrackKind};
