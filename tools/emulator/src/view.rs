//! What a camera sees: a scene, or a recording.

use crate::calibration::{Uncalibrate, synthetic};
use crate::playback::Playback;
use crate::raw::{Body, SensorMode};
use crate::scene::Scene;
use genlock_formats::k4a::{ColorMode, DepthMode};
use std::sync::Arc;

/// What a camera sees. Clones share what was rendered.
#[derive(Debug, Clone)]
pub struct View {
    source: Source,
    calibration: Arc<Vec<u8>>,
    accelerometer: Uncalibrate,
    gyroscope: Uncalibrate,
    color: (Option<ColorMode>, Arc<Vec<Vec<u8>>>),
    depth: (Option<DepthMode>, Arc<Vec<Body>>),
}

#[derive(Debug, Clone)]
enum Source {
    Scene(Arc<Scene>),
    Playback(Arc<Playback>),
}

/// What the IMU measures, before the device's calibration is applied to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImuReading {
    /// m/s² along x, y, z.
    pub accelerometer: [f32; 3],
    /// rad/s about x, y, z.
    pub gyroscope: [f32; 3],
    /// °C.
    pub temperature_c: f32,
}

/// Frames in a rendered cycle of about this many pixels in all, at least 2 and at most 8.
const CYCLE_PIXELS: u32 = 17_000_000;

fn cycle((width, height): (u32, u32)) -> usize {
    (CYCLE_PIXELS / (width * height)).clamp(2, 8) as usize
}

impl View {
    /// The scene of `seed`, seen by the camera with `serial`.
    #[must_use]
    pub fn scene(seed: u64, serial: &str) -> Self {
        Self::new(Source::Scene(Arc::new(Scene::new(seed))), synthetic(seed, serial))
    }

    /// A recording, seen by the camera with `serial`. Where the recording has no calibration, a
    /// synthetic one stands in.
    #[must_use]
    pub fn playback(playback: Arc<Playback>, serial: &str) -> Self {
        let calibration = playback.calibration.clone();
        let calibration = calibration.unwrap_or_else(|| synthetic(0, serial));
        Self::new(Source::Playback(playback), calibration)
    }

    fn new(source: Source, calibration: Vec<u8>) -> Self {
        Self {
            source,
            accelerometer: Uncalibrate::of(&calibration, "Accelerometer"),
            gyroscope: Uncalibrate::of(&calibration, "Gyro"),
            calibration: Arc::new(calibration),
            color: (None, Arc::default()),
            depth: (None, Arc::default()),
        }
    }

    /// The camera's calibration JSON.
    #[must_use]
    pub fn calibration(&self) -> &[u8] {
        &self.calibration
    }

    /// Gets color images of `mode` ready; says false when there are none of that mode.
    pub fn prepare_color(&mut self, mode: ColorMode) -> bool {
        match &self.source {
            Source::Playback(playback) => playback.configuration.color == Some(mode),
            Source::Scene(_) if self.color.0 == Some(mode) => true,
            Source::Scene(scene) => {
                let cycle = cycle(mode.size());
                let images = (0..cycle).map(|number| scene.color(mode, number, cycle)).collect();
                self.color = (Some(mode), Arc::new(images));
                true
            }
        }
    }

    /// Gets depth and IR images ready for what the sensor does; says false when there are none.
    pub fn prepare_depth(&mut self, sensor: SensorMode) -> bool {
        let mode = match sensor {
            SensorMode::PseudoCommon => DepthMode::PassiveIr,
            SensorMode::LongThrow => DepthMode::NfovUnbinned,
            SensorMode::MegaPixel => DepthMode::WfovUnbinned,
            SensorMode::QuarterMegaPixel => DepthMode::Wfov2x2Binned,
        };
        match &self.source {
            Source::Playback(playback) => {
                playback.configuration.depth.map(SensorMode::of) == Some(sensor)
            }
            Source::Scene(_) if self.depth.0 == Some(mode) => true,
            Source::Scene(scene) => {
                let cycle = cycle(mode.size());
                let body = |number| {
                    let (depth, ir) = scene.depth_and_ir(mode, number, cycle);
                    Body::pack(mode, &depth, &ir).expect("a scene is never too bright")
                };
                self.depth = (Some(mode), Arc::new((0..cycle).map(body).collect()));
                true
            }
        }
    }

    /// The color image of frame `number`; empty before any was prepared.
    #[must_use]
    pub fn color(&self, number: u64) -> &[u8] {
        let images = match &self.source {
            Source::Playback(playback) => &playback.color,
            Source::Scene(_) => &*self.color.1,
        };
        nth(images, number).map_or(&[], Vec::as_slice)
    }

    /// The depth and IR images of frame `number`; none before any was prepared.
    #[must_use]
    pub fn depth(&self, number: u64) -> Option<&Body> {
        match &self.source {
            Source::Playback(playback) => nth(&playback.depth, number),
            Source::Scene(_) => nth(&self.depth.1, number),
        }
    }

    /// What the IMU measures at sample `number`.
    #[must_use]
    pub fn imu(&self, number: u64) -> ImuReading {
        let recorded = match &self.source {
            Source::Playback(playback) => nth(&playback.imu, number),
            Source::Scene(_) => None,
        };
        let (accelerometer, gyroscope) = match recorded {
            Some(sample) => (sample.accelerometer, sample.gyroscope),
            None => at_rest(number),
        };
        ImuReading {
            accelerometer: self.accelerometer.apply(accelerometer),
            gyroscope: self.gyroscope.apply(gyroscope),
            temperature_c: self.accelerometer.temperature_c as f32,
        }
    }
}

fn nth<T>(items: &[T], number: u64) -> Option<&T> {
    let count = items.len() as u64;
    items.get(number.checked_rem(count)? as usize)
}

/// A camera on a tripod that sways a little: gravity, and a triangle wave of half a second.
fn at_rest(number: u64) -> ([f32; 3], [f32; 3]) {
    let phase = (number % 833) as f32 / 833.0;
    let sway = (phase - 0.5).abs() - 0.25;
    ([0.2 * sway, -0.1 + 0.1 * sway, -9.78], [0.01 * sway, 0.002, -0.02 * sway])
}
