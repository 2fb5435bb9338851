//! The lines that show how a take goes, and how far work on files is.

use super::tell;
use crate::record::{DeviceStatus, Status, Waiting};
use crate::rig::disk::free_bytes;
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
    /// What was last said in lines of its own, where there is no terminal to show it on.
    said: Option<Vec<Option<&'static str>>>,
    memory_said: bool,
    quiet: bool,
}

/// Shows on the terminal, where there is one, how many bytes are done.
pub struct Bytes(ProgressBar);

/// Shows on the terminal, where there is one, how many captures are done.
pub struct Captures(ProgressBar);

impl Bytes {
    /// A bar for so many bytes.
    #[must_use]
    pub fn new(quiet: bool, bytes: u64) -> Self {
        Self(bar(quiet, bytes, "{percent:>3} % {wide_bar} {binary_bytes_per_sec}, {eta} left"))
    }

    /// So many more are done.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Captures {
    /// A bar for so many captures.
    #[must_use]
    pub fn new(quiet: bool, captures: u64) -> Self {
        let template = "{percent:>3} % {wide_bar} {pos} of {len} captures, {per_sec}, {eta} left";
        Self(bar(quiet, captures, template))
    }

    /// One more is done.
    pub fn add(&self) {
        self.0.inc(1);
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn bar(quiet: bool, of: u64, template: &str) -> ProgressBar {
    let shown = !quiet && std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(of), target);
    // The templates are constants that indicatif accepts.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
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
        Self {
            bar,
            place: place.to_owned(),
            last: None,
            rates: Vec::new(),
            bytes_per_s: 0.0,
            said: None,
            memory_said: false,
            quiet,
        }
    }

    /// Shows how the take goes.
    pub fn show(&mut self, status: &Status) {
        for alarm in &status.alarms {
            // Also when quiet: sync that is lost must not be lost without a word.
            self.bar.suspend(|| tell(&format!("alarm: {alarm}")));
        }
        if !self.quiet && !self.memory_said {
            let bytes: u64 = status.devices.iter().map(|device| device.buffer_bytes).sum();
            let text =
                format!("buffers: {:.0} MB at most, whatever the disk does", bytes as f64 / 1e6);
            self.bar.suspend(|| tell(&text));
            self.memory_said = true;
        }
        if self.bar.is_hidden() {
            return self.say(status);
        }
        self.measure(status);
        self.bar.set_message(line(status, &self.rates, self.bytes_per_s, free_bytes(&self.place)));
        self.bar.tick();
    }

    /// Says in a line what each device is waited for, when that changes.
    fn say(&mut self, status: &Status) {
        let now: Vec<_> = status.devices.iter().map(|device| words(device, status)).collect();
        if self.quiet || self.said.as_ref() == Some(&now) {
            return;
        }
        for (place, (device, words)) in status.devices.iter().zip(&now).enumerate() {
            let before = self.said.as_ref().and_then(|said| *said.get(place)?);
            match words {
                Some(words) if before != Some(words) => {
                    tell(&format!("{}: {words}", device.serial));
                }
                None if before.is_some() && !device.is_done => {
                    tell(&format!("{}: recording", device.serial));
                }
                _ => {}
            }
        }
        self.said = Some(now);
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

/// What a device is waited for; nothing once the take runs.
fn words(device: &DeviceStatus, status: &Status) -> Option<&'static str> {
    match device.waiting {
        Some(_) if device.stale => Some("waiting for its clock to roll back"),
        Some(Waiting::Pulses) => Some("waiting for the master's pulses"),
        Some(Waiting::Frames) => Some("waiting for its first frames"),
        Some(Waiting::Return) => Some("away"),
        Some(Waiting::Trigger) => Some("back, finding its trigger"),
        None if status.warming_up => Some("warming up"),
        None => None,
    }
}

/// Elapsed time, then each device, then what the disk does.
fn line(status: &Status, rates: &[f64], bytes_per_s: f64, free: Option<u64>) -> String {
    let seconds = status.elapsed.as_secs();
    let mut line = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    for (device, rate) in status.devices.iter().zip(rates) {
        let serial = &device.serial;
        if let Some(words) = words(device, status) {
            line += &format!(" | {serial}: {words}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::k4a::Role;

    #[test]
    fn the_line_says_who_waits_and_who_loses() {
        let device = |serial: &str, losses, waiting| DeviceStatus {
            serial: serial.to_owned(),
            frames: 300,
            heard: 0,
            losses,
            bytes: 1,
            buffer_bytes: 1,
            waiting,
            given_up: false,
            stale: false,
            role: Role::Standalone,
            is_done: false,
        };
        let devices = vec![device("1", 0, Some(Waiting::Pulses)), device("2", 3, None)];
        let (elapsed, alarms) = (Duration::from_secs(75), Vec::new());
        let status = Status { elapsed, devices, alarms, warming_up: false, begun: true, latest: 0 };
        let line = line(&status, &[0.0, 29.97], 60e6, Some(36_000_000_000));
        let expected = "01:15 | 1: waiting for the master's pulses | 2 30.0 fps, 300 frames, 3 \
                        LOST | 60 MB/s, disk full in 10 min";
        assert_eq!(line, expected);
    }
}
