//! What came of repairing a file.

use genlock_formats::k4a::Recording;
use genlock_formats::mkv::Salvaged;
use serde::Serialize;
use std::path::PathBuf;

/// What came of repairing one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where the repaired file is; none of a sound file, which is left as it is.
    #[serde(skip)]
    pub output: Option<PathBuf>,
    /// Bytes of the file before.
    pub bytes: u64,
    /// Clusters that were kept.
    pub clusters: u64,
    /// Device time in microseconds of the first frame kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_us: Option<u64>,
    /// Of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_us: Option<u64>,
    /// What the file did not say and now does.
    pub rebuilt: Vec<String>,
    /// What nobody can know any more.
    pub unknown: Vec<String>,
    /// What is lost, or damaged.
    pub lost: Vec<LostPart>,
}

/// Bytes that were lost, or that are not what they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostPart {
    /// Offset of the first in the file before repair.
    pub from_byte: u64,
    /// Offset behind the last.
    pub to_byte: u64,
    /// What they are.
    pub what: String,
    /// Whether they were kept all the same.
    pub kept: bool,
    /// Device time in microseconds of the last frame before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_us: Option<u64>,
    /// Device time in microseconds of the first frame behind them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_us: Option<u64>,
}

/// Counts the pieces of a file on their way.
#[derive(Debug)]
pub struct Tally {
    offset_us: u64,
    /// What there is to say so far.
    pub report: Report,
}

/// Parts listed at most: a broken file can have millions.
pub const LISTED_MAX: usize = 1000;

impl Tally {
    /// Nothing yet, of a file of so many bytes, but what its front has lost.
    #[must_use]
    pub fn new(recording: &Recording<'_>, bytes: usize) -> Self {
        let offset_us = recording.configuration().start_offset_ns / 1000;
        let mut report = Report { bytes: bytes as u64, ..Report::default() };
        for changed in recording.demuxer().changed_parts() {
            let (at, what) = (changed.at, changed.to_string());
            let (after_us, before_us) = (None, None);
            let part =
                LostPart { from_byte: at, to_byte: at, what, kept: true, after_us, before_us };
            report.lost.push(part);
        }
        Self { offset_us, report }
    }

    /// Counts a piece.
    pub fn piece(&mut self, piece: &Salvaged<'_>) {
        match piece {
            Salvaged::Lost(lost) => self.lose(lost.bytes.clone(), lost.what, false),
            Salvaged::Kept(kept) => {
                let (first, last) =
                    (self.device_us(kept.first_ns()), self.device_us(kept.last_ns()));
                for lost in &mut self.report.lost {
                    if !lost.kept && lost.before_us.is_none() {
                        lost.before_us = Some(first);
                    }
                }
                self.report.clusters += 1;
                self.report.first_us.get_or_insert(first);
                if kept.changed {
                    let bytes = kept.at..kept.at + kept.len();
                    self.lose(bytes, "a cluster whose bytes are not those written", true);
                    if let Some(part) = self.report.lost.last_mut() {
                        (part.after_us, part.before_us) = (Some(first), Some(last));
                    }
                }
                self.report.last_us = self.report.last_us.max(Some(last));
                kept.lost.iter().for_each(|lost| self.lose(lost.bytes.clone(), lost.what, false));
            }
        }
    }

    fn lose(&mut self, bytes: std::ops::Range<u64>, what: &str, kept: bool) {
        if self.report.lost.len() < LISTED_MAX {
            self.report.lost.push(LostPart {
                from_byte: bytes.start,
                to_byte: bytes.end,
                what: what.to_owned(),
                kept,
                after_us: self.report.last_us,
                before_us: None,
            });
        }
    }

    fn device_us(&self, ns: i64) -> u64 {
        self.offset_us.saturating_add_signed(ns / 1000)
    }
}
