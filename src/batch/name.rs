//! The names of takes, made from a template.

use crate::config::values::{Taken, text};
use toml::Value;

/// What a take is of: what its name can be made from, and what tells it from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Of {
    /// Whom or what it shows.
    pub subject: Option<String>,
    /// Under which condition.
    pub condition: Option<String>,
    /// Its number among those of the same subject and condition, from 1.
    pub number: u32,
}

/// How names are made: text, and places for the date and what a take is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Date,
    Subject,
    Condition,
    /// With so many digits, or more where it needs them.
    Number(usize),
}

/// Digits of a number whose width the template does not say.
const DIGITS: usize = 3;

impl Template {
    /// Reads a template, such as `{date}_{subject}_{number:04}`.
    ///
    /// # Errors
    /// What it takes.
    pub fn read(value: &Value) -> Taken<Self> {
        let (mut rest, mut pieces) = (text(value)?, Vec::new());
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            let inner = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let (inner, after) = inner.ok_or_else(|| {
                "takes a { and a } around each part, as in {date}_{number:03}".to_owned()
            })?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::read(inner)?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The template of a plan that has none: all there is to say of the take.
    fn usual(of: &Of) -> Self {
        let mut pieces = vec![Piece::Date];
        let mut add = |piece| pieces.extend([Piece::Text("_".to_owned()), piece]);
        if of.subject.is_some() {
            add(Piece::Subject);
        }
        if of.condition.is_some() {
            add(Piece::Condition);
        }
        add(Piece::Number(DIGITS));
        Self(pieces)
    }

    fn fill(&self, date: &str, of: &Of) -> Taken<String> {
        let given = |what: &Option<String>, key: &str| {
            let missing = || format!("the name has {{{key}}}, and the take has none: add {key}");
            what.clone().ok_or_else(missing)
        };
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Ok(text.clone()),
                Piece::Date => Ok(date.to_owned()),
                Piece::Subject => given(&of.subject, "subject"),
                Piece::Condition => given(&of.condition, "condition"),
                Piece::Number(digits) => Ok(format!("{:0digits$}", of.number)),
            })
            .collect()
    }
}

impl Piece {
    fn read(text: &str) -> Taken<Self> {
        let (what, width) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let digits =
            width.map(|width| width.parse().ok().filter(|digits| (1..=9).contains(digits)));
        match (what, digits) {
            ("date", None) => Ok(Self::Date),
            ("subject", None) => Ok(Self::Subject),
            ("condition", None) => Ok(Self::Condition),
            ("number", None) => Ok(Self::Number(DIGITS)),
            ("number", Some(Some(digits))) => Ok(Self::Number(digits)),
            _ => Err(format!(
                "unknown part {{{text}}}: there are {{date}}, {{subject}}, {{condition}}, \
                 {{number}}, and with a width {{number:04}}"
            )),
        }
    }
}

/// The name of a take: that of a folder in the session's folder, and of nothing else.
///
/// # Errors
/// Why it cannot be one.
pub fn name(template: Option<&Template>, date: &str, of: &Of) -> Taken<String> {
    /// What a file system takes, less room for `_retake` and `.repaired` behind it.
    const BYTES_MAX: usize = 200;
    let name = match template {
        Some(template) => template.fill(date, of)?,
        None => Template::usual(of).fill(date, of)?,
    };
    let refuse = |why: &str| Err(format!("the take would be called {name:?}: {why}"));
    if name.contains('/') || name.chars().any(char::is_control) {
        return refuse("a name is that of one folder, without / and control characters");
    }
    if name.is_empty() {
        return refuse("a name cannot be empty");
    }
    if name.starts_with(['.', '-', ' ']) || name.ends_with(' ') {
        return refuse("a name begins with none of . and -, and has no blanks around it");
    }
    if name.len() > BYTES_MAX {
        return refuse("a name has at most 200 bytes");
    }
    if name.ends_with(".mkv") || name.starts_with("session.") {
        return refuse("names that end in .mkv or begin with session. are those of files");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: Option<&str>, condition: Option<&str>, number: u32) -> Of {
        let text = |text: Option<&str>| text.map(ToOwned::to_owned);
        Of { subject: text(subject), condition: text(condition), number }
    }

    fn named(template: &str, of: &Of) -> Taken<String> {
        name(Some(&Template::read(&Value::from(template))?), "2026-11-26", of)
    }

    #[test]
    fn names_say_what_a_take_is_of() {
        let walk = of(Some("p01"), Some("walk"), 7);
        let full = "{date}_{subject}_{condition}_{number:04}";
        assert_eq!(named(full, &walk), Ok("2026-11-26_p01_walk_0007".into()));
        assert_eq!(named("x{number:2}", &of(None, None, 123)), Ok("x123".into()));
        assert_eq!(name(None, "2026-11-26", &walk), Ok("2026-11-26_p01_walk_007".into()));
        assert_eq!(name(None, "2026-11-26", &of(None, None, 1)), Ok("2026-11-26_001".into()));
    }

    #[test]
    fn names_stay_in_the_folder_of_the_session() {
        let refused = |template: &str, subject: &str, words: &str| {
            let told = named(template, &of(Some(subject), None, 1)).expect_err(template);
            assert!(told.contains(words), "{told:?} lacks {words:?}");
        };
        refused("{subject}", "../up", "one folder");
        refused("a/{subject}", "b", "one folder");
        refused("{subject}", "..", "begins with");
        refused("{subject}", "-rf", "begins with");
        refused("{subject}", "a\u{7}", "control");
        refused("{subject}", &"a".repeat(201), "200 bytes");
        refused("session.{subject}", "toml", "session.");
        refused("{subject}", "a.mkv", ".mkv");
        refused("{condition}", "a", "add condition");
        refused("{subjct}", "a", "unknown part {subjct}");
        refused("{number:0}", "a", "unknown part");
        refused("{subject", "a", "{ and a }");
        refused("subject}", "a", "{ and a }");
        refused("", "a", "cannot be empty");
    }
}
