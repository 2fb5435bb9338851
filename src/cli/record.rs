//! `genlock record`: one take.

use super::progress::Progress;
use super::{Verdict, bus, print};
use crate::clock::Clock;
use crate::config::{
    ColorControls, DeviceConfig, Devices, Opening, Output, Pick, Plan, Setting, Wanted,
};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{self, Outcome, is_taken, part_path};
use crate::rig::host::Host;
use crate::rig::{Finding, Severity};
use clap::{Args, ValueEnum};
use genlock_formats::k4a::{ColorMode, DepthMode, ParseModeError, Rate, Recording, Role};
use genlock_formats::take;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Options of `genlock record`; those of k4arecorder have its names.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// Where the take goes: a folder, or one file when it ends in .mkv
    output: PathBuf,
    /// The device by its place in `genlock list`
    #[arg(long, value_name = "INDEX", conflicts_with = "serial")]
    device: Option<usize>,
    /// The device by its serial number
    #[arg(long)]
    serial: Option<String>,
    /// Stop after this time: seconds, or 10s, 2m, 1h
    #[arg(short = 'l', long, value_name = "TIME", value_parser = seconds)]
    #[arg(conflicts_with = "frames")]
    record_length: Option<f64>,
    /// Stop after this many frames of each camera
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// 3072p, 2160p, 1536p, 1440p, 1080p, 720p, 720p_NV12, 720p_YUY2 or OFF [default: 1080p]
    #[arg(short, long, value_name = "MODE", value_parser = mode::<ColorMode>)]
    color_mode: Option<Mode<ColorMode>>,
    /// NFOV_2X2BINNED, NFOV_UNBINNED, WFOV_2X2BINNED, WFOV_UNBINNED, PASSIVE_IR or OFF
    /// [default: NFOV_UNBINNED]
    #[arg(short, long, value_name = "MODE", value_parser = mode::<DepthMode>)]
    depth_mode: Option<Mode<DepthMode>>,
    /// Microseconds by which depth follows color; negative: precedes it
    #[arg(long, value_name = "US", allow_hyphen_values = true, default_value_t = 0)]
    depth_delay: i32,
    /// Frames per second: 30, 15 or 5 [default: 30]
    #[arg(short, long, value_name = "FPS", value_parser = Rate::from_str)]
    rate: Option<Rate>,
    /// Whether to record the IMU
    #[arg(long, value_enum, ignore_case = true, default_value = "on")]
    imu: OnOff,
    /// Part in wired sync: standalone, master or subordinate; several devices get theirs from their
    /// jacks
    #[arg(long, value_name = "ROLE", value_parser = Role::from_str)]
    external_sync: Option<Role>,
    /// Microseconds by which a subordinate follows the master
    #[arg(long, value_name = "US", default_value_t = 0)]
    sync_delay: u32,
    /// Exposure: auto, microseconds from 2 to 200000, or a power of two of seconds from -11 to 1
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = exposure)]
    exposure_control: Option<Setting>,
    /// Color gain: auto (as the device has it), or 0 to 255
    #[arg(short, long, value_name = "GAIN", value_parser = gain)]
    gain: Option<Setting>,
    /// Color brightness, 0 to 255
    #[arg(long, value_name = "N")]
    brightness: Option<i32>,
    /// Color contrast, 0 to 10
    #[arg(long, value_name = "N")]
    contrast: Option<i32>,
    /// Color saturation, 0 to 63
    #[arg(long, value_name = "N")]
    saturation: Option<i32>,
    /// Color sharpness, 0 to 4
    #[arg(long, value_name = "N")]
    sharpness: Option<i32>,
    /// Color temperature: auto, or 2500 to 12500 kelvin in steps of 10
    #[arg(long, value_name = "KELVIN", value_parser = auto_or_number)]
    white_balance: Option<Setting>,
    /// Backlight compensation, 0 or 1
    #[arg(long, value_name = "N")]
    backlight_compensation: Option<i32>,
    /// Mains frequency against flicker: 50 or 60
    #[arg(long, value_name = "HZ", value_parser = powerline)]
    powerline_frequency: Option<i32>,
    /// Rehearse with this many emulated devices; nothing needs to be plugged in
    #[arg(long, value_name = "N", value_parser = emulated_count)]
    emulated: Option<usize>,
    /// What the emulated devices see: a recording, looped
    #[arg(long, value_name = "FILE.mkv", requires = "emulated")]
    from: Option<PathBuf>,
    /// The depth engine to load instead of libdepthengine.so.2.0
    #[arg(long, value_name = "PATH")]
    depth_engine: Option<PathBuf>,
    /// Say nothing but errors and losses
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// A mode, or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode<T>(Option<T>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

fn mode<T: FromStr<Err = ParseModeError>>(text: &str) -> std::result::Result<Mode<T>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(Mode(None));
    }
    text.parse().map(|mode| Mode(Some(mode))).map_err(|cause| format!("{cause}, OFF"))
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60.0),
        Some(number) if text.ends_with('h') => (number, 3600.0),
        Some(number) => (number, 1.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| number * unit) {
        // Beyond a year, somebody means something else.
        Ok(seconds) if seconds > 0.0 && seconds < 3.2e7 => Ok(seconds),
        _ => Err("not a time: use seconds, or 10s, 2m, 1h".to_owned()),
    }
}

fn auto_or_number(text: &str) -> std::result::Result<Setting, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Setting::Auto);
    }
    text.parse().map(Setting::Manual).map_err(|_| "not auto and not a whole number".to_owned())
}

/// As k4arecorder: from 2 on microseconds, up to 1 a power of two of seconds.
fn exposure(text: &str) -> std::result::Result<Setting, String> {
    match auto_or_number(text)? {
        Setting::Manual(power @ -11..=1) => {
            Ok(Setting::Manual((1_000_000.0 * f64::from(power).exp2()) as i32))
        }
        Setting::Manual(us) if !(2..=200_000).contains(&us) => {
            Err("beyond 2 to 200000 microseconds, and no power from -11 to 1".to_owned())
        }
        setting => Ok(setting),
    }
}

fn gain(text: &str) -> std::result::Result<Setting, String> {
    match auto_or_number(text)? {
        Setting::Manual(gain) if !(0..=255).contains(&gain) => Err("beyond 0 to 255".to_owned()),
        setting => Ok(setting),
    }
}

fn powerline(text: &str) -> std::result::Result<i32, String> {
    match text {
        "50" => Ok(1),
        "60" => Ok(2),
        _ => Err("neither 50 nor 60".to_owned()),
    }
}

/// How many emulated devices.
pub(super) fn emulated_count(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=bus::EMULATED_MAX) => Ok(count),
        _ => Err(format!("not a number from 1 to {}", bus::EMULATED_MAX)),
    }
}

/// The modes of the recording that emulated devices play.
struct Played {
    path: PathBuf,
    color: Option<ColorMode>,
    depth: Option<DepthMode>,
    rate: Rate,
}

impl Played {
    fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
        let configuration = recording.configuration();
        Ok(Self {
            path: path.to_owned(),
            color: configuration.color,
            depth: configuration.depth,
            rate: configuration.rate,
        })
    }

    /// The mode to use: the recording's, or off; another was never filmed.
    fn mode<T: Copy + PartialEq + ToString>(
        &self,
        flag: &str,
        asked: Option<Mode<T>>,
        recorded: Option<T>,
    ) -> Result<Option<T>> {
        let recorded_name = recorded.map_or("OFF".to_owned(), |mode| mode.to_string());
        match asked {
            None => Ok(recorded),
            Some(Mode(None)) => Ok(None),
            Some(Mode(asked)) if asked == recorded => Ok(asked),
            Some(_) => Err(Error::Usage(format!(
                "{} was recorded with {flag} {recorded_name}: leave {flag} out, or turn it OFF",
                self.path.display()
            ))),
        }
    }
}

impl RecordArgs {
    /// Checks everything that was asked for, and says what is to be done. Nothing is touched.
    ///
    /// # Errors
    /// `Usage` when it cannot be done as asked; `File` when the recording to play cannot be read.
    pub fn resolve(&self) -> Result<Plan> {
        self.plan(output)
    }

    /// The same, with another judge of the place: it is told whether several devices go there.
    pub(super) fn plan(&self, output: fn(&Path, bool) -> Result<Output>) -> Result<Plan> {
        let played = self.from.as_deref().map(Played::open).transpose()?;
        let config = self.config(played.as_ref())?;
        config.validate()?;
        let count = self.emulated.unwrap_or(1);
        let several = count > 1 && self.serial.is_none() && self.device.is_none();
        if several && self.external_sync.is_some() {
            return Err(Error::Usage(
                "--external-sync is for one device; several get their roles from their jacks"
                    .to_owned(),
            ));
        }
        let fps = f64::from(config.rate.fps());
        // What a float makes of 0.1 s at 30 fps is not more than 3 triggers.
        let of_length =
            self.record_length.map(|length| (length * fps - 1e-6).ceil().max(1.0) as u64);
        Ok(Plan {
            devices: match self.emulated {
                Some(count) => Devices::emulated(count, self.from.clone()),
                None => Devices::Usb,
            },
            wanted: Wanted::Alike {
                pick: self.pick(),
                config,
                role_given: self.external_sync.is_some(),
                delay_given: false,
            },
            opening: Opening::default(),
            force: false,
            triggers: self.frames.or(of_length),
            output: output(&self.output, several)?,
            depth_engine: self.depth_engine.clone(),
        })
    }

    fn pick(&self) -> Pick {
        match (&self.serial, self.device) {
            (Some(serial), _) => Pick::Serial(serial.clone()),
            (None, Some(index)) => Pick::Index(index),
            (None, None) if self.emulated.is_some() => Pick::All,
            // As k4arecorder does: a rig on USB needs a rig file.
            (None, None) => Pick::Index(0),
        }
    }

    fn config(&self, played: Option<&Played>) -> Result<DeviceConfig> {
        let default = DeviceConfig::default();
        let (color, depth) = match played {
            Some(played) => (
                played.mode("--color-mode", self.color_mode, played.color)?,
                played.mode("--depth-mode", self.depth_mode, played.depth)?,
            ),
            None => (
                self.color_mode.map_or(default.color, |mode| mode.0),
                self.depth_mode.map_or(default.depth, |mode| mode.0),
            ),
        };
        let recorded_rate = played.map(|played| played.rate);
        Ok(DeviceConfig {
            color,
            depth,
            rate: self.rate.or(recorded_rate).unwrap_or(default.rate),
            imu: self.imu == OnOff::On,
            role: self.external_sync.unwrap_or_default(),
            depth_delay_us: self.depth_delay,
            subordinate_delay_us: self.sync_delay,
            controls: self.controls(color.is_some())?,
        })
    }

    fn controls(&self, color: bool) -> Result<ColorControls> {
        let controls = ColorControls {
            exposure: self.exposure_control,
            white_balance: self.white_balance,
            brightness: self.brightness,
            contrast: self.contrast,
            saturation: self.saturation,
            sharpness: self.sharpness,
            backlight_compensation: self.backlight_compensation,
            // The device has no automatic gain of its own: auto leaves it to the exposure's.
            gain: match self.gain {
                Some(Setting::Manual(gain)) => Some(gain),
                Some(Setting::Auto) | None => None,
            },
            powerline_frequency: self.powerline_frequency,
        };
        if !color && controls != ColorControls::default() {
            return Err(Error::Usage(
                "color controls need the color camera: choose a --color-mode, or leave them out"
                    .to_owned(),
            ));
        }
        Ok(controls)
    }
}

/// Where the take goes; what is there already is never overwritten.
fn output(path: &Path, several: bool) -> Result<Output> {
    let refuse = |why: &str| Err(Error::Usage(format!("{}: {why}", path.display())));
    let is_file = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mkv"));
    if is_file && several {
        return refuse("one file cannot hold several devices: name a folder");
    }
    if is_taken(path) || (is_file && is_taken(&part_path(path))) {
        return refuse("is there already and is not overwritten: choose another name");
    }
    if !is_file {
        return Ok(Output::Folder(path.to_owned()));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            refuse("its folder does not exist: create it first")
        }
        _ => Ok(Output::File(path.to_owned())),
    }
}

pub(super) fn run(args: RecordArgs) -> Result<Verdict> {
    let plan = args.resolve()?;
    let clock = Clock::machine();
    let bus = bus::bus(&plan.devices, &clock)?;
    record::can_stream(bus.as_ref())?;
    let mut members = record::members(&plan, bus.as_ref())?;
    let findings = record::preflight(&plan, bus.as_ref(), &mut members, &Host::machine());
    if !heed(&findings, plan.force, args.quiet) {
        return Ok(Verdict::Failed);
    }
    let stop = stop_on_signals()?;
    let mut progress = Progress::new(args.quiet, &args.output);
    let done = record::run_opened(&plan, members, &clock, &stop, &mut |s| progress.show(s));
    progress.finish();
    let outcome = done?;
    if !args.quiet {
        print(&summary(&args.output, &outcome))?;
    }
    report_losses(&outcome);
    if let Some(failure) = outcome.failure {
        eprintln!("error: {failure}");
        return Ok(Verdict::Failed);
    }
    Ok(match outcome.take.outcome {
        take::Outcome::Whole => Verdict::Whole,
        take::Outcome::Losses => Verdict::Losses,
        take::Outcome::Failed => Verdict::Failed,
    })
}

/// Says what stands against a take, and whether it may begin: errors forbid it, unless forced.
fn heed(findings: &[Finding], force: bool, quiet: bool) -> bool {
    let of = |severity| findings.iter().filter(move |finding| finding.severity == severity);
    for warning in of(Severity::Warning).filter(|_| !quiet) {
        eprintln!("warning: {warning}");
    }
    for error in of(Severity::Error) {
        eprintln!("error: {error}");
    }
    force || of(Severity::Error).next().is_none()
}

/// Set by the first SIGINT or SIGTERM: stop cleanly. A second one ends the process as signals do.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|cause| Error::Device(format!("cannot watch for signals: {cause}")))?;
    }
    Ok(stop)
}

fn summary(place: &Path, outcome: &Outcome) -> String {
    let mut lines = vec![format!("{}: {}", place.display(), outcome.take.outcome)];
    for device in outcome.take.devices.iter().filter(|device| device.file.is_some()) {
        let frames = device.frames.iter().map(|(track, count)| format!("{track} {count}"));
        lines.push(format!(
            "  {} {}: {} triggers from {}, {}, {:.1} MB",
            device.serial,
            device.role,
            device.trigger_count,
            device.first_trigger,
            frames.collect::<Vec<_>>().join(", "),
            device.bytes as f64 / 1e6
        ));
    }
    lines.join("\n")
}

/// Losses on standard error, also when quiet: a take with losses must not pass for a whole one.
fn report_losses(outcome: &Outcome) {
    const SHOWN_MAX: usize = 20;
    for device in &outcome.take.devices {
        for loss in device.losses.iter().take(SHOWN_MAX) {
            eprintln!(
                "loss: {}: {} of triggers {} to {}: {}",
                device.serial, loss.track, loss.first_trigger, loss.last_trigger, loss.cause
            );
        }
        let more = device.losses.len().saturating_sub(SHOWN_MAX);
        if more > 0 {
            eprintln!("loss: {}: and {more} more ranges", device.serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_with_and_without_units() {
        assert_eq!(seconds("5"), Ok(5.0));
        assert_eq!(seconds("0.5s"), Ok(0.5));
        assert_eq!(seconds("2m"), Ok(120.0));
        assert_eq!(seconds("1h"), Ok(3600.0));
        for wrong in ["", "0", "-1", "m", "10d", "inf", "nan"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_forbid_a_take_and_force_lets_it_begin() {
        let (error, warning) =
            (Finding::error("disk", "full", "free some"), Finding::warning("rig", "odd", "look"));
        let begins = |findings: &[Finding], force| heed(findings, force, true);
        let both = [error, warning];
        assert!(begins(&[], false) && begins(&both[1..], false));
        assert!(!begins(&both, false) && begins(&both, true));
    }

    #[test]
    fn exposure_reads_as_k4arecorder_reads_it() {
        assert_eq!(exposure("auto"), Ok(Setting::Auto));
        assert_eq!(exposure("8330"), Ok(Setting::Manual(8330)));
        assert_eq!(exposure("-5"), Ok(Setting::Manual(31_250)));
        assert_eq!(exposure("1"), Ok(Setting::Manual(2_000_000)));
        assert!(exposure("200001").is_err() && exposure("-12").is_err());
    }
}
