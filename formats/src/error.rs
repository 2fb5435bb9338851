use std::fmt;

/// Result of reading or laying out a file.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Byte offset in the file of the element or field that is wrong.
    pub at: u64,
}

/// The ways in which a file can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file does not begin as a Matroska file does.
    NotMatroska,
    /// The file ends inside the named thing.
    Truncated(&'static str),
    /// The named thing breaks the rules of the format.
    Malformed(&'static str),
    /// A length or count that is larger than any sound file has.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The length or count found.
        size: u64,
        /// The largest one accepted.
        limit: u64,
    },
    /// Something that the format requires is not there.
    Missing(&'static str),
    /// The named thing does not have the bytes that were written: its checksum says so.
    Changed(&'static str),
    /// A value that this version does not know, as text.
    Unsupported(String),
}

impl Error {
    /// An error of `kind` at byte offset `at`.
    #[must_use]
    pub fn new(kind: ErrorKind, at: u64) -> Self {
        Self { kind, at }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::NotMatroska => write!(f, "not a Matroska file")?,
            ErrorKind::Truncated(what) => write!(f, "the file ends inside {what}")?,
            ErrorKind::Malformed(what) => write!(f, "malformed: {what}")?,
            ErrorKind::TooLarge { what, size, limit } => {
                write!(f, "{what} of {size} is beyond the limit of {limit}")?;
            }
            ErrorKind::Changed(what) => {
                write!(f, "{what} does not have the bytes that were written")?;
            }
            ErrorKind::Missing(what) => write!(f, "{what} is missing")?,
            ErrorKind::Unsupported(what) => write!(f, "not supported: {what}")?,
        }
        write!(f, " (at byte {})", self.at)
    }
}

impl std::error::Error for Error {}
