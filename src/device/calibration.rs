//! What the recorder needs of a camera's calibration: the IMU's correction, and the depth camera
//! for the depth engine (usb-protocol.md 3.4 and 7.3).

use genlock_emulator::plugin::CameraCalibration;
use genlock_formats::k4a::{CalibrationError, Factory, FactoryCamera, FactoryInertial};

/// A calibration, parsed.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// The depth camera as the depth engine takes it.
    pub depth_camera: CameraCalibration,
    /// Correction of angular rates.
    pub gyroscope: ImuCorrection,
    /// Correction of accelerations.
    pub accelerometer: ImuCorrection,
}

impl Calibration {
    /// Reads a camera's calibration JSON.
    ///
    /// # Errors
    /// What is missing or malformed, in words.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let words = |error: CalibrationError| error.to_string();
        let factory = Factory::read(json).map_err(words)?;
        let sensor = |kind| factory.inertial(kind).map(ImuCorrection::of).map_err(words);
        Ok(Self {
            depth_camera: for_engine(&factory.camera(Factory::DEPTH).map_err(words)?),
            gyroscope: sensor(Factory::GYROSCOPE)?,
            accelerometer: sensor(Factory::ACCELEROMETER)?,
        })
    }
}

fn for_engine(camera: &FactoryCamera) -> CameraCalibration {
    CameraCalibration {
        rotation: camera.pose.rotation,
        translation_mm: camera.pose.translation_mm,
        model: camera.model.number(),
        parameter_count: camera.parameter_count,
        parameters: camera.parameters,
        width: camera.width,
        height: camera.height,
        metric_radius: camera.metric_radius,
    }
}

/// The correction of one inertial sensor: `S (v * v) + M v + b`, with `M` and `b` following the
/// temperature.
#[derive(Debug, Clone)]
pub struct ImuCorrection {
    bias_model: [f32; 12],
    mixing_model: [f32; 36],
    second_order: [f32; 9],
    bias: [f32; 3],
    mixing: [f32; 9],
}

impl ImuCorrection {
    fn of(sensor: FactoryInertial) -> Self {
        let mut correction = Self {
            bias_model: sensor.bias_model,
            mixing_model: sensor.mixing_model,
            second_order: sensor.second_order,
            bias: [0.0; 3],
            mixing: [0.0; 9],
        };
        correction.set_temperature(sensor.temperature_c);
        correction
    }

    /// Makes the correction hold for another temperature.
    pub fn set_temperature(&mut self, temperature_c: f32) {
        let poly =
            |terms: &[f32]| terms.iter().rev().fold(0.0, |sum, term| sum * temperature_c + term);
        for (bias, terms) in self.bias.iter_mut().zip(self.bias_model.chunks_exact(4)) {
            *bias = poly(terms);
        }
        for (cell, terms) in self.mixing.iter_mut().zip(self.mixing_model.chunks_exact(4)) {
            *cell = poly(terms);
        }
    }

    /// Corrects a gyroscope's value: it has no second order.
    #[must_use]
    pub fn linear(&self, value: [f32; 3]) -> [f32; 3] {
        let row = |r: usize| {
            (0..3).map(|c| self.mixing[3 * r + c] * value[c]).sum::<f32>() + self.bias[r]
        };
        [row(0), row(1), row(2)]
    }

    /// Corrects an accelerometer's value.
    #[must_use]
    pub fn with_second_order(&self, value: [f32; 3]) -> [f32; 3] {
        let linear = self.linear(value);
        let row = |r: usize| {
            (0..3).map(|c| self.second_order[3 * r + c] * value[c] * value[c]).sum::<f32>()
                + linear[r]
        };
        [row(0), row(1), row(2)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_follows_its_polynomials() {
        let mut bias_model = [0.0; 12];
        bias_model[..4].copy_from_slice(&[1.0, 0.5, 0.0, 0.0]);
        let mut mixing_model = [0.0; 36];
        for axis in 0..3 {
            mixing_model[4 * 4 * axis] = 2.0;
        }
        mixing_model[4] = 0.25;
        let mut second_order = [0.0; 9];
        second_order[8] = 0.5;
        let mut correction = ImuCorrection {
            bias_model,
            mixing_model,
            second_order,
            bias: [0.0; 3],
            mixing: [0.0; 9],
        };
        correction.set_temperature(10.0);
        assert_eq!(correction.linear([1.0, 4.0, 3.0]), [9.0, 8.0, 6.0]);
        assert_eq!(correction.with_second_order([1.0, 4.0, 3.0]), [9.0, 8.0, 10.5]);
    }

    #[test]
    fn a_synthetic_calibration_is_read_whole() {
        let json = genlock_emulator::calibration::synthetic(1, "000000000001");
        let calibration = Calibration::read(&json).expect("a calibration");
        let camera = calibration.depth_camera;
        assert_eq!((camera.width, camera.height, camera.model), (1024, 1024, 4));
        assert!((camera.parameters[0] - 0.5).abs() < 0.01);
        let refusal = Calibration::read(b"{}").expect_err("nothing in it");
        assert!(refusal.contains("CameraLocationD0"), "{refusal}");
    }
}
