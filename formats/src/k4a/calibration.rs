//! The cameras of a device in the modes of a recording: pinholes with a lens, in pixels.

use super::factory::{CalibrationError, Factory, FactoryCamera, LensModel, Rigid, is_rigid};
use super::{ColorMode, DepthMode};

/// A camera in one mode. (0, 0) is the centre of the first pixel; x goes right, y down, z ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Where the optical axis meets the image, in pixels.
    pub cx: f32,
    /// Likewise.
    pub cy: f32,
    /// Focal length in widths of a pixel.
    pub fx: f32,
    /// Focal length in heights of a pixel.
    pub fy: f32,
    /// Radial distortion: `(1 + k1 r2 + k2 r4 + k3 r6) / (1 + k4 r2 + k5 r4 + k6 r6)`.
    pub k: [f32; 6],
    /// Tangential distortion, p1 and p2.
    pub p: [f32; 2],
    /// Centre of the distortion, as x/z.
    pub codx: f32,
    /// Centre of the distortion, as y/z.
    pub cody: f32,
    /// The longest (x/z, y/z) for which the lens is known: beyond it nothing is seen.
    pub metric_radius: f32,
    /// How tangential distortion counts: [`LensModel::BrownConrady`] doubles its mixed terms,
    /// [`LensModel::Rational6Kt`] does not.
    pub model: LensModel,
}

/// What a calibration.json says of a device's cameras in given modes.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The depth and IR camera, if it is on.
    pub depth: Option<Camera>,
    /// The color camera, if it is on.
    pub color: Option<Camera>,
    /// A point of the depth camera's frame, as the color camera sees it.
    pub color_from_depth: Rigid,
    /// The way back.
    pub depth_from_color: Rigid,
    /// A point of the depth camera's frame in that of the gyroscope, where the file says it.
    pub gyroscope_from_depth: Option<Rigid>,
    /// Likewise of the accelerometer.
    pub accelerometer_from_depth: Option<Rigid>,
}

impl Calibration {
    /// Reads a calibration.json for the given modes; `None` is a camera that is off.
    ///
    /// # Errors
    /// The first field that is missing or malformed, or that no camera can have: both cameras must
    /// be there, and each must have a lens of positive focal length, six radial terms and a pose.
    pub fn of(
        json: &[u8],
        color: Option<ColorMode>,
        depth: Option<DepthMode>,
    ) -> Result<Self, CalibrationError> {
        let factory = Factory::read(json)?;
        let [depth_camera, color_camera] =
            [Sensor::of(&factory, Factory::DEPTH)?, Sensor::of(&factory, Factory::COLOR)?];
        let pose = |kind| factory.inertial(kind).ok().and_then(|sensor| sensor.pose);
        let (world_to_depth, world_to_color) = (depth_camera.is.pose, color_camera.is.pose);
        let from_depth = |pose: Rigid| pose.after(&world_to_depth.inverse());
        Ok(Self {
            depth: depth.map(|mode| depth_camera.in_depth_mode(mode)).transpose()?,
            color: color.map(|mode| color_camera.in_color_mode(mode)).transpose()?,
            color_from_depth: from_depth(world_to_color),
            depth_from_color: world_to_depth.after(&world_to_color.inverse()),
            gyroscope_from_depth: pose(Factory::GYROSCOPE).map(from_depth),
            accelerometer_from_depth: pose(Factory::ACCELEROMETER).map(from_depth),
        })
    }
}

/// A camera of the file and its name in it.
struct Sensor {
    location: &'static str,
    is: FactoryCamera,
}

/// Which part of a sensor a mode shows: the sensor is scaled to `scaled` pixels, of which those
/// from `crop` on are `size`.
struct Window {
    scaled: [f32; 2],
    crop: [f32; 2],
    size: (u32, u32),
}

impl Sensor {
    fn of(factory: &Factory, location: &'static str) -> Result<Self, CalibrationError> {
        let sensor = Self { location, is: factory.camera(location)? };
        let refuse = |field: &str, what: String| Err(sensor.error(field, what));
        if !matches!(sensor.is.model, LensModel::Rational6Kt | LensModel::BrownConrady) {
            return refuse("Intrinsics.ModelType", format!("is {:?}", sensor.is.model));
        }
        if sensor.is.parameter_count < 14 {
            let what = format!("is {}, and 14 are needed", sensor.is.parameter_count);
            return refuse("Intrinsics.ModelParameterCount", what);
        }
        let [cx, cy, fx, fy, ..] = sensor.is.parameters;
        // A lens of 170 degrees has 0.04; one beyond these was never built into a camera.
        let sound = |focal: f32| (0.01..100.0).contains(&focal);
        if !sound(fx) || !sound(fy) || cx.abs() > 10.0 || cy.abs() > 10.0 {
            let what = format!("begin with {cx}, {cy}, {fx}, {fy}, which is no lens");
            return refuse("Intrinsics.ModelParameters", what);
        }
        if !is_rigid(&sensor.is.pose) {
            return refuse("Rt", "is not a rotation and at most ten metres".to_owned());
        }
        Ok(sensor)
    }

    fn error(&self, field: &str, what: String) -> CalibrationError {
        CalibrationError::new(&format!("Cameras[{}].{field}", self.location), what)
    }

    fn in_depth_mode(&self, mode: DepthMode) -> Result<Camera, CalibrationError> {
        if (self.is.width, self.is.height) != (1024, 1024) {
            let what = format!("is {}x{} pixels, not 1024x1024", self.is.width, self.is.height);
            return Err(self.error("SensorWidth", what));
        }
        let (pixels, crop) = match mode {
            DepthMode::Nfov2x2Binned => (512.0, [96.0, 90.0]),
            DepthMode::NfovUnbinned => (1024.0, [192.0, 180.0]),
            DepthMode::Wfov2x2Binned => (512.0, [0.0; 2]),
            DepthMode::WfovUnbinned | DepthMode::PassiveIr => (1024.0, [0.0; 2]),
        };
        Ok(self.through(&Window { scaled: [pixels; 2], crop, size: mode.size() }))
    }

    /// Every color mode is scaled to its width; 16:9 is cut out of the middle of 4:3.
    fn in_color_mode(&self, mode: ColorMode) -> Result<Camera, CalibrationError> {
        let (width, height) = mode.size();
        let scaled = [width, width * 3 / 4].map(|pixels| pixels as f32);
        let crop = [0.0, (scaled[1] - height as f32) / 2.0];
        let window = Window { scaled, crop, size: (width, height) };
        let (sensor_width, sensor_height) = (self.is.width, self.is.height);
        if sensor_width * 3 / 4 == sensor_height {
            return Ok(self.through(&window));
        }
        if sensor_width * 9 / 16 != sensor_height {
            let what = format!("is {sensor_width}x{sensor_height} pixels, not 4:3 nor 16:9");
            return Err(self.error("SensorWidth", what));
        }
        // Calibrated over the middle of the sensor: 2304 rows of 3072, from row 384 on.
        let mut whole = self.is.clone();
        whole.parameters[1] = (self.is.parameters[1] * 2304.0 + 384.0) / 3072.0;
        whole.parameters[3] = self.is.parameters[3] * 2304.0 / 3072.0;
        Ok(Self { location: self.location, is: whole }.through(&window))
    }

    fn through(&self, window: &Window) -> Camera {
        let [cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, codx, cody, p2, p1, _] = self.is.parameters;
        // The file counts from the corner of the first pixel, half a pixel before its centre.
        let centre = |at: f32, axis: usize| at * window.scaled[axis] - window.crop[axis] - 0.5;
        Camera {
            width: window.size.0,
            height: window.size.1,
            cx: centre(cx, 0),
            cy: centre(cy, 1),
            fx: fx * window.scaled[0],
            fy: fy * window.scaled[1],
            k: [k1, k2, k3, k4, k5, k6],
            p: [p1, p2],
            codx,
            cody,
            metric_radius: self.is.metric_radius,
            model: self.is.model,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const COLOR: ColorMode = ColorMode {
        format: super::super::ColorFormat::Mjpg,
        resolution: super::super::Resolution::P720,
    };

    fn sound() -> Value {
        let camera = |location: &str, width: u32, height: u32| {
            json!({
                "Location": location, "SensorWidth": width, "SensorHeight": height,
                "MetricRadius": 1.74,
                "Intrinsics": {
                    "ModelParameterCount": 14,
                    "ModelParameters":
                        [0.5, 0.5, 0.49, 0.49, 0.5, 0, 0, 0.8, 0.1, 0, 0, 0, 1e-4, 2e-4],
                    "ModelType": "CALIBRATION_LensDistortionModelBrownConrady",
                },
                "Rt": {"Rotation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "Translation": [0, 0.002, 0]},
            })
        };
        json!({"CalibrationInformation": {"Cameras": [
            camera(Factory::DEPTH, 1024, 1024),
            camera(Factory::COLOR, 4096, 3072),
        ], "InertialSensors": []}})
    }

    fn of(json: &Value) -> Result<Calibration, CalibrationError> {
        Calibration::of(json.to_string().as_bytes(), Some(COLOR), Some(DepthMode::Nfov2x2Binned))
    }

    /// The sound calibration with one field of the color camera replaced.
    fn with(path: &str, value: Value) -> String {
        let mut json = sound();
        let camera = &mut json["CalibrationInformation"]["Cameras"][1];
        *camera.pointer_mut(path).expect("a field") = value;
        of(&json).expect_err("a calibration at fault").to_string()
    }

    #[test]
    fn modes_scale_and_crop_the_sensor() {
        let calibration = of(&sound()).expect("a calibration");
        let depth = calibration.depth.expect("a depth camera");
        assert_eq!((depth.width, depth.height), (320, 288));
        assert_eq!((depth.cx, depth.cy), (512.0 * 0.5 - 96.0 - 0.5, 512.0 * 0.5 - 90.0 - 0.5));
        let color = calibration.color.expect("a color camera");
        assert_eq!((color.width, color.height), (1280, 720));
        assert_eq!((color.cx, color.cy), (639.5, 359.5));
        assert_eq!((color.fx, color.fy), (1280.0 * 0.49, 960.0 * 0.49));
        assert_eq!(color.p, [2e-4, 1e-4], "p2 comes first in the file");
        // Both cameras stand two millimetres off the world's middle.
        assert_eq!(calibration.color_from_depth.translation_mm, [0.0; 3]);
    }

    #[test]
    fn a_color_camera_calibrated_in_16_to_9_is_the_same_camera() {
        let mut json = sound();
        let four_to_three = of(&json).expect("a calibration").color.expect("color");
        let camera = &mut json["CalibrationInformation"]["Cameras"][1];
        camera["SensorHeight"] = json!(2304);
        camera["Intrinsics"]["ModelParameters"][3] = json!(0.49 * 4.0 / 3.0);
        let color = of(&json).expect("a calibration").color.expect("color");
        assert!((color.fy - four_to_three.fy).abs() < 1e-3, "{color:?}");
        assert!((color.cy - four_to_three.cy).abs() < 1e-3, "{color:?}");
    }

    #[test]
    fn a_camera_that_is_off_is_not_there() {
        let json = sound().to_string();
        let calibration = Calibration::of(json.as_bytes(), None, None).expect("a calibration");
        assert_eq!((calibration.depth, calibration.color), (None, None));
        let with_nul = format!("{json}\0");
        assert!(Calibration::of(with_nul.as_bytes(), None, None).is_ok());
    }

    #[test]
    fn what_no_camera_can_have_is_refused_by_the_name_of_its_field() {
        let at = "Cameras[CALIBRATION_CameraLocationPV0]";
        let parameters = |at: usize, value: Value| {
            let mut json = sound();
            let camera = &mut json["CalibrationInformation"]["Cameras"][1];
            camera["Intrinsics"]["ModelParameters"][at] = value;
            of(&json).expect_err("a calibration at fault").to_string()
        };
        let cases = [
            (with("/Rt", json!(null)), "Rt.Translation is missing"),
            (with("/Rt/Rotation", json!([1, 0])), "Rt is not a rotation and at most ten metres"),
            (with("/Rt/Rotation", json!(vec![0; 9])), "Rt is not a rotation and at most"),
            (with("/Rt/Translation", json!([1e9, 0, 0])), "Rt is not a rotation and at most"),
            (with("/Rt/Translation", json!([1e36, 0, 0])), "Rt is not a rotation and at most"),
            (with("/Rt/Rotation", json!(vec![0; 10])), "Rt.Rotation has 10 numbers, at most 9"),
            (with("/Location", json!(7)), " is missing"),
            (with("/SensorWidth", json!(-4096)), "SensorWidth is not a number of pixels"),
            (with("/SensorWidth", json!(1e30)), "SensorWidth is not a number of pixels"),
            (with("/SensorHeight", json!(3073)), "SensorWidth is 4096x3073 pixels, not 4:3"),
            (with("/Intrinsics/ModelType", json!("Magic")), "is 'Magic', a lens model that is"),
            (
                with("/Intrinsics/ModelType", json!("CALIBRATION_LensDistortionModelTheta")),
                "Intrinsics.ModelType is Theta",
            ),
            (with("/Intrinsics/ModelParameterCount", json!(8)), "is 8, and 14 are needed"),
            (with("/Intrinsics/ModelParameterCount", json!(1e9)), "is not a number from 0 to 15"),
            (parameters(2, json!(0)), "begin with 0.5, 0.5, 0, 0.49, which is no lens"),
            (parameters(3, json!(-0.49)), "which is no lens"),
            (parameters(0, json!(1e30)), "which is no lens"),
            (parameters(4, json!(1e300)), "ModelParameters[4] is too large a number"),
            (parameters(4, json!("NaN")), "ModelParameters[4] is not a number"),
        ];
        for (said, wanted) in cases {
            assert!(said.starts_with(at) && said.contains(wanted), "{said}: not {wanted}");
        }
    }

    #[test]
    fn what_is_no_calibration_is_refused() {
        let refusal = |bytes: &[u8]| {
            Calibration::of(bytes, Some(COLOR), None).expect_err("no calibration").to_string()
        };
        assert!(refusal(b"").starts_with("the calibration is not JSON"));
        assert!(refusal(b"\0\0").starts_with("the calibration is not JSON"));
        assert!(refusal(&[b'['; 100_000]).contains("recursion limit"));
        assert!(refusal(&vec![b' '; 2 << 20]).contains("has 2097152 bytes"));
        assert!(refusal(b"{\"CalibrationInformation\": {\"Cameras\": [1e999]}}").contains("range"));
        let nothing = "Cameras[CALIBRATION_CameraLocationD0] is missing";
        for json in ["{}", "[]", "null", "7", "{\"CalibrationInformation\": {\"Cameras\": 3}}"] {
            assert_eq!(refusal(json.as_bytes()), nothing);
        }
        // Cut anywhere, it is refused and nothing else.
        let whole = sound().to_string();
        for end in 0..whole.len() {
            refusal(&whole.as_bytes()[..end]);
        }
    }

    #[test]
    fn there_and_back_is_where_one_was() {
        let (sine, cosine) = 0.1_f32.sin_cos();
        let rotation = [1.0, 0.0, 0.0, 0.0, cosine, -sine, 0.0, sine, cosine];
        let rigid = Rigid { rotation, translation_mm: [-32.0, 2.0, 4.0] };
        let back = rigid.inverse().apply(rigid.apply([100.0, -200.0, 1500.0]));
        for (found, wanted) in back.into_iter().zip([100.0, -200.0, 1500.0_f32]) {
            assert!((found - wanted).abs() < 1e-3, "{back:?}");
        }
        let nowhere = rigid.inverse().after(&rigid);
        assert!(is_rigid(&nowhere) && nowhere.translation_mm.iter().all(|mm| mm.abs() < 1e-4));
    }
}
