//! What the factory measured of a camera: its calibration.json, as it says it (usb-protocol.md
//! 3.4).

use serde_json::Value;
use std::fmt;

/// The longest calibration that is read: a real one has 8 kB.
const BYTES_MAX: usize = 1 << 20;

/// What is wrong with a calibration, and with which of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationError {
    /// The field: `Cameras[CALIBRATION_CameraLocationD0].Rt.Rotation`.
    pub field: String,
    /// What is wrong with it, to be read after its name: `is missing`.
    pub what: String,
}

impl CalibrationError {
    pub(super) fn new(field: &str, what: impl Into<String>) -> Self {
        Self { field: field.to_owned(), what: what.into() }
    }
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.what)
    }
}

impl std::error::Error for CalibrationError {}

/// How a lens bends rays: the model that its parameters are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LensModel {
    /// Named by Microsoft's reader, and in no camera that is sold.
    Theta,
    /// Likewise.
    Polynomial3K,
    /// That of cameras before they were sold.
    Rational6Kt,
    /// That of every camera sold.
    BrownConrady,
}

impl LensModel {
    const NAMES: [(Self, &str); 4] = [
        (Self::Theta, "CALIBRATION_LensDistortionModelTheta"),
        (Self::Polynomial3K, "CALIBRATION_LensDistortionModelPolynomial3K"),
        (Self::Rational6Kt, "CALIBRATION_LensDistortionModelRational6KT"),
        (Self::BrownConrady, "CALIBRATION_LensDistortionModelBrownConrady"),
    ];

    /// Its number in Microsoft's enumeration.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Theta => 1,
            Self::Polynomial3K => 2,
            Self::Rational6Kt => 3,
            Self::BrownConrady => 4,
        }
    }
}

/// Where something stands: `point -> rotation * point + translation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rigid {
    /// Rotation, row-major.
    pub rotation: [f32; 9],
    /// Translation in millimetres.
    pub translation_mm: [f32; 3],
}

impl Rigid {
    /// Where a point is, seen from the other side; both in millimetres.
    #[must_use]
    #[inline]
    pub fn apply(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        let (r, t) = (&self.rotation, &self.translation_mm);
        [
            r[0] * x + r[1] * y + r[2] * z + t[0],
            r[3] * x + r[4] * y + r[5] * z + t[1],
            r[6] * x + r[7] * y + r[8] * z + t[2],
        ]
    }

    /// The way back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let r = &self.rotation;
        let rotation = [r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]];
        let back = Self { rotation, translation_mm: [0.0; 3] };
        Self { translation_mm: back.apply(self.translation_mm).map(|mm| -mm), ..back }
    }

    /// First `other`, then this.
    #[must_use]
    pub fn after(&self, other: &Self) -> Self {
        let turn = Self { translation_mm: [0.0; 3], ..*self };
        let mut rotation = [0.0; 9];
        for column in 0..3 {
            let of = |row: usize| other.rotation[3 * row + column];
            for (row, cell) in turn.apply([of(0), of(1), of(2)]).into_iter().enumerate() {
                rotation[3 * row + column] = cell;
            }
        }
        Self { rotation, translation_mm: self.apply(other.translation_mm) }
    }
}

/// One camera of a device over its whole sensor, whatever the mode.
#[derive(Debug, Clone, PartialEq)]
pub struct FactoryCamera {
    /// From the depth camera's frame to this one's, which for the depth camera changes nothing.
    pub pose: Rigid,
    /// What the parameters are for.
    pub model: LensModel,
    /// How many parameters count.
    pub parameter_count: u32,
    /// cx, cy, fx, fy, k1 to k6, codx, cody, p2, p1 and one that nobody uses. The first four are
    /// fractions of the width and height, from the corner of the first pixel.
    pub parameters: [f32; 15],
    /// Pixels in a row of the sensor.
    pub width: i32,
    /// Rows of the sensor.
    pub height: i32,
    /// The longest (x/z, y/z) of a ray for which the model holds.
    pub metric_radius: f32,
}

/// One inertial sensor: how it is corrected, in polynomials of the temperature, lowest power
/// first.
#[derive(Debug, Clone, PartialEq)]
pub struct FactoryInertial {
    /// Four terms for each axis.
    pub bias_model: [f32; 12],
    /// Four terms for each cell of a matrix, row by row.
    pub mixing_model: [f32; 36],
    /// A matrix for the squares of the values.
    pub second_order: [f32; 9],
    /// The temperature in °C of the calibration.
    pub temperature_c: f32,
    /// From the depth camera's frame to the sensor's; where the file has none, or none that is
    /// sound, nothing.
    pub pose: Option<Rigid>,
}

/// A calibration.json, parsed as JSON and no further: each part is read when it is asked for, so
/// that a part at fault takes no other with it.
#[derive(Debug, Clone)]
pub struct Factory {
    json: Value,
}

impl Factory {
    /// Location of the depth camera.
    pub const DEPTH: &str = "CALIBRATION_CameraLocationD0";
    /// Location of the color camera.
    pub const COLOR: &str = "CALIBRATION_CameraLocationPV0";
    /// Type of the gyroscope.
    pub const GYROSCOPE: &str = "CALIBRATION_InertialSensorType_Gyro";
    /// Type of the accelerometer.
    pub const ACCELEROMETER: &str = "CALIBRATION_InertialSensorType_Accelerometer";

    /// Reads a calibration as a camera or a recording holds it, with its final NUL or without.
    ///
    /// # Errors
    /// It is no JSON, or longer than a calibration can be.
    pub fn read(json: &[u8]) -> Result<Self, CalibrationError> {
        let json = json.strip_suffix(&[0]).unwrap_or(json);
        if json.len() > BYTES_MAX {
            let what = format!("has {} bytes, of which {BYTES_MAX} are read", json.len());
            return Err(CalibrationError::new("the calibration", what));
        }
        let json = serde_json::from_slice(json).map_err(|cause| {
            CalibrationError::new("the calibration", format!("is not JSON: {cause}"))
        })?;
        Ok(Self { json })
    }

    /// The camera at a location: [`DEPTH`](Self::DEPTH) or [`COLOR`](Self::COLOR).
    ///
    /// # Errors
    /// The first field that is missing or malformed.
    pub fn camera(&self, location: &str) -> Result<FactoryCamera, CalibrationError> {
        let camera = self.entry("Cameras", "Location", location)?;
        let intrinsics = camera.field("Intrinsics");
        let radius = camera.field("MetricRadius").value.as_f64().unwrap_or(0.0) as f32;
        Ok(FactoryCamera {
            pose: camera.pose()?,
            model: intrinsics.field("ModelType").lens_model()?,
            parameter_count: intrinsics.field("ModelParameterCount").parameter_count()?,
            parameters: intrinsics.field("ModelParameters").numbers()?,
            width: camera.field("SensorWidth").pixels()?,
            height: camera.field("SensorHeight").pixels()?,
            // libk4a's own stand-in where the factory could not tell: 120 degrees of view.
            metric_radius: if radius <= 0.0001 { 1.7 } else { radius },
        })
    }

    /// The inertial sensor of a type: [`GYROSCOPE`](Self::GYROSCOPE) or
    /// [`ACCELEROMETER`](Self::ACCELEROMETER).
    ///
    /// # Errors
    /// The first field that is missing or malformed.
    pub fn inertial(&self, kind: &str) -> Result<FactoryInertial, CalibrationError> {
        let sensor = self.entry("InertialSensors", "SensorType", kind)?;
        Ok(FactoryInertial {
            bias_model: sensor.field("BiasTemperatureModel").numbers()?,
            mixing_model: sensor.field("MixingMatrixTemperatureModel").numbers()?,
            second_order: sensor.field("SecondOrderScaling").numbers()?,
            temperature_c: sensor.field("TemperatureC").number()?,
            pose: sensor.pose().ok().filter(is_rigid),
        })
    }

    /// The entry of `list` whose `key` is `name`.
    fn entry(&self, list: &str, key: &str, name: &str) -> Result<Field<'_>, CalibrationError> {
        let entries = self.json["CalibrationInformation"][list].as_array();
        let mut entries = entries.map(Vec::as_slice).unwrap_or_default().iter();
        let path = format!("{list}[{name}]");
        match entries.find(|entry| entry[key] == name) {
            Some(value) => Ok(Field { path, value }),
            None => Err(CalibrationError::new(&path, "is missing")),
        }
    }
}

/// Whether the rotation is one, to a hundredth, and the translation no more than ten metres.
pub(super) fn is_rigid(pose: &Rigid) -> bool {
    let row = |r: usize| &pose.rotation[3 * r..3 * r + 3];
    let dot = |a: usize, b: usize| row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum::<f32>();
    let near = |value: f32, wanted: f32| (value - wanted).abs() < 0.01;
    // No NaN passes: it is near nothing.
    (0..3).all(|r| near(dot(r, r), 1.0) && near(dot(r, (r + 1) % 3), 0.0))
        && pose.translation_mm.iter().all(|mm| mm.abs() < 10_000.0)
}

/// A value with the path by which it was found.
struct Field<'j> {
    path: String,
    value: &'j Value,
}

impl<'j> Field<'j> {
    fn field(&self, name: &str) -> Field<'j> {
        Field { path: format!("{}.{name}", self.path), value: &self.value[name] }
    }

    fn error(&self, what: impl Into<String>) -> CalibrationError {
        let what = if self.value.is_null() { "is missing".to_owned() } else { what.into() };
        CalibrationError::new(&self.path, what)
    }

    fn number(&self) -> Result<f32, CalibrationError> {
        let number = self.value.as_f64().ok_or_else(|| self.error("is not a number"))? as f32;
        number.is_finite().then_some(number).ok_or_else(|| self.error("is too large a number"))
    }

    /// At most `N` numbers; a shorter list is filled up with zeros, as libk4a does.
    fn numbers<const N: usize>(&self) -> Result<[f32; N], CalibrationError> {
        let list = self.value.as_array().ok_or_else(|| self.error("is not a list of numbers"))?;
        if list.len() > N {
            let count = list.len();
            return Err(self.error(format!("has {count} numbers, at most {N} are known")));
        }
        let mut numbers = [0.0; N];
        for (at, (number, value)) in numbers.iter_mut().zip(list).enumerate() {
            *number = Field { path: format!("{}[{at}]", self.path), value }.number()?;
        }
        Ok(numbers)
    }

    fn pixels(&self) -> Result<i32, CalibrationError> {
        let pixels = self.value.as_i64().and_then(|pixels| i32::try_from(pixels).ok());
        let sound = pixels.filter(|pixels| (1..=65_536).contains(pixels));
        sound.ok_or_else(|| self.error("is not a number of pixels from 1 to 65536"))
    }

    /// That of Brown-Conrady where the file does not say.
    fn parameter_count(&self) -> Result<u32, CalibrationError> {
        let count = if self.value.is_null() { Some(14) } else { self.value.as_u64() };
        let sound = count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count <= 15);
        sound.ok_or_else(|| self.error("is not a number from 0 to 15"))
    }

    fn lens_model(&self) -> Result<LensModel, CalibrationError> {
        let name = self.value.as_str().ok_or_else(|| self.error("is not a text"))?;
        let known = LensModel::NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(model, _)| *model).ok_or_else(|| {
            let name: String = name.chars().take(80).collect();
            self.error(format!("is '{name}', a lens model that is not known"))
        })
    }

    fn pose(&self) -> Result<Rigid, CalibrationError> {
        let metres: [f32; 3] = self.field("Rt").field("Translation").numbers()?;
        let rotation = self.field("Rt").field("Rotation").numbers()?;
        Ok(Rigid { rotation, translation_mm: metres.map(|metres| metres * 1000.0) })
    }
}
