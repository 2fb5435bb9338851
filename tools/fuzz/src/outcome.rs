//! What came of a run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::panic::Location;

/// What came of a run: features, each of which an input can be the first to have, and a hash of
/// every detail, which is the same whenever the input is.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    features: Vec<u64>,
    details: DefaultHasher,
}

impl Outcome {
    /// A feature: what is new when this place in the program has not seen the value before. Few
    /// values: an input is kept for each.
    #[track_caller]
    pub fn kind(&mut self, value: impl Hash) {
        let place = Location::caller();
        let mut hasher = DefaultHasher::new();
        (place.line(), place.column(), &value).hash(&mut hasher);
        self.features.push(hasher.finish());
        value.hash(&mut self.details);
    }

    /// What is the same whenever the input is.
    pub fn detail(&mut self, value: impl Hash) {
        value.hash(&mut self.details);
    }

    /// A count or size: its magnitude is a feature, itself a detail.
    #[track_caller]
    pub fn size(&mut self, value: u64) {
        self.kind(value.checked_ilog2());
        self.detail(value);
    }

    /// An error in a file of `bytes` bytes, which it must point into.
    ///
    /// # Panics
    /// If it points behind the file.
    #[track_caller]
    pub fn error(&mut self, error: &genlock_formats::Error, bytes: usize) {
        assert!(error.at <= bytes as u64, "an error behind the end of {bytes} bytes: {error}");
        let words = error.to_string();
        self.kind((discriminant(&error.kind), error.at.checked_ilog2()));
        self.words(&words);
    }

    /// Words about what is wrong. Numbers, and what is quoted, are details.
    #[track_caller]
    pub fn words(&mut self, words: &str) {
        // What the parser of TOML says stands below the text that it shows.
        let last = words.trim_end().lines().next_back().unwrap_or_default();
        let plain = last.split(['"', '\'', '`']).step_by(2).flat_map(str::chars);
        self.kind(plain.filter(char::is_ascii_alphabetic).take(24).collect::<String>());
        self.detail(words);
    }

    /// Its features, and the hash of its details.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u64>, u64) {
        (self.features, self.details.finish())
    }
}
