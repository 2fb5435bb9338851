//! What a camera sees: a scene, or a film.

use crate::calibration::{Uncalibrate, synthetic};
use crate::film::Film;
use crate::playback::nth;
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
    color: (Option<ColorMode>, Cycle<Vec<u8>>),
    depth: (Option<DepthMode>, Cycle<Body>),
}

/// Images that are sent over and over again.
type Cycle<T> = Arc<[Arc<T>]>;

#[derive(Debug, Clone)]
enum Source {
    Scene(Arc<Scene>),
    Film(Arc<dyn Film>),
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

    /// A film, seen by the camera with `serial`. Where it has no calibration, a synthetic one
    /// stands in.
    #[must_use]
    pub fn film(film: Arc<dyn Film>, serial: &str) -> Self {
        let calibration = film.calibration().map(<[u8]>::to_vec);
        let calibration = calibration.unwrap_or_else(|| synthetic(0, serial));
        Self::new(Source::Film(film), calibration)
    }

    fn new(source: Source, calibration: Vec<u8>) -> Self {
        Self {
            source,
            accelerometer: Uncalibrate::of(&calibration, "Accelerometer"),
            gyroscope: Uncalibrate::of(&calibration, "Gyro"),
            calibration: Arc::new(calibration),
            color: (None, Arc::from([])),
            depth: (None, Arc::from([])),
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
            Source::Film(film) => film.configuration().color == Some(mode),
            Source::Scene(_) if self.color.0 == Some(mode) => true,
            Source::Scene(scene) => {
                let cycle = cycle(mode.size());
                let image = |number| Arc::new(scene.color(mode, number, cycle));
                self.color = (Some(mode), (0..cycle).map(image).collect());
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
            Source::Film(film) => film.configuration().depth.map(SensorMode::of) == Some(sensor),
            Source::Scene(_) if self.depth.0 == Some(mode) => true,
            Source::Scene(scene) => {
                let cycle = cycle(mode.size());
                let body = |number| {
                    let (depth, ir) = scene.depth_and_ir(mode, number, cycle);
                    Arc::new(Body::pack(mode, &depth, &ir).expect("a scene is never too bright"))
                };
                self.depth = (Some(mode), (0..cycle).map(body).collect());
                true
            }
        }
    }

    /// The color image of frame `number`; none before any was prepared, and where a film has none.
    #[must_use]
    pub fn color(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        match &self.source {
            Source::Film(film) => film.color(number),
            Source::Scene(_) => nth(&self.color.1, number).cloned(),
        }
    }

    /// The depth and IR images of frame `number`; none before any was prepared, and where a film
    /// has none.
    #[must_use]
    pub fn depth(&self, number: u64) -> Option<Arc<Body>> {
        match &self.source {
            Source::Film(film) => film.depth(number),
            Source::Scene(_) => nth(&self.depth.1, number).cloned(),
        }
    }

    /// What the IMU measures at sample `number`.
    #[must_use]
    pub fn imu(&self, number: u64) -> ImuReading {
        let recorded = match &self.source {
            Source::Film(film) => film.imu(number),
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

/// A camera on a tripod that sways a little: gravity, and a triangle wave of half a second.
fn at_rest(number: u64) -> ([f32; 3], [f32; 3]) {
    let phase = (number % 833) as f32 / 833.0;
    let sway = (phase - 0.5).abs() - 0.25;
    ([0.2 * sway, -0.1 + 0.1 * sway, -9.78], [0.01 * sway, 0.002, -0.02 * sway])
}
