//! The layout of the RGB-D benchmark of the TUM, one sequence for each device:
//! <https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats>

use super::image::{color_file, gray16_png, size};
use super::png::{calibration, calibration_files};
use super::scene::Scene;
use super::sink::{ImuForm, Made, Shape, Sink, View};
use crate::error::{Error, Result};
use crate::replay::{Selected, Slot};
use genlock_formats::k4a::{Camera, TrackName};

/// Units of a depth image in a millimetre: 5000 in a metre.
const UNITS_PER_MM: u16 = 5;

/// The format `tum`.
pub struct Tum {
    /// The sequences: name in files, calibration, and the color camera in words.
    devices: Vec<(String, Vec<u8>, String)>,
}

impl Tum {
    /// For these devices.
    ///
    /// # Errors
    /// `Usage` when color or depth is not selected; `File` when a device lacks one of them, or its
    /// calibration.
    pub fn new(selected: &Selected<'_, '_>, scene: &Scene) -> Result<Self> {
        if !selected.has(TrackName::Color) || !selected.has(TrackName::Depth) {
            let text = "an RGB-D sequence needs --track color,depth";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut devices = Vec::new();
        for chosen in &selected.devices {
            let known = &scene.required(chosen)?.calibration;
            let (Some(color), Some(_)) = (&known.color, &known.depth) else {
                let text = "has not both color and depth, which an RGB-D sequence needs; leave the \
                            device out with --device";
                return Err(Error::file(chosen.device.path(), &text));
            };
            devices.push((chosen.stem.clone(), calibration(chosen.device), camera(color)));
        }
        Ok(Self { devices })
    }
}

/// The camera that both images are of, as SLAM programs ask for it.
fn camera(camera: &Camera) -> String {
    let Camera { width, height, cx, cy, fx, fy, k, p, .. } = camera;
    let [k1, k2, k3, k4, k5, k6] = k;
    let [p1, p2] = p;
    format!(
        "# the color camera, which both images are of; distortion as OpenCV's rational model\n\
         # a depth image has {UNITS_PER_MM}000 units in a metre\n\
         width {width}\nheight {height}\nfx {fx}\nfy {fy}\ncx {cx}\ncy {cy}\n\
         k1 {k1}\nk2 {k2}\np1 {p1}\np2 {p2}\nk3 {k3}\nk4 {k4}\nk5 {k5}\nk6 {k6}\n"
    )
}

impl Sink for Tum {
    fn shape(&self) -> Shape {
        Shape::Files
    }

    fn imu(&self) -> ImuForm {
        ImuForm::Tum
    }

    fn folders(&self) -> Vec<String> {
        let stems = self.devices.iter().map(|(stem, ..)| stem);
        stems.flat_map(|stem| ["rgb", "depth"].map(|folder| format!("{stem}/{folder}"))).collect()
    }

    fn lists(&self) -> Vec<(String, String)> {
        let of_device = |(stem, ..): &(String, Vec<u8>, String)| {
            let head = |what: &str| format!("# {what}\n# timestamp filename\n");
            [
                (format!("{stem}/rgb.txt"), head("color images")),
                (format!("{stem}/depth.txt"), head("depth maps")),
                (format!("{stem}/associations.txt"), String::new()),
            ]
        };
        self.devices.iter().flat_map(of_device).collect()
    }

    fn once(&self) -> Vec<(String, Vec<u8>)> {
        let cameras = self.devices.iter();
        let cameras = cameras
            .map(|(stem, _, camera)| (format!("{stem}/camera.txt"), camera.clone().into_bytes()));
        let json = calibration_files(self.devices.iter().map(|(stem, json, _)| (stem, json)));
        cameras.chain(json).collect()
    }

    fn device<'c>(&self, view: &View<'c, '_>, scene: &mut Scene, made: &mut Made<'c>) {
        let (stem, number) = (&view.chosen.stem, view.number());
        let mut pair = Vec::new();
        if let Slot::Frame(color) = &view.frames.color {
            match color_file(size(color), view.color_format(), &color.bytes) {
                Err(cause) => made.lose(view, TrackName::Color, &cause),
                Ok((end, bytes)) => {
                    let row = format!("{} rgb/{number}.{end}", view.seconds(color));
                    made.image(format!("{stem}/rgb/{number}.{end}"), bytes);
                    made.rows.push((format!("{stem}/rgb.txt"), row.clone()));
                    pair.push(row);
                }
            }
        }
        if let Slot::Frame(depth) = &view.frames.depth {
            let optics = scene.optics_mut(view.chosen.place);
            let registered = optics.and_then(|optics| optics.depth_in_color(depth));
            let file =
                registered.and_then(|(size, pixels)| gray16_png(size, units(&pixels).into()));
            match file {
                Err(cause) => made.lose(view, TrackName::Depth, &cause),
                Ok(bytes) => {
                    let row = format!("{} depth/{number}.png", view.seconds(depth));
                    made.image(format!("{stem}/depth/{number}.png"), bytes);
                    made.rows.push((format!("{stem}/depth.txt"), row.clone()));
                    pair.push(row);
                }
            }
        }
        if pair.len() == 2 {
            made.rows.push((format!("{stem}/associations.txt"), pair.join(" ")));
        }
    }
}

/// Millimetres as units of the benchmark, little-endian; none where they do not fit.
fn units(pixels_mm: &[u16]) -> Vec<u8> {
    let mut units = vec![0; pixels_mm.len() * 2];
    for (unit, mm) in units.as_chunks_mut::<2>().0.iter_mut().zip(pixels_mm) {
        *unit = mm.checked_mul(UNITS_PER_MM).unwrap_or(0).to_le_bytes();
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_that_the_benchmark_cannot_hold_is_none() {
        let units = units(&[0, 1, 13_107, 13_108, u16::MAX]);
        let units: Vec<_> =
            units.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
        assert_eq!(units, [0, 5, u16::MAX, 0, 0]);
    }
}
