//! A take, open for reading.

use super::files::{Files, Mapped};
use super::stretch::Stretches;
use super::times::TrackTimes;
use crate::error::{Error, Result};
use genlock_formats::k4a::{Configuration, ImuSample, Recording, TrackName};
use genlock_formats::mkv::ReadBlock;
use genlock_formats::take;
use std::ops::Range;
use std::path::Path;

/// A take, open for reading. It holds no place: cursors do, and there can be many.
pub struct Reader<'f> {
    files: &'f Files,
    devices: Vec<Device<'f>>,
}

/// One device of a take.
pub struct Device<'f> {
    mapped: &'f Mapped,
    told: &'f take::Device,
    pub(super) recording: Recording<'f>,
    pub(super) stretches: Stretches,
}

impl<'f> Reader<'f> {
    /// Reads the fronts and the indexes of the files.
    ///
    /// # Errors
    /// `File` when one of them is no recording of an Azure Kinect.
    pub fn open(files: &'f Files) -> Result<Self> {
        let device = |mapped: &'f Mapped| {
            let recording = mapped.recording()?;
            let stretches = Stretches::of(recording.demuxer());
            let told = &files.take().devices[mapped.device];
            let is_listed = |track: &TrackName| {
                *track == TrackName::Imu || mapped.times.iter().any(|times| times.track == *track)
            };
            if let Some(track) = recording.tracks().find(|track| !is_listed(track)) {
                let text = format!("has {track}, and triggers.csv has no column for it");
                return Err(Error::file(&mapped.path, &text));
            }
            Ok(Device { mapped, told, recording, stretches })
        };
        let devices = files.recordings.iter().map(device).collect::<Result<_>>()?;
        Ok(Self { files, devices })
    }

    /// The files that it reads.
    #[must_use]
    pub fn files(&self) -> &'f Files {
        self.files
    }

    /// The devices that have a recording, in the order of the take.
    #[must_use]
    pub fn devices(&self) -> &[Device<'f>] {
        &self.devices
    }

    /// The triggers of the take.
    #[must_use]
    pub fn triggers(&self) -> Range<u64> {
        self.files.triggers()
    }

    /// Microseconds from trigger to trigger.
    #[must_use]
    pub fn period_us(&self) -> u64 {
        self.devices.first().map_or(33_333, Device::period_us)
    }

    /// The first trigger that is `time_us` microseconds or more behind the take's first, by the
    /// clock of its first device; the end of the triggers when there is none.
    #[must_use]
    pub fn trigger_at(&self, time_us: u64) -> u64 {
        let times = self
            .devices
            .iter()
            .find_map(|device| device.mapped.times.iter().find(|times| times.first_us().is_some()));
        let found = times.and_then(|times| {
            let first_us = times.first_us()?;
            times.trigger_from(first_us.saturating_add(time_us))
        });
        found.unwrap_or(self.triggers().end)
    }
}

impl<'f> Device<'f> {
    /// Serial number; the file's name, where it does not say one.
    #[must_use]
    pub fn serial(&self) -> &'f str {
        &self.told.serial
    }

    /// What people call it: the name in the rig file, or the serial number.
    #[must_use]
    pub fn name(&self) -> &'f str {
        self.told.name.as_deref().unwrap_or(&self.told.serial)
    }

    /// What `take.toml` says of it, or what its file tells.
    #[must_use]
    pub fn told(&self) -> &'f take::Device {
        self.told
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &'f Path {
        &self.mapped.path
    }

    /// Its recording.
    #[must_use]
    pub fn recording(&self) -> &Recording<'f> {
        &self.recording
    }

    /// What it was configured to record.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.recording.configuration()
    }

    /// Microseconds from trigger to trigger.
    #[must_use]
    pub fn period_us(&self) -> u64 {
        1_000_000 / u64::from(self.configuration().rate.fps())
    }

    /// Its image tracks.
    pub fn image_tracks(&self) -> impl Iterator<Item = TrackName> + '_ {
        self.recording.tracks().filter(|track| *track != TrackName::Imu)
    }

    /// The IMU samples whose accelerometer time is in `time_us`, device time in microseconds, in
    /// order of the file. A block that breaks the rules is an error, and reading goes on behind it.
    pub fn imu(
        &self,
        time_us: Range<u64>,
    ) -> impl Iterator<Item = genlock_formats::Result<ImuSample>> + use<'f, '_> {
        let from = self.stretches.before(&self.recording, time_us.start);
        let to_ns = time_us.end.saturating_mul(1000);
        let range_ns = time_us.start.saturating_mul(1000)..to_ns;
        let within = move |sample: &genlock_formats::Result<ImuSample>| {
            sample.as_ref().map_or(true, |sample| range_ns.contains(&sample.accelerometer_ns))
        };
        // A packet that came late stands some clusters behind its time.
        let end_us = time_us.end.saturating_add(1_000_000);
        self.recording.imu_from(from, end_us).filter(within)
    }

    /// The device time of a trigger, by the nearest frame of its first track.
    #[must_use]
    pub fn time_us(&self, trigger: u64) -> u64 {
        let first =
            self.mapped.times.iter().find_map(|times| times.near(trigger, self.period_us()));
        first.unwrap_or(0)
    }

    /// The first trigger that a track has a frame of.
    pub(super) fn first_of(&self, track: TrackName) -> u64 {
        self.times(track).and_then(|times| times.trigger_from(0)).unwrap_or(0)
    }

    /// Has a block read from the disk, which will be looked at soon.
    pub(super) fn will_need(&self, block: &ReadBlock<'_>) {
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        self.mapped.map.will_need(at(block.at)..at(block.end));
    }

    pub(super) fn times(&self, track: TrackName) -> Option<&'f TrackTimes> {
        self.mapped.times.iter().find(|times| times.track == track)
    }
}
