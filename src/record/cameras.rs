//! The cameras of one device as the recorder sees them: whose frame it is, which trigger it
//! answers, and whether its time can be true.

use crate::config::DeviceConfig;
use crate::frame::{Frame, TrackName};
use crate::sync::{Admission, Numbering, Origin, Pulse, Reference};
use genlock_formats::k4a::Role;

/// Device time may run ahead of host time by this much from frame to frame before it is called
/// wrong.
const AHEAD_NS: u64 = 1_000_000_000;

/// After so many frames with times that cannot be true, in sequence, the clock itself has jumped.
const IMPLAUSIBLE_MAX: u32 = 30;

/// Samples of an IMU packet are within 5 ms (usb-protocol.md 7.1).
const PACKET_US_MAX: u64 = 50_000;

/// The cameras and the IMU of one device.
#[derive(Debug)]
pub struct Cameras {
    color: Option<Camera>,
    depth: Option<Camera>,
    fps: u64,
    has_depth_images: bool,
    imu: Option<Camera>,
    began: bool,
}

/// A sensor with a time line of its own. The IMU's samples answer no trigger; its numbers are not
/// used.
#[derive(Debug)]
struct Camera {
    numbering: Numbering,
    last: Option<Seen>,
    /// Frames since the last reset of its clock.
    frames: u64,
    /// The least by which a frame arrived after the pulse that it answers, in microseconds: of the
    /// newest frames, and of those before.
    lags_us: [i64; 2],
    implausible: u32,
}

/// Frames of which the least lag is known together: clocks that are 400 ppm apart move by less than
/// a millisecond within them.
const LAG_FRAMES: u64 = 64;

/// When a frame was exposed, by the device, and arrived, by the host.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp_us: u64,
    arrived_ns: u64,
}

/// Frames by which a master's rate and lag are measured before its subordinates count by them.
const MEASURED_MIN: u64 = 4;

/// A subordinate's clock, set to zero with the master's, shows what the master's shows; firmware
/// and delivery make 0.3 s of difference at most (spec/users.md D). One that was not set is seconds
/// to hours off.
const NOT_ROLLED_BACK_US: i64 = 1_000_000;

/// What a frame's time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The frame answers this trigger.
    Trigger(u64),
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
        let camera = |phase_us| Camera::new(Numbering::new(config.rate, phase_us));
        Self {
            color: config.color.map(|_| camera(sync_us)),
            depth: config.depth.map(|_| camera(sync_us + i64::from(config.depth_delay_us))),
            fps: config.rate.fps().into(),
            has_depth_images: config.depth.is_some_and(|mode| mode.has_depth()),
            imu: config.imu.then(|| camera(0)),
            began: false,
        }
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
        // Its first samples are of the clock before a jump, its last of the one after.
        if frame.last_us.saturating_sub(frame.stamp_us) > PACKET_US_MAX {
            return Ok(Judged::Implausible);
        }
        let by_image = self.nearest(frame.track, frame.stamp_us);
        let Some(camera) = self.of_mut(frame.track) else {
            return Ok(Judged::Implausible);
        };
        if camera.runs_away(frame) || (began && camera.goes_back(frame)) {
            camera.implausible += 1;
            return if began && camera.implausible > IMPLAUSIBLE_MAX {
                Err("its clock jumped in mid-take: it, or its master, was restarted".to_owned())
            } else {
                Ok(Judged::Implausible)
            };
        }
        camera.implausible = 0;
        let admission = camera.numbering.admit(frame.stamp_us);
        if matches!(admission, Admission::RolledBack(_)) {
            (camera.frames, camera.lags_us) = (0, [i64::MAX; 2]);
        }
        camera.note(frame);
        Ok(match admission {
            _ if frame.track == TrackName::Imu => Judged::Trigger(by_image),
            Admission::Trigger(trigger) | Admission::RolledBack(trigger) => {
                Judged::Trigger(trigger)
            }
            Admission::Repeated(_) => Judged::Implausible,
        })
    }

    /// Frames that tell where a clock stands; where arrivals must tell the pulse, a second of them,
    /// of which some were delivered in time.
    fn measured_min(&self, by_arrival: bool) -> u64 {
        if by_arrival { self.fps.max(MEASURED_MIN) } else { MEASURED_MIN }
    }

    /// What a master's subordinates count by, once it is measured.
    #[must_use]
    pub fn reference(&self, by_arrival: bool) -> Option<Reference> {
        let min = self.measured_min(by_arrival);
        let color = self.color.as_ref().filter(|color| color.frames >= min)?;
        Some(Reference { origin: color.pulse()?, lag_us: color.lag_us() })
    }

    /// Counts by the master's pulses; says false before the first frame. A device whose firmware is
    /// not the master's sets its clock to another time; its pulses are then told by when they
    /// arrive.
    ///
    /// # Errors
    /// When the clock was not set to zero with the master's.
    pub fn follow(&mut self, reference: &Reference, other_firmware: bool) -> Result<bool, String> {
        let min = if other_firmware { self.measured_min(true) } else { 1 };
        let Some(lag_us) = self.lag_us(min) else {
            return Ok(false);
        };
        let ahead_us = reference.lag_us - lag_us;
        if ahead_us.abs() > NOT_ROLLED_BACK_US {
            return Err(format!(
                "its timestamps did not roll back to zero with the master's: they are {:.1} s \
                 apart; stop whatever else uses the rig, check the cable in its sync-in, and \
                 record again",
                ahead_us as f64 / 1e6
            ));
        }
        let mut origin = reference.origin;
        if other_firmware {
            origin.stamp_us = origin.stamp_us.saturating_add(ahead_us);
        }
        self.begin_at(origin);
        Ok(true)
    }

    /// The least lag of the cameras that have delivered so many frames.
    fn lag_us(&self, frames_min: u64) -> Option<i64> {
        let lags = [&self.color, &self.depth].into_iter().flatten();
        lags.filter(|camera| camera.frames >= frames_min).map(Camera::lag_us).min()
    }

    fn begin_at(&mut self, origin: Origin) {
        for camera in [&mut self.color, &mut self.depth].into_iter().flatten() {
            camera.numbering.begin_at(origin);
        }
    }

    /// The same cameras, of which nothing is known: the device's clock was set anew.
    #[must_use]
    pub fn anew(&self) -> Self {
        let anew = |camera: &Option<Camera>| {
            let numbering = &camera.as_ref()?.numbering;
            Some(Camera::new(numbering.anew()))
        };
        let (color, depth, imu) = (anew(&self.color), anew(&self.depth), anew(&self.imu));
        Self { color, depth, imu, began: false, ..*self }
    }

    /// Counts on from a pulse whose time is known by the host's clock, once frames have told where
    /// the device's clock stands. Says false before.
    pub fn join(&mut self, pulse: &Pulse) -> bool {
        let Some(lag_us) = self.lag_us(self.measured_min(true)) else { return false };
        let all = [&self.color, &self.depth, &self.imu].into_iter().flatten();
        // Who has not followed the reset yet, or not delivered, is waited for.
        let together = |camera: &Camera| {
            camera.frames > 0 && (camera.lag_us() - lag_us).abs() < NOT_ROLLED_BACK_US
        };
        if !all.into_iter().all(together) {
            return false;
        }
        let period_us = self.leading().map_or(0.0, |leading| leading.numbering.period_us());
        let host_us = i64::try_from(pulse.host_us).unwrap_or(i64::MAX);
        let stamp_us = host_us.saturating_sub(lag_us);
        self.begin_at(Origin { trigger: pulse.trigger, stamp_us, period_us });
        self.began = true;
        true
    }

    /// The device's times are told as `by_us` microseconds more from here on.
    pub fn move_by(&mut self, by_us: i64) {
        let all = [&mut self.color, &mut self.depth, &mut self.imu];
        for camera in all.into_iter().flatten() {
            camera.numbering.move_by(by_us);
            camera.lags_us = camera.lags_us.map(|lag_us| match lag_us {
                i64::MAX => lag_us,
                _ => lag_us.saturating_sub(by_us),
            });
            if let Some(last) = &mut camera.last {
                last.stamp_us = last.stamp_us.saturating_add_signed(by_us);
            }
        }
    }

    /// When the leading camera's frame of `trigger` is expected, in microseconds of device time.
    #[must_use]
    pub fn time_of(&self, trigger: u64) -> Option<u64> {
        self.leading()?.numbering.time_of(trigger)
    }

    /// The pulse that a frame of the leading camera, numbered `trigger`, tells of.
    #[must_use]
    pub fn beat(&self, frame: &Frame, trigger: u64) -> Option<Pulse> {
        let leading = self.leading().filter(|_| self.image_tracks().next() == Some(frame.track))?;
        let pulse_us = i64::try_from(frame.stamp_us).ok()? - leading.numbering.phase_us();
        let host_us = u64::try_from(pulse_us.checked_add(leading.lag_us())?).ok()?;
        Some(Pulse { trigger, host_us })
    }

    fn leading(&self) -> Option<&Camera> {
        self.color.as_ref().or(self.depth.as_ref())
    }

    /// Triggers whose frames are held at most while the take has not begun: two thirds of a second,
    /// less than half of what the pools hold.
    #[must_use]
    pub fn held_max(&self) -> u64 {
        (self.fps * 2 / 3).max(3)
    }

    /// Depth counts by color, which comes first: its own first frame may be far from the reset.
    pub fn depth_counts_by_color(&mut self) {
        let pulse = self.color.as_ref().and_then(Camera::pulse);
        if let (Some(pulse), Some(depth)) = (pulse, &mut self.depth) {
            depth.numbering.begin_at(pulse);
        }
    }

    /// The latest trigger that anything was delivered of, once every camera, and the IMU, has
    /// delivered. The IMU's clock follows a reset late (usb-protocol.md 7.4): a take that began
    /// before would lack its samples.
    #[must_use]
    pub fn latest_of_all(&self) -> Option<u64> {
        let all = [&self.color, &self.depth, &self.imu];
        let silent = all.into_iter().flatten().any(|camera| camera.frames == 0);
        let latest = |track: TrackName| {
            let last = match track {
                TrackName::Color => self.color.as_ref(),
                TrackName::Depth | TrackName::Ir => self.depth.as_ref(),
                TrackName::Imu => self.imu.as_ref(),
            };
            Some(self.nearest(track, last?.last?.stamp_us))
        };
        self.tracks().filter_map(latest).max().filter(|_| !silent)
    }

    /// The trigger that a camera was about to answer when something of it arrived at `host_ns`;
    /// none before its first frame.
    #[must_use]
    pub fn at_host(&self, track: TrackName, host_ns: u64) -> Option<u64> {
        let camera = match track {
            TrackName::Color => self.color.as_ref(),
            TrackName::Depth | TrackName::Ir => self.depth.as_ref(),
            TrackName::Imu => self.color.as_ref().or(self.depth.as_ref()),
        }?;
        let last = camera.last?;
        let later_us = (i128::from(host_ns) - i128::from(last.arrived_ns)) / 1000;
        let stamp_us = i128::from(last.stamp_us) + later_us;
        Some(camera.numbering.nearest(u64::try_from(stamp_us.max(0)).ok()?))
    }

    /// Device time in microseconds at which the take begins, with trigger `first`: no camera's
    /// frame of it is earlier.
    pub fn start_of(&mut self, first: u64) -> u64 {
        self.began = true;
        let half_period = |camera: &Camera| {
            let next = camera.numbering.time_of(first + 1)?;
            let time = camera.numbering.time_of(first)?;
            // What rounding may make of half a period.
            const ROUNDING_US: u64 = 100;
            Some(time.saturating_sub((next - time) / 2 + ROUNDING_US))
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
    fn new(numbering: Numbering) -> Self {
        Self { numbering, last: None, frames: 0, lags_us: [i64::MAX; 2], implausible: 0 }
    }

    fn lag_us(&self) -> i64 {
        self.lags_us[0].min(self.lags_us[1])
    }

    fn note(&mut self, frame: &Frame) {
        let (stamp_us, arrived_ns) = (frame.stamp_us, frame.arrived_ns);
        self.last = Some(Seen { stamp_us, arrived_ns });
        if self.frames.is_multiple_of(LAG_FRAMES) {
            self.lags_us = [i64::MAX, self.lags_us[0]];
        }
        self.frames += 1;
        let pulse_us = i128::from(stamp_us) - i128::from(self.numbering.phase_us());
        let lag_us = i128::from(arrived_ns / 1000) - pulse_us;
        self.lags_us[0] = self.lags_us[0].min(i64::try_from(lag_us).unwrap_or(i64::MAX));
    }

    /// The pulse that its last frame answered.
    fn pulse(&self) -> Option<Origin> {
        let stamp_us = self.last?.stamp_us;
        Some(Origin {
            trigger: self.numbering.nearest(stamp_us),
            stamp_us: i64::try_from(stamp_us).ok()?.checked_sub(self.numbering.phase_us())?,
            period_us: self.numbering.period_us(),
        })
    }

    fn goes_back(&self, frame: &Frame) -> bool {
        self.last.is_some_and(|last| frame.stamp_us < last.stamp_us)
    }

    fn runs_away(&self, frame: &Frame) -> bool {
        self.last.is_some_and(|last| {
            let host_ns = frame.arrived_ns.saturating_sub(last.arrived_ns);
            let device_ns = frame.stamp_us.saturating_sub(last.stamp_us).saturating_mul(1000);
            device_ns > host_ns.saturating_add(AHEAD_NS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use genlock_formats::k4a::Role;

    fn cameras_with(stamp_us: u64, arrived_us: u64) -> Cameras {
        let config = DeviceConfig { role: Role::Subordinate, ..DeviceConfig::default() };
        let mut cameras = Cameras::new(&config);
        let (buf, arrived_ns) = (Pool::new(1, 1).lend().expect("a buffer"), arrived_us * 1000);
        let (track, last_us) = (TrackName::Color, stamp_us);
        let frame = Frame { track, stamp_us, last_us, arrived_ns, buf };
        cameras.judge(&frame).expect("a sound frame");
        cameras
    }

    #[test]
    fn a_clock_that_did_not_roll_back_with_the_masters_is_refused() {
        let origin = Origin { trigger: 4, stamp_us: 133_333, period_us: 33_333.3 };
        let reference = Reference { origin, lag_us: 20_000 };
        let mut in_time = cameras_with(166_666, 186_700);
        assert_eq!(in_time.follow(&reference, false), Ok(true));
        assert_eq!(in_time.nearest(TrackName::Color, 166_666), 5);
        let mut stale = cameras_with(7_200_000_000, 186_700);
        let refusal = stale.follow(&reference, false).expect_err("two hours apart");
        assert!(refusal.contains("roll back") && refusal.contains("7199"), "{refusal}");
        let silent = &mut Cameras::new(&DeviceConfig::default());
        assert_eq!(silent.follow(&reference, false), Ok(false));
    }
}
