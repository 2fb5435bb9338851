//! Clouds of points, one file for each trigger and device.

use super::png::{calibration, calibration_files};
use super::scene::{Cloud, Scene};
use super::sink::{ImuForm, Made, Shape, Sink, View};
use crate::error::{Error, Result};
use crate::replay::{Selected, Slot};
use genlock_formats::k4a::TrackName;

/// The format `ply`.
pub struct Ply {
    /// The devices: name in files, and calibration.
    devices: Vec<(String, Vec<u8>)>,
}

impl Ply {
    /// For these devices.
    ///
    /// # Errors
    /// `Usage` when depth is not selected; `File` when a device has no depth or no calibration.
    pub fn new(selected: &Selected<'_, '_>, scene: &Scene) -> Result<Self> {
        if !selected.has(TrackName::Depth) {
            return Err(Error::Usage("a cloud needs --track depth".to_owned()));
        }
        for chosen in &selected.devices {
            let optics = scene.required(chosen)?;
            if optics.calibration.depth.is_none() {
                let text = "has no depth: no clouds; leave the device out with --device";
                return Err(Error::file(chosen.device.path(), &text));
            }
        }
        let devices = selected.devices.iter();
        let devices = devices.map(|chosen| (chosen.stem.clone(), calibration(chosen.device)));
        Ok(Self { devices: devices.collect() })
    }
}

impl Sink for Ply {
    fn shape(&self) -> Shape {
        Shape::Files
    }

    fn imu(&self) -> ImuForm {
        ImuForm::None
    }

    fn folders(&self) -> Vec<String> {
        self.devices.iter().map(|(stem, _)| stem.clone()).collect()
    }

    fn lists(&self) -> Vec<(String, String)> {
        let head = "trigger,depth_us,depth_s,points\n";
        let stems = self.devices.iter().map(|(stem, _)| stem);
        stems.map(|stem| (format!("{stem}/clouds.csv"), head.to_owned())).collect()
    }

    fn once(&self) -> Vec<(String, Vec<u8>)> {
        calibration_files(self.devices.iter().map(|(stem, json)| (stem, json)))
    }

    fn device<'c>(&self, view: &View<'c, '_>, scene: &mut Scene, made: &mut Made<'c>) {
        let Slot::Frame(depth) = &view.frames.depth else { return };
        let rgb = view.frames.color.frame().and_then(|color| {
            view.rgb(color).map_err(|cause| made.lose(view, TrackName::Color, &cause)).ok()
        });
        let optics = scene.optics_mut(view.chosen.place);
        let cloud = optics.and_then(|optics| {
            let cloud = optics.cloud(depth, rgb.as_deref())?;
            Ok(file(&cloud))
        });
        match cloud {
            Err(cause) => made.lose(view, TrackName::Depth, &cause),
            Ok((points, bytes)) => {
                let stem = &view.chosen.stem;
                made.image(format!("{stem}/{}.ply", view.number()), bytes);
                let cells = [
                    view.trigger.to_string(),
                    depth.time_us.to_string(),
                    view.seconds(depth),
                    points.to_string(),
                ];
                made.rows.push((format!("{stem}/clouds.csv"), cells.join(",")));
            }
        }
    }
}

/// A cloud as a file, and how many points it has.
fn file(cloud: &Cloud<'_>) -> (usize, Vec<u8>) {
    let bytes = if cloud.is_colored() { 15 } else { 12 };
    let mut body = Vec::with_capacity(cloud.points_max() * bytes);
    for ([x, y, z], color) in cloud.points() {
        let mut vertex = [0; 15];
        let (axes, rest) = vertex.split_at_mut(12);
        for (axis, metres) in axes.as_chunks_mut::<4>().0.iter_mut().zip([x, y, z]) {
            *axis = metres.to_le_bytes();
        }
        rest.copy_from_slice(&color);
        body.extend_from_slice(&vertex[..bytes]);
    }
    let count = body.len() / bytes;
    let mut head = format!(
        "ply\nformat binary_little_endian 1.0\ncomment metres in the depth camera's frame: x \
         right, y down, z ahead\nelement vertex {count}\n"
    );
    let floats = ["x", "y", "z"].map(|axis| format!("property float {axis}\n"));
    let colors = ["red", "green", "blue"].map(|color| format!("property uchar {color}\n"));
    head += &floats.concat();
    if cloud.is_colored() {
        head += &colors.concat();
    }
    head += "end_header\n";
    (count, [head.as_bytes(), &body].concat())
}
