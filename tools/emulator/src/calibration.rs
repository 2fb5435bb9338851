//! Calibration: a synthetic one that real software reads, the depth engine's blob, and the way back
//! from calibrated IMU samples to what the sensor must have said.

use crate::noise::{Random, hash};
use serde_json::{Value, json};

/// First bytes of the emulator's depth calibration blob.
const BLOB_MARK: &[u8] = b"genlock emulator depth calibration\0";

/// Bytes of the blob; a real one has about 507000 (usb-protocol.md 3.5).
const BLOB_BYTES: usize = 65_536;

/// The depth calibration blob of an emulated camera.
#[must_use]
pub fn blob(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut blob = BLOB_MARK.to_vec();
    blob.extend((blob.len()..BLOB_BYTES).map(|_| random.next() as u8));
    blob
}

/// Whether a depth calibration blob is one of the emulator's.
#[must_use]
pub fn is_ours(blob: &[u8]) -> bool {
    blob.starts_with(BLOB_MARK)
}

/// A value near `middle`, at most `spread` away, of which each camera has its own.
fn near(random: &mut Random, middle: f64, spread: f64) -> f64 {
    let step = random.below(20_001) as f64 / 10_000.0 - 1.0;
    // Seven digits: what a float of 32 bits can tell.
    ((middle + spread * step) * 1e7).round() / 1e7
}

/// A calibration such as a camera's memory holds (usb-protocol.md 3.4), as compact JSON.
#[must_use]
pub fn synthetic(seed: u64, serial: &str) -> Vec<u8> {
    let random = &mut Random::new(hash(&[seed, 0xCA11]));
    let calibration = json!({"CalibrationInformation": {
        "Cameras": [
            camera(random, "D0", [0.5, 0.5, 0.49, 0.49], [0.0; 3]),
            camera(random, "PV0", [0.5, 0.5, 0.48, 0.64], [-0.032, -0.002, 0.004]),
        ],
        "InertialSensors": [inertial(random, "Gyro", 16), inertial(random, "Accelerometer", 56)],
        "Metadata": {
            "SerialId": serial,
            "FactoryCalDate": "1/1/2019 12:00:00 AM GMT",
            "Version": {"Major": 1, "Minor": 2},
            "DeviceName": "AzureKinect-Emulated",
            "Notes": "synthetic",
        },
    }});
    calibration.to_string().into_bytes()
}

fn camera(random: &mut Random, location: &str, pinhole: [f64; 4], translation: [f64; 3]) -> Value {
    let color = location == "PV0";
    let (width, height) = if color { (4096, 3072) } else { (1024, 1024) };
    let mut parameters: Vec<_> = pinhole.map(|value| near(random, value, 0.004)).to_vec();
    let distortion = if color {
        [0.55, -2.8, 1.6, 0.43, -2.6, 1.5]
    } else {
        [0.9, 0.35, 0.016, 1.24, 0.63, 0.086]
    };
    parameters.extend(distortion.map(|value| near(random, value, value.abs() * 0.05)));
    parameters.extend([0.0, 0.0, near(random, 0.0, 2e-4), near(random, 0.0, 2e-4)]);
    let translation = translation.map(|value| near(random, value, value.abs() * 0.03));
    // Both cameras look the same way, but that color looks 6 degrees down, as in a real device.
    let rotation = if color {
        [1.0, 0.0, 0.0, 0.0, 0.994_521_9, 0.104_528_5, 0.0, -0.104_528_5, 0.994_521_9]
    } else {
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    };
    json!({
        "Intrinsics": {
            "ModelParameterCount": 14,
            "ModelParameters": parameters,
            "ModelType": "CALIBRATION_LensDistortionModelBrownConrady",
        },
        "Location": format!("CALIBRATION_CameraLocation{location}"),
        "Purpose": "CALIBRATION_CameraPurposePhotoVideo",
        "MetricRadius": if color { 0.0 } else { 1.74 },
        "Rt": {"Rotation": rotation, "Translation": translation},
        "SensorHeight": height,
        "SensorWidth": width,
        "Shutter": "CALIBRATION_ShutterTypeUndefined",
        "ThermalAdjustmentParams": {"Params": vec![0.0; 12]},
    })
}

fn inertial(random: &mut Random, kind: &str, mask: u32) -> Value {
    let spread = if kind == "Gyro" { 0.01 } else { 0.2 };
    let mut bias = vec![0.0; 12];
    let mut mixing = vec![0.0; 36];
    for axis in 0..3 {
        bias[4 * axis] = near(random, 0.0, spread);
        for other in 0..3 {
            let middle = if axis == other { 1.0 } else { 0.0 };
            mixing[4 * (3 * axis + other)] = near(random, middle, 0.005);
        }
    }
    json!({
        "BiasTemperatureModel": bias,
        "BiasUncertainty": [1e-4, 1e-4, 1e-4],
        "Id": format!("CALIBRATION_InertialSensorId_LSM6DSM_{kind}"),
        "MixingMatrixTemperatureModel": mixing,
        "ModelTypeMask": mask,
        "Noise": [0.00095, 0.00095, 0.00095, 0.0, 0.0, 0.0],
        "Rt": {
            "Rotation":
                [0.0, -1.0, 0.0, -0.104_528_5, 0.0, -0.994_521_9, 0.994_521_9, 0.0, -0.104_528_5],
            "Translation": [-0.051, 0.003, 0.004],
        },
        "SecondOrderScaling": vec![0.0; 9],
        "SensorType": format!("CALIBRATION_InertialSensorType_{kind}"),
        "TemperatureBounds": [5.0, 60.0],
        "TemperatureC": 40.0,
    })
}

/// Undoes the calibration of one inertial sensor at one temperature (usb-protocol.md 7.3, without
/// its second order, which real devices have at 0).
#[derive(Debug, Clone, PartialEq)]
pub struct Uncalibrate {
    bias: [f64; 3],
    inverse: [[f64; 3]; 3],
    /// The temperature in °C for which it holds: the sensor's own.
    pub temperature_c: f64,
}

impl Uncalibrate {
    /// For the sensor `kind` (`Gyro` or `Accelerometer`) of a calibration. What the calibration
    /// does not say, or says so that it cannot be undone, changes nothing.
    #[must_use]
    pub fn of(calibration: &[u8], kind: &str) -> Self {
        let nothing = Self {
            bias: [0.0; 3],
            inverse: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            temperature_c: 40.0,
        };
        Self::read(calibration, kind).unwrap_or(nothing)
    }

    fn read(calibration: &[u8], kind: &str) -> Option<Self> {
        let json: Value = serde_json::from_slice(calibration).ok()?;
        let name = format!("CALIBRATION_InertialSensorType_{kind}");
        let sensors = json["CalibrationInformation"]["InertialSensors"].as_array()?;
        let sensor = sensors.iter().find(|sensor| sensor["SensorType"] == name.as_str())?;
        let temperature_c = sensor["TemperatureC"].as_f64()?;
        let poly = |model: &str, index: usize| {
            let terms = sensor[model].as_array()?.get(4 * index..4 * index + 4)?;
            let mut value = 0.0;
            for term in terms.iter().rev() {
                value = value * temperature_c + term.as_f64()?;
            }
            Some(value)
        };
        let (mut bias, mut mixing) = ([0.0; 3], [[0.0; 3]; 3]);
        for axis in 0..3 {
            bias[axis] = poly("BiasTemperatureModel", axis)?;
            for (other, cell) in mixing[axis].iter_mut().enumerate() {
                *cell = poly("MixingMatrixTemperatureModel", 3 * axis + other)?;
            }
        }
        Some(Self { bias, inverse: inverse(&mixing)?, temperature_c })
    }

    /// What the sensor said, given the calibrated value.
    #[must_use]
    pub fn apply(&self, calibrated: [f32; 3]) -> [f32; 3] {
        let [x, y, z] = [0, 1, 2].map(|i: usize| f64::from(calibrated[i]) - self.bias[i]);
        self.inverse.map(|row| (row[0] * x + row[1] * y + row[2] * z) as f32)
    }
}

/// The inverse of a matrix, by its cofactors.
fn inverse(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let cofactor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * cofactor(0, c)).sum();
    if determinant.abs() < 1e-6 {
        return None;
    }
    Some([0, 1, 2].map(|r| [0, 1, 2].map(|c| cofactor(c, r) / determinant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_camera_has_its_own_calibration() {
        assert_eq!(synthetic(1, "1"), synthetic(1, "1"));
        assert_ne!(synthetic(1, "1"), synthetic(2, "1"));
        // libk4a's first request offers 10240 bytes (usb-protocol.md 3.4).
        assert!(synthetic(1, "1").len() < 10_240);
    }

    #[test]
    fn calibrating_what_was_uncalibrated_changes_nothing() {
        let calibration = synthetic(3, "3");
        let undo = Uncalibrate::of(&calibration, "Accelerometer");
        let json: Value = serde_json::from_slice(&calibration).expect("JSON");
        let sensor = &json["CalibrationInformation"]["InertialSensors"][1];
        let number = |model: &str, at: usize| sensor[model][at].as_f64().expect("a number");
        let wanted = [0.5, -9.6, 1.25];
        let raw = undo.apply(wanted);
        for (axis, wanted) in wanted.into_iter().enumerate() {
            let mixed: f64 = (0..3)
                .map(|o| {
                    number("MixingMatrixTemperatureModel", 4 * (3 * axis + o)) * f64::from(raw[o])
                })
                .sum();
            let calibrated = mixed + number("BiasTemperatureModel", 4 * axis);
            assert!((calibrated - f64::from(wanted)).abs() < 1e-5);
        }
    }
}
