//! What a rig is asked to do: values, and how they come about from a rig file and a command line.
//!
//! A setting goes one way: a key with its value and the place where it was written (`setting`),
//! read from the rig file (`rig_file`), a flag or `--set`; all of them laid over each other and
//! checked in one place ([`Asked::resolve`]); a [`DeviceConfig`] for each device.

mod keys;
mod layers;
pub mod lines;
mod played;
mod resolve;
mod rig_file;
mod setting;
mod take_played;
pub mod values;

pub use keys::{all as keys, check};
pub use resolve::{Asked, Rig};
pub use setting::{Flag, value_of};
pub use take_played::TakePlayed;
pub use values::seconds;

use crate::error::{Error, Result};
use genlock_emulator::Faults;
pub use genlock_emulator::{EMULATED_MAX, emulated_serial};
use genlock_formats::depth::Level;
use genlock_formats::k4a::{ColorFormat, ColorMode, DepthMode, Rate, Resolution, Role, TrackName};
use genlock_formats::take::Profile;
use std::path::PathBuf;
use std::time::Duration;

/// Modes, sync and controls of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceConfig {
    /// Color camera, or off.
    pub color: Option<ColorMode>,
    /// Depth camera, or off.
    pub depth: Option<DepthMode>,
    /// Triggers per second.
    pub rate: Rate,
    /// Whether IMU samples are recorded.
    pub imu: bool,
    /// Part in wired synchronization.
    pub role: Role,
    /// Microseconds by which the depth exposure follows (negative: precedes) the color exposure.
    pub depth_delay_us: i32,
    /// Microseconds by which a subordinate follows the master.
    pub subordinate_delay_us: u32,
    /// Color controls to set before the take; those that are `None` stay as the device has them.
    pub controls: ColorControls,
}

/// What k4arecorder records when nothing is asked for.
impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            color: Some(ColorMode { format: ColorFormat::Mjpg, resolution: Resolution::P1080 }),
            depth: Some(DepthMode::NfovUnbinned),
            rate: Rate::Fps30,
            imu: true,
            role: Role::Standalone,
            depth_delay_us: 0,
            subordinate_delay_us: 0,
            controls: ColorControls::default(),
        }
    }
}

/// Color controls that a person can set (usb-protocol.md 6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColorControls {
    /// Exposure time in microseconds, or auto.
    pub exposure: Option<Setting>,
    /// Color temperature in kelvin, or auto.
    pub white_balance: Option<Setting>,
    /// 0 to 255.
    pub brightness: Option<i32>,
    /// 0 to 10.
    pub contrast: Option<i32>,
    /// 0 to 63.
    pub saturation: Option<i32>,
    /// 0 to 4.
    pub sharpness: Option<i32>,
    /// 0 off, 1 on.
    pub backlight_compensation: Option<i32>,
    /// 0 to 255.
    pub gain: Option<i32>,
    /// 1 is 50 Hz, 2 is 60 Hz.
    pub powerline_frequency: Option<i32>,
}

/// A control that the device can also manage by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The device decides.
    Auto,
    /// This value.
    Manual(i32),
}

/// Why a device cannot do what its settings say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key of the setting that is in the way.
    pub key: &'static str,
    /// What is wrong, and what to do, in the words of rig files and of the command line.
    pub text: String,
}

fn problem(key: &'static str, text: impl Into<String>) -> Option<Problem> {
    Some(Problem { key, text: text.into() })
}

/// The rate where none is asked for: the highest that the modes reach, as k4arecorder takes it.
#[must_use]
pub fn default_rate(color: Option<ColorMode>, depth: Option<DepthMode>) -> Rate {
    let large = color.is_some_and(|mode| mode.resolution == Resolution::P3072);
    if large || depth == Some(DepthMode::WfovUnbinned) { Rate::Fps15 } else { Rate::Fps30 }
}

impl DeviceConfig {
    /// That a device can do all of this together: libk4a's own rules (usb-protocol.md 11).
    ///
    /// # Errors
    /// `Usage` with the first rule that is broken, and what to do.
    pub fn validate(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |problem| Err(Error::Usage(problem.text)))
    }

    /// The first of libk4a's rules that is broken.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        self.mode_problem().or_else(|| self.delay_problem())
    }

    fn mode_problem(&self) -> Option<Problem> {
        if self.color.is_none() && self.depth.is_none() {
            let text = "both cameras are off: choose a color_mode (--color-mode) or a depth_mode \
                        (--depth-mode)";
            return problem("color_mode", text);
        }
        if self.rate == Rate::Fps30 && self.depth == Some(DepthMode::WfovUnbinned) {
            let text = "WFOV_UNBINNED reaches 15 frames per second: use rate = 15 (--rate 15), or \
                        another depth mode";
            return problem("depth_mode", text);
        }
        let color = self.color?;
        if self.rate == Rate::Fps30 && color.resolution == Resolution::P3072 {
            let text = "3072p reaches 15 frames per second: use rate = 15 (--rate 15), or another \
                        color mode";
            return problem("color_mode", text);
        }
        match color.format {
            ColorFormat::Bgra => {
                problem("color_mode", "no device sends BGRA: record MJPG and convert it")
            }
            ColorFormat::Nv12 | ColorFormat::Yuy2 if color.resolution != Resolution::P720 => {
                let format = color.format;
                let text = format!("{format} comes at 720p alone: use 720p_{format}, or MJPG");
                problem("color_mode", text)
            }
            _ => None,
        }
    }

    fn delay_problem(&self) -> Option<Problem> {
        let (period_us, fps) = (self.rate.period_us(), self.rate);
        let (depth_us, master_us) = (self.depth_delay_us, self.subordinate_delay_us);
        if self.role == Role::Master && self.color.is_none() {
            let text = "a master gives its pulses with the color camera: choose a color_mode \
                        (--color-mode)";
            return problem("color_mode", text);
        }
        if depth_us != 0 && (self.color.is_none() || self.depth.is_none()) {
            let text = "depth_delay_us (--depth-delay) is between two cameras, and one of them is \
                        off: set it to 0";
            return problem("depth_delay_us", text);
        }
        if u64::from(depth_us.unsigned_abs()) > period_us {
            let text = format!(
                "depth_delay_us (--depth-delay) {depth_us} is more than a frame period: at {fps} \
                 frames per second it lies within {period_us} us, before or after"
            );
            return problem("depth_delay_us", text);
        }
        if master_us != 0 && self.role != Role::Subordinate {
            let text = "delay_off_master_us (--sync-delay) is for a subordinate: set it to 0, or \
                        role = \"subordinate\" (--external-sync subordinate)";
            return problem("delay_off_master_us", text);
        }
        if u64::from(master_us) > period_us {
            let text = format!(
                "delay_off_master_us (--sync-delay) {master_us} is more than a frame period: at \
                 {fps} frames per second it is at most {period_us} us"
            );
            return problem("delay_off_master_us", text);
        }
        None
    }
}

/// What to record, from whom, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where the devices are.
    pub devices: Devices,
    /// Which of them record, and what each of them does.
    pub wanted: Wanted,
    /// What happens between the first frames and the take.
    pub opening: Opening,
    /// How the take is kept from harm.
    pub keeping: Keeping,
    /// How the take is stored.
    pub storing: Storing,
    /// Ends the take after so many triggers; none runs until it is stopped.
    pub triggers: Option<u64>,
    /// Where the take goes.
    pub output: Output,
    /// The depth engine to load, if it is not the usual one.
    pub depth_engine: Option<PathBuf>,
    /// Whether to go on where the checks before the take find errors.
    pub force: bool,
    /// Whether others of the rig are recorded elsewhere: what concerns the rig as a whole, such as
    /// who gives the pulses, is then looked at there.
    pub is_part: bool,
    /// The machines that the rig spans; none where it is all on this one.
    pub hosts: Vec<Host>,
    /// The folder with the certificate to speak to them with.
    pub certs: Option<PathBuf>,
}

/// The devices of a take.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// All do the same.
    Alike {
        /// Which of the devices that are there.
        pick: Pick,
        /// What every one of them does.
        config: DeviceConfig,
        /// Whether the role was asked for; else several devices get theirs from their jacks.
        role_given: bool,
        /// Whether the depth delay was asked for; else several devices get a laser ladder.
        delay_given: bool,
    },
    /// Those of a rig file, in its order.
    Each(Vec<Named>),
}

impl Wanted {
    /// Whether several devices get their roles from their sync jacks.
    #[must_use]
    pub fn by_their_jacks(&self) -> bool {
        match self {
            Self::Alike { role_given, .. } => !role_given,
            Self::Each(named) => named.iter().any(|named| !named.role_given),
        }
    }
}

/// A device of a rig file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Named {
    /// Serial number.
    pub serial: String,
    /// What people call it.
    pub name: Option<String>,
    /// What it does.
    pub config: DeviceConfig,
    /// Whether its role was asked for; else several devices get theirs from their jacks.
    pub role_given: bool,
    /// The host that it is plugged into, in a rig that spans machines.
    pub host: Option<String>,
}

/// A host of a rig that spans machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What the devices of the rig call it.
    pub name: String,
    /// Where its agent listens, as `tls/10.0.0.2:7447`.
    pub endpoint: String,
    /// Where it stands in the rig file.
    pub at: String,
}

/// What happens between the first frames and the take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opening {
    /// How long the cameras run before the take begins.
    pub warm_up: Duration,
    /// Whether exposure, where it is automatic, is then held at what the camera has found.
    pub lock_exposure: bool,
    /// The same for white balance.
    pub lock_white_balance: bool,
    /// Whether what is locked is the master's on all devices.
    pub copy_master: bool,
    /// The take does not begin before this trigger.
    pub first_trigger: u64,
    /// It ends before this one, whenever it began.
    pub end_trigger: Option<u64>,
}

/// How a take is kept from harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// How often what was written is made durable: what a power cut can cost.
    pub sync_every: Duration,
    /// For how long a device that dies is tried to be brought back into the take.
    pub rejoin_for: Duration,
    /// What is left out when the disk is too slow, in this order.
    pub shed: Vec<Shed>,
}

/// What can be left out of a take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// A track of every device.
    Track(TrackName),
    /// Whole triggers of all devices: every second, then three of four, then seven of eight.
    Trigger,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            sync_every: Duration::from_secs(1),
            rejoin_for: Duration::from_secs(60),
            shed: vec![Shed::Trigger],
        }
    }
}

/// How a take is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storing {
    /// The profile of its files.
    pub profile: Profile,
    /// How hard images are packed, in profile `compact`.
    pub level: Level,
    /// Encoders that share the images of each packed track.
    pub encoders: usize,
}

impl Default for Storing {
    fn default() -> Self {
        Self { profile: Profile::K4a, level: Level::Default, encoders: 1 }
    }
}

/// Encoders of a track at most: more cores help no track of a device.
pub const ENCODERS_MAX: usize = 8;

/// Where devices are.
#[derive(Debug, Clone, PartialEq)]
pub enum Devices {
    /// On the machine's USB.
    Usb,
    /// Emulated ones, in a chain of sync cables that begins at the first.
    Emulated {
        /// How each of them misbehaves; as many as there are devices.
        faults: Vec<Faults>,
        /// The recording that they see, or the take that they play.
        from: Option<PathBuf>,
    },
}

impl Devices {
    /// `count` sound emulated devices.
    #[must_use]
    pub fn emulated(count: usize, from: Option<PathBuf>) -> Self {
        Self::Emulated { faults: vec![Faults::default(); count], from }
    }
}

/// Which of the devices that are there record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// All of them.
    All,
    /// The one with this serial number.
    Serial(String),
    /// The one at this place in the list of serials, counted from 0.
    Index(usize),
}

/// Where a take goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// One file, for one device.
    File(PathBuf),
    /// A folder with a file for each device, and `take.toml`.
    Folder(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut DeviceConfig)) -> String {
        let mut config = DeviceConfig::default();
        change(&mut config);
        config.validate().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_device_can_do_is_accepted() {
        assert_eq!(problem(|_| {}), "");
        assert_eq!(problem(|c| c.depth_delay_us = -33_333), "");
        let nv12 = |c: &mut DeviceConfig| c.color = Some("720p_NV12".parse().expect("a mode"));
        assert_eq!(problem(nv12), "");
        assert_eq!(problem(|c| (c.role, c.subordinate_delay_us) = (Role::Subordinate, 33_333)), "");
        assert_eq!(problem(|c| (c.color, c.role) = (None, Role::Subordinate)), "");
    }

    #[test]
    fn the_default_rate_is_the_highest_that_the_modes_reach() {
        let colors = ["720p_NV12", "720p", "1080p", "1440p", "1536p", "2160p", "3072p"];
        let colors =
            colors.map(|mode| Some(mode.parse().expect("a mode"))).into_iter().chain([None]);
        for color in colors {
            for depth in DepthMode::ALL.map(Some).into_iter().chain([None]) {
                let config = |rate| DeviceConfig { color, depth, rate, ..DeviceConfig::default() };
                let reached = |rate: &Rate| config(*rate).validate().is_ok();
                let highest = [Rate::Fps30, Rate::Fps15, Rate::Fps5].into_iter().find(reached);
                if let Some(highest) = highest {
                    assert_eq!(default_rate(color, depth), highest, "{color:?} {depth:?}");
                }
            }
        }
    }

    #[test]
    fn what_it_cannot_do_is_refused_with_the_fix() {
        let refused = |change: fn(&mut DeviceConfig), words: &[&str]| {
            let text = problem(change);
            assert!(words.iter().all(|word| text.contains(word)), "{text:?} lacks {words:?}");
        };
        refused(|c| (c.color, c.depth) = (None, None), &["both cameras are off"]);
        refused(|c| c.depth = Some(DepthMode::WfovUnbinned), &["WFOV_UNBINNED", "--rate 15"]);
        refused(|c| c.color = "3072p".parse().ok(), &["3072p", "--rate 15"]);
        refused(|c| c.color = "1080p_NV12".parse().ok(), &["NV12", "720p_NV12"]);
        refused(|c| c.color = "BGRA_720P".parse().ok(), &["BGRA"]);
        refused(|c| c.depth_delay_us = 33_334, &["--depth-delay) 33334", "33333"]);
        refused(|c| (c.depth, c.depth_delay_us) = (None, 1), &["--depth-delay", "off"]);
        refused(|c| c.subordinate_delay_us = 1, &["--external-sync subordinate"]);
        refused(
            |c| (c.role, c.subordinate_delay_us) = (Role::Subordinate, 33_334),
            &["--sync-delay) 33334", "33333"],
        );
        refused(|c| (c.role, c.color) = (Role::Master, None), &["master", "--color-mode"]);
    }
}
