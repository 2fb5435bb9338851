//! The keys of a rig: what each one takes, and what it sets.

use super::values::{Taken, Told, path, printable, put, text, time, unknown, within, yes_or_no};
use super::{EMULATED_MAX, ENCODERS_MAX, Keeping, Named, Opening, Setting, Shed, Storing};
use genlock_emulator::Faults;
use genlock_formats::depth::Level;
use genlock_formats::k4a::{ColorMode, DepthMode, ParseModeError, Rate, Role, TrackName};
use genlock_formats::take::Profile;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use toml::{Table, Value};

/// What is set for the rig, not for a device of it.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub opening: Opening,
    pub keeping: Keeping,
    pub storing: Storing,
    pub depth_engine: Option<PathBuf>,
    pub certs: Option<PathBuf>,
    /// How many emulated devices there are.
    pub devices: Option<usize>,
    pub seed: u64,
    pub from: Option<PathBuf>,
}

/// Where the value of a key goes.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Whole(fn(&mut Whole, &Value) -> Told),
    Device(fn(&mut Named, &Value) -> Told),
}

use Key::{Device, Whole as OfRig};

/// Every key but those of faults: a key that is not here is unknown.
const KEYS: [(&str, Key); 33] = [
    ("name", Device(|d, v| put(&mut d.name, printable(v).map(Some)))),
    ("host", Device(|d, v| put(&mut d.host, printable(v).map(Some)))),
    ("role", Device(|d, v| put(&mut d.config.role, word::<Role>(v)))),
    ("rate", Device(|d, v| put(&mut d.config.rate, rate(v)))),
    ("color_mode", Device(|d, v| put(&mut d.config.color, mode::<ColorMode>(v)))),
    ("depth_mode", Device(|d, v| put(&mut d.config.depth, mode::<DepthMode>(v)))),
    ("imu", Device(|d, v| put(&mut d.config.imu, yes_or_no(v)))),
    ("depth_delay_us", Device(|d, v| put(&mut d.config.depth_delay_us, within(v, -DELAY..=DELAY)))),
    (
        "delay_off_master_us",
        Device(|d, v| put(&mut d.config.subordinate_delay_us, within(v, 0..=DELAY))),
    ),
    ("exposure", Device(|d, v| put(&mut d.config.controls.exposure, setting(v, 1..=200_000, 1)))),
    (
        "white_balance",
        Device(|d, v| put(&mut d.config.controls.white_balance, setting(v, 2500..=12_500, 10))),
    ),
    ("brightness", Device(|d, v| put(&mut d.config.controls.brightness, some(v, 0..=255)))),
    ("contrast", Device(|d, v| put(&mut d.config.controls.contrast, some(v, 0..=10)))),
    ("saturation", Device(|d, v| put(&mut d.config.controls.saturation, some(v, 0..=63)))),
    ("sharpness", Device(|d, v| put(&mut d.config.controls.sharpness, some(v, 0..=4)))),
    (
        "backlight_compensation",
        Device(|d, v| put(&mut d.config.controls.backlight_compensation, some(v, 0..=1))),
    ),
    ("gain", Device(|d, v| put(&mut d.config.controls.gain, gain(v)))),
    ("powerline_hz", Device(|d, v| put(&mut d.config.controls.powerline_frequency, powerline(v)))),
    ("warm_up", OfRig(|r, v| put(&mut r.opening.warm_up, warm_up(v)))),
    ("lock_exposure", OfRig(|r, v| put(&mut r.opening.lock_exposure, yes_or_no(v)))),
    ("lock_white_balance", OfRig(|r, v| put(&mut r.opening.lock_white_balance, yes_or_no(v)))),
    ("copy_master", OfRig(|r, v| put(&mut r.opening.copy_master, yes_or_no(v)))),
    ("sync_every", OfRig(|r, v| put(&mut r.keeping.sync_every, sync_every(v)))),
    ("rejoin_for", OfRig(|r, v| put(&mut r.keeping.rejoin_for, rejoin_for(v)))),
    ("shed", OfRig(|r, v| put(&mut r.keeping.shed, shed(v)))),
    ("profile", OfRig(|r, v| put(&mut r.storing.profile, profile(v)))),
    ("level", OfRig(|r, v| put(&mut r.storing.level, level(v)))),
    ("encoders", OfRig(|r, v| put(&mut r.storing.encoders, within(v, 1..=ENCODERS_MAX as i64)))),
    ("certs", OfRig(|r, v| put(&mut r.certs, path(v)))),
    ("depth_engine", OfRig(|r, v| put(&mut r.depth_engine, path(v)))),
    (
        "emulator.devices",
        OfRig(|r, v| put(&mut r.devices, within(v, 1..=EMULATED_MAX as i64).map(Some))),
    ),
    ("emulator.seed", OfRig(|r, v| put(&mut r.seed, within(v, 0..=i64::MAX)))),
    ("emulator.from", OfRig(|r, v| put(&mut r.from, path(v)))),
];

/// The color controls: none of them means anything to a device without color.
pub(super) const CONTROLS: [&str; 9] = [
    "exposure",
    "white_balance",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "backlight_compensation",
    "gain",
    "powerline_hz",
];

/// Microseconds of the longest frame period, that of 5 frames per second.
const DELAY: i64 = 200_000;

pub(super) fn find(key: &str) -> Option<Key> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, key)| *key)
}

/// Every key of a rig, those of faults as `faults.KEY`.
#[must_use]
pub fn all() -> Vec<String> {
    let plain = KEYS.iter().map(|(name, _)| (*name).to_owned());
    plain.chain(fault_names().iter().map(|name| format!("faults.{name}"))).collect()
}

/// Whether there is such a key, and it takes the value.
///
/// # Errors
/// What it would take.
pub fn check(key: &str, value: &Value) -> Result<(), String> {
    if let Some(name) = key.strip_prefix("faults.") {
        return fault(name, value);
    }
    match find(key) {
        Some(OfRig(set)) => set(&mut Whole::default(), value),
        Some(Device(set)) => set(&mut Named::default(), value),
        None => Err(unknown(key, &all())),
    }
}

fn some(value: &Value, range: RangeInclusive<i64>) -> Taken<Option<i32>> {
    within(value, range).map(Some)
}

fn is_auto(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("auto"))
}

fn setting(value: &Value, range: RangeInclusive<i64>, step: i32) -> Taken<Option<Setting>> {
    if is_auto(value) {
        return Ok(Some(Setting::Auto));
    }
    match within::<i32>(value, range) {
        Ok(number) if number % step == 0 => Ok(Some(Setting::Manual(number))),
        Ok(_) => Err(format!("takes steps of {step}")),
        Err(why) => Err(format!("{why}, or auto")),
    }
}

/// The device has no automatic gain of its own: auto leaves it to the exposure's.
fn gain(value: &Value) -> Taken<Option<i32>> {
    if is_auto(value) {
        return Ok(None);
    }
    some(value, 0..=255).map_err(|why| format!("{why}, or auto"))
}

fn powerline(value: &Value) -> Taken<Option<i32>> {
    match value.as_integer() {
        Some(50) => Ok(Some(1)),
        Some(60) => Ok(Some(2)),
        _ => Err("takes 50 or 60".to_owned()),
    }
}

fn rate(value: &Value) -> Taken<Rate> {
    let number = value.as_integer();
    let rate = Rate::ALL.into_iter().find(|rate| Some(i64::from(rate.fps())) == number);
    rate.ok_or_else(|| "takes 30, 15 or 5".to_owned())
}

fn word<T: FromStr<Err = ParseModeError>>(value: &Value) -> Taken<T> {
    text(value)?.parse().map_err(|cause: ParseModeError| cause.to_string().to_lowercase())
}

fn mode<T: FromStr<Err = ParseModeError>>(value: &Value) -> Taken<Option<T>> {
    match text(value)? {
        off if off.eq_ignore_ascii_case("off") => Ok(None),
        name => name.parse().map(Some).map_err(|cause| format!("{cause}, OFF")),
    }
}

fn warm_up(value: &Value) -> Taken<Duration> {
    let why = "takes a time up to 10 minutes: seconds, or \"2s\", \"1m\"";
    time(value, 0.0..=600.0).ok_or_else(|| why.to_owned())
}

fn sync_every(value: &Value) -> Taken<Duration> {
    let why = "takes a time from 0.1 s to 1 minute: seconds, or \"0.5s\"";
    time(value, 0.1..=60.0).ok_or_else(|| why.to_owned())
}

fn rejoin_for(value: &Value) -> Taken<Duration> {
    let why = "takes a time up to a day, 0 for not at all: seconds, or \"10s\", \"5m\", \"1h\"";
    time(value, 0.0..=86_400.0).ok_or_else(|| why.to_owned())
}

fn shed(value: &Value) -> Taken<Vec<Shed>> {
    let word = |value: &Value| match value.as_str()? {
        "trigger" => Some(Shed::Trigger),
        name => TrackName::ALL
            .into_iter()
            .find(|track| track.to_string().eq_ignore_ascii_case(name))
            .map(Shed::Track),
    };
    let words = value.as_array().map(|words| words.iter().map(word).collect::<Option<Vec<_>>>());
    let words = words.flatten().filter(|words| {
        // Nothing comes after whole triggers, and nothing is left out twice.
        let last = words.iter().position(|word| *word == Shed::Trigger);
        let once = |(i, word): (usize, &Shed)| !words[..i].contains(word);
        last.is_none_or(|at| at + 1 == words.len()) && words.iter().enumerate().all(once)
    });
    words.ok_or_else(|| {
        "takes a list of color, depth, ir and imu, each at most once, and trigger as the last, as \
         in [\"ir\", \"trigger\"]"
            .to_owned()
    })
}

fn profile(value: &Value) -> Taken<Profile> {
    match value.as_str() {
        Some("k4a") => Ok(Profile::K4a),
        Some("compact") => Ok(Profile::Compact),
        _ => Err("takes \"k4a\" or \"compact\"".to_owned()),
    }
}

fn level(value: &Value) -> Taken<Level> {
    match value.as_str() {
        Some("fast") => Ok(Level::Fast),
        Some("default") => Ok(Level::Default),
        _ => Err("takes \"fast\" or \"default\"".to_owned()),
    }
}

fn fault(name: &str, value: &Value) -> Told {
    /// Far beyond any device, and far from what integers of 64 bits hold in nanoseconds.
    const MOST: f64 = 1e9;
    const MOST_PPM: f64 = 100_000.0;
    if !fault_names().contains(&name) {
        return Err(unknown(name, fault_names()));
    }
    faults(Table::from_iter([(name.to_owned(), value.clone())]))?;
    let (least, most) = match name {
        "seed" => return Ok(()),
        name if name.contains("ppm") => (-MOST_PPM, MOST_PPM),
        _ => (0.0, MOST),
    };
    let number = value.as_float().or(value.as_integer().map(|number| number as f64));
    match number.is_none_or(|number| (least..=most).contains(&number)) {
        true => Ok(()),
        false => Err(format!("takes a number from {least} to {most}")),
    }
}

/// Faults with these keys.
pub(super) fn faults(table: Table) -> Result<Faults, String> {
    table.try_into().map_err(|cause: toml::de::Error| cause.message().to_owned())
}

/// The keys of [`Faults`], asked of its own deserializer: they are the emulator's to name.
pub(super) fn fault_names() -> &'static [&'static str] {
    struct Fields<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("only a struct has fields"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(de::Error::custom("the fields are all that was asked for"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    // It fails by design: see above.
    let _ = Faults::deserialize(Fields(&mut fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_is_a_time_and_may_be_none() {
        assert_eq!(warm_up(&Value::from("2s")), Ok(Duration::from_secs(2)));
        assert_eq!(warm_up(&Value::from("0s")), Ok(Duration::ZERO));
        for wrong in [Value::from(-1), Value::from(f64::NAN), Value::from("11m"), Value::from(true)]
        {
            assert!(warm_up(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_emulator_names_its_faults() {
        assert!(fault_names().contains(&"clock_ppm"), "{:?}", fault_names());
        assert_eq!(check("faults.clock_ppm", &Value::from(388)), Ok(()));
        let told = |name: &str, value: Value| check(&format!("faults.{name}"), &value).err();
        assert_eq!(
            told("clok_ppm", 1.into()),
            Some("unknown key clok_ppm: did you mean clock_ppm?".into())
        );
        for (name, value) in [
            ("clock_ppm", Value::from(f64::NAN)),
            ("clock_ppm", Value::from(1_000_000)),
            ("jitter_us", Value::from(i64::MAX)),
            ("jitter_us", Value::from("often")),
            ("gone_s", Value::from(-1.0)),
        ] {
            assert!(told(name, value.clone()).is_some(), "{name} = {value}");
        }
    }

    #[test]
    fn every_control_is_a_key() {
        assert!(CONTROLS.iter().all(|key| find(key).is_some()));
    }
}
