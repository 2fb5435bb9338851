//! What the values of keys are made of, in rig files and in the plans of sessions: each reader
//! gives a value, or says what it takes.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// Why a value was not taken: what would be.
pub type Told = Result<(), String>;
/// The same, of a value.
pub type Taken<T> = Result<T, String>;

/// Puts a value where it belongs.
pub fn put<T>(place: &mut T, taken: Taken<T>) -> Told {
    *place = taken?;
    Ok(())
}

/// A whole number within a range.
pub fn within<T: TryFrom<i64>>(value: &Value, range: RangeInclusive<i64>) -> Taken<T> {
    let number = value.as_integer().filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("takes a whole number from {} to {}", range.start(), range.end()))
}

/// A yes or no.
pub fn yes_or_no(value: &Value) -> Taken<bool> {
    value.as_bool().ok_or_else(|| "takes true or false".to_owned())
}

/// A text.
pub fn text(value: &Value) -> Taken<&str> {
    value.as_str().ok_or_else(|| "takes a text in quotes".to_owned())
}

/// What can be printed on one line, and told from its surroundings.
pub fn printable(value: &Value) -> Taken<String> {
    let text = text(value)?;
    let blank = text.trim().len() != text.len() || text.is_empty();
    match blank || text.chars().any(char::is_control) {
        true => Err("takes a text that can be printed, without blanks around it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A path, of which nothing is checked.
pub fn path(value: &Value) -> Taken<Option<PathBuf>> {
    match text(value)? {
        "" => Err("takes a path".to_owned()),
        path => Ok(Some(path.into())),
    }
}

/// A time within a range of seconds, beyond which somebody means something else.
pub fn time(value: &Value, range: RangeInclusive<f64>) -> Option<Duration> {
    let given = match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) if text.trim_start_matches('0') == "s" => Some(0.0),
        Value::String(text) => seconds(text).ok(),
        _ => None,
    };
    given.filter(|given| range.contains(given)).map(Duration::from_secs_f64)
}

/// Reads a time: seconds, or 10s, 2m, 1h.
///
/// # Errors
/// What a time is.
pub fn seconds(text: &str) -> Result<f64, String> {
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

/// That there is no such key, and which comes nearest.
pub fn unknown<S: AsRef<str>>(key: &str, known: &[S]) -> String {
    // Below this, names have little in common but their alphabet.
    const ALIKE: f64 = 0.75;
    let known = known.iter().map(AsRef::as_ref);
    let likeness = |name: &&str| strsim::jaro_winkler(key, name);
    let nearest = known.clone().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|name| likeness(name) > ALIKE) {
        Some(nearest) => format!("unknown key {key}: did you mean {nearest}?"),
        None => format!("unknown key {key}: there are {}", known.collect::<Vec<_>>().join(", ")),
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
}
