//! The cameras of one device as the recorder sees them: whose frame it is, which trigger it
//! answers, and whether its time can be true.

use crate::config::DeviceConfig;
use crate::frame::{Frame, TrackName};
use crate::sync::{Admission, Numbering};
use genlock_formats::k4a::Role;
use std::collections::VecDeque;

/// Device time may run ahead of host time by this much from frame to frame before it is called
/// wrong.
const AHEAD_NS: u64 = 1_000_000_000;

/// After so many frames with times that cannot be true, in sequence, the clock itself has jumped.
const IMPLAUSIBLE_MAX: u32 = 30;

/// The cameras and the IMU of one device.
#[derive(Debug)]
pub struct Cameras {
    color: Option<Camera>,
    depth: Option<Camera>,
    has_depth_images: bool,
    imu: Option<Camera>,
    began: bool,
}

/// A sensor with a time line of its own. The IMU's samples answer no trigger; its numbers are not
/// used.
#[derive(Debug)]
struct Camera {
    numbering: Numbering,
    last: Option<(u64, u64)>,
    implausible: u32,
}

/// What a frame's time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The frame answers this trigger.
    Trigger(u64),
    /// The device's clock was reset; the frame answers this trigger.
    Reset(u64),
    /// The time cannot be true: another frame of the camera has it, or it runs away from the
    /// host's.
    Implausible,
}

impl Cameras {
    /// The cameras that `config` switches on.
    #[must_use]
    pub fn new(config: &DeviceConfig) -> Self {
        let sync_us = match config.role {
            Role::Subordinate => i64::from(config.subordinate_delay_us),
            Role::Standalone | Role::Master => 0,
        };
        let camera = |phase_us| Camera {
            numbering: Numbering::new(config.rate, phase_us),
            last: None,
            implausible: 0,
        };
        Self {
            color: config.color.map(|_| camera(sync_us)),
            depth: config.depth.map(|_| camera(sync_us + i64::from(config.depth_delay_us))),
            has_depth_images: config.depth.is_some_and(|mode| mode.has_depth()),
            imu: config.imu.then(|| camera(0)),
            began: false,
        }
    }

    /// Whether two tracks come from the same sensor.
    #[must_use]
    pub fn same(a: TrackName, b: TrackName) -> bool {
        let of_depth = |track| matches!(track, TrackName::Depth | TrackName::Ir);
        a == b || (of_depth(a) && of_depth(b))
    }

    /// The image tracks that the device delivers.
    pub fn image_tracks(&self) -> impl Iterator<Item = TrackName> {
        let depth = self.depth.is_some();
        [
            self.color.is_some().then_some(TrackName::Color),
            (depth && self.has_depth_images).then_some(TrackName::Depth),
            depth.then_some(TrackName::Ir),
        ]
        .into_iter()
        .flatten()
    }

    /// Every track that the device delivers.
    pub fn tracks(&self) -> impl Iterator<Item = TrackName> {
        self.image_tracks().chain(self.imu.is_some().then_some(TrackName::Imu))
    }

    /// Judges a frame by its time.
    ///
    /// # Errors
    /// When the device's clock has jumped for good.
    pub fn judge(&mut self, frame: &Frame) -> Result<Judged, String> {
        let began = self.began;
        let by_image = self.nearest(frame.track, frame.stamp_us);
        let Some(camera) = self.of_mut(frame.track) else {
            return Ok(Judged::Implausible);
        };
        if camera.runs_away(frame) || (began && camera.goes_back(frame)) {
            camera.implausible += 1;
            return if began && camera.implausible > IMPLAUSIBLE_MAX {
                Err("its clock jumped in mid-take: it was reset or restarted".to_owned())
            } else {
                Ok(Judged::Implausible)
            };
        }
        camera.implausible = 0;
        camera.last = Some((frame.stamp_us, frame.arrived_ns));
        Ok(match camera.numbering.admit(frame.stamp_us) {
            Admission::RolledBack(_) if frame.track == TrackName::Imu => Judged::Reset(by_image),
            _ if frame.track == TrackName::Imu => Judged::Trigger(by_image),
            Admission::Trigger(trigger) => Judged::Trigger(trigger),
            Admission::Repeated(_) => Judged::Implausible,
            Admission::RolledBack(trigger) => Judged::Reset(trigger),
        })
    }

    /// The first trigger from which on every camera, and the IMU, has frames among those held; none
    /// while one has none. The IMU's clock follows a reset late (usb-protocol.md 7.4), and a take
    /// that began before would lack its samples.
    #[must_use]
    pub fn first_common(&self, held: &VecDeque<Frame>) -> Option<u64> {
        let first = |track: TrackName| {
            let frame = held.iter().find(|frame| frame.track == track)?;
            let trigger = self.nearest(track, frame.stamp_us);
            Some(if track == TrackName::Imu { trigger + 1 } else { trigger })
        };
        self.tracks().map(first).try_fold(0, |latest, first| Some(latest.max(first?)))
    }

    /// Device time in microseconds at which the take begins, with trigger `first`: no camera's
    /// frame of it is earlier.
    pub fn start_of(&mut self, first: u64) -> u64 {
        self.began = true;
        let half_period = |camera: &Camera| {
            let next = camera.numbering.time_of(first + 1)?;
            let time = camera.numbering.time_of(first)?;
            Some(time.saturating_sub((next - time) / 2))
        };
        [&self.color, &self.depth].into_iter().flatten().filter_map(half_period).min().unwrap_or(0)
    }

    /// The trigger nearest to device time `stamp_us`, by the camera that delivers `track`; for the
    /// IMU, by any camera.
    #[must_use]
    pub fn nearest(&self, track: TrackName, stamp_us: u64) -> u64 {
        let camera = match track {
            TrackName::Color => self.color.as_ref(),
            TrackName::Depth | TrackName::Ir => self.depth.as_ref(),
            TrackName::Imu => self.color.as_ref().or(self.depth.as_ref()),
        };
        camera.map_or(0, |camera| camera.numbering.nearest(stamp_us))
    }

    fn of_mut(&mut self, track: TrackName) -> Option<&mut Camera> {
        match track {
            TrackName::Color => self.color.as_mut(),
            TrackName::Depth | TrackName::Ir => self.depth.as_mut(),
            TrackName::Imu => self.imu.as_mut(),
        }
    }
}

impl Camera {
    fn goes_back(&self, frame: &Frame) -> bool {
        self.last.is_some_and(|(stamp_us, _)| frame.stamp_us < stamp_us)
    }

    fn runs_away(&self, frame: &Frame) -> bool {
        self.last.is_some_and(|(stamp_us, arrived_ns)| {
            let host_ns = frame.arrived_ns.saturating_sub(arrived_ns);
            let device_ns = frame.stamp_us.saturating_sub(stamp_us).saturating_mul(1000);
            device_ns > host_ns.saturating_add(AHEAD_NS)
        })
    }
}
