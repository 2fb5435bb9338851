//! TOML that a person wrote, as values that know where they stand: line and column.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

/// A key and its value, each with its place.
pub type Pair<'i> = (Spanned<Cow<'i, str>>, Spanned<DeValue<'i>>);

/// In the order of the file, so that the first error told is the first a person finds.
pub fn in_order(table: DeTable<'_>) -> Vec<Pair<'_>> {
    let mut pairs: Vec<_> = table.into_iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs
}

/// Reads the text of a file; `what` is what it should be.
///
/// # Errors
/// `Usage` when it cannot be read, or is far too large.
pub fn read(path: &Path, what: &str) -> Result<String> {
    /// A rig of hundreds of devices fits. The place of every setting is counted from the front,
    /// which would take minutes in a file of megabytes.
    const BYTES_MAX: u64 = 128 << 10;
    let refused = |why: &dyn std::fmt::Display| {
        Error::Usage(format!("cannot read the {what} {}: {why}", path.display()))
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|cause| refused(&cause))?;
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    if read.map_err(|cause| refused(&cause))? as u64 > BYTES_MAX {
        return Err(refused(&"it is larger than 128 KiB"));
    }
    Ok(text)
}

/// A text, and the file that it is of.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it holds.
    pub text: &'a str,
}

impl<'a> Lines<'a> {
    /// The text as TOML.
    ///
    /// # Errors
    /// `Usage` with its place, where it is none.
    pub fn whole(&self) -> Result<DeTable<'a>> {
        let table = DeTable::parse(self.text).map_err(|cause| {
            let start = cause.span().map_or(self.text.len(), |span| span.start);
            self.refuse(start..start, cause.message())
        })?;
        Ok(table.into_inner())
    }

    /// Where something stands, as editors take it: path, line and column.
    #[must_use]
    pub fn at(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }

    /// That something is wrong at a place.
    #[must_use]
    pub fn refuse(&self, span: Range<usize>, why: &str) -> Error {
        Error::Usage(format!("{}: {why}", self.at(&span)))
    }

    /// A value by itself.
    ///
    /// # Errors
    /// `Usage` with its place, such as of a number that no computer holds.
    pub fn value(&self, value: Spanned<DeValue>) -> Result<Value> {
        let span = value.span();
        Value::deserialize(ValueDeserializer::from(value))
            .map_err(|cause| self.refuse(cause.span().unwrap_or(span), cause.message()))
    }

    /// A path of the file is seen from the folder that the file is in.
    #[must_use]
    pub fn beside(&self, path: &str) -> String {
        let beside = self.path.parent().unwrap_or(Path::new("")).join(path);
        match beside.to_str() {
            Some(beside) if !path.is_empty() => beside.to_owned(),
            _ => path.to_owned(),
        }
    }
}
