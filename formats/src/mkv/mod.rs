//! Matroska: the container of a recording.

mod schema;

pub use schema::{Attachment, Header, Info, Tag, Target, Track, TrackKind};
