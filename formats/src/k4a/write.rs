//! The front of a recording as values: what the official writer puts there (recording-format.md 2
//! and 3).

use super::configuration::Configuration;
use super::mode::{ColorFormat, DepthMode, Role, TrackName};
use crate::mkv::{Attachment, Header, Info, Tag, Target, Track, TrackKind};

/// Which device a recording comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Serial number.
    pub serial: String,
    /// Firmware of the color camera, `major.minor.iteration`.
    pub color_firmware: String,
    /// Firmware of the depth camera.
    pub depth_firmware: String,
    /// The camera's calibration JSON without trailing NUL; empty when there is none.
    pub calibration: Vec<u8>,
}

/// By whom and when a recording is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Program and version.
    pub writing_app: String,
    /// When recording began: nanoseconds since 2001-01-01T00:00:00Z.
    pub date_utc_ns: Option<i64>,
    /// Number from which the UIDs of tracks and attachments are derived.
    pub uid_seed: u64,
}

/// Codec of every image track.
pub(super) const VIDEO_CODEC: &str = "V_MS/VFW/FOURCC";

/// Codec of the IMU track.
pub(super) const IMU_CODEC: &str = "S_K4A/IMU";

/// Name of the calibration attachment.
pub(super) const CALIBRATION: &str = "calibration.json";

/// The largest start offset that the official reader keeps, in microseconds (recording-format.md
/// 7.4).
const START_OFFSET_US_MAX: u64 = u32::MAX as u64;

/// The start offset in microseconds for a recording whose first block has device time `first_us`.
/// What exceeds the limit of the official reader stays in the block times.
#[must_use]
pub fn split_start_offset(first_us: u64) -> u64 {
    first_us.min(START_OFFSET_US_MAX)
}

/// The tracks of a recording, in the order in which they are numbered.
pub fn tracks_of(configuration: &Configuration) -> impl Iterator<Item = TrackName> {
    let depth = configuration.depth;
    [
        configuration.color.map(|_| TrackName::Color),
        depth.filter(|mode| mode.has_depth()).map(|_| TrackName::Depth),
        depth.map(|_| TrackName::Ir),
        configuration.imu.then_some(TrackName::Imu),
    ]
    .into_iter()
    .flatten()
}

/// The number of a track in a recording that [`header`] describes; none where it does not exist.
#[must_use]
pub fn track_number(configuration: &Configuration, track: TrackName) -> Option<u64> {
    tracks_of(configuration).zip(1..).find(|(name, _)| *name == track).map(|(_, number)| number)
}

/// The front of a recording.
#[must_use]
pub fn header(configuration: &Configuration, device: Option<&Device>, about: &About) -> Header {
    let tracks: Vec<_> =
        tracks_of(configuration).zip(1..).map(|(t, n)| track(configuration, t, n, about)).collect();
    let calibration = device.filter(|device| !device.calibration.is_empty());
    let attachments: Vec<_> = calibration
        .map(|device| Attachment {
            name: CALIBRATION.to_owned(),
            mime: "application/octet-stream".to_owned(),
            uid: uid(about, 0),
            data: device.calibration.clone(),
        })
        .into_iter()
        .collect();
    Header {
        info: Info {
            timestamp_scale_ns: 1000,
            muxing_app: concat!("genlock-formats-", env!("CARGO_PKG_VERSION")).to_owned(),
            writing_app: about.writing_app.clone(),
            title: "Azure Kinect".to_owned(),
            date_utc_ns: about.date_utc_ns,
            duration_ticks: None,
        },
        tags: tags(configuration, device, &tracks, attachments.first()),
        tracks,
        attachments,
    }
}

/// A UID: 60 bits, never 0, other for every `number` (an odd multiplier and bit mixing lose
/// nothing).
fn uid(about: &About, number: u64) -> u64 {
    let mut bits = about.uid_seed.wrapping_mul(8).wrapping_add(number);
    bits = (bits ^ (bits >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (((bits ^ (bits >> 29)) >> 7) << 3 | number) & ((1 << 60) - 1) | 1 << 59
}

fn track(configuration: &Configuration, name: TrackName, number: u64, about: &About) -> Track {
    let image = match name {
        TrackName::Color => configuration.color.map(|mode| {
            let bits_and_bytes = match mode.format {
                ColorFormat::Mjpg => (24, 0),
                ColorFormat::Nv12 => (12, mode.image_bytes_max()),
                ColorFormat::Yuy2 => (16, mode.image_bytes_max()),
                ColorFormat::Bgra => (32, mode.image_bytes_max()),
            };
            (mode.size(), mode.format.to_string(), bits_and_bytes)
        }),
        TrackName::Depth | TrackName::Ir => configuration
            .depth
            .map(|mode| (mode.size(), "b16g".to_owned(), (16, mode.image_bytes()))),
        TrackName::Imu => None,
    };
    let base = Track {
        number,
        uid: uid(about, number),
        kind: TrackKind::Subtitle,
        codec_id: IMU_CODEC.to_owned(),
        name: name.to_string(),
        codec_private: Vec::new(),
        default_duration_ns: None,
    };
    match image {
        None => base,
        Some(((width, height), fourcc, (bits, bytes))) => Track {
            kind: TrackKind::Video { width: width.into(), height: height.into() },
            codec_id: VIDEO_CODEC.to_owned(),
            codec_private: bitmap_info((width, height), &fourcc, bits, bytes),
            default_duration_ns: Some(configuration.rate.default_duration_ns()),
            ..base
        },
    }
}

/// A BITMAPINFOHEADER, 40 bytes (recording-format.md 2.2).
pub(super) fn bitmap_info(
    (width, height): (u32, u32),
    fourcc: &str,
    bits: u16,
    bytes: usize,
) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    header.extend(40_u32.to_le_bytes());
    header.extend(width.to_le_bytes());
    header.extend(height.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(bits.to_le_bytes());
    header.extend(fourcc.as_bytes());
    header.extend((bytes as u32).to_le_bytes());
    header.resize(40, 0);
    header
}

/// Every tag, in the official order (recording-format.md 3.2).
fn tags(
    configuration: &Configuration,
    device: Option<&Device>,
    tracks: &[Track],
    calibration: Option<&Attachment>,
) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut tag = |target, name: &str, value: String| {
        tags.push(Tag { target, name: name.to_owned(), value });
    };
    let uid = |track| {
        let number = track_number(configuration, track);
        tracks.iter().find(|entry| Some(entry.number) == number).map(|entry| entry.uid)
    };
    if let (Some(uid), Some(mode)) = (uid(TrackName::Color), configuration.color) {
        tag(Target::Track(uid), "K4A_COLOR_TRACK", uid.to_string());
        tag(Target::Track(uid), "K4A_COLOR_MODE", mode.to_string());
    }
    if let Some(mode) = configuration.depth {
        let depth = uid(TrackName::Depth);
        if let Some(uid) = depth {
            tag(Target::Track(uid), "K4A_DEPTH_TRACK", uid.to_string());
        }
        let target = depth.map_or(Target::File, Target::Track);
        tag(target, "K4A_DEPTH_MODE", mode.to_string());
        if let Some(uid) = uid(TrackName::Ir) {
            let active = if mode == DepthMode::PassiveIr { "PASSIVE" } else { "ACTIVE" };
            tag(Target::Track(uid), "K4A_IR_TRACK", uid.to_string());
            tag(Target::Track(uid), "K4A_IR_MODE", active.to_owned());
        }
        if configuration.color.is_some() {
            let ns = i64::from(configuration.depth_delay_us) * 1000;
            tag(Target::File, "K4A_DEPTH_DELAY_NS", ns.to_string());
        }
    }
    tag(Target::File, "K4A_WIRED_SYNC_MODE", configuration.role.to_string());
    if configuration.role == Role::Subordinate {
        let ns = u64::from(configuration.subordinate_delay_us) * 1000;
        tag(Target::File, "K4A_SUBORDINATE_DELAY_NS", ns.to_string());
    }
    if let Some(device) = device {
        tag(Target::File, "K4A_COLOR_FIRMWARE_VERSION", device.color_firmware.clone());
        tag(Target::File, "K4A_DEPTH_FIRMWARE_VERSION", device.depth_firmware.clone());
        tag(Target::File, "K4A_DEVICE_SERIAL_NUMBER", device.serial.clone());
    }
    if let Some(file) = calibration {
        tag(Target::Attachment(file.uid), "K4A_CALIBRATION_FILE", file.name.clone());
    }
    if let Some(uid) = uid(TrackName::Imu) {
        tag(Target::Track(uid), "K4A_IMU_TRACK", uid.to_string());
        tag(Target::Track(uid), "K4A_IMU_MODE", "ON".to_owned());
    }
    tag(Target::File, "K4A_START_OFFSET_NS", configuration.start_offset_ns.to_string());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;
    use crate::k4a::Rate;
    use std::collections::BTreeSet;

    fn configuration() -> Configuration {
        Configuration {
            color: Some("720p".parse().expect("a mode")),
            depth: Some(DepthMode::NfovUnbinned),
            rate: Rate::Fps5,
            imu: true,
            role: Role::Subordinate,
            subordinate_delay_us: 5_000_000,
            depth_delay_us: -80,
            start_offset_ns: 0,
        }
    }

    fn about() -> About {
        About { writing_app: "test".to_owned(), date_utc_ns: None, uid_seed: 42 }
    }

    fn value<'a>(header: &'a Header, name: &str) -> Option<&'a str> {
        header.tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
    }

    #[test]
    fn codec_private_is_that_of_the_official_writer() {
        // recording-format.md 2.2 and Appendix A.
        let header = header(&configuration(), None, &about());
        let depth = "28000000 80020000 40020000 0100 1000 62313667 00400B00";
        assert_eq!(header.tracks[1].codec_private[..24], hex(depth));
        let color = "28000000 00050000 D0020000 0100 1800 4D4A5047 00000000";
        assert_eq!(header.tracks[0].codec_private[..24], hex(color));
        assert_eq!(header.tracks[0].codec_private.len(), 40);
    }

    #[test]
    fn delays_keep_their_64_bits() {
        let header = header(&configuration(), None, &about());
        assert_eq!(value(&header, "K4A_SUBORDINATE_DELAY_NS"), Some("5000000000"));
        assert_eq!(value(&header, "K4A_DEPTH_DELAY_NS"), Some("-80000"));
    }

    #[test]
    fn passive_ir_has_no_depth_track_and_names_its_mode_for_the_file() {
        let passive =
            Configuration { depth: Some(DepthMode::PassiveIr), color: None, ..configuration() };
        let header = header(&passive, None, &about());
        let names: Vec<_> = header.tracks.iter().map(|track| track.name.as_str()).collect();
        assert_eq!(names, ["IR", "IMU"]);
        let mode = header.tags.iter().find(|tag| tag.name == "K4A_DEPTH_MODE");
        assert_eq!(mode.map(|tag| tag.target), Some(Target::File));
        assert_eq!(value(&header, "K4A_DEPTH_DELAY_NS"), None);
    }

    #[test]
    fn uids_differ_and_an_empty_calibration_is_not_attached() {
        let mut device = Device {
            serial: "1".to_owned(),
            color_firmware: String::new(),
            depth_firmware: String::new(),
            calibration: b"{}".to_vec(),
        };
        for uid_seed in 0..1000 {
            let about = About { uid_seed, ..about() };
            let header = header(&configuration(), Some(&device), &about);
            let tracks = header.tracks.iter().map(|track| track.uid);
            let uids: BTreeSet<_> = tracks.chain([header.attachments[0].uid]).collect();
            assert_eq!(uids.len(), 5);
            assert!(uids.iter().all(|uid| (1..1 << 60).contains(uid)));
        }
        device.calibration.clear();
        assert_eq!(header(&configuration(), Some(&device), &about()).attachments, []);
    }
}
