//! The messages of an MCAP file as their readers know them: Foxglove's schemas, and one of ours for
//! the IMU, for which there is none. <https://docs.foxglove.dev/docs/sdk/schemas>

use super::protobuf::Message;

/// Type of a field.
#[derive(Clone, Copy)]
enum Kind {
    Double,
    Doubles,
    Int64,
    Int32,
    Fixed32,
    Text,
    Bytes,
    /// A message, by its full name.
    Of(&'static str),
    /// Any number of messages.
    ManyOf(&'static str),
    /// The enumeration within the same message.
    Enum(&'static str),
}

impl Kind {
    /// Number of the type, and whether it is repeated, as `descriptor.proto` has them.
    fn of_descriptor(self) -> (u64, bool) {
        match self {
            Self::Double => (1, false),
            Self::Doubles => (1, true),
            Self::Int64 => (3, false),
            Self::Int32 => (5, false),
            Self::Fixed32 => (7, false),
            Self::Text => (9, false),
            Self::Of(_) => (11, false),
            Self::ManyOf(_) => (11, true),
            Self::Bytes => (12, false),
            Self::Enum(_) => (14, false),
        }
    }
}

/// A file that defines one message.
struct File {
    package: &'static str,
    name: &'static str,
    fields: &'static [(u64, &'static str, Kind)],
    /// The enumeration `NumericType` within it.
    values: &'static [&'static str],
}

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const VECTOR: &str = "foxglove.Vector3";
const QUATERNION: &str = "foxglove.Quaternion";
const POSE: &str = "foxglove.Pose";
const ELEMENT: &str = "foxglove.PackedElementField";

/// Each behind what it needs.
const FILES: &[File] = &[
    File {
        package: "google.protobuf",
        name: "Timestamp",
        fields: &[(1, "seconds", Kind::Int64), (2, "nanos", Kind::Int32)],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "Vector3",
        fields: &[(1, "x", Kind::Double), (2, "y", Kind::Double), (3, "z", Kind::Double)],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "Quaternion",
        fields: &[
            (1, "x", Kind::Double),
            (2, "y", Kind::Double),
            (3, "z", Kind::Double),
            (4, "w", Kind::Double),
        ],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "Pose",
        fields: &[(1, "position", Kind::Of(VECTOR)), (2, "orientation", Kind::Of(QUATERNION))],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "PackedElementField",
        fields: &[
            (1, "name", Kind::Text),
            (2, "offset", Kind::Fixed32),
            (3, "type", Kind::Enum("foxglove.PackedElementField.NumericType")),
        ],
        values: &[
            "UNKNOWN", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "FLOAT64",
        ],
    },
    File {
        package: "foxglove",
        name: "CompressedImage",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (4, "frame_id", Kind::Text),
            (2, "data", Kind::Bytes),
            (3, "format", Kind::Text),
        ],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "RawImage",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (7, "frame_id", Kind::Text),
            (2, "width", Kind::Fixed32),
            (3, "height", Kind::Fixed32),
            (4, "encoding", Kind::Text),
            (5, "step", Kind::Fixed32),
            (6, "data", Kind::Bytes),
        ],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "CameraCalibration",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (9, "frame_id", Kind::Text),
            (2, "width", Kind::Fixed32),
            (3, "height", Kind::Fixed32),
            (4, "distortion_model", Kind::Text),
            (5, "D", Kind::Doubles),
            (6, "K", Kind::Doubles),
            (7, "R", Kind::Doubles),
            (8, "P", Kind::Doubles),
        ],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "FrameTransform",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (2, "parent_frame_id", Kind::Text),
            (3, "child_frame_id", Kind::Text),
            (4, "translation", Kind::Of(VECTOR)),
            (5, "rotation", Kind::Of(QUATERNION)),
        ],
        values: &[],
    },
    File {
        package: "foxglove",
        name: "PointCloud",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (2, "frame_id", Kind::Text),
            (3, "pose", Kind::Of(POSE)),
            (4, "point_stride", Kind::Fixed32),
            (5, "fields", Kind::ManyOf(ELEMENT)),
            (6, "data", Kind::Bytes),
        ],
        values: &[],
    },
    File {
        package: "genlock",
        name: "Imu",
        fields: &[
            (1, "timestamp", Kind::Of(TIMESTAMP)),
            (2, "frame_id", Kind::Text),
            (3, "linear_acceleration", Kind::Of(VECTOR)),
            (4, "angular_velocity", Kind::Of(VECTOR)),
        ],
        values: &[],
    },
];

impl File {
    fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }

    /// The name of its file, as the schemas' own files are called.
    fn path(&self) -> String {
        match self.package {
            "google.protobuf" => "google/protobuf/timestamp.proto".to_owned(),
            package => format!("{package}/{}.proto", self.name),
        }
    }

    /// The files that it needs, directly.
    fn needs(&self) -> impl Iterator<Item = &'static Self> {
        FILES.iter().filter(|file| self.fields.iter().any(|(_, _, kind)| kind.names(file)))
    }

    /// As a `FileDescriptorProto`.
    fn descriptor(&self) -> Message {
        let mut message = Message::default().string(1, self.name);
        for (number, name, kind) in self.fields {
            let (of, many) = kind.of_descriptor();
            let mut field = Message::default().string(1, name).varint(3, *number);
            field = field.varint(4, if many { 3 } else { 1 }).varint(5, of);
            if let Kind::Of(full) | Kind::ManyOf(full) | Kind::Enum(full) = kind {
                field = field.string(6, &format!(".{full}"));
            }
            message = message.message(2, &field);
        }
        if !self.values.is_empty() {
            let mut values = Message::default().string(1, "NumericType");
            for (number, name) in (0..).zip(self.values) {
                values = values.message(2, &Message::default().string(1, name).varint(2, number));
            }
            message = message.message(4, &values);
        }
        let mut file = Message::default().string(1, &self.path()).string(2, self.package);
        for needed in self.needs() {
            file = file.string(3, &needed.path());
        }
        file.message(4, &message).string(12, "proto3")
    }
}

impl Kind {
    fn names(self, file: &File) -> bool {
        matches!(self, Self::Of(full) | Self::ManyOf(full) if full == file.full_name())
    }
}

/// The `FileDescriptorSet` of a message with all that it needs; nothing of an unknown one.
pub fn descriptor_set(full_name: &str) -> Vec<u8> {
    let mut wanted: Vec<&File> = Vec::new();
    // What is needed stands in front of what needs it, so one pass from behind finds all.
    for file in FILES.iter().rev() {
        let needed = wanted.iter().any(|other| other.needs().any(|one| one.path() == file.path()));
        if needed || file.full_name() == full_name {
            wanted.push(file);
        }
    }
    let files = wanted.iter().rev();
    files.fold(Message::default(), |set, file| set.message(1, &file.descriptor())).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_a_message_needs_and_no_more() {
        let has =
            |set: &[u8], name: &str| set.windows(name.len()).any(|part| part == name.as_bytes());
        let image = descriptor_set("foxglove.RawImage");
        assert!(has(&image, "foxglove/RawImage.proto") && has(&image, "timestamp.proto"));
        assert!(!has(&image, "foxglove/Vector3.proto"));
        let cloud = descriptor_set("foxglove.PointCloud");
        for name in ["Pose", "Vector3", "Quaternion", "PackedElementField", "PointCloud"] {
            assert!(has(&cloud, &format!("foxglove/{name}.proto")), "{name}");
        }
        assert!(descriptor_set("foxglove.Nothing").is_empty());
    }
}
