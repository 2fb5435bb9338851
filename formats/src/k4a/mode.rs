//! The modes of an Azure Kinect, by their names in files and on the command line.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name that stands for no mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseModeError {
    found: String,
    expected: String,
}

impl fmt::Display for ParseModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not one of {}", self.found, self.expected)
    }
}

impl std::error::Error for ParseModeError {}

fn by_name<T: Copy + fmt::Display>(
    found: &str,
    all: &[T],
    also: &[(&str, T)],
) -> Result<T, ParseModeError> {
    all.iter()
        .find(|mode| mode.to_string().eq_ignore_ascii_case(found))
        .or_else(|| {
            also.iter().find(|(name, _)| name.eq_ignore_ascii_case(found)).map(|(_, mode)| mode)
        })
        .copied()
        .ok_or_else(|| ParseModeError {
            found: found.to_owned(),
            expected: all.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
        })
}

/// What the depth camera does when it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DepthMode {
    /// Narrow field of view, 320x288.
    Nfov2x2Binned,
    /// Narrow field of view, 640x576.
    NfovUnbinned,
    /// Wide field of view, 512x512.
    Wfov2x2Binned,
    /// Wide field of view, 1024x1024; at most 15 fps.
    WfovUnbinned,
    /// Infrared alone, without the laser, 1024x1024.
    PassiveIr,
}

impl DepthMode {
    /// Every depth mode, in the order of Microsoft's enumeration.
    pub const ALL: [Self; 5] = [
        Self::Nfov2x2Binned,
        Self::NfovUnbinned,
        Self::Wfov2x2Binned,
        Self::WfovUnbinned,
        Self::PassiveIr,
    ];

    /// Width and height in pixels of the depth and IR images.
    #[must_use]
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::Nfov2x2Binned => (320, 288),
            Self::NfovUnbinned => (640, 576),
            Self::Wfov2x2Binned => (512, 512),
            Self::WfovUnbinned | Self::PassiveIr => (1024, 1024),
        }
    }

    /// Bytes of one depth or IR image: 16 bits a pixel.
    #[must_use]
    pub const fn image_bytes(self) -> usize {
        let (width, height) = self.size();
        (width * height * 2) as usize
    }

    /// Whether the mode gives depth images; passive IR gives IR alone.
    #[must_use]
    pub const fn has_depth(self) -> bool {
        !matches!(self, Self::PassiveIr)
    }
}

impl fmt::Display for DepthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nfov2x2Binned => "NFOV_2X2BINNED",
            Self::NfovUnbinned => "NFOV_UNBINNED",
            Self::Wfov2x2Binned => "WFOV_2X2BINNED",
            Self::WfovUnbinned => "WFOV_UNBINNED",
            Self::PassiveIr => "PASSIVE_IR",
        })
    }
}

impl FromStr for DepthMode {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        by_name(name, &Self::ALL, &[])
    }
}

/// How color pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColorFormat {
    /// A JPEG per frame.
    Mjpg,
    /// A luma plane, then interleaved chroma; 12 bits a pixel.
    Nv12,
    /// Packed luma and chroma; 16 bits a pixel.
    Yuy2,
    /// Packed blue, green, red, alpha. Not a format of the device: only files have it.
    Bgra,
}

impl ColorFormat {
    /// Every color format, in the order of Microsoft's enumeration.
    pub const ALL: [Self; 4] = [Self::Mjpg, Self::Nv12, Self::Yuy2, Self::Bgra];
}

impl fmt::Display for ColorFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mjpg => "MJPG",
            Self::Nv12 => "NV12",
            Self::Yuy2 => "YUY2",
            Self::Bgra => "BGRA",
        })
    }
}

impl FromStr for ColorFormat {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        by_name(name, &Self::ALL, &[])
    }
}

/// Size of the color image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// 1280x720.
    P720,
    /// 1920x1080.
    P1080,
    /// 2560x1440.
    P1440,
    /// 2048x1536.
    P1536,
    /// 3840x2160.
    P2160,
    /// 4096x3072; at most 15 fps.
    P3072,
}

impl Resolution {
    /// Every resolution, in the order of Microsoft's enumeration.
    pub const ALL: [Self; 6] =
        [Self::P720, Self::P1080, Self::P1440, Self::P1536, Self::P2160, Self::P3072];

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::P720 => (1280, 720),
            Self::P1080 => (1920, 1080),
            Self::P1440 => (2560, 1440),
            Self::P1536 => (2048, 1536),
            Self::P2160 => (3840, 2160),
            Self::P3072 => (4096, 3072),
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}P", self.size().1))
    }
}

impl FromStr for Resolution {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        by_name(name, &Self::ALL, &[])
    }
}

/// What the color camera does when it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColorMode {
    /// How pixels are stored.
    pub format: ColorFormat,
    /// Size of the image.
    pub resolution: Resolution,
}

impl ColorMode {
    /// Width and height in pixels.
    #[must_use]
    pub const fn size(self) -> (u32, u32) {
        self.resolution.size()
    }

    /// Bytes of one image; for MJPG the most that a device may send (two bytes a pixel).
    #[must_use]
    pub const fn image_bytes_max(self) -> usize {
        let (width, height) = self.size();
        let pixels = (width * height) as usize;
        match self.format {
            ColorFormat::Nv12 => pixels * 3 / 2,
            ColorFormat::Mjpg | ColorFormat::Yuy2 => pixels * 2,
            ColorFormat::Bgra => pixels * 4,
        }
    }
}

/// As in the tag `K4A_COLOR_MODE`, e.g. `MJPG_1080P`.
impl fmt::Display for ColorMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}_{}", self.format, self.resolution))
    }
}

/// Reads the tag's form (`MJPG_1080P`) and k4arecorder's (`1080p`, `720p_NV12`).
impl FromStr for ColorMode {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        let parsed = match name.split_once('_') {
            None => name.parse().map(|resolution| Self { format: ColorFormat::Mjpg, resolution }),
            Some((a, b)) => match (a.parse(), b.parse()) {
                (Ok(format), Ok(resolution)) => Ok(Self { format, resolution }),
                _ => b.parse().and_then(|format| Ok(Self { format, resolution: a.parse()? })),
            },
        };
        parsed.map_err(|_| ParseModeError {
            found: name.to_owned(),
            expected: "3072p, 2160p, 1536p, 1440p, 1080p, 720p, 720p_NV12, 720p_YUY2".to_owned(),
        })
    }
}

/// Triggers per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rate {
    /// 5 frames per second.
    Fps5,
    /// 15 frames per second.
    Fps15,
    /// 30 frames per second.
    Fps30,
}

impl Rate {
    /// Every rate, in the order of Microsoft's enumeration.
    pub const ALL: [Self; 3] = [Self::Fps5, Self::Fps15, Self::Fps30];

    /// Frames per second.
    #[must_use]
    pub const fn fps(self) -> u32 {
        match self {
            Self::Fps5 => 5,
            Self::Fps15 => 15,
            Self::Fps30 => 30,
        }
    }

    /// Time from trigger to trigger in ticks of the device's 90 kHz clock; exact at every rate.
    #[must_use]
    pub const fn period_ticks(self) -> u64 {
        90_000 / self.fps() as u64
    }

    /// Time from trigger to trigger in microseconds, rounded down as libk4a does.
    #[must_use]
    pub const fn period_us(self) -> u64 {
        1_000_000 / self.fps() as u64
    }

    /// The `DefaultDuration` of video tracks in nanoseconds, rounded down: Microsoft's reader
    /// refuses 33333334 (recording-format.md W7).
    #[must_use]
    pub const fn default_duration_ns(self) -> u64 {
        1_000_000_000 / self.fps() as u64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fps().to_string())
    }
}

impl FromStr for Rate {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        by_name(name, &Self::ALL, &[])
    }
}

/// A device's part in wired synchronization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Not wired to others.
    #[default]
    Standalone,
    /// Its color camera gives the pulses of the rig.
    Master,
    /// Exposes when the master's pulse comes.
    Subordinate,
}

impl Role {
    /// Every role, in the order of Microsoft's enumeration.
    pub const ALL: [Self; 3] = [Self::Standalone, Self::Master, Self::Subordinate];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Standalone => "STANDALONE",
            Self::Master => "MASTER",
            Self::Subordinate => "SUBORDINATE",
        })
    }
}

/// Accepts `primary` and `secondary`, as makers of later devices say, and `sub`, as k4arecorder
/// does.
impl FromStr for Role {
    type Err = ParseModeError;

    fn from_str(name: &str) -> Result<Self, ParseModeError> {
        by_name(
            name,
            &Self::ALL,
            &[
                ("primary", Self::Master),
                ("secondary", Self::Subordinate),
                ("sub", Self::Subordinate),
            ],
        )
    }
}

/// The tracks that the profile knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackName {
    /// Color images.
    Color,
    /// Depth images: u16 millimetres.
    Depth,
    /// Infrared images: u16.
    Ir,
    /// Accelerometer and gyroscope samples.
    Imu,
}

impl TrackName {
    /// Every track, in the order in which the official writer numbers them.
    pub const ALL: [Self; 4] = [Self::Color, Self::Depth, Self::Ir, Self::Imu];
}

/// As in the file's track names, e.g. `COLOR`.
impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Color => "COLOR",
            Self::Depth => "DEPTH",
            Self::Ir => "IR",
            Self::Imu => "IMU",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_modes_read_both_spellings() {
        let nv12 = ColorMode { format: ColorFormat::Nv12, resolution: Resolution::P720 };
        assert_eq!("720p_NV12".parse(), Ok(nv12));
        assert_eq!("NV12_720P".parse(), Ok(nv12));
        assert_eq!(nv12.to_string(), "NV12_720P");
        assert_eq!("1080p".parse::<ColorMode>().map(ColorMode::size), Ok((1920, 1080)));
        let refusal = "1081p".parse::<ColorMode>().expect_err("no such mode").to_string();
        assert!(refusal.contains("'1081p'") && refusal.contains("720p_YUY2"), "{refusal}");
    }

    #[test]
    fn roles_read_the_names_of_other_makers() {
        assert_eq!("primary".parse(), Ok(Role::Master));
        assert_eq!("Secondary".parse(), Ok(Role::Subordinate));
        assert_eq!("sub".parse(), Ok(Role::Subordinate));
        assert!("boss".parse::<Role>().is_err());
    }

    #[test]
    fn durations_are_those_that_the_official_reader_accepts() {
        let durations = Rate::ALL.map(Rate::default_duration_ns);
        assert_eq!(durations, [200_000_000, 66_666_666, 33_333_333]);
    }
}
