//! `take.toml`: what a take is, in words that a person can read. Written last, so a take that has
//! one is complete. docs/take.md describes it.

use crate::depth::Level;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of `take.toml` that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The name of the file.
pub const NAME: &str = "take.toml";

/// A take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// Version of this file's form.
    pub format: u32,
    /// Version of genlock that recorded the take.
    pub genlock: String,
    /// When recording began: RFC 3339, UTC, the host's clock.
    pub started: String,
    /// How its images are stored. Takes of before there was a choice do not say it.
    #[serde(default)]
    pub profile: Profile,
    /// How hard its images were packed: see [`level_word`]. Absent where nothing is packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What ended it before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Triggers asked for; absent when the take was to run until stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers_asked: Option<u64>,
    /// Whether the rig was in step: the worst of its devices' verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The host's clocks; of a take of one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The hosts of a take that spans several, and their clocks; in order of their names.
    #[serde(default, rename = "host_clock", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostClock>,
    /// The devices, in order of their serials.
    #[serde(default, rename = "device")]
    pub devices: Vec<Device>,
    /// The files of the take but for `take.toml`: what copies are held against. Takes of before
    /// this was written have none.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// How the images of a take are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As every reader of Azure Kinect recordings wants them.
    #[default]
    K4a,
    /// Depth, IR and raw color packed, and restored bit for bit.
    Compact,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::K4a => "k4a",
            Self::Compact => "compact",
        })
    }
}

/// What a take says of the level at which its images are packed: nothing where none is.
#[must_use]
pub fn level_word(profile: Profile, level: Level) -> Option<String> {
    let word = match level {
        Level::Fast => "fast",
        Level::Default => "default",
    };
    (profile == Profile::Compact).then(|| word.to_owned())
}

/// A file of a take, as it was when the take was concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Name within the take.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its bytes (that of zlib, gzip and Matroska), in eight hexadecimal digits.
    ///
    /// It tells accidents, not attacks: one changed file in four thousand million would pass. And
    /// it is the one common checksum that can be put together from its parts. A recording is
    /// hashed while it is written and its front changes when it is closed; any other hash would
    /// have to read the file once more, hundreds of gigabytes at the end of a long take.
    pub crc32: String,
}

impl File {
    /// A file with this length and checksum.
    #[must_use]
    pub fn new(name: &str, bytes: u64, crc32: u32) -> Self {
        Self { name: name.to_owned(), bytes, crc32: format!("{crc32:08x}") }
    }

    /// A file of these bytes.
    #[must_use]
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self::new(name, bytes.len() as u64, crc32fast::hash(bytes))
    }

    /// Whether both have the same bytes, as far as length and checksum tell.
    #[must_use]
    pub fn has_bytes_of(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.crc32.eq_ignore_ascii_case(&other.crc32)
    }
}

/// What the evidence says of a rig or device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// In step, and complete.
    Pass,
    /// Usable; the reasons say what to mind.
    Warn,
    /// Not in step.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// The host's monotonic clock, in whose microseconds `triggers.csv` gives arrivals, against UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// UTC when the monotonic clock was 0: RFC 3339, microseconds.
    pub utc_at_zero: String,
    /// By how many microseconds UTC moved against the monotonic clock during the take: slewing, or
    /// a step.
    pub utc_moved_us: f64,
}

/// One of the hosts of a take that spans several: its clocks, as far as they are known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostClock {
    /// The host's name in its rig.
    pub name: String,
    /// As in [`Host`]; absent where its recorder did not come to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_at_zero: Option<String>,
    /// As in [`Host`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_moved_us: Option<f64>,
    /// By how many microseconds its UTC was ahead of that of the rig's coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_us: Option<f64>,
    /// By how much `offset_us` may be wrong either way: half of the shortest way there and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty_us: Option<f64>,
    /// What keeps its UTC: `ptp`, `chrony`, `ntpd`, `timesyncd`, `other` or `none`, and whether it
    /// does not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discipline: Option<String>,
    /// The greatest error of its UTC in microseconds, as its kernel reckons it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_us_max: Option<i64>,
}

/// A device's clock against the host's: `host_us = offset_us + device_us / (1 + ppm / 1e6)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Host microseconds when the device's clock was 0. It includes the shortest time that a frame
    /// took from the middle of its exposure to the host.
    pub offset_us: f64,
    /// Error of the device's clock in parts per million of the host's; positive is fast.
    pub ppm: f64,
    /// Triggers per second of host time.
    pub rate_hz: f64,
    /// Later than the earliest, frames arrived by this much: median, 99th percentile, most.
    pub late_p50_us: f64,
    /// See `late_p50_us`.
    pub late_p99_us: f64,
    /// See `late_p50_us`.
    pub late_max_us: f64,
}

/// A subordinate's exposures against the master's, where the plan has them coincide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Median in microseconds; positive is later than planned.
    pub p50_us: f64,
    /// 99th percentile of its size in microseconds.
    pub p99_us: f64,
    /// Its greatest size in microseconds.
    pub max_us: f64,
    /// Error of the device's clock in parts per million of the master's.
    pub drift_ppm: f64,
    /// Triggers that both have a frame of.
    pub pairs: u64,
}

/// Triggers that a device did not follow the master in, or whose time cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// First trigger.
    pub first_trigger: u64,
    /// Last trigger.
    pub last_trigger: u64,
    /// What was noticed.
    pub what: String,
}

/// Triggers that a device, or its file, was out of the take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// First trigger that it missed.
    pub first_trigger: u64,
    /// Last trigger before it was back, or the take's last.
    pub last_trigger: u64,
    /// Why.
    pub why: String,
    /// What was added to the device's times from then on, in microseconds, so that they go on where
    /// they ended: its clock had begun anew. Absent when it did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_moved_us: Option<i64>,
}

/// How a take ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every expected frame is there.
    Whole,
    /// It ran its time; some frames are missing and listed.
    Losses,
    /// Something ended it before its time.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Whole => "whole",
            Self::Losses => "losses",
            Self::Failed => "failed",
        })
    }
}

/// One device of a take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Serial number.
    pub serial: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host that it was recorded by; of a take that spans several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// File name within the take; absent when nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `standalone`, `master` or `subordinate`.
    pub role: String,
    /// Color mode as in the file's tag, or `OFF`.
    pub color_mode: String,
    /// Depth mode as in the file's tag, or `OFF`.
    pub depth_mode: String,
    /// Triggers per second.
    pub rate: u32,
    /// Whether the IMU is recorded.
    pub imu: bool,
    /// First trigger of the take, counted from the reset of the device's clock.
    pub first_trigger: u64,
    /// Triggers of the take.
    pub trigger_count: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// How depth follows color.
    pub depth_delay_off_color: Delay,
    /// How a subordinate follows the master.
    pub delay_off_master: Delay,
    /// Frames recorded, a track each; of the IMU, samples.
    pub frames: BTreeMap<String, u64>,
    /// Firmware versions by component.
    pub firmware: BTreeMap<String, String>,
    /// Color controls as the device reported them after they were set: a number, or `auto`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub color_controls: BTreeMap<String, Control>,
    /// Whether the device was in step, and complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why the verdict is no pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Its clock against the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Its exposures against the master's; of subordinates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// When it was out of the take.
    #[serde(default, rename = "outage", skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// Alarms of the take.
    #[serde(default, rename = "alarm", skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// Frames that are missing.
    #[serde(default, rename = "loss", skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
}

impl Device {
    /// How much later than the master's color its leading exposures are planned, in microseconds:
    /// those of color, or of depth where there is none.
    #[must_use]
    pub fn delay_after_master_us(&self) -> f64 {
        let depth = if self.color_mode == "OFF" { self.depth_delay_off_color.ticks } else { 0 };
        self.delay_off_master.ticks.saturating_add(depth) as f64 * 100.0 / 9.0
    }

    /// Whether arrivals of both are by one clock: that of their host.
    #[must_use]
    pub fn shares_host_with(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Triggers without a frame, over all tracks.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.iter().fold(0, |sum, loss| sum.saturating_add(loss.count()))
    }

    /// Whether it has a frame that answers the master's pulse for every trigger.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let in_step = self.alarms.is_empty() && self.verdict != Some(Verdict::Fail);
        self.losses.is_empty() && in_step
    }
}

/// A delay as it was asked for and as the device keeps it, in whole ticks of its 90 kHz clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// Microseconds asked for; what the file's tag says.
    pub asked_us: i64,
    /// Ticks that the device was set to.
    pub ticks: i64,
    /// Those ticks in microseconds: what the device does.
    pub applied_us: f64,
}

impl Delay {
    /// The delay that a device makes of `asked_us` microseconds: it drops what is less than a tick
    /// (usb-protocol.md 8).
    #[must_use]
    pub fn of(asked_us: i64) -> Self {
        let ticks = asked_us * 9 / 100;
        // Tenths of a microsecond are all that a tick of 11.1 us can tell.
        let applied_us = (ticks as f64 * 1000.0 / 9.0).round() / 10.0;
        Self { asked_us, ticks, applied_us }
    }
}

/// A color control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Control {
    /// This value.
    Value(i64),
    /// In words: `auto`.
    Word(String),
}

/// Frames that are missing, one trigger after the other, for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Track, lower case.
    pub track: String,
    /// First trigger without a frame.
    pub first_trigger: u64,
    /// Last trigger without a frame.
    pub last_trigger: u64,
    /// Why.
    pub cause: String,
}

impl Loss {
    /// How many triggers it is.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last_trigger.saturating_add(1).saturating_sub(self.first_trigger)
    }
}

impl Take {
    /// UTC when the monotonic clock of the device's host was 0, and by how many microseconds the
    /// host's UTC is ahead of that of the take's coordinator; none where the former is not known.
    #[must_use]
    pub fn utc_at_zero(&self, device: &Device) -> Option<(&str, f64)> {
        let Some(name) = &device.host else {
            return self.host.as_ref().map(|host| (host.utc_at_zero.as_str(), 0.0));
        };
        let host = self.hosts.iter().find(|host| host.name == *name)?;
        Some((host.utc_at_zero.as_deref()?, host.offset_us.unwrap_or(0.0)))
    }

    /// The take as text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Only maps with keys that are not strings cannot be written, and there are none.
        toml::to_string(self).unwrap_or_default()
    }

    /// A take from its text.
    ///
    /// # Errors
    /// What is wrong with it, with line and column.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let take: Self = toml::from_str(text).map_err(|cause| cause.to_string())?;
        if take.format > FORMAT {
            return Err(format!(
                "format {} is newer than {FORMAT}, the newest that this genlock reads",
                take.format
            ));
        }
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take() -> Take {
        Take {
            format: FORMAT,
            genlock: "0.1.0".to_owned(),
            started: "2026-11-24T14:00:00Z".to_owned(),
            profile: Profile::Compact,
            level: Some("fast".to_owned()),
            outcome: Outcome::Losses,
            reason: None,
            triggers_asked: Some(150),
            verdict: Some(Verdict::Warn),
            host: Some(Host {
                utc_at_zero: "2026-11-24T14:00:00.123456Z".to_owned(),
                utc_moved_us: -1.5,
            }),
            hosts: vec![HostClock {
                name: "b".to_owned(),
                utc_at_zero: Some("2026-11-24T13:00:00.123456Z".to_owned()),
                utc_moved_us: Some(2.0),
                offset_us: Some(-31.5),
                uncertainty_us: Some(120.0),
                discipline: Some("chrony".to_owned()),
                error_us_max: Some(800),
            }],
            devices: vec![device()],
            files: vec![File::of("triggers.csv", b"trigger,")],
        }
    }

    fn device() -> Device {
        Device {
            serial: "000123201312".to_owned(),
            name: Some("front".to_owned()),
            host: Some("b".to_owned()),
            file: Some("000123201312.mkv".to_owned()),
            role: "master".to_owned(),
            color_mode: "MJPG_1080P".to_owned(),
            depth_mode: "NFOV_UNBINNED".to_owned(),
            rate: 30,
            imu: true,
            first_trigger: 12,
            trigger_count: 150,
            bytes: 1 << 33,
            depth_delay_off_color: Delay::of(-80),
            delay_off_master: Delay::of(0),
            frames: [("color".to_owned(), 149)].into(),
            firmware: [("color".to_owned(), "1.6.110".to_owned())].into(),
            color_controls: [("gain".to_owned(), Control::Value(128))].into(),
            verdict: Some(Verdict::Fail),
            reasons: vec!["out of step".to_owned()],
            clock: Some(Clock {
                offset_us: 1.5,
                ppm: -388.0,
                rate_hz: 29.9,
                late_p50_us: 100.0,
                late_p99_us: 200.0,
                late_max_us: 300.0,
            }),
            phase: Some(Phase {
                p50_us: -1.0,
                p99_us: 30.0,
                max_us: 40.0,
                drift_ppm: 12.5,
                pairs: 149,
            }),
            outages: vec![Outage {
                first_trigger: 40,
                last_trigger: 60,
                why: "left the bus".to_owned(),
                clock_moved_us: Some(-7_199_000_000),
            }],
            alarms: vec![Alarm {
                first_trigger: 20,
                last_trigger: 30,
                what: "out of step".to_owned(),
            }],
            losses: vec![Loss {
                track: "color".to_owned(),
                first_trigger: 14,
                last_trigger: 14,
                cause: "lane full".to_owned(),
            }],
        }
    }

    #[test]
    fn a_take_reads_as_it_was_written() {
        let text = take().to_toml();
        assert_eq!(Take::from_toml(&text), Ok(take()), "{text}");
        let auto = text.replace("gain = 128", "gain = \"auto\"");
        let auto = Take::from_toml(&auto).expect("a word is a value too");
        let gain = &auto.devices[0].color_controls["gain"];
        assert_eq!(gain, &Control::Word("auto".to_owned()));
    }

    #[test]
    fn a_take_of_before_there_were_profiles_is_of_the_one_there_was() {
        let text = take().to_toml().replace("profile = \"compact\"\n", "");
        assert_eq!(Take::from_toml(&text).map(|take| take.profile), Ok(Profile::K4a));
    }

    #[test]
    fn a_take_of_before_it_could_span_hosts_reads_as_it_did() {
        let one = Take { hosts: Vec::new(), ..take() };
        let text = one.to_toml().replace("host = \"b\"\n", "");
        assert!(!text.contains("host_clock"), "{text}");
        let read = Take::from_toml(&text).expect("a take");
        assert_eq!((read.hosts.len(), &read.devices[0].host), (0, &None));
        assert_eq!(read.host, one.host);
        let zero = read.utc_at_zero(&read.devices[0]);
        assert_eq!(zero, Some(("2026-11-24T14:00:00.123456Z", 0.0)));
        let of_b = take();
        let zero = of_b.utc_at_zero(&of_b.devices[0]);
        assert_eq!(zero, Some(("2026-11-24T13:00:00.123456Z", -31.5)));
        // Of a host of which nothing but its name is known there is nothing else to read.
        let unknown = HostClock { name: "c".to_owned(), ..HostClock::default() };
        let several = Take { host: None, hosts: vec![unknown], ..take() };
        assert_eq!(Take::from_toml(&several.to_toml()), Ok(several));
    }

    #[test]
    fn a_delay_says_what_the_device_does() {
        assert_eq!(Delay::of(160), Delay { asked_us: 160, ticks: 14, applied_us: 155.6 });
        assert_eq!(Delay::of(-80), Delay { asked_us: -80, ticks: -7, applied_us: -77.8 });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let text = take().to_toml().replace("format = 1", "format = \"one\"");
        let refusal = Take::from_toml(&text).expect_err("not a number");
        assert!(refusal.contains("line 1"), "{refusal}");
        let newer = take().to_toml().replace("format = 1", "format = 2");
        assert!(Take::from_toml(&newer).expect_err("too new").contains("newer"));
    }
}
