//! What the commands say, on standard output and standard error.

use crate::error::{Error, Result};
use genlock_formats::take::{Clock, Phase};
use serde::{Serialize, Serializer};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Prints to standard output, without control characters but for the ends of lines. A reader that
/// has gone away, as `head` does, is no error.
pub(super) fn print(text: &str) -> Result<()> {
    put(&plain_lines(text))
}

/// Prints JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    put(&text.map_err(|cause| Error::Disk(format!("cannot write JSON: {cause}")))?)
}

fn put(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Disk(format!("cannot write to standard output: {cause}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error, without control characters but for the ends of its lines.
/// Where nobody can hear it the exit code still speaks.
pub(super) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", plain_lines(text));
}

fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// A line with its control characters escaped: what a file says must not reach the terminal as a
/// command.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

/// How a device stood to the master, and to the host's clock.
pub(super) fn sync_words(phase: Option<&Phase>, clock: Option<&Clock>) -> Option<String> {
    let mut words = Vec::new();
    if let Some(Phase { p50_us, p99_us, max_us, drift_ppm, .. }) = phase {
        words.push(format!("phase {p50_us:+.0} us, 99 of 100 within {p99_us:.0}, all {max_us:.0}"));
        words.push(format!("drift {drift_ppm:+.1} ppm"));
    }
    if let Some(Clock { ppm, rate_hz, .. }) = clock {
        words.push(format!("clock {ppm:+.1} ppm, {rate_hz:.4} Hz"));
    }
    (!words.is_empty()).then(|| format!("    {}", words.join("; ")))
}

/// Serializes a path; what of it is no text becomes a replacement character.
pub(super) fn lossy<S: Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_not() {
        assert_eq!(plain("\u{1b}[31mred\r\n\u{9b}2J"), "\\u{1b}[31mred\\r\\n\\u{9b}2J");
        assert_eq!(plain("Kamera über 30 µs \"a\\b\""), "Kamera über 30 µs \"a\\b\"");
    }
}
