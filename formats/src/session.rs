//! `session.toml`: what became of the takes of a session. Written anew before and after each of
//! them, so that a session that was cut off goes on where it was. docs/batch.md describes it.

use crate::take::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of `session.toml` that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Version of this file's form.
    pub format: u32,
    /// Version of genlock that wrote it.
    pub genlock: String,
    /// The day that the session began on, by the host's calendar: that of the names of its takes.
    pub date: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// When it ended; absent of one that is at work, or was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Its takes, in the order of the plan; behind them those that the plan has no longer.
    #[serde(default, rename = "take")]
    pub takes: Vec<Take>,
}

/// A take of the plan, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// Its name, which is that of its folder as long as nothing is in the way.
    pub name: String,
    /// Whom or what it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Under which condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Its number among those of the same subject and condition, from 1.
    pub number: u32,
    /// What it is recorded with: options of `genlock record`, paths as the plan has them.
    pub options: Vec<String>,
    /// How it stands: by its best try.
    pub standing: Standing,
    /// The folder of that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Whether the plan has it no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// Every time that it was tried.
    #[serde(default, rename = "try", skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
}

/// How a take, or a try of it, stands. The better is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Not tried yet.
    Pending,
    /// At work, or cut off with the whole session.
    Recording,
    /// Stopped or cut off before its time.
    Interrupted,
    /// It could not be recorded, or not to its end.
    Failed,
    /// Recorded; some frames are missing, or the rig was out of step.
    Losses,
    /// Recorded, every frame of it.
    Whole,
}

impl Standing {
    /// Whether the take need not be recorded again.
    #[must_use]
    pub fn is_done(self) -> bool {
        self >= Self::Losses
    }
}

impl From<Outcome> for Standing {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Whole => Self::Whole,
            Outcome::Losses => Self::Losses,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Recording => "recording",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Losses => "losses",
            Self::Whole => "whole",
        })
    }
}

/// One time that a take was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Its folder, within that of the session; absent when nothing is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// How it ended.
    pub standing: Standing,
    /// Why it is not whole, where somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What else went wrong: a hook behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The exit code of `genlock record`; absent when a signal ended it, or nobody was there to see
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Whether the rig was in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Triggers recorded.
    pub triggers: u64,
    /// Triggers without a frame, over all tracks and devices.
    pub losses: u64,
    /// Bytes of the recordings.
    pub bytes: u64,
}

impl Take {
    /// The try that stands for the take: the best, of equal ones that with the fewest losses, and
    /// of these the last.
    #[must_use]
    pub fn best(&self) -> Option<&Try> {
        let rank = |tried: &&Try| (tried.standing, std::cmp::Reverse(tried.losses));
        self.tries.iter().max_by_key(rank)
    }

    /// Lets the take stand as its best try does.
    pub fn conclude(&mut self) {
        let best = self.best().map(|best| (best.standing, best.folder.clone()));
        (self.standing, self.folder) = best.unwrap_or((Standing::Pending, None));
    }
}

impl Session {
    /// The takes that the plan has.
    pub fn planned(&self) -> impl Iterator<Item = &Take> {
        self.takes.iter().filter(|take| !take.dropped)
    }

    /// The session as text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Only maps with keys that are not strings cannot be written, and there are none.
        toml::to_string(self).unwrap_or_default()
    }

    /// A session from its text.
    ///
    /// # Errors
    /// What is wrong with it, with line and column.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        /// Known before all else: a newer form may have lost any other key.
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let Form { format } = toml::from_str(text).map_err(|cause| at_line(text, &cause))?;
        if format > FORMAT {
            return Err(format!(
                "format {format} is newer than {FORMAT}, the newest that this genlock reads"
            ));
        }
        let session: Self = toml::from_str(text).map_err(|cause| at_line(text, &cause))?;
        let of_take = |take: &Take| {
            let tries = take.tries.iter().map(|tried| tried.folder.clone());
            tries.chain([take.folder.clone()]).flatten().collect::<Vec<_>>()
        };
        match session.takes.iter().flat_map(of_take).find(|folder| !is_plain(folder)) {
            Some(folder) => Err(format!("folder {folder:?} is none within that of the session")),
            None => Ok(session),
        }
    }
}

/// Whether it is the name of a folder, and no way out of the one that it is in.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// What is wrong with a text, in one line.
fn at_line(text: &str, cause: &toml::de::Error) -> String {
    let at = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", at.matches('\n').count() + 1, cause.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(standing: Standing, losses: u64) -> Try {
        Try {
            folder: Some(format!("take_{losses}")),
            standing,
            reason: Some("why".to_owned()),
            warning: None,
            exit_code: Some(3),
            started: "2026-11-24T14:00:00Z".to_owned(),
            ended: Some("2026-11-24T14:00:10Z".to_owned()),
            verdict: Some(Verdict::Pass),
            triggers: 300,
            losses,
            bytes: 1 << 33,
        }
    }

    fn session() -> Session {
        let mut take = Take {
            name: "take".to_owned(),
            subject: Some("p01".to_owned()),
            condition: None,
            number: 1,
            options: vec!["--frames".to_owned(), "300".to_owned()],
            standing: Standing::Pending,
            folder: None,
            dropped: true,
            tries: [(Standing::Losses, 9), (Standing::Losses, 2), (Standing::Failed, 0)]
                .map(|(standing, losses)| tried(standing, losses))
                .into(),
        };
        take.conclude();
        Session {
            format: FORMAT,
            genlock: "0.1.0".to_owned(),
            date: "2026-11-24".to_owned(),
            started: "2026-11-24T14:00:00Z".to_owned(),
            ended: None,
            takes: vec![take],
        }
    }

    #[test]
    fn a_session_reads_as_it_was_written() {
        let text = session().to_toml();
        assert_eq!(Session::from_toml(&text), Ok(session()), "{text}");
    }

    #[test]
    fn a_take_stands_as_its_best_try() {
        let take = &session().takes[0];
        assert_eq!((take.standing, take.folder.as_deref()), (Standing::Losses, Some("take_2")));
        assert!(take.standing.is_done() && !Standing::Failed.is_done());
    }

    #[test]
    fn a_newer_form_is_refused_whatever_else_is_in_it() {
        let refusal = Session::from_toml("format = 2\n").expect_err("too new");
        assert!(refusal.contains("newer"), "{refusal}");
        let wrong = session().to_toml().replace("format = 1", "format = \"one\"");
        assert!(Session::from_toml(&wrong).expect_err("not a number").contains("line 1: "));
    }

    #[test]
    fn a_folder_beyond_that_of_the_session_is_refused() {
        for folder in ["../take_2", "/take_2", "..", ""] {
            let text = session().to_toml().replace("\"take_2\"", &format!("{folder:?}"));
            let refusal = Session::from_toml(&text).expect_err(folder);
            assert!(refusal.contains(&format!("{folder:?}")), "{refusal}");
        }
    }
}
