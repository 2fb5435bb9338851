//! What a take's files alone tell of it: which trigger each frame answers, and what is missing.

use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::file_stem;
use crate::sync::{Admission, Master, Numbering, OUT_OF_STEP, Origin, Series, Watch, judge, pairs};
use genlock_formats::k4a::{Configuration, ImuSample, Recording, Role, TrackName};
use genlock_formats::take::{Alarm, Delay, Device, FORMAT, Loss, Outcome, Take};
use genlock_formats::triggers::{Cell, Triggers};
use std::ops::Range;
use std::path::Path;

/// Why a frame is missing, and when one arrived, that only the recorder could have told.
const UNKNOWN: &str = "unknown: the recorder did not come to say";

/// IMU samples are 600 us apart (usb-protocol.md 7.1): so long a pause is a lost packet.
const IMU_GAP_US: u64 = 3000;

/// Triggers of a take at most: a day at 30 fps. Times that make more of them are no times.
const TRIGGERS_MAX: u64 = 30 * 86_400;

/// Below so many microseconds of frames, how two clocks run against each other cannot be told
/// better than that they run alike.
const MEASURED_US: u64 = 1_000_000;

/// What one repaired file holds.
pub(super) struct DeviceFile {
    name: String,
    bytes: u64,
    serial: String,
    firmware: Vec<(&'static str, String)>,
    recorder: String,
    date_utc_ns: Option<i64>,
    configuration: Configuration,
    /// Image tracks with the device times of their frames.
    images: Vec<(TrackName, Vec<u64>)>,
    imu_samples: u64,
    /// Device times between which no sample is missing.
    imu_runs: Vec<(u64, u64)>,
}

impl DeviceFile {
    pub fn read(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
        let tag = |name| recording.tag(name).map(str::to_owned);
        let firmware = [
            ("color", tag("K4A_COLOR_FIRMWARE_VERSION")),
            ("depth", tag("K4A_DEPTH_FIRMWARE_VERSION")),
        ];
        let info = &recording.demuxer().header().info;
        let tracks = recording.tracks().filter(|track| *track != TrackName::Imu);
        let mut file = Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: map.len() as u64,
            serial: recording.serial().unwrap_or("unknown").to_owned(),
            firmware: firmware.into_iter().filter_map(|(n, v)| Some((n, v?))).collect(),
            recorder: info.writing_app.trim_start_matches("genlock-").to_owned(),
            date_utc_ns: info.date_utc_ns,
            configuration: recording.configuration().clone(),
            images: tracks.map(|track| (track, Vec::new())).collect(),
            imu_samples: 0,
            imu_runs: Vec::new(),
        };
        file.read_times(&recording);
        Ok(file)
    }

    fn read_times(&mut self, recording: &Recording<'_>) {
        let number = |name| recording.track(name).map(|track| track.number);
        let numbers: Vec<_> = self.images.iter().map(|(name, _)| number(*name)).collect();
        let imu = number(TrackName::Imu);
        let offset_us = self.configuration.start_offset_ns / 1000;
        for block in recording.blocks().flatten() {
            if let Some(place) = numbers.iter().position(|number| *number == Some(block.track)) {
                let time_us = offset_us.saturating_add_signed(block.time_ns / 1000);
                self.images[place].1.push(time_us);
            } else if imu == Some(block.track) {
                for frame in block.frames.clone() {
                    frame.as_chunks::<{ ImuSample::BYTES }>().0.iter().for_each(|bytes| {
                        self.sample(ImuSample::from_bytes(bytes).accelerometer_ns / 1000);
                    });
                }
            }
        }
    }

    fn sample(&mut self, time_us: u64) {
        self.imu_samples += 1;
        match self.imu_runs.last_mut() {
            Some((_, last)) if time_us.saturating_sub(*last) <= IMU_GAP_US => *last = time_us,
            _ => self.imu_runs.push((time_us, time_us)),
        }
    }

    /// The frames of each image track with the triggers that they answer, counted from `origin`, or
    /// by their times alone.
    fn numbered(&self, origin: Option<Origin>) -> Numbered {
        let configuration = &self.configuration;
        let phase_us = |track| phase_us(configuration, track);
        let number = |(track, times_us): &(TrackName, Vec<u64>)| {
            let mut numbering = Numbering::new(configuration.rate, phase_us(*track));
            origin.into_iter().for_each(|origin| numbering.begin_at(origin));
            let mut latest = None;
            let admit = |&time_us: &u64| match numbering.admit(time_us) {
                Admission::Trigger(trigger) if Some((trigger, time_us)) > latest => {
                    latest = Some((trigger, time_us));
                    latest
                }
                // Not in a file of ours; verify tells of it.
                _ => None,
            };
            (*track, times_us.iter().filter_map(admit).collect())
        };
        Numbered(self.images.iter().map(number).collect())
    }
}

fn phase_us(configuration: &Configuration, track: TrackName) -> i64 {
    let sync_us = match configuration.role {
        Role::Subordinate => i64::from(configuration.subordinate_delay_us),
        Role::Standalone | Role::Master => 0,
    };
    match track {
        TrackName::Depth | TrackName::Ir => sync_us + i64::from(configuration.depth_delay_us),
        TrackName::Color | TrackName::Imu => sync_us,
    }
}

/// Triggers and device times of the frames of each image track.
struct Numbered(Vec<(TrackName, Vec<(u64, u64)>)>);

impl Numbered {
    /// The track that leads: the first with frames.
    fn leading(&self) -> Option<(TrackName, &[(u64, u64)])> {
        let with_frames = self.0.iter().find(|(_, frames)| !frames.is_empty());
        with_frames.map(|(track, frames)| (*track, &frames[..]))
    }

    /// Microseconds from trigger to trigger, where there are frames enough to tell.
    fn period_us(&self) -> Option<f64> {
        let (_, frames) = self.leading()?;
        let ((first, first_us), (last, last_us)) = (*frames.first()?, *frames.last()?);
        let apart_us = last_us.saturating_sub(first_us);
        (apart_us >= MEASURED_US && last > first).then(|| apart_us as f64 / (last - first) as f64)
    }

    /// The trigger nearest to a device time.
    fn nearest(&self, us: u64, nominal_us: f64) -> Option<u64> {
        let (_, frames) = self.leading()?;
        let behind = frames.partition_point(|(_, time_us)| *time_us < us);
        let (trigger, time_us) = *frames.get(behind).or(frames.last())?;
        let apart = (i128::from(us) - i128::from(time_us)) as f64 / nominal_us;
        Some(trigger.saturating_add_signed(apart.round() as i64))
    }
}

/// What the files tell of their take.
pub(super) fn of(files: &[DeviceFile]) -> std::result::Result<(Take, Triggers), String> {
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
    let evidence = Evidence { files, numbered, triggers: first..end };
    Ok((evidence.take(), evidence.triggers()))
}

/// Numbers the frames of all devices: subordinates by the master's pulses.
fn number_all(files: &[DeviceFile]) -> Vec<Numbered> {
    let master = files.iter().find(|file| file.configuration.role == Role::Master);
    let master = master.map(|file| (file, file.numbered(None)));
    let number = |file: &DeviceFile| {
        let origin = master.as_ref().filter(|_| file.configuration.role == Role::Subordinate);
        file.numbered(origin.and_then(|(master, of_master)| origin_of(master, of_master, file)))
    };
    files.iter().map(number).collect()
}

/// Where a subordinate counts from. Both clocks were set to zero at once, and run apart by as much
/// as the periods that they measured; where their firmware sets them to other times, all that is
/// known is that both files begin with the same trigger.
fn origin_of(master: &DeviceFile, of_master: &Numbered, file: &DeviceFile) -> Option<Origin> {
    let (_, frames) = of_master.leading()?;
    let (trigger, master_us) = *frames.first()?;
    let alone = file.numbered(None);
    let nominal_us = 1e6 / f64::from(file.configuration.rate.fps());
    let color = |file: &DeviceFile| file.firmware.iter().find(|(n, _)| *n == "color").cloned();
    let (stamp_us, period_us) = if color(master) == color(file) {
        let both = of_master.period_us().zip(alone.period_us());
        let (of_master_us, of_file_us) = both.unwrap_or((nominal_us, nominal_us));
        (master_us as f64 * of_file_us / of_master_us, of_file_us)
    } else {
        let (track, frames) = alone.leading()?;
        let pulse_us = frames.first()?.1 as f64 - phase_us(&file.configuration, track) as f64;
        (pulse_us, alone.period_us().unwrap_or(nominal_us))
    };
    Some(Origin { trigger, stamp_us: stamp_us.round() as i64, period_us })
}

struct Evidence<'a> {
    files: &'a [DeviceFile],
    numbered: Vec<Numbered>,
    triggers: Range<u64>,
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
        let master = self.files.iter().position(|f| f.configuration.role == Role::Master);
        let both = self.files.iter().zip(&self.numbered);
        let mut devices: Vec<_> =
            both.map(|(file, numbered)| self.device(file, numbered, master)).collect();
        devices.sort_by(|a, b| a.serial.cmp(&b.serial));
        let dates = self.files.iter().filter_map(|file| file.date_utc_ns);
        Take {
            format: FORMAT,
            genlock: self.files.first().map(|file| file.recorder.clone()).unwrap_or_default(),
            started: dates.min().and_then(utc).unwrap_or_else(|| "unknown".to_owned()),
            outcome: Outcome::Failed,
            reason: Some(
                "the recorder did not come to finish the take; it was repaired from its files"
                    .to_owned(),
            ),
            triggers_asked: None,
            verdict: devices.iter().filter_map(|device| device.verdict).max(),
            host: None,
            devices,
        }
    }

    fn device(&self, file: &DeviceFile, numbered: &Numbered, master: Option<usize>) -> Device {
        let configuration = &file.configuration;
        let off = || "OFF".to_owned();
        let name = |track: TrackName| track.to_string().to_lowercase();
        let counts = file.images.iter().map(|(track, times)| (name(*track), times.len() as u64));
        let imu = configuration.imu.then(|| (name(TrackName::Imu), file.imu_samples));
        let mut device = Device {
            serial: file.serial.clone(),
            name: None,
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
            alarms: Vec::new(),
            losses: self.losses(file, numbered),
        };
        self.judge(&mut device, file, numbered, master);
        device
    }

    fn losses(&self, file: &DeviceFile, numbered: &Numbered) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut lose = |track: TrackName, range: Range<u64>| {
            losses.push(Loss {
                track: track.to_string().to_lowercase(),
                first_trigger: range.start,
                last_trigger: range.end - 1,
                cause: UNKNOWN.to_owned(),
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

    /// What the times say of how the device stood to the master; when frames arrived is not known.
    fn judge(
        &self,
        device: &mut Device,
        file: &DeviceFile,
        numbered: &Numbered,
        master: Option<usize>,
    ) {
        let first = self.triggers.start;
        let stamps_us = numbered.0.first().map(|(_, frames)| self.stamps(frames));
        let stamps_us = stamps_us.unwrap_or_default();
        let followed = master.filter(|_| file.configuration.role == Role::Subordinate);
        let of_master = followed.and_then(|place| {
            let (_, frames) =
                self.numbered[place].0.iter().find(|(t, _)| *t == TrackName::Color)?;
            Some((self.stamps(frames), &self.files[place].firmware))
        });
        let build = |firmware: &[(&str, String)]| {
            firmware.iter().find(|(name, _)| *name == "color").map(|(_, build)| build.clone())
        };
        let master = of_master.as_ref().map(|(stamps_us, firmware)| Master {
            stamps_us,
            delay_us: delay_us(device),
            other_firmware: build(firmware) != build(&file.firmware),
        });
        let mut moves = 0;
        if let Some(master) = &master {
            let all = pairs(first, master.stamps_us, &stamps_us, master.delay_us);
            let (out, moved) = Watch::over(device.rate, all, self.triggers.end - 1);
            moves = moved;
            device.alarms.extend(out.into_iter().map(|range| Alarm {
                first_trigger: *range.start(),
                last_trigger: *range.end(),
                what: OUT_OF_STEP.to_owned(),
            }));
        }
        let losses = device.losses.iter().map(|loss| loss.last_trigger + 1 - loss.first_trigger);
        let standing = judge(&Series {
            rate: file.configuration.rate,
            first,
            stamps_us: &stamps_us,
            arrived_us: &[],
            master,
            alarms: &device.alarms,
            moves,
            lost: losses.sum(),
        });
        device.verdict = Some(standing.verdict);
        device.reasons = standing.reasons;
        device.phase = standing.phase;
    }

    fn triggers(&self) -> Triggers {
        let mut table = Triggers { first: self.triggers.start, ..Triggers::default() };
        table.rows.resize_with(self.count(), Vec::new);
        for (file, numbered) in self.files.iter().zip(&self.numbered) {
            let stem = file_stem(&file.serial);
            for (track, frames) in &numbered.0 {
                table.columns.push(format!("{stem}.{}", track.to_string().to_lowercase()));
                push_column(&mut table, &self.stamps(frames));
            }
            table.columns.push(format!("{stem}.host"));
            push_column(&mut table, &vec![0; self.count()]);
        }
        table
    }
}

fn push_column(table: &mut Triggers, times_us: &[u64]) {
    for (row, &us) in table.rows.iter_mut().zip(times_us) {
        row.push(if us > 0 { Cell::At(us) } else { Cell::Lost(UNKNOWN.to_owned()) });
    }
}

/// How much later than the master's color a device's leading exposures are planned.
fn delay_us(device: &Device) -> f64 {
    let depth = if device.color_mode == "OFF" { device.depth_delay_off_color.ticks } else { 0 };
    (device.delay_off_master.ticks + depth) as f64 * 100.0 / 9.0
}

/// A date of Matroska, nanoseconds since 2001-01-01T00:00:00Z, as `take.toml` has it.
fn utc(ns: i64) -> Option<String> {
    let seconds = ns.div_euclid(1_000_000_000).checked_add(978_307_200)?;
    let date = jiff::Timestamp::from_second(seconds).ok()?;
    Some(date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
