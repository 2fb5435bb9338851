//! The front of a Matroska file, and its index, as values.

/// Everything that stands before the first cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    /// Segment information.
    pub info: Info,
    /// Tracks, in file order.
    pub tracks: Vec<Track>,
    /// Attached files, in file order.
    pub attachments: Vec<Attachment>,
    /// Tags, in file order.
    pub tags: Vec<Tag>,
}

/// What stands between Info and the first cluster, as elements; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The list of tracks.
    pub tracks: Vec<u8>,
    /// The attachments.
    pub attachments: Vec<u8>,
    /// The tags.
    pub tags: Vec<u8>,
}

/// Segment information.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Info {
    /// Nanoseconds in one tick of the file's times.
    pub timestamp_scale_ns: u64,
    /// Library that wrote the container.
    pub muxing_app: String,
    /// Program that wrote the file.
    pub writing_app: String,
    /// Title of the file.
    pub title: String,
    /// When recording began: nanoseconds since 2001-01-01T00:00:00Z, the host's clock.
    pub date_utc_ns: Option<i64>,
    /// Length in ticks. Not known while a file is being recorded.
    pub duration_ticks: Option<f64>,
}

/// One track.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Number by which blocks name the track; at least 1.
    pub number: u64,
    /// Number by which tags name the track; never 0.
    pub uid: u64,
    /// What the track carries.
    pub kind: TrackKind,
    /// Codec id, e.g. `V_MS/VFW/FOURCC`.
    pub codec_id: String,
    /// Track name, e.g. `COLOR`.
    pub name: String,
    /// Codec's own header; empty when there is none.
    pub codec_private: Vec<u8>,
    /// Nanoseconds from frame to frame, where the track has a rate.
    pub default_duration_ns: Option<u64>,
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackKind {
    /// Pictures of this size in pixels.
    Video {
        /// Pixels in a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Timed data (Matroska type 17); the Azure Kinect profile keeps IMU samples so.
    Subtitle,
    /// Another Matroska track type, by its number.
    Other(u64),
}

/// An attached file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// MIME type.
    pub mime: String,
    /// Number by which tags name the attachment; never 0.
    pub uid: u64,
    /// The file's bytes.
    pub data: Vec<u8>,
}

/// One name and value. Written as a Tag with a single SimpleTag, the only form that Microsoft's
/// reader looks at (recording-format.md 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What the tag speaks about.
    pub target: Target,
    /// Tag name, e.g. `K4A_DEPTH_MODE`.
    pub name: String,
    /// Tag value.
    pub value: String,
}

/// What a tag speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The whole file.
    File,
    /// The track with this UID.
    Track(u64),
    /// The attachment with this UID.
    Attachment(u64),
}

/// An entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue {
    /// Time in nanoseconds of the file.
    pub time_ns: u64,
    /// Number of the track that it was made for.
    pub track: u64,
    /// Byte offset of the cluster.
    pub cluster_at: u64,
}
