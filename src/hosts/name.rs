//! Names that cross the network. They become parts of paths and of keys: whatever else arrives as
//! a name is none.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Letters of a name at most.
const LETTERS_MAX: usize = 64;

/// The name of a host in its rig: lower-case letters, digits and `-`, and no `-` first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// What a take is called on the hosts that record it: as a host's name, but of any letters of ASCII
/// and `_`. Its folder there has this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TakeId(String);

fn is_name(text: &str, is_letter: fn(char) -> bool) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && text.len() <= LETTERS_MAX && text.chars().all(is_letter)
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match is_name(&text, is_letter) {
            true => Ok(Self(text)),
            false => Err(format!(
                "{text:?} is no host's name: use up to {LETTERS_MAX} lower-case letters, digits \
                 and -"
            )),
        }
    }
}

impl TryFrom<String> for TakeId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match is_name(&text, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} is no name of a take")),
        }
    }
}

impl TakeId {
    /// A name for a take that goes to the folder `called`, begun at `now`; `salt` tells those of
    /// one second apart.
    #[must_use]
    pub fn new(called: &str, now: jiff::Timestamp, salt: u16) -> Self {
        let is_letter = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let label: String = called.chars().filter(is_letter).take(LETTERS_MAX / 2).collect();
        let label = label.trim_start_matches(['-', '_']);
        let label = if label.is_empty() { "take" } else { label };
        Self(format!("{label}-{}-{salt:04x}", now.strftime("%Y%m%dT%H%M%SZ")))
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl From<TakeId> for String {
    fn from(name: TakeId) -> Self {
        name.0
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TakeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        for text in ["", ".", "..", "a/b", "/a", "a\0", "a.b", "-a", "é", &"a".repeat(65)] {
            assert!(HostName::try_from(text.to_owned()).is_err(), "{text:?}");
            assert!(TakeId::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(HostName::try_from("Studio".to_owned()).is_err());
        assert!(HostName::try_from("studio-2".to_owned()).is_ok());
        let from_json = serde_json::from_str::<TakeId>("\"../../etc\"");
        assert!(from_json.is_err());
    }

    #[test]
    fn a_take_is_called_as_its_folder_and_by_its_time() {
        let now = jiff::Timestamp::from_second(1_795_694_400).expect("a time");
        let named = |called: &str| TakeId::new(called, now, 7).to_string();
        assert_eq!(named("0001"), "0001-20261126T120000Z-0007");
        assert_eq!(named("_ä/.."), "take-20261126T120000Z-0007");
        for called in ["0001", "_ä/..", &"x".repeat(500)] {
            let named = named(called);
            assert!(TakeId::try_from(named.clone()).is_ok(), "{named}");
        }
    }
}
