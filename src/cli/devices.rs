//! Options that say which devices record, and what each of them does.

use crate::config::{self, Asked, Flag, Pick, Rig, value_of};
use clap::Args;
use std::path::PathBuf;
use toml::Value;

/// Headings of the groups of options, in the order of the help.
const DEVICES: &str = "Devices";
const MODES: &str = "Modes";
const SYNC: &str = "Synchronization";
const COLOR: &str = "Color controls";
const STORAGE: &str = "Storage";

/// The rig file, and what is laid over it; options of k4arecorder have its names.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// The rig file: devices, modes, controls (docs/rig.md)
    #[arg(long, value_name = "RIG.toml", conflicts_with_all = ["emulated", "device"])]
    #[arg(help_heading = DEVICES)]
    rig: Option<PathBuf>,
    /// A setting over those of the rig file and of flags: any key of a rig file, for all devices or
    /// for one, by serial or name, as in rate=15 or front.gain=10
    #[arg(long = "set", value_name = "[SERIAL.]KEY=VALUE")]
    #[arg(help_heading = DEVICES)]
    sets: Vec<String>,
    /// The device by its place in `genlock list`
    #[arg(long, value_name = "INDEX", conflicts_with = "serial")]
    #[arg(help_heading = DEVICES)]
    device: Option<usize>,
    /// The device by its serial number
    #[arg(long)]
    #[arg(help_heading = DEVICES)]
    serial: Option<String>,
    /// Rehearse with this many emulated devices; nothing needs to be plugged in
    #[arg(long, value_name = "N", value_parser = setting("emulator.devices"))]
    #[arg(help_heading = DEVICES)]
    emulated: Option<Value>,
    /// What the emulated devices see: a recording, looped; or a take, whose devices all play
    /// again
    #[arg(long, value_name = "FILE.mkv|TAKE", value_parser = path)]
    #[arg(help_heading = DEVICES)]
    from: Option<Value>,
    /// The depth engine to load instead of libdepthengine.so.2.0
    #[arg(long, value_name = "PATH", value_parser = path)]
    #[arg(help_heading = DEVICES)]
    depth_engine: Option<Value>,
    /// 3072p, 2160p, 1536p, 1440p, 1080p, 720p, 720p_NV12, 720p_YUY2 or OFF [default: 1080p]
    #[arg(short, long, value_name = "MODE", value_parser = setting("color_mode"))]
    #[arg(help_heading = MODES)]
    color_mode: Option<Value>,
    /// NFOV_2X2BINNED, NFOV_UNBINNED, WFOV_2X2BINNED, WFOV_UNBINNED, PASSIVE_IR or OFF
    /// [default: NFOV_UNBINNED]
    #[arg(short, long, value_name = "MODE", value_parser = setting("depth_mode"))]
    #[arg(help_heading = MODES)]
    depth_mode: Option<Value>,
    /// Frames per second: 30, 15 or 5 [default: the highest that the modes reach]
    #[arg(short, long, value_name = "FPS", value_parser = setting("rate"))]
    #[arg(help_heading = MODES)]
    rate: Option<Value>,
    /// Whether to record the IMU: on or off [default: on]
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    #[arg(help_heading = MODES)]
    imu: Option<Value>,
    /// Part in wired sync: standalone, master or subordinate; several devices get theirs from their
    /// jacks, or from the rig file
    #[arg(long, value_name = "ROLE", value_parser = setting("role"))]
    #[arg(help_heading = SYNC)]
    external_sync: Option<Value>,
    /// Microseconds by which a subordinate follows the master
    #[arg(long, value_name = "US", value_parser = setting("delay_off_master_us"))]
    #[arg(help_heading = SYNC)]
    sync_delay: Option<Value>,
    /// Microseconds by which depth follows color; negative: precedes it
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    #[arg(value_parser = setting("depth_delay_us"))]
    #[arg(help_heading = SYNC)]
    depth_delay: Option<Value>,
    /// Exposure: auto, microseconds from 2 to 200000, or a power of two of seconds from -11 to 1
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = exposure)]
    #[arg(help_heading = COLOR)]
    exposure_control: Option<Value>,
    /// Color gain: auto (as the device has it), or 0 to 255
    #[arg(short, long, value_name = "GAIN", value_parser = setting("gain"))]
    #[arg(help_heading = COLOR)]
    gain: Option<Value>,
    /// Color brightness, 0 to 255
    #[arg(long, value_name = "N", value_parser = setting("brightness"))]
    #[arg(help_heading = COLOR)]
    brightness: Option<Value>,
    /// Color contrast, 0 to 10
    #[arg(long, value_name = "N", value_parser = setting("contrast"))]
    #[arg(help_heading = COLOR)]
    contrast: Option<Value>,
    /// Color saturation, 0 to 63
    #[arg(long, value_name = "N", value_parser = setting("saturation"))]
    #[arg(help_heading = COLOR)]
    saturation: Option<Value>,
    /// Color sharpness, 0 to 4
    #[arg(long, value_name = "N", value_parser = setting("sharpness"))]
    #[arg(help_heading = COLOR)]
    sharpness: Option<Value>,
    /// Color temperature: auto, or 2500 to 12500 kelvin in steps of 10
    #[arg(long, value_name = "KELVIN", value_parser = setting("white_balance"))]
    #[arg(help_heading = COLOR)]
    white_balance: Option<Value>,
    /// Backlight compensation, 0 or 1
    #[arg(long, value_name = "N", value_parser = setting("backlight_compensation"))]
    #[arg(help_heading = COLOR)]
    backlight_compensation: Option<Value>,
    /// Mains frequency against flicker: 50 or 60
    #[arg(long, value_name = "HZ", value_parser = setting("powerline_hz"))]
    #[arg(help_heading = COLOR)]
    powerline_frequency: Option<Value>,
    /// How the take is stored: k4a, which every reader of Azure Kinect recordings opens, or
    /// compact, with depth, IR and raw color packed without loss [default: k4a]
    #[arg(long, value_name = "PROFILE", value_parser = setting("profile"))]
    #[arg(help_heading = STORAGE)]
    profile: Option<Value>,
    /// How hard profile compact packs: fast or default [default: default]
    #[arg(long, value_name = "LEVEL", value_parser = setting("level"))]
    #[arg(help_heading = STORAGE)]
    level: Option<Value>,
}

type Parsed = Result<Value, String>;

/// Reads the value of a key, as the rig file would take it.
fn setting(key: &'static str) -> impl Fn(&str) -> Parsed + Clone {
    move |text| {
        let value = value_of(text);
        config::check(key, &value).map(|()| value)
    }
}

fn on_or_off(text: &str) -> Parsed {
    match text {
        on if on.eq_ignore_ascii_case("on") => Ok(Value::Boolean(true)),
        off if off.eq_ignore_ascii_case("off") => Ok(Value::Boolean(false)),
        _ => Err("neither on nor off".to_owned()),
    }
}

/// As k4arecorder: from 2 on microseconds, up to 1 a power of two of seconds.
fn exposure(text: &str) -> Parsed {
    let value = value_of(text);
    match value.as_integer() {
        // The device's longest time is shorter than what powers above -3 stand for.
        Some(power @ -11..=1) => {
            let us = (1_000_000.0 * (power as f64).exp2()) as i64;
            Ok(Value::Integer(us.min(200_000)))
        }
        Some(us) if !(-11..=200_000).contains(&us) => {
            Err("beyond 2 to 200000 microseconds, and no power from -11 to 1".to_owned())
        }
        _ => config::check("exposure", &value).map(|()| value),
    }
}

fn path(text: &str) -> Parsed {
    Ok(Value::String(text.to_owned()))
}

impl DeviceArgs {
    /// Checks everything that was asked for, and says which devices do what.
    ///
    /// # Errors
    /// `Usage` when it cannot be done as asked; `File` when the recording to play cannot be read.
    pub fn resolve(&self) -> crate::error::Result<Rig> {
        self.asked().resolve()
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> Asked {
        let pick = match (&self.serial, self.device) {
            (Some(serial), _) => Some(Pick::Serial(serial.clone())),
            (None, Some(index)) => Some(Pick::Index(index)),
            (None, None) => None,
        };
        let sets = self.sets.clone();
        Asked { rig: self.rig.clone(), pick, flags: self.flags(), sets }
    }

    fn flags(&self) -> Vec<Flag> {
        let all = [
            ("--color-mode", "color_mode", &self.color_mode),
            ("--depth-mode", "depth_mode", &self.depth_mode),
            ("--depth-delay", "depth_delay_us", &self.depth_delay),
            ("--rate", "rate", &self.rate),
            ("--imu", "imu", &self.imu),
            ("--external-sync", "role", &self.external_sync),
            ("--sync-delay", "delay_off_master_us", &self.sync_delay),
            ("--exposure-control", "exposure", &self.exposure_control),
            ("--gain", "gain", &self.gain),
            ("--brightness", "brightness", &self.brightness),
            ("--contrast", "contrast", &self.contrast),
            ("--saturation", "saturation", &self.saturation),
            ("--sharpness", "sharpness", &self.sharpness),
            ("--white-balance", "white_balance", &self.white_balance),
            ("--backlight-compensation", "backlight_compensation", &self.backlight_compensation),
            ("--powerline-frequency", "powerline_hz", &self.powerline_frequency),
            ("--profile", "profile", &self.profile),
            ("--level", "level", &self.level),
            ("--emulated", "emulator.devices", &self.emulated),
            ("--from", "emulator.from", &self.from),
            ("--depth-engine", "depth_engine", &self.depth_engine),
        ];
        let given = all
            .into_iter()
            .filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value.clone()? }));
        given.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_reads_as_k4arecorder_reads_it() {
        assert_eq!(exposure("auto"), Ok(Value::from("auto")));
        assert_eq!(exposure("8330"), Ok(Value::from(8330)));
        assert_eq!(exposure("-5"), Ok(Value::from(31_250)));
        assert_eq!(exposure("1"), Ok(Value::from(200_000)));
        assert!(exposure("200001").is_err() && exposure("-12").is_err() && exposure("x").is_err());
    }
}
