//! What of a take is wanted: triggers, devices, tracks.

use super::cursor::{Found, IMAGES};
use super::reader::{Device, Reader};
use crate::error::{Error, Result};
use crate::record::file_stem;
use genlock_formats::k4a::TrackName;
use serde::Serialize;
use std::iter::StepBy;
use std::ops::{Range, RangeInclusive};

/// What is wanted of a take. The default is everything.
#[derive(Debug, Clone, Serialize)]
pub struct Selection {
    /// First trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_trigger: Option<u64>,
    /// Last trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_trigger: Option<u64>,
    /// Every so many triggers, counted from the first.
    pub every: usize,
    /// Serial numbers or names of devices; all where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Names of tracks; all where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        let (devices, tracks) = (Vec::new(), Vec::new());
        Self { from_trigger: None, to_trigger: None, every: 1, devices, tracks }
    }
}

/// A selection, found in a take.
pub struct Selected<'r, 'f> {
    /// The triggers, all that are between the first and the last.
    pub triggers: RangeInclusive<u64>,
    /// Whether these are all triggers of the take.
    pub is_whole: bool,
    /// Every so many of them.
    pub every: usize,
    /// The devices, each with its place in the reader and its name in files.
    pub devices: Vec<Chosen<'r, 'f>>,
    tracks: Vec<TrackName>,
}

/// A device that was selected.
pub struct Chosen<'r, 'f> {
    /// Its place in the reader.
    pub place: usize,
    /// Its name in the names of files: the serial number.
    pub stem: String,
    /// The device.
    pub device: &'r Device<'f>,
}

impl Selection {
    /// Finds what is selected.
    ///
    /// # Errors
    /// `Usage` when the take has nothing of it.
    pub fn of<'r, 'f>(&self, reader: &'r Reader<'f>) -> Result<Selected<'r, 'f>> {
        let all = reader.triggers();
        let last = all.end.checked_sub(1).filter(|last| *last >= all.start);
        let last = last.ok_or_else(|| Error::File("the take has no triggers".to_owned()))?;
        let from = self.from_trigger.unwrap_or(all.start).max(all.start);
        let to = self.to_trigger.unwrap_or(last).min(last);
        if from > to {
            let first = all.start;
            let text = format!("no trigger of the take is selected: it has {first} to {last}");
            return Err(Error::Usage(text));
        }
        let tracks = self.tracks.iter().map(|name| track(name)).collect::<Result<Vec<_>>>()?;
        let devices = self.devices_of(reader)?;
        let has = |track: &TrackName| {
            devices.iter().any(|chosen| chosen.device.recording().track(*track).is_some())
        };
        if !tracks.is_empty() && !tracks.iter().any(has) {
            let (tracks, path) = (self.tracks.join(", "), reader.files().path().display());
            return Err(Error::Usage(format!("{path}: {tracks} was not recorded")));
        }
        Ok(Selected {
            triggers: from..=to,
            is_whole: from == all.start && to == last,
            every: self.every.max(1),
            devices,
            tracks: if tracks.is_empty() { TrackName::ALL.to_vec() } else { tracks },
        })
    }

    fn devices_of<'r, 'f>(&self, reader: &'r Reader<'f>) -> Result<Vec<Chosen<'r, 'f>>> {
        let is = |device: &Device<'_>, name: &String| {
            [device.serial(), device.name()].contains(&&**name)
        };
        let devices = reader.devices();
        if let Some(name) =
            self.devices.iter().find(|name| !devices.iter().any(|device| is(device, name)))
        {
            let known: Vec<_> = devices.iter().map(Device::serial).collect();
            let known = known.join(", ");
            return Err(Error::Usage(format!("the take has no device '{name}'; it has {known}")));
        }
        let wanted = |device: &Device<'_>| {
            self.devices.is_empty() || self.devices.iter().any(|name| is(device, name))
        };
        let chosen = |(place, device): (usize, &'r Device<'f>)| {
            let stem = file_stem(device.serial());
            wanted(device).then_some(Chosen { place, stem, device })
        };
        Ok(devices.iter().enumerate().filter_map(chosen).collect())
    }
}

fn track(name: &str) -> Result<TrackName> {
    let known = TrackName::ALL.into_iter().find(|track| track_word(*track) == name);
    known.ok_or_else(|| {
        Error::Usage(format!("no track '{name}': there are color, depth, ir and imu"))
    })
}

/// The name of a track in files.
#[must_use]
pub fn track_word(track: TrackName) -> &'static str {
    match track {
        TrackName::Color => "color",
        TrackName::Depth => "depth",
        TrackName::Ir => "ir",
        TrackName::Imu => "imu",
    }
}

impl Selected<'_, '_> {
    /// The triggers that are wanted.
    pub fn triggers(&self) -> StepBy<RangeInclusive<u64>> {
        self.triggers.clone().step_by(self.every)
    }

    /// How many these are.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.triggers.end() - self.triggers.start()) / self.every as u64 + 1
    }

    /// Whether a track is wanted.
    #[must_use]
    pub fn has(&self, track: TrackName) -> bool {
        self.tracks.contains(&track)
    }

    /// The device times that the triggers span: from the first frame of the first to a period
    /// behind that of the last; all times, where nothing but whole takes is wanted.
    #[must_use]
    pub fn time_us(&self, device: &Device<'_>) -> Range<u64> {
        if self.is_whole {
            return 0..u64::MAX;
        }
        device.time_us(*self.triggers.start())
            ..device.time_us(self.triggers.end().saturating_add(1))
    }

    /// Forgets what of a capture is not wanted: it is not decoded then.
    pub fn keep(&self, found: &mut Found<'_>) {
        for (place, device) in found.devices.iter_mut().enumerate() {
            let chosen = self.devices.iter().any(|chosen| chosen.place == place);
            for (frame, track) in device.frames.iter_mut().zip(IMAGES) {
                if !chosen || !self.has(track) {
                    *frame = None;
                }
            }
        }
    }
}
