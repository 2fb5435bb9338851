//! What one file of a take holds, and which trigger each of its frames answers.

use crate::error::{Error, Result};
use crate::map::Map;
use crate::sync::{Admission, Numbering, Origin};
use genlock_formats::k4a::{Configuration, ImuSample, Recording, Role, TrackName};
use genlock_formats::take::Profile;
use std::path::Path;

/// IMU samples are 600 us apart (usb-protocol.md 7.1): so long a pause is a lost packet.
const IMU_GAP_US: u64 = 3000;

/// Below so many microseconds of frames, how two clocks run against each other cannot be told
/// better than that they run alike.
const MEASURED_US: u64 = 1_000_000;

/// What one file of a take holds.
pub struct DeviceFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Serial number of the device; of a file that does not say it, its name.
    pub serial: String,
    /// Versions by component.
    pub firmware: Vec<(&'static str, String)>,
    /// What wrote the file.
    pub recorder: String,
    /// When the recording began, in nanoseconds since 2001-01-01, as Matroska counts.
    pub date_utc_ns: Option<i64>,
    /// What was configured.
    pub configuration: Configuration,
    /// How its images are stored, where profiles differ.
    pub profile: Option<Profile>,
    /// Image tracks with the device times of their frames.
    pub images: Vec<(TrackName, Vec<u64>)>,
    /// Samples of the IMU.
    pub imu_samples: u64,
    /// Device times between which no sample is missing.
    pub imu_runs: Vec<(u64, u64)>,
}

impl DeviceFile {
    /// Reads the times of all frames; of images it touches the heads alone.
    ///
    /// # Errors
    /// `File` when it is no recording of an Azure Kinect.
    pub fn read(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
        Ok(Self::of(path, &recording, map.len() as u64))
    }

    /// The same, of a recording that is open.
    pub fn of(path: &Path, recording: &Recording<'_>, bytes: u64) -> Self {
        let tag = |name| recording.tag(name).map(str::to_owned);
        let firmware = [
            ("color", tag("K4A_COLOR_FIRMWARE_VERSION")),
            ("depth", tag("K4A_DEPTH_FIRMWARE_VERSION")),
        ];
        let info = &recording.demuxer().header().info;
        let named = path.file_stem().unwrap_or_default().to_string_lossy();
        let tracks = recording.tracks().filter(|track| *track != TrackName::Imu);
        let mut file = Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes,
            serial: recording.serial().unwrap_or(&named).to_owned(),
            firmware: firmware.into_iter().filter_map(|(n, v)| Some((n, v?))).collect(),
            recorder: info.writing_app.trim_start_matches("genlock-").to_owned(),
            date_utc_ns: info.date_utc_ns,
            configuration: recording.configuration().clone(),
            profile: recording.profile(),
            images: tracks.map(|track| (track, Vec::new())).collect(),
            imu_samples: 0,
            imu_runs: Vec::new(),
        };
        file.read_times(recording);
        file
    }

    fn read_times(&mut self, recording: &Recording<'_>) {
        let number = |name| recording.track(name).map(|track| track.number);
        let numbers: Vec<_> = self.images.iter().map(|(name, _)| number(*name)).collect();
        let imu = number(TrackName::Imu);
        for block in recording.blocks().flatten() {
            if let Some(place) = numbers.iter().position(|number| *number == Some(block.track)) {
                self.images[place].1.push(recording.time_us(block.time_ns));
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
pub(super) struct Numbered(pub Vec<(TrackName, Vec<(u64, u64)>)>);

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
    pub fn nearest(&self, us: u64, nominal_us: f64) -> Option<u64> {
        let (_, frames) = self.leading()?;
        let behind = frames.partition_point(|(_, time_us)| *time_us < us);
        let (trigger, time_us) = *frames.get(behind).or(frames.last())?;
        let apart = (i128::from(us) - i128::from(time_us)) as f64 / nominal_us;
        Some(trigger.saturating_add_signed(apart.round() as i64))
    }
}

/// Numbers the frames of all devices: subordinates by the master's pulses.
pub(super) fn number_all(files: &[DeviceFile]) -> Vec<Numbered> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::k4a::Rate;

    /// Color at 30 fps for `triggers`, by a crystal that is `ppm` off.
    fn file(role: Role, ppm: f64, triggers: std::ops::Range<u64>) -> DeviceFile {
        let stamp = |k: u64| (k as f64 * 1e5 / 3.0 * (1.0 + ppm / 1e6)).round() as u64;
        DeviceFile {
            name: String::new(),
            bytes: 0,
            serial: role.to_string(),
            firmware: vec![("color", "1.6.110".to_owned())],
            recorder: String::new(),
            date_utc_ns: None,
            configuration: Configuration {
                color: Some("720p".parse().expect("a mode")),
                depth: None,
                rate: Rate::Fps30,
                imu: false,
                role,
                subordinate_delay_us: 0,
                depth_delay_us: 0,
                start_offset_ns: 0,
            },
            profile: None,
            images: vec![(TrackName::Color, triggers.map(stamp).collect())],
            imu_samples: 0,
            imu_runs: Vec::new(),
        }
    }

    /// The first triggers of master and subordinate.
    fn firsts(files: &[DeviceFile; 2]) -> [u64; 2] {
        let numbered = number_all(files);
        [0, 1].map(|i| numbered[i].leading().expect("frames").1[0].0)
    }

    #[test]
    fn subordinates_count_by_the_master_whatever_was_lost_at_the_beginning() {
        let master = || file(Role::Master, 0.0, 10..100);
        assert_eq!(firsts(&[master(), file(Role::Subordinate, 0.0, 10..95)]), [10, 10]);
        assert_eq!(firsts(&[master(), file(Role::Subordinate, 0.0, 13..95)]), [10, 13]);
        assert_eq!(firsts(&[master(), file(Role::Subordinate, 0.0, 8..12)]), [10, 8]);
    }

    /// An hour of warm-up at 300 ppm: the clocks stand a second apart when the take begins.
    #[test]
    fn crystals_that_ran_apart_before_the_take_move_no_number() {
        let from = 30 * 3600;
        let master = file(Role::Master, -100.0, from..from + 600);
        let subordinate = file(Role::Subordinate, 200.0, from + 2..from + 600);
        let [first, second] = firsts(&[master, subordinate]);
        assert_eq!(second, first + 2);
    }

    #[test]
    fn devices_of_different_firmware_are_taken_to_begin_together() {
        let master = file(Role::Master, 0.0, 10..100);
        let mut other = file(Role::Subordinate, 0.0, 15..100);
        other.firmware[0].1 = "1.6.107".to_owned();
        assert_eq!(firsts(&[master, other]), [10, 10]);
    }

    #[test]
    fn times_that_go_back_are_no_frames_of_a_trigger() {
        let mut one = file(Role::Standalone, 0.0, 10..100);
        one.images[0].1.extend([400_000, 0, u64::MAX, 5]);
        let numbered = one.numbered(None);
        let frames = numbered.leading().expect("frames").1;
        assert!(frames.windows(2).all(|two| two[0].0 < two[1].0), "{frames:?}");
    }
}
