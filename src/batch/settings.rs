//! What can be set for the takes of a plan: at its top for all, under a `[[take]]` for those.

use crate::batch::name::Template;
use crate::config::values::{Taken, Told, path, printable, put, text, time, within, yes_or_no};
use crate::config::{check, keys, value_of};
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// How long a take is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// So long.
    Time(Duration),
    /// So many frames of each camera.
    Frames(u64),
}

/// Where the devices are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a rig file, seen from the folder of the plan.
    Rig(PathBuf),
    /// So many emulated ones.
    Emulated(u32),
}

/// What is heard at each second of a countdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// Nothing.
    None,
    /// The terminal's bell.
    Bell,
    /// What this command plays.
    Command(String),
}

/// How a take is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How its name is made; the usual way where this is none.
    pub name: Option<Template>,
    /// Whom or what it shows.
    pub subject: Option<String>,
    /// Under which condition.
    pub condition: Option<String>,
    /// Its devices; the one on USB where this is none.
    pub source: Option<Source>,
    /// What is laid over the rig file, `KEY=VALUE` each.
    pub sets: Vec<String>,
    /// Its profile, where it is not that of the rig file.
    pub profile: Option<String>,
    /// How long it is.
    pub length: Option<Length>,
    /// Seconds that are counted before it.
    pub countdown: Duration,
    /// What is heard meanwhile.
    pub sound: Sound,
    /// How long it is waited before every try but the session's first.
    pub pause: Duration,
    /// How often it is done again where it fails or has losses.
    pub retakes: u32,
    /// How much longer than its length it may take before it is given up.
    pub overtime: Duration,
    /// Whether the session ends with it where it fails.
    pub stop_on_fail: bool,
    /// The command before it.
    pub before: Option<String>,
    /// The command behind it.
    pub after: Option<String>,
    /// How long either may run.
    pub hook_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            subject: None,
            condition: None,
            source: None,
            sets: Vec::new(),
            profile: None,
            length: None,
            countdown: Duration::ZERO,
            sound: Sound::None,
            pause: Duration::ZERO,
            retakes: 0,
            overtime: Duration::from_secs(900),
            stop_on_fail: false,
            before: None,
            after: None,
            hook_limit: Duration::from_secs(60),
        }
    }
}

/// Takes a value into the settings.
pub type Key = fn(&mut Settings, &Value) -> Told;

/// Every key of takes.
pub const KEYS: [(&str, Key); 18] = [
    ("name", |s, v| put(&mut s.name, Template::read(v).map(Some))),
    ("subject", |s, v| put(&mut s.subject, word(v))),
    ("condition", |s, v| put(&mut s.condition, word(v))),
    ("rig", |s, v| put(&mut s.source, path(v).map(|path| path.map(Source::Rig)))),
    ("emulated", |s, v| put(&mut s.source, emulated(v).map(Some))),
    ("set", |s, v| sets(v).map(|sets| s.sets.extend(sets))),
    ("profile", |s, v| put(&mut s.profile, profile(v))),
    ("length", |s, v| put(&mut s.length, length(v).map(Some))),
    ("frames", |s, v| put(&mut s.length, within(v, 1..=FRAMES_MAX).map(Length::Frames).map(Some))),
    ("countdown", |s, v| put(&mut s.countdown, up_to(v, 3600.0, "an hour"))),
    ("sound", |s, v| put(&mut s.sound, sound(v))),
    ("pause", |s, v| put(&mut s.pause, up_to(v, 7.0 * DAY_S, "a week"))),
    ("retakes", |s, v| put(&mut s.retakes, within(v, 0..=1000))),
    ("overtime", |s, v| put(&mut s.overtime, limit(v))),
    ("on_fail", |s, v| put(&mut s.stop_on_fail, on_fail(v))),
    ("before", |s, v| put(&mut s.before, command(v).map(Some))),
    ("after", |s, v| put(&mut s.after, command(v).map(Some))),
    ("hook_limit", |s, v| put(&mut s.hook_limit, limit(v))),
];

/// Keys that say the same in two ways: one of them is enough.
pub const EITHER: [(&str, &str); 2] = [("rig", "emulated"), ("length", "frames")];

const DAY_S: f64 = 86_400.0;

/// More than a year at 30 fps.
const FRAMES_MAX: i64 = 1_000_000_000;

/// What becomes a part of a name.
fn word(value: &Value) -> Taken<Option<String>> {
    let text = printable(value)?;
    match text.contains('/') || text.starts_with(['.', '-']) {
        true => Err("takes a text without /, that begins with none of . and -: it becomes a part \
                     of the take's name"
            .to_owned()),
        false => Ok(Some(text)),
    }
}

fn emulated(value: &Value) -> Taken<Source> {
    check("emulator.devices", value)?;
    within(value, 1..=i64::from(u32::MAX)).map(Source::Emulated)
}

fn profile(value: &Value) -> Taken<Option<String>> {
    check("profile", value)?;
    text(value).map(|text| Some(text.to_owned()))
}

fn length(value: &Value) -> Taken<Length> {
    let time = time(value, 0.0..=7.0 * DAY_S).filter(|time| !time.is_zero());
    let why = "takes a time up to a week: seconds, or \"10s\", \"2m\", \"1h\"";
    time.map(Length::Time).ok_or_else(|| why.to_owned())
}

fn up_to(value: &Value, seconds: f64, words: &str) -> Taken<Duration> {
    let why = || format!("takes a time up to {words}: seconds, or \"10s\", \"2m\"");
    time(value, 0.0..=seconds).ok_or_else(why)
}

/// What nothing can be done within is a slip.
fn limit(value: &Value) -> Taken<Duration> {
    match up_to(value, DAY_S, "a day")? {
        Duration::ZERO => Err("takes a time of more than 0 and up to a day".to_owned()),
        limit => Ok(limit),
    }
}

fn sound(value: &Value) -> Taken<Sound> {
    match (yes_or_no(value), command(value)) {
        (Ok(true), _) => Ok(Sound::Bell),
        (Ok(false), _) => Ok(Sound::None),
        (_, Ok(command)) => Ok(Sound::Command(command)),
        _ => Err("takes true for the terminal's bell, false, or a command that plays".to_owned()),
    }
}

fn on_fail(value: &Value) -> Taken<bool> {
    match value.as_str() {
        Some("stop") => Ok(true),
        Some("go on") => Ok(false),
        _ => Err("takes \"go on\" or \"stop\"".to_owned()),
    }
}

/// A command for the shell.
pub fn command(value: &Value) -> Taken<String> {
    match text(value)? {
        empty if empty.trim().is_empty() || empty.contains('\0') => {
            Err("takes a command for the shell".to_owned())
        }
        command => Ok(command.to_owned()),
    }
}

/// What `--set` of `genlock record` takes. What is of one device is checked with the rig.
fn sets(value: &Value) -> Taken<Vec<String>> {
    let all = value.as_array().map(|all| all.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let all = all.flatten().ok_or_else(|| {
        "takes a list of texts, as in [\"rate=15\", \"front.gain=10\"]".to_owned()
    })?;
    let known = keys();
    for text in &all {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("{text:?} is not KEY=VALUE or SERIAL.KEY=VALUE, as in gain=10"));
        };
        let key = key.trim();
        if !key.contains('.') || known.iter().any(|known| known == key) {
            check(key, &value_of(value.trim())).map_err(|why| format!("{text}: {why}"))?;
        }
    }
    Ok(all.into_iter().map(ToOwned::to_owned).collect())
}
