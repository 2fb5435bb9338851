//! Where a take is gathered.

use super::connection::Connection;
use super::folder::Folder;
use super::listing::{self, Wanted};
use super::store::Store;
use super::{Fetched, Step, Transfer};
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The place of one take, or of many: a folder, or what has a prefix in a bucket of a store that
/// speaks S3. One that is a store must not be used, nor dropped, within an asynchronous runtime: it
/// has its own.
#[derive(Debug, Clone)]
pub struct Place(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Folder(Folder),
    Store(Store),
}

impl Place {
    /// Reads `takes/0001`, `file:///data/takes/0001` or `s3://bucket/takes/0001`. How a store is
    /// reached is in the environment, as other tools have it: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` and others. How far a transfer to
    /// a store has come is noted in the folder `notes`, so that the next process goes on with it.
    ///
    /// # Errors
    /// `Usage` when it is no place, or the environment does not do for it.
    pub fn parse(text: &str, notes: &Path) -> Result<Self> {
        let variables = std::env::vars_os();
        let text_only = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            name.into_string().ok().zip(value.into_string().ok())
        };
        Self::parse_with(text, notes, &mut variables.filter_map(text_only))
    }

    /// The same, with these variables in place of the environment's.
    ///
    /// # Errors
    /// See [`Place::parse`].
    pub fn parse_with(
        text: &str,
        notes: &Path,
        variables: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        let usage = |why: &str| Err(Error::Usage(format!("{text:?} is no place: {why}")));
        if let Some(path) = text.strip_prefix("file://") {
            let is_plain = path.starts_with('/') && !path.contains(['%', '?', '#', '\0']);
            return match is_plain {
                true => Ok(Self(Kind::Folder(Folder(PathBuf::from(path))))),
                false => usage("write file:///data/takes, or the path without file://"),
            };
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let is_bucket = (3..=63).contains(&bucket.len())
                && bucket.starts_with(is_letter)
                && bucket.chars().all(|c| is_letter(c) || c == '-' || c == '.');
            let prefix = object_store::path::Path::parse(prefix).ok().filter(|_| is_bucket);
            let Some(prefix) = prefix else { return usage("write s3://bucket/prefix") };
            let connection = Arc::new(Connection::open(bucket, variables)?);
            return Ok(Self(Kind::Store(Store::new(connection, prefix, notes.to_owned()))));
        }
        if text.is_empty() || text.contains("://") || text.contains('\0') {
            return usage("write a folder's path, file:///data/takes or s3://bucket/prefix");
        }
        Ok(Self(Kind::Folder(Folder(PathBuf::from(text)))))
    }

    /// The place of the take that is called `take`, within this one.
    ///
    /// # Errors
    /// `Usage` when that is no name.
    pub fn below(&self, take: &str) -> Result<Self> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if take.is_empty() || take.starts_with('.') || !take.chars().all(is_letter) {
            let text = "is no name of a take: use letters, digits, - and _";
            return Err(Error::Usage(format!("{take:?} {text}")));
        }
        Ok(Self(match &self.0 {
            Kind::Folder(Folder(folder)) => Kind::Folder(Folder(folder.join(take))),
            Kind::Store(store) => Kind::Store(store.below(take)),
        }))
    }

    /// Writes the take's `triggers.csv` or `take.toml`, as a whole or not at all, unless it is
    /// there. One of the same text is as good as written.
    ///
    /// # Errors
    /// `Disk` when it is there with another text, or cannot be written.
    pub fn put_text(&self, name: &str, text: &str) -> Result<()> {
        self.put(name, text, false)
    }

    /// Writes the take's `triggers.csv` or `take.toml`, as a whole or not at all, in place of the
    /// one that is there.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn replace_text(&self, name: &str, text: &str) -> Result<()> {
        self.put(name, text, true)
    }

    fn put(&self, name: &str, text: &str, replace: bool) -> Result<()> {
        is_text(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.put(name, text, replace),
            Kind::Store(store) => store.put(name, text, replace),
        }
    }

    /// The take's `triggers.csv` or `take.toml`; nothing where it is not there.
    ///
    /// # Errors
    /// `Disk` when it cannot be read.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        is_text(name)?;
        match &self.0 {
            Kind::Folder(folder) => folder.get(name),
            Kind::Store(store) => store.get(name),
        }
    }

    pub(super) fn prepare(&self, wanted: &[Wanted], transfer: &Transfer<'_>) -> Step<()> {
        match &self.0 {
            Kind::Folder(folder) => Ok(folder.prepare(wanted, transfer.source.host())?),
            Kind::Store(store) => Ok(store.prepare()?),
        }
    }

    pub(super) fn holds(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<bool> {
        match &self.0 {
            Kind::Folder(folder) => folder.holds(file, transfer),
            Kind::Store(store) => store.holds(file, transfer),
        }
    }

    pub(super) fn fetch(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<Fetched> {
        match &self.0 {
            Kind::Folder(folder) => folder.fetch(file, transfer),
            Kind::Store(store) => store.fetch(file, transfer),
        }
    }
}

fn is_text(name: &str) -> Result<()> {
    match listing::is_text(name) {
        true => Ok(()),
        false => Err(Error::Usage(format!("{name:?} is no list of a take"))),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Folder(Folder(folder)) => folder.display().fmt(f),
            Kind::Store(store) => store.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<String> {
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let place = Place::parse_with(text, Path::new("notes"), &mut owned.into_iter())?;
        Ok(place.below("0001")?.to_string())
    }

    #[test]
    fn places_are_folders_or_buckets() {
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let there = |text: &str| parse(text, &keys).expect(text);
        assert_eq!(there("takes"), "takes/0001");
        assert_eq!(there("file:///data/takes"), "/data/takes/0001");
        assert_eq!(there("s3://lab-1/a/b/"), "s3://lab-1/a/b/0001");
        assert_eq!(there("s3://lab-1"), "s3://lab-1/0001");
        let none = [
            "",
            "file://host/data",
            "file:///a%20b",
            "gs://bucket/a",
            "s3://",
            "s3://UP/a",
            "s3://lab-1/a//b",
            "s3://lab-1/../b",
            "s3://-ab/a",
        ];
        for text in none {
            let refused = parse(text, &keys);
            let told = |error: &Error| error.to_string().contains("is no place: write ");
            assert!(refused.is_err_and(|error| told(&error)), "{text}");
        }
        let place = Place::parse_with("takes", Path::new("notes"), &mut std::iter::empty());
        let place = place.expect("a place");
        for take in ["", "..", "a/b", ".a", "a b"] {
            assert!(matches!(place.below(take), Err(Error::Usage(_))), "{take}");
        }
        assert!(matches!(place.put_text("a.mkv", ""), Err(Error::Usage(_))));
        assert!(matches!(place.text("../take.toml"), Err(Error::Usage(_))));
    }

    #[test]
    fn keys_travel_encrypted() {
        let at = |endpoint: &str, allow: bool| {
            let mut variables = vec![("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
            variables.push(("AWS_ENDPOINT_URL", endpoint));
            variables.extend(allow.then_some(("AWS_ALLOW_HTTP", "true")));
            parse("s3://lab/takes", &variables).map_err(|error| error.to_string())
        };
        for endpoint in ["https://lab.example", "http://127.0.0.1:9000", "http://localhost"] {
            assert!(at(endpoint, false).is_ok(), "{endpoint}");
        }
        assert!(at("http://[::1]:9000/", false).is_ok());
        for endpoint in ["http://10.0.0.9:9000", "HTTP://lab", "http://127.0.0.1@lab", "http://"] {
            let text = at(endpoint, false).expect_err(endpoint);
            assert!(text.contains("AWS_ALLOW_HTTP"), "{text}");
        }
        assert!(at("http://10.0.0.9:9000", true).is_ok());
        for keys in [&[][..], &[("AWS_REGION", "eu-west-1")], &[("AWS_ACCESS_KEY_ID", "a")]] {
            let text = parse("s3://lab/takes", keys).map_err(|error| error.to_string());
            assert!(text.is_err_and(|text| text.contains("AWS_")), "{keys:?}");
        }
    }
}
