//! What a check before a take finds.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that was looked at, what it came to, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether a take can begin all the same.
    pub severity: Severity,
    /// Serials, or what else it is about: `rig`, `firmware`, `modes`, `lasers`, `USB`, `depth
    /// engine`, `disk`, `host`.
    pub about: String,
    /// What was found, and why it matters.
    pub what: String,
    /// What to do; nothing where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A take would fail, or be worthless.
    Error,
    /// A take may suffer.
    Warning,
    /// As it should be.
    Good,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Good => "good",
        })
    }
}

impl Finding {
    /// A take would fail, or be worthless.
    pub fn error(
        about: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let fix = Some(fix.into());
        Self { severity: Severity::Error, about: about.into(), what: what.into(), fix }
    }

    /// A take may suffer.
    pub fn warning(
        about: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(about, what, fix) }
    }

    /// As it should be.
    pub fn good(about: impl Into<String>, what: impl Into<String>) -> Self {
        let (about, what) = (about.into(), what.into());
        Self { severity: Severity::Good, about, what, fix: None }
    }

    /// An error as a finding. Its text says what, and behind a semicolon (of configurations: behind
    /// the last colon) what to do.
    #[must_use]
    pub fn of_error(about: &str, error: &Error) -> Self {
        let text = error.to_string();
        let text = text.strip_prefix(&format!("{about}: ")).unwrap_or(&text);
        match text.split_once("; ").or_else(|| text.rsplit_once(": ")) {
            Some((what, fix)) => Self::error(about, what, fix),
            None => Self::error(about, text, "see `genlock list` for what is there"),
        }
    }
}

/// In one line, without the severity.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.what)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_apart_into_what_and_fix() {
        let of = |text: &str| {
            let finding = Finding::of_error("0001", &Error::Device(text.to_owned()));
            (finding.what, finding.fix.expect("an error has a fix"))
        };
        let words = |what: &str, fix: &str| (what.to_owned(), fix.to_owned());
        assert_eq!(of("0001: gone; plug it in"), words("gone", "plug it in"));
        assert_eq!(of("no engine x: not there; a; b"), words("no engine x: not there", "a; b"));
        assert_eq!(of("both are off: choose one"), words("both are off", "choose one"));
        assert_eq!(of("gone").0, "gone");
    }

    #[test]
    fn it_reads_as_one_line() {
        let finding = Finding::warning("0001", "slow", "use another");
        assert_eq!(finding.to_string(), "0001: slow; use another");
        assert_eq!(Finding::good("rig", "one master").to_string(), "rig: one master");
        assert!(Severity::Error < Severity::Warning && Severity::Warning < Severity::Good);
    }
}
