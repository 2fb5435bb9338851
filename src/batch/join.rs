//! A plan beside what became of it: what is done stays, what is new is added.

use crate::batch::plan::Plan;
use crate::batch::store::SESSION;
use crate::error::{Error, Result};
use crate::record::is_taken;
use genlock_formats::session::{FORMAT, Session, Standing, Take};
use std::path::Path;

/// What is known of a session that goes on with this plan, or begins today.
///
/// # Errors
/// `Usage` when the plan contradicts what was recorded, or a name is taken by something else.
pub fn join(plan: &Plan, before: Option<Session>, now: &jiff::ZonedDateTime) -> Result<Session> {
    let mut session = before.unwrap_or_else(|| Session {
        format: FORMAT,
        genlock: String::new(),
        date: now.strftime("%Y-%m-%d").to_string(),
        started: utc(now.timestamp()),
        ended: None,
        takes: Vec::new(),
    });
    session.genlock = env!("CARGO_PKG_VERSION").to_owned();
    let mut former = std::mem::take(&mut session.takes);
    for (planned, name) in plan.takes.iter().zip(plan.names(&session.date)?) {
        let of = &planned.of;
        let is_same = |take: &Take| {
            let same = take.subject == of.subject && take.condition == of.condition;
            same && take.number == of.number
        };
        let options = planned.options(None).into_iter();
        let fresh = Take {
            name,
            subject: of.subject.clone(),
            condition: of.condition.clone(),
            number: of.number,
            options: options.map(|option| option.to_string_lossy().into_owned()).collect(),
            standing: Standing::Pending,
            folder: None,
            dropped: false,
            tries: Vec::new(),
        };
        let place = former.iter().position(is_same);
        let joined = match place.map(|place| former.remove(place)) {
            Some(old) if old.standing.is_done() => {
                agree(&planned.at, &old, &fresh)?;
                Take { dropped: false, ..old }
            }
            // What is done again is done as the plan has it now.
            Some(Take { standing, folder, tries, .. }) => Take { standing, folder, tries, ..fresh },
            None => fresh,
        };
        session.takes.push(joined);
    }
    let kept = former.into_iter().filter(|take| !take.tries.is_empty());
    session.takes.extend(kept.map(|take| Take { dropped: true, ..take }));
    Ok(session)
}

/// That a take which is done is still what the plan asks for.
fn agree(at: &str, old: &Take, fresh: &Take) -> Result<()> {
    let differ = |what: &str, was: &str, is: &str| {
        let folder = old.folder.as_deref().unwrap_or(&old.name);
        Err(Error::Usage(format!(
            "{at}: the plan has changed: {folder} is done, and {what} was {was:?}, now {is:?}: \
             change it back, give the takes another subject or condition to record them too, or \
             begin a new session with another folder"
        )))
    };
    if old.name != fresh.name {
        return differ("its name", &old.name, &fresh.name);
    }
    if old.options != fresh.options {
        return differ("its record", &old.options.join(" "), &fresh.options.join(" "));
    }
    Ok(())
}

/// That no name of a take to come is taken by something that the session does not know.
///
/// # Errors
/// `Usage` with the name.
pub fn refuse_strangers(folder: &Path, session: &Session) -> Result<()> {
    let tries = session.takes.iter().flat_map(|take| &take.tries);
    let ours: Vec<_> = tries.filter_map(|tried| tried.folder.as_deref()).collect();
    for take in session.planned().filter(|take| !take.standing.is_done()) {
        let path = folder.join(&take.name);
        if is_taken(&path) && !ours.contains(&take.name.as_str()) {
            let toml = folder.join(SESSION);
            let missing = match is_taken(&toml) {
                true => String::new(),
                false => format!(" ({} is missing: restore it if it was one)", toml.display()),
            };
            return Err(Error::Usage(format!(
                "{} is there already, is none of this session's takes{missing}, and is not \
                 overwritten: move it away, or change name or folder in the plan",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Whether a take is done, and its folder in that of the session no longer there.
#[must_use]
pub fn is_gone(folder: &Path, take: &Take) -> bool {
    let of_take = take.folder.as_ref().map(|name| folder.join(name));
    take.standing.is_done() && !of_take.is_some_and(|path| path.is_dir())
}

/// RFC 3339, in UTC.
#[must_use]
pub fn utc(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::parse(Path::new("plan.toml"), text).expect("a plan")
    }

    fn joined(text: &str, before: Option<Session>) -> Result<Session> {
        join(&plan(text), before, &jiff::ZonedDateTime::now())
    }

    /// A session of two takes, the first of them whole.
    fn half_done(text: &str) -> Session {
        let mut session = joined(text, None).expect("a session");
        session.date = "2026-01-01".to_owned();
        session.takes = joined(text, Some(session.clone())).expect("the same").takes;
        session.takes[0].standing = Standing::Whole;
        session.takes[0].folder = Some(session.takes[0].name.clone());
        session
    }

    const TWO: &str = "frames = 3\n[[take]]\nsubject = \"a\"\ncount = 2\n";

    #[test]
    fn what_is_done_stays_and_what_is_new_is_added() {
        let before = half_done(TWO);
        let more = "frames = 3\n[[take]]\nsubject = \"b\"\n[[take]]\nsubject = \"a\"\ncount = 3\n";
        let after = joined(more, Some(before.clone())).expect("they go together");
        let names: Vec<_> = after.takes.iter().map(|take| take.name.as_str()).collect();
        // The day is that on which the session began.
        let expected = ["b_001", "a_001", "a_002", "a_003"].map(|end| format!("2026-01-01_{end}"));
        assert_eq!(names, expected);
        let done: Vec<_> = after.takes.iter().map(|take| take.standing.is_done()).collect();
        assert_eq!(done, [false, true, false, false]);
    }

    #[test]
    fn what_the_plan_has_no_longer_is_kept_if_it_was_tried() {
        let mut before = half_done(TWO);
        before.takes[0].tries = vec![genlock_formats::session::Try {
            folder: None,
            standing: Standing::Whole,
            reason: None,
            warning: None,
            exit_code: Some(0),
            started: String::new(),
            ended: None,
            verdict: None,
            triggers: 3,
            losses: 0,
            bytes: 1,
        }];
        let other = "frames = 3\n[[take]]\nsubject = \"b\"\n";
        let after = joined(other, Some(before)).expect("they go together");
        let takes: Vec<_> = after.takes.iter().map(|t| (t.name.as_str(), t.dropped)).collect();
        assert_eq!(takes, [("2026-01-01_b_001", false), ("2026-01-01_a_001", true)]);
        assert_eq!(after.planned().count(), 1);
    }

    #[test]
    fn a_plan_that_contradicts_what_is_done_is_refused() {
        let refused = |text: &str, words: &str| {
            let told = joined(text, Some(half_done(TWO))).expect_err("a contradiction").to_string();
            assert!(told.contains(words) && told.contains("change it back"), "{told}");
        };
        refused(&TWO.replace("frames = 3", "frames = 4"), "was \"--frames 3\", now \"--frames 4\"");
        refused(&format!("name = \"{{subject}}{{number}}\"\n{TWO}"), "now \"a001\"");
        // Of what is not done nothing is contradicted.
        let mut before = half_done(TWO);
        before.takes[0].standing = Standing::Failed;
        joined(&TWO.replace("frames = 3", "frames = 4"), Some(before)).expect("they go together");
    }
}
