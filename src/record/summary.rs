//! What `take.toml` says of a take.

use crate::config::{ColorControls, Plan, Setting};
use crate::error::Error;
use crate::record::disk::part_path;
use crate::record::evidence;
use crate::record::output::file_name;
use crate::record::take::Recorded;
use crate::sync::Standing;
use genlock_formats::take::{
    Control, Delay, Device, FORMAT, File, Host, Loss, Outcome, Take, level_word,
};
use std::collections::BTreeMap;

/// What is known of a take beside its devices.
pub(super) struct About<'a> {
    /// When it began.
    pub started: jiff::Timestamp,
    /// The host's clocks.
    pub host: Host,
    /// What ended it before its time.
    pub failure: Option<&'a Error>,
}

/// Sums a take up.
pub(super) fn of(plan: &Plan, about: &About<'_>, recorded: &[Recorded]) -> Take {
    let standings = evidence::standings(recorded);
    let both = recorded.iter().zip(standings);
    let mut devices: Vec<_> = both.map(|(recorded, standing)| device(recorded, standing)).collect();
    devices.sort_by(|a, b| a.serial.cmp(&b.serial));
    // Frames that answer no pulse of the master are no frames of a trigger.
    let whole = devices.iter().all(Device::is_whole);
    let &About { started, failure, .. } = about;
    Take {
        format: FORMAT,
        genlock: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        outcome: match (failure, whole) {
            (Some(_), _) => Outcome::Failed,
            (None, true) => Outcome::Whole,
            (None, false) => Outcome::Losses,
        },
        reason: failure.map(ToString::to_string).or_else(|| stopped_early(plan, recorded)),
        profile: plan.storing.profile,
        level: level_word(plan.storing.profile, plan.storing.level),
        triggers_asked: plan.triggers,
        verdict: devices.iter().filter_map(|device| device.verdict).max(),
        host: Some(about.host.clone()),
        hosts: Vec::new(),
        devices,
        files: files(recorded),
    }
}

/// The recordings that were closed, as they are on the disk.
fn files(recorded: &[Recorded]) -> Vec<File> {
    let file = |recorded: &Recorded| {
        let report = recorded.report.as_ref()?;
        Some(File::new(&file_name(&recorded.serial), report.bytes, report.crc32?))
    };
    let mut files: Vec<_> = recorded.iter().filter_map(file).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Without a failure only a person ends a take before it has the triggers that were asked for.
fn stopped_early(plan: &Plan, recorded: &[Recorded]) -> Option<String> {
    let asked = plan.triggers?;
    let counts =
        recorded.iter().filter_map(|recorded| Some(recorded.report.as_ref()?.trigger_count));
    let fewest = counts.min().filter(|count| *count < asked)?;
    Some(format!("stopped after {fewest} of {asked} triggers"))
}

fn device(recorded: &Recorded, standing: Option<Standing>) -> Device {
    let (config, report) = (&recorded.config, recorded.report.as_ref());
    let frames = report.map(|report| report.frames.as_slice()).unwrap_or_default();
    let missing = report.map(|report| report.missing.as_slice()).unwrap_or_default();
    let off = || "OFF".to_owned();
    Device {
        serial: recorded.serial.clone(),
        name: recorded.name.clone(),
        host: None,
        file: report.filter(|report| report.bytes > 0).map(|report| {
            let name = file_name(&recorded.serial);
            match report.crc32 {
                Some(_) => name,
                // It could not be finished, and opens as it is.
                None => part_path(name.as_ref()).display().to_string(),
            }
        }),
        role: config.role.to_string().to_lowercase(),
        color_mode: config.color.map_or_else(off, |mode| mode.to_string()),
        depth_mode: config.depth.map_or_else(off, |mode| mode.to_string()),
        rate: config.rate.fps(),
        imu: config.imu,
        first_trigger: report.map_or(0, |report| report.first_trigger),
        trigger_count: report.map_or(0, |report| report.trigger_count),
        bytes: report.map_or(0, |report| report.bytes),
        depth_delay_off_color: Delay::of(config.depth_delay_us.into()),
        delay_off_master: Delay::of(config.subordinate_delay_us.into()),
        frames: frames.iter().map(|(track, n)| (track.to_string().to_lowercase(), *n)).collect(),
        firmware: recorded
            .firmware
            .components()
            .map(|(name, version)| (name.to_owned(), version.to_string()))
            .into(),
        color_controls: controls(&recorded.controls),
        verdict: standing.as_ref().map(|standing| standing.verdict),
        reasons: standing.as_ref().map(|standing| standing.reasons.clone()).unwrap_or_default(),
        clock: standing.as_ref().and_then(|standing| standing.clock.clone()),
        phase: standing.and_then(|standing| standing.phase),
        outages: recorded.outages.clone(),
        alarms: recorded.evidence.alarms.clone(),
        losses: missing
            .iter()
            .map(|missing| Loss {
                track: missing.track.to_string().to_lowercase(),
                first_trigger: missing.triggers.start,
                last_trigger: missing.triggers.end - 1,
                cause: missing.cause.to_string(),
            })
            .collect(),
    }
}

fn controls(controls: &ColorControls) -> BTreeMap<String, Control> {
    let setting = |setting: Option<Setting>| {
        setting.map(|setting| match setting {
            Setting::Auto => Control::Word("auto".to_owned()),
            Setting::Manual(value) => Control::Value(value.into()),
        })
    };
    let value = |value: Option<i32>| value.map(|value| Control::Value(value.into()));
    let powerline = match controls.powerline_frequency {
        Some(1) => Some(50),
        Some(2) => Some(60),
        other => other,
    };
    [
        ("exposure_us", setting(controls.exposure)),
        ("white_balance_k", setting(controls.white_balance)),
        ("brightness", value(controls.brightness)),
        ("contrast", value(controls.contrast)),
        ("saturation", value(controls.saturation)),
        ("sharpness", value(controls.sharpness)),
        ("backlight_compensation", value(controls.backlight_compensation)),
        ("gain", value(controls.gain)),
        ("powerline_hz", value(powerline)),
    ]
    .into_iter()
    .filter_map(|(name, control)| Some((name.to_owned(), control?)))
    .collect()
}
