//! What the recorder needs of a camera's calibration: the IMU's correction, and the depth camera
//! for the depth engine (usb-protocol.md 3.4 and 7.3).

use genlock_emulator::plugin::CameraCalibration;
use serde_json::Value;

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
        let json: Value = serde_json::from_slice(json).map_err(|cause| cause.to_string())?;
        let information = &json["CalibrationInformation"];
        let camera = find(information, "Cameras", "Location", "CALIBRATION_CameraLocationD0")?;
        let sensor = |kind: &str| {
            let name = format!("CALIBRATION_InertialSensorType_{kind}");
            find(information, "InertialSensors", "SensorType", &name).and_then(ImuCorrection::read)
        };
        Ok(Self {
            depth_camera: depth_camera(camera)?,
            gyroscope: sensor("Gyro")?,
            accelerometer: sensor("Accelerometer")?,
        })
    }
}

fn find<'j>(json: &'j Value, list: &str, key: &str, name: &str) -> Result<&'j Value, String> {
    let entries = json[list].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().find(|entry| entry[key] == name).ok_or(format!("no {name} in {list}"))
}

/// Exactly `N` numbers; a shorter list is filled up with zeros, as libk4a does.
fn numbers<const N: usize>(json: &Value, name: &str) -> Result<[f32; N], String> {
    let list = json[name].as_array().ok_or(format!("no {name}"))?;
    if list.len() > N {
        return Err(format!("{name} has {} numbers, at most {N} are known", list.len()));
    }
    let mut numbers = [0.0; N];
    for (number, value) in numbers.iter_mut().zip(list) {
        *number = value.as_f64().ok_or(format!("{name} is not made of numbers"))? as f32;
    }
    Ok(numbers)
}

fn depth_camera(camera: &Value) -> Result<CameraCalibration, String> {
    let intrinsics = &camera["Intrinsics"];
    let model = match intrinsics["ModelType"].as_str() {
        Some("CALIBRATION_LensDistortionModelTheta") => 1,
        Some("CALIBRATION_LensDistortionModelPolynomial3K") => 2,
        Some("CALIBRATION_LensDistortionModelRational6KT") => 3,
        Some("CALIBRATION_LensDistortionModelBrownConrady") => 4,
        other => return Err(format!("lens model {}", other.unwrap_or("missing"))),
    };
    let size = |name: &str| camera[name].as_i64().and_then(|size| i32::try_from(size).ok());
    let radius = camera["MetricRadius"].as_f64().unwrap_or(0.0) as f32;
    let metres: [f32; 3] = numbers(&camera["Rt"], "Translation")?;
    Ok(CameraCalibration {
        rotation: numbers(&camera["Rt"], "Rotation")?,
        translation_mm: metres.map(|metres| metres * 1000.0),
        model,
        parameter_count: intrinsics["ModelParameterCount"].as_u64().unwrap_or(14).min(15) as u32,
        parameters: numbers(intrinsics, "ModelParameters")?,
        width: size("SensorWidth").ok_or("no SensorWidth")?,
        height: size("SensorHeight").ok_or("no SensorHeight")?,
        // libk4a's own stand-in where the calibration has none.
        metric_radius: if radius <= 0.0001 { 1.7 } else { radius },
    })
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
    fn read(sensor: &Value) -> Result<Self, String> {
        let mut correction = Self {
            bias_model: numbers(sensor, "BiasTemperatureModel")?,
            mixing_model: numbers(sensor, "MixingMatrixTemperatureModel")?,
            second_order: numbers(sensor, "SecondOrderScaling")?,
            bias: [0.0; 3],
            mixing: [0.0; 9],
        };
        let temperature_c = sensor["TemperatureC"].as_f64().ok_or("no TemperatureC")?;
        correction.set_temperature(temperature_c as f32);
        Ok(correction)
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
