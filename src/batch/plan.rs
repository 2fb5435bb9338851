//! The plan of a session: TOML, read into a list of takes. docs/batch.md describes it.

use crate::batch::name::{self, Of};
use crate::batch::settings::{EITHER, KEYS, Length, Settings, Source, command};
use crate::config::Asked;
use crate::config::lines::{self, Lines, Pair, in_order};
use crate::config::values::{Taken, text, unknown, within};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Value;
use toml::de::{DeTable, DeValue};

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// The file.
    pub path: PathBuf,
    /// Where the takes go.
    pub folder: PathBuf,
    /// The command before the first take.
    pub before: Option<String>,
    /// The command behind the last.
    pub after: Option<String>,
    /// What holds for all takes, unless they say otherwise.
    pub common: Settings,
    /// The takes, in their order.
    pub takes: Vec<Planned>,
}

/// A take of the plan.
#[derive(Debug)]
pub struct Planned {
    /// What it is of: no two takes are of the same.
    pub of: Of,
    /// Where its `[[take]]` stands.
    pub at: String,
    /// How it is made.
    pub settings: Settings,
}

/// Keys that are of the session alone.
const OF_SESSION: [&str; 3] = ["folder", "before_session", "after_session"];

/// Takes of a plan at most: `session.toml` lists all of them, and is written before each.
const TAKES_MAX: usize = 10_000;

/// Stands for the day of the session where names are checked beforehand: as long as any.
const SOME_DAY: &str = "2026-01-01";

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// `Usage` with file, line and column.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &lines::read(path, "plan")?)
    }

    /// Reads the text of the plan at `path`.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let reader = Reader { lines: Lines { path, text } };
        let mut plan = Self {
            path: path.to_owned(),
            folder: path.with_extension(""),
            before: None,
            after: None,
            common: Settings::default(),
            takes: Vec::new(),
        };
        let (mut keys, mut takes) = (Vec::new(), None);
        for pair in in_order(reader.lines.whole()?) {
            match pair.0.get_ref().as_ref() {
                "take" => takes = Some(pair),
                _ => keys.push(pair),
            }
        }
        reader.either(&keys)?;
        for pair in keys {
            reader.of_session(pair, &mut plan)?;
        }
        let Some((_, takes)) = takes else {
            return Err(Error::Usage(format!(
                "{}: no [[take]] in it: write one for each kind of take, with subject, condition \
                 or count, as docs/batch.md shows",
                path.display()
            )));
        };
        let mut numbers = BTreeMap::new();
        for (span, table) in reader.tables(takes)? {
            reader.take(span, table, &mut plan, &mut numbers)?;
        }
        if plan.folder == plan.path {
            plan.folder.add_extension("session");
        }
        plan.names(SOME_DAY)?;
        Ok(plan)
    }

    /// The names of the takes in a session of this day.
    ///
    /// # Errors
    /// `Usage` when one cannot be a name, or two takes have the same.
    pub fn names(&self, date: &str) -> Result<Vec<String>> {
        let (mut names, mut seen) = (Vec::new(), BTreeMap::new());
        for take in &self.takes {
            let name = name::name(take.settings.name.as_ref(), date, &take.of)
                .map_err(|why| Error::Usage(format!("{}: {why}", take.at)))?;
            if let Some(other) = seen.insert(name.clone(), &take.at) {
                return Err(Error::Usage(format!(
                    "{}: the take would be called {name:?}, as one of {other}: put {{number}}, or \
                     what else tells them apart, into the name",
                    take.at
                )));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// A path of the plan is seen from the folder that the plan is in.
    #[must_use]
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

impl Planned {
    /// What is laid over the rig.
    fn sets(&self) -> Vec<String> {
        let settings = &self.settings;
        let emulated = match settings.source {
            Some(Source::Emulated(count)) => Some(format!("emulator.devices={count}")),
            _ => None,
        };
        let profile = settings.profile.as_ref().map(|profile| format!("profile={profile}"));
        emulated.into_iter().chain(profile).chain(settings.sets.iter().cloned()).collect()
    }

    fn rig(&self) -> Option<&Path> {
        match &self.settings.source {
            Some(Source::Rig(path)) => Some(path),
            _ => None,
        }
    }

    /// Where its devices are, in a word: the rig file as the plan has it.
    #[must_use]
    pub fn rig_name(&self) -> String {
        match &self.settings.source {
            Some(Source::Rig(path)) => path.to_string_lossy().into_owned(),
            Some(Source::Emulated(_)) => "emulated".to_owned(),
            None => "-".to_owned(),
        }
    }

    /// What the devices are asked to do.
    #[must_use]
    pub fn asked(&self, plan: &Plan) -> Asked {
        let rig = self.rig().map(|path| plan.beside(path));
        Asked { rig, sets: self.sets(), ..Asked::default() }
    }

    /// The options of `genlock record` for it; the path of the rig file is as the plan has it, or
    /// as it is seen from where we are.
    #[must_use]
    pub fn options(&self, seen_from: Option<&Plan>) -> Vec<OsString> {
        let mut options: Vec<OsString> = Vec::new();
        if let Some(path) = self.rig() {
            let seen = seen_from.map_or(path.to_owned(), |plan| plan.beside(path));
            options.extend(["--rig".into(), seen.into()]);
        }
        options.extend(self.sets().into_iter().map(|set| format!("--set={set}").into()));
        match self.settings.length {
            Some(Length::Frames(count)) => {
                options.extend(["--frames".into(), count.to_string().into()]);
            }
            Some(Length::Time(time)) => {
                let seconds = time.as_secs_f64().to_string();
                options.extend(["--record-length".into(), seconds.into()]);
            }
            None => {}
        }
        options
    }
}

/// Reads the parts of a plan.
struct Reader<'a> {
    lines: Lines<'a>,
}

impl Reader<'_> {
    /// That something is wrong at a place, with the line that stands there.
    fn refuse(&self, span: &Range<usize>, why: &str) -> Error {
        let at = span.start.min(self.lines.text.len());
        let (before, behind) = self.lines.text.split_at_checked(at).unwrap_or_default();
        let begun = before.rsplit('\n').next().unwrap_or_default();
        let line = format!("{begun}{}", behind.lines().next().unwrap_or_default());
        Error::Usage(format!("{}: {}: {why}", self.lines.at(span), line.trim()))
    }

    fn either(&self, pairs: &[Pair<'_>]) -> Result<()> {
        let has = |key| pairs.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        for (one, other) in EITHER {
            if let (Some(_), Some((name, _))) = (has(one), has(other)) {
                let why = format!("{one} is there too: leave one of them out");
                return Err(self.refuse(&name.span(), &why));
            }
        }
        Ok(())
    }

    fn value<T>(&self, pair: Pair<'_>, read: impl FnOnce(&Value) -> Taken<T>) -> Result<T> {
        let (name, value) = pair;
        let value = self.lines.value(value)?;
        read(&value).map_err(|why| {
            let place = name.span();
            self.refuse(&place, &format!("{} {why}", name.get_ref()))
        })
    }

    /// A key at the top: of the session, or of all takes.
    fn of_session(&self, pair: Pair<'_>, plan: &mut Plan) -> Result<()> {
        let key = pair.0.get_ref().clone();
        match key.as_ref() {
            "folder" => {
                let folder = self.value(pair, |value| match text(value)? {
                    "" => Err("takes a path".to_owned()),
                    folder => Ok(folder.to_owned()),
                })?;
                plan.folder = plan.beside(folder.as_ref());
            }
            "before_session" => plan.before = Some(self.value(pair, command)?),
            "after_session" => plan.after = Some(self.value(pair, command)?),
            "count" => {
                let why = "count is of a take: put it under its [[take]]";
                return Err(self.refuse(&pair.0.span(), why));
            }
            _ => self.of_take(pair, &mut plan.common, &OF_SESSION, &["take"])?,
        }
        Ok(())
    }

    /// A key of takes; `others` are known beside those, at this place.
    fn of_take(
        &self,
        pair: Pair<'_>,
        settings: &mut Settings,
        others: &[&str],
        tables: &[&str],
    ) -> Result<()> {
        let key = pair.0.get_ref().clone();
        let Some((_, set)) = KEYS.iter().find(|(name, _)| *name == key) else {
            let of_takes = KEYS.iter().map(|(name, _)| *name);
            let known: Vec<_> = of_takes.chain(others.iter().chain(tables).copied()).collect();
            return Err(self.refuse(&pair.0.span(), &unknown(&key, &known)));
        };
        self.value(pair, |value| set(settings, value))
    }

    /// The tables of a list, each with its place.
    fn tables<'i>(
        &self,
        list: toml::Spanned<DeValue<'i>>,
    ) -> Result<Vec<(Range<usize>, DeTable<'i>)>> {
        const WHY: &str = "take is a list of tables: write [[take]] above the keys of each";
        let span = list.span();
        let DeValue::Array(array) = list.into_inner() else {
            return Err(self.refuse(&span, WHY));
        };
        let mut tables = Vec::new();
        for value in array {
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(table) => tables.push((span, table)),
                _ => return Err(self.refuse(&span, WHY)),
            }
        }
        Ok(tables)
    }

    /// A `[[take]]`: one take, or as many as its count.
    fn take(
        &self,
        span: Range<usize>,
        table: DeTable<'_>,
        plan: &mut Plan,
        numbers: &mut BTreeMap<(Option<String>, Option<String>), u32>,
    ) -> Result<()> {
        let (mut settings, mut count) = (plan.common.clone(), 1);
        let pairs = in_order(table);
        self.either(&pairs)?;
        for pair in pairs {
            match pair.0.get_ref().as_ref() {
                "count" => count = self.value(pair, |value| within(value, 1..=TAKES_MAX as i64))?,
                key if OF_SESSION.contains(&key) => {
                    let why = format!("{key} is of the session: put it at the top");
                    return Err(self.refuse(&pair.0.span(), &why));
                }
                _ => self.of_take(pair, &mut settings, &["count"], &[])?,
            }
        }
        if settings.length.is_none() {
            let why = "nothing says how long the take is: add length or frames, here or at the top";
            return Err(self.refuse(&span, why));
        }
        if plan.takes.len() + count > TAKES_MAX {
            let why = format!("more than {TAKES_MAX} takes: make another session of the rest");
            return Err(self.refuse(&span, &why));
        }
        let (subject, condition) = (settings.subject.clone(), settings.condition.clone());
        let number = numbers.entry((subject.clone(), condition.clone())).or_default();
        for _ in 0..count {
            *number += 1;
            let of = Of { subject: subject.clone(), condition: condition.clone(), number: *number };
            let at = self.lines.at(&span);
            plan.takes.push(Planned { of, at, settings: settings.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn plan(text: &str) -> Result<Plan> {
        Plan::parse(Path::new("plans/study.toml"), text)
    }

    #[test]
    fn takes_are_numbered_among_those_of_the_same() {
        let text = "frames = 3\nset = [\"rate=15\"]\nemulated = 2\n[[take]]\nsubject = \"a\"\n\
                    count = 2\n[[take]]\nsubject = \"b\"\nrig = \"r.toml\"\nlength = \"2m\"\n\
                    set = [\"gain=7\"]\n[[take]]\nsubject = \"a\"\n";
        let plan = plan(text).expect("a plan");
        let names = plan.names("2026-11-26").expect("names");
        let expected = ["a_001", "a_002", "b_001", "a_003"].map(|end| format!("2026-11-26_{end}"));
        assert_eq!(names, expected);
        assert_eq!(plan.folder, Path::new("plans/study"));
        let options = |place: usize, seen| plan.takes[place].options(seen);
        let emulated = ["--set=emulator.devices=2", "--set=rate=15", "--frames", "3"];
        assert_eq!(options(0, None), emulated);
        let rig = ["--rig", "r.toml", "--set=rate=15", "--set=gain=7", "--record-length", "120"];
        assert_eq!(options(2, None), rig);
        assert_eq!(options(2, Some(&plan))[1], "plans/r.toml");
        assert_eq!(plan.takes[2].settings.length, Some(Length::Time(Duration::from_secs(120))));
    }
}
