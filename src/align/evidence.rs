//! What a take's files alone tell of it: which triggers it spans, and what is missing.

use super::numbering::{DeviceFile, Numbered, number_all};
use crate::record::file_stem;
use crate::sync::{Reviewed, review};
use genlock_formats::k4a::{Role, TrackName};
use genlock_formats::take::{Delay, Device, FORMAT, Loss, Outage, Outcome, Take};
use genlock_formats::triggers::{Cell, Triggers};
use std::ops::Range;

/// Triggers of a take at most: a day at 30 fps. Times that make more of them are no times.
const TRIGGERS_MAX: u64 = 30 * 86_400;

/// Pauses of this many seconds are taken for outages: the clock may have begun anew behind them.
const PAUSE_S: u64 = 1;

/// The pauses between the first and the last frame of a device, by the times of its leading track.
fn outages(first: u64, stamps_us: &[u64], rate: u32, why: &str) -> Vec<Outage> {
    let there = (first..).zip(stamps_us).filter(|(_, stamp_us)| **stamp_us > 0);
    let there: Vec<_> = there.map(|(trigger, _)| trigger).collect();
    let pauses = there.windows(2).filter(|two| two[1] - two[0] > PAUSE_S * u64::from(rate));
    let outage = |two: &[u64]| Outage {
        first_trigger: two[0] + 1,
        last_trigger: two[1] - 1,
        why: why.to_owned(),
        clock_moved_us: None,
    };
    pauses.map(outage).collect()
}

/// What is said of frames that are missing in a file: the cause of no loss is in it.
#[derive(Debug, Clone, Copy)]
pub struct Causes<'a> {
    /// Of those before its first.
    pub before: &'a str,
    /// Of those between its first and its last, and of when frames arrived.
    pub inside: &'a str,
    /// Of those behind its last.
    pub behind: &'a str,
}

impl<'a> Causes<'a> {
    /// The same of all.
    #[must_use]
    pub fn all(cause: &'a str) -> Self {
        Self { before: cause, inside: cause, behind: cause }
    }
}

/// What the files tell of their take.
///
/// # Errors
/// Why they are no take.
pub fn of(files: &[DeviceFile], causes: &Causes<'_>) -> Result<(Take, Triggers), String> {
    let mut serials: Vec<_> = files.iter().map(|file| &file.serial).collect();
    serials.sort();
    if let Some(twice) = serials.windows(2).find(|two| two[0] == two[1]) {
        return Err(format!("two files are of the device {}", twice[0]));
    }
    let numbered = number_all(files);
    let all = || numbered.iter().flat_map(|device| &device.0).flat_map(|(_, frames)| frames);
    let first = all().map(|(trigger, _)| *trigger).min().ok_or("there is no image in its files")?;
    let end = all().map(|(trigger, _)| trigger.saturating_add(1)).max().unwrap_or(first);
    if end - first > TRIGGERS_MAX {
        return Err("its files have times that are too far apart for one take".to_owned());
    }
    let evidence = Evidence { files, numbered, triggers: first..end, causes };
    Ok((evidence.take(), evidence.triggers()))
}

struct Evidence<'a> {
    files: &'a [DeviceFile],
    numbered: Vec<Numbered>,
    triggers: Range<u64>,
    causes: &'a Causes<'a>,
}

impl Evidence<'_> {
    fn count(&self) -> usize {
        (self.triggers.end - self.triggers.start) as usize
    }

    /// The time for each trigger, or 0.
    fn stamps(&self, frames: &[(u64, u64)]) -> Vec<u64> {
        let mut stamps = vec![0; self.count()];
        for (trigger, time_us) in frames {
            stamps[(trigger - self.triggers.start) as usize] = *time_us;
        }
        stamps
    }

    fn take(&self) -> Take {
        let both = self.files.iter().zip(&self.numbered);
        let mut devices: Vec<_> =
            both.map(|(file, numbered)| self.device(file, numbered)).collect();
        self.judge(&mut devices);
        devices.sort_by(|a, b| a.serial.cmp(&b.serial));
        let dates = self.files.iter().filter_map(|file| file.date_utc_ns);
        Take {
            format: FORMAT,
            genlock: self.files.first().map(|file| file.recorder.clone()).unwrap_or_default(),
            started: dates.min().and_then(utc).unwrap_or_else(|| "unknown".to_owned()),
            outcome: match devices.iter().all(Device::is_whole) {
                true => Outcome::Whole,
                false => Outcome::Losses,
            },
            reason: None,
            profile: self.files.iter().filter_map(|file| file.profile).max().unwrap_or_default(),
            level: None,
            triggers_asked: None,
            verdict: devices.iter().filter_map(|device| device.verdict).max(),
            host: None,
            hosts: Vec::new(),
            devices,
            files: Vec::new(),
        }
    }

    fn device(&self, file: &DeviceFile, numbered: &Numbered) -> Device {
        let configuration = &file.configuration;
        let off = || "OFF".to_owned();
        let name = |track: TrackName| track.to_string().to_lowercase();
        let counts = file.images.iter().map(|(track, times)| (name(*track), times.len() as u64));
        let imu = configuration.imu.then(|| (name(TrackName::Imu), file.imu_samples));
        Device {
            serial: file.serial.clone(),
            name: None,
            host: None,
            file: Some(file.name.clone()),
            role: configuration.role.to_string().to_lowercase(),
            color_mode: configuration.color.map_or_else(off, |mode| mode.to_string()),
            depth_mode: configuration.depth.map_or_else(off, |mode| mode.to_string()),
            rate: configuration.rate.fps(),
            imu: configuration.imu,
            first_trigger: self.triggers.start,
            trigger_count: self.triggers.end - self.triggers.start,
            bytes: file.bytes,
            depth_delay_off_color: Delay::of(configuration.depth_delay_us.into()),
            delay_off_master: Delay::of(configuration.subordinate_delay_us.into()),
            frames: counts.chain(imu).collect(),
            firmware: file.firmware.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect(),
            color_controls: Default::default(),
            verdict: None,
            reasons: Vec::new(),
            clock: None,
            phase: None,
            outages: Vec::new(),
            alarms: Vec::new(),
            losses: self.losses(file, numbered),
        }
    }

    fn losses(&self, file: &DeviceFile, numbered: &Numbered) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut lose = |track: TrackName, range: Range<u64>| {
            losses.push(Loss {
                track: track.to_string().to_lowercase(),
                first_trigger: range.start,
                last_trigger: range.end - 1,
                cause: self.cause(&range).to_owned(),
            });
        };
        for (track, frames) in &numbered.0 {
            let mut next = self.triggers.start;
            let past = (self.triggers.end, 0);
            for (trigger, _) in frames.iter().chain([&past]) {
                if next < *trigger {
                    lose(*track, next..*trigger);
                }
                next = trigger + 1;
            }
        }
        if file.configuration.imu {
            let gaps = self.imu_gaps(file, numbered);
            gaps.into_iter().for_each(|range| lose(TrackName::Imu, range));
        }
        losses
    }

    /// Why a whole run of triggers has no frame.
    fn cause(&self, missing: &Range<u64>) -> &str {
        match missing {
            range if range.start == self.triggers.start => self.causes.before,
            range if range.end == self.triggers.end => self.causes.behind,
            _ => self.causes.inside,
        }
    }

    /// The triggers within which samples are missing.
    fn imu_gaps(&self, file: &DeviceFile, numbered: &Numbered) -> Vec<Range<u64>> {
        let nominal_us = 1e6 / f64::from(file.configuration.rate.fps());
        let nearest = |us| numbered.nearest(us, nominal_us).unwrap_or(self.triggers.start);
        let mut gaps: Vec<Range<u64>> = Vec::new();
        let mut next = self.triggers.start;
        let mut lose = |range: Range<u64>| {
            let range = range.start.max(next)..range.end.min(self.triggers.end);
            if !range.is_empty() {
                next = range.end;
                gaps.push(range);
            }
        };
        let mut from = self.triggers.start;
        for (i, (begin_us, end_us)) in file.imu_runs.iter().enumerate() {
            let begin = nearest(*begin_us);
            lose(from..begin + u64::from(i > 0));
            from = nearest(*end_us);
        }
        let is_there = !file.imu_runs.is_empty();
        lose(from + u64::from(is_there)..self.triggers.end);
        gaps
    }

    /// What the times say of how the devices stood to their master; when frames arrived is not
    /// known. They are in the order of the files.
    fn judge(&self, devices: &mut [Device]) {
        let first = self.triggers.start;
        let stamps = |(_, frames): &(TrackName, Vec<(u64, u64)>)| self.stamps(frames);
        let leading = |numbered: &Numbered| numbered.0.first().map(stamps).unwrap_or_default();
        let color = |numbered: &Numbered| {
            numbered.0.iter().find(|(track, _)| *track == TrackName::Color).map(stamps)
        };
        let leading: Vec<_> = self.numbered.iter().map(leading).collect();
        let color: Vec<_> = self.numbered.iter().map(color).collect();
        for (device, stamps_us) in devices.iter_mut().zip(&leading) {
            device.outages = outages(first, stamps_us, device.rate, self.causes.inside);
        }
        let reviewed = |place: usize| Reviewed {
            device: &devices[place],
            rate: self.files[place].configuration.rate,
            first,
            stamps_us: &leading[place],
            color_us: color[place].as_deref(),
            arrived_us: &[],
        };
        let master = self.files.iter().position(|f| f.configuration.role == Role::Master);
        let master = master.map(reviewed);
        let judged = (0..devices.len()).map(|place| review(&reviewed(place), master.as_ref()));
        let judged: Vec<_> = judged.collect();
        for (device, (standing, alarms)) in devices.iter_mut().zip(judged) {
            standing.note(device, alarms);
        }
    }

    fn triggers(&self) -> Triggers {
        let mut table = Triggers { first: self.triggers.start, ..Triggers::default() };
        table.rows.resize_with(self.count(), Vec::new);
        for (file, numbered) in self.files.iter().zip(&self.numbered) {
            let stem = file_stem(&file.serial);
            for (track, frames) in &numbered.0 {
                table.columns.push(format!("{stem}.{}", track.to_string().to_lowercase()));
                let first = frames.first().map_or(self.triggers.end, |(trigger, _)| *trigger);
                let last = frames.last().map_or(self.triggers.end, |(trigger, _)| *trigger);
                self.push_column(&mut table, &self.stamps(frames), |trigger| match trigger {
                    _ if trigger < first => self.causes.before,
                    _ if trigger > last => self.causes.behind,
                    _ => self.causes.inside,
                });
            }
            table.columns.push(format!("{stem}.host"));
            let never = vec![0; self.count()];
            self.push_column(&mut table, &never, |_| self.causes.inside);
        }
        table
    }

    /// Adds a cell to each row: its time, or why there is none.
    fn push_column<'c>(
        &self,
        table: &mut Triggers,
        times_us: &[u64],
        cause: impl Fn(u64) -> &'c str,
    ) {
        for ((row, &us), trigger) in table.rows.iter_mut().zip(times_us).zip(self.triggers.start..)
        {
            let lost = || Cell::Lost(cause(trigger).to_owned());
            row.push(if us > 0 { Cell::At(us) } else { lost() });
        }
    }
}

/// A date of Matroska, nanoseconds since 2001-01-01T00:00:00Z, as `take.toml` has it.
fn utc(ns: i64) -> Option<String> {
    let seconds = ns.div_euclid(1_000_000_000).checked_add(978_307_200)?;
    let date = jiff::Timestamp::from_second(seconds).ok()?;
    Some(date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
