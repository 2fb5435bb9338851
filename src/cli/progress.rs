//! The line that shows how a take goes.

use crate::record::Status;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shows a take on the terminal, where there is one.
pub struct Progress {
    bar: ProgressBar,
    place: PathBuf,
    last: Option<Status>,
    rates: Vec<f64>,
    bytes_per_s: f64,
}

/// Rates are taken over this time.
const RATE_OVER: Duration = Duration::from_secs(1);

impl Progress {
    /// A progress line for a take that goes to `place`.
    #[must_use]
    pub fn new(quiet: bool, place: &Path) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // The template is a constant that indicatif accepts.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar, place: place.to_owned(), last: None, rates: Vec::new(), bytes_per_s: 0.0 }
    }

    /// Shows how the take goes.
    pub fn show(&mut self, status: &Status) {
        if self.bar.is_hidden() {
            return;
        }
        self.measure(status);
        self.bar.set_message(line(status, &self.rates, self.bytes_per_s, free_bytes(&self.place)));
        self.bar.tick();
    }

    fn measure(&mut self, status: &Status) {
        let Some(last) = &self.last else {
            self.rates = vec![0.0; status.devices.len()];
            self.last = Some(status.clone());
            return;
        };
        let elapsed = status.elapsed.saturating_sub(last.elapsed);
        if elapsed < RATE_OVER {
            return;
        }
        let per_s = |now: u64, then: u64| now.saturating_sub(then) as f64 / elapsed.as_secs_f64();
        let pairs = status.devices.iter().zip(&last.devices);
        self.rates = pairs.map(|(now, then)| per_s(now.frames, then.frames)).collect();
        let bytes = |status: &Status| status.devices.iter().map(|device| device.bytes).sum();
        self.bytes_per_s = per_s(bytes(status), bytes(last));
        self.last = Some(status.clone());
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Elapsed time, then each device, then what the disk does.
fn line(status: &Status, rates: &[f64], bytes_per_s: f64, free: Option<u64>) -> String {
    let seconds = status.elapsed.as_secs();
    let mut line = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    for (device, rate) in status.devices.iter().zip(rates) {
        let serial = &device.serial;
        if device.waiting_for_master {
            line += &format!(" | {serial}: waiting for the master's pulses");
            continue;
        }
        line += &format!(" | {serial} {rate:.1} fps, {} frames", device.frames);
        if device.losses > 0 {
            line += &format!(", {} LOST", device.losses);
        }
    }
    line += &format!(" | {:.0} MB/s", bytes_per_s / 1e6);
    if let Some(free) = free.filter(|_| bytes_per_s >= 1.0) {
        line += &format!(", disk full in {:.0} min", free as f64 / bytes_per_s / 60.0);
    }
    line
}

/// Bytes that the disk under `place` still takes.
fn free_bytes(place: &Path) -> Option<u64> {
    let there = place.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DeviceStatus;

    #[test]
    fn the_line_says_who_waits_and_who_loses() {
        let device = |serial: &str, losses, waiting_for_master| DeviceStatus {
            serial: serial.to_owned(),
            frames: 300,
            losses,
            bytes: 1,
            waiting_for_master,
        };
        let devices = vec![device("1", 0, true), device("2", 3, false)];
        let status = Status { elapsed: Duration::from_secs(75), devices };
        let line = line(&status, &[0.0, 29.97], 60e6, Some(36_000_000_000));
        let expected = "01:15 | 1: waiting for the master's pulses | 2 30.0 fps, 300 frames, 3 \
                        LOST | 60 MB/s, disk full in 10 min";
        assert_eq!(line, expected);
    }
}
