//! A setting before it is obeyed: a key, its value, and where it was written.

use super::keys;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use toml::Value;

/// Where a setting was written, so that a complaint about it can say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// In a rig file: path, line and column, as editors take them.
    File(String),
    /// With a flag of its own.
    Flag(&'static str),
    /// With `--set`, and the text behind it.
    Set(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => f.write_str(place),
            Self::Flag(flag) => f.write_str(flag),
            Self::Set(text) => write!(f, "--set {text}"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub value: Value,
    pub origin: Origin,
}

/// Settings by key; the faults of an emulated device are `faults.KEY`. One layer laid over another
/// hides what has the same key.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Layer(BTreeMap<String, Given>);

impl Layer {
    /// Puts a setting in, checked: what is wrong is told even where a higher layer would hide it.
    pub fn put(&mut self, key: &str, given: Given) -> Result<()> {
        keys::check(key, &given.value).map_err(|why| {
            let (origin, value) = (&given.origin, &given.value);
            Error::Usage(match origin {
                Origin::File(place) => format!("{place}: {key} = {value}: {why}"),
                Origin::Flag(flag) => format!("{flag} {value}: {why}"),
                Origin::Set(text) => format!("--set {text}: {why}"),
            })
        })?;
        self.0.insert(key.to_owned(), given);
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<&Given> {
        self.0.get(key)
    }

    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Given)> {
        self.0.iter().map(|(key, given)| (key.as_str(), given))
    }

    /// This layer with another over it.
    #[must_use]
    pub fn under(&self, over: &Self) -> Self {
        let mut both = self.0.clone();
        both.extend(over.0.clone());
        Self(both)
    }

    /// That `text` is wrong with the setting of `key`; `otherwise` is named where it is a default.
    pub fn complaint(&self, key: &str, otherwise: Option<&Origin>, text: &str) -> Error {
        Error::Usage(match self.get(key).map(|given| &given.origin).or(otherwise) {
            // The text names the flag.
            Some(Origin::Flag(_)) | None => text.to_owned(),
            Some(origin) => format!("{origin}: {text}"),
        })
    }
}

/// A setting made with a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// The flag, as it is typed.
    pub flag: &'static str,
    /// The key that it sets.
    pub key: &'static str,
    /// The value.
    pub value: Value,
}

/// The value that a text of the command line stands for: what TOML reads, else the text itself.
#[must_use]
pub fn value_of(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::String(text.to_owned()))
}
