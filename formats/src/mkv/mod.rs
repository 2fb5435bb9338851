//! Matroska: the container of a recording.

mod cluster_layout;
mod mux;
mod schema;

pub use cluster_layout::{Block, ClusterLayout, Payload};
pub use mux::{Finish, Muxer, Patch};
pub use schema::{Attachment, Header, Info, Tag, Target, Track, TrackKind};
