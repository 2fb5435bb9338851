//! Images as single files, one folder for each device.

use super::image::{color_file, gray16_png, size};
use super::scene::Scene;
use super::sink::{ImuForm, Made, Shape, Sink, View};
use crate::replay::{Selected, Slot, track_word};
use genlock_formats::k4a::{Image, TrackName};
use std::borrow::Cow;

/// The format `png`.
pub struct Png {
    /// The devices: name in files, calibration, exported image tracks.
    devices: Vec<(String, Vec<u8>, Vec<TrackName>)>,
}

const FRAMES_HEAD: &str = "trigger,color_us,depth_us,ir_us,color_s,depth_s,ir_s\n";

impl Png {
    /// For these devices and tracks.
    pub fn new(selected: &Selected<'_, '_>) -> Self {
        let devices = selected.devices.iter().map(|chosen| {
            let tracks = chosen.device.image_tracks().filter(|track| selected.has(*track));
            (chosen.stem.clone(), calibration(chosen.device), tracks.collect())
        });
        Self { devices: devices.collect() }
    }
}

/// The calibration of a device as the recording has it.
pub fn calibration(device: &crate::replay::Device<'_>) -> Vec<u8> {
    device.recording().calibration().unwrap_or_default().to_vec()
}

/// The files of calibrations.
pub fn calibration_files<'d>(
    devices: impl Iterator<Item = (&'d String, &'d Vec<u8>)>,
) -> Vec<(String, Vec<u8>)> {
    let known = devices.filter(|(_, json)| !json.is_empty());
    known.map(|(stem, json)| (format!("{stem}/calibration.json"), json.clone())).collect()
}

impl Sink for Png {
    fn shape(&self) -> Shape {
        Shape::Files
    }

    fn imu(&self) -> ImuForm {
        ImuForm::Csv
    }

    fn folders(&self) -> Vec<String> {
        let of_tracks = |(stem, _, tracks): &(String, Vec<u8>, Vec<TrackName>)| {
            let folders = tracks.iter().map(|track| format!("{stem}/{}", track_word(*track)));
            std::iter::once(stem.clone()).chain(folders).collect::<Vec<_>>()
        };
        self.devices.iter().flat_map(of_tracks).collect()
    }

    fn lists(&self) -> Vec<(String, String)> {
        let stems = self.devices.iter().map(|(stem, ..)| stem);
        stems.map(|stem| (format!("{stem}/frames.csv"), FRAMES_HEAD.to_owned())).collect()
    }

    fn once(&self) -> Vec<(String, Vec<u8>)> {
        calibration_files(self.devices.iter().map(|(stem, json, _)| (stem, json)))
    }

    fn device<'c>(&self, view: &View<'c, '_>, _: &mut Scene, made: &mut Made<'c>) {
        let stem = &view.chosen.stem;
        let mut cells = vec![view.trigger.to_string()];
        let mut seconds = Vec::new();
        for (track, slot) in view.images() {
            let written = match slot {
                Slot::Frame(image) => image_file(view, track, image)
                    .map_err(|cause| made.lose(view, track, &cause))
                    .ok()
                    .map(|file| (image, file)),
                _ => None,
            };
            let Some((image, (end, bytes))) = written else {
                cells.push(String::new());
                seconds.push(String::new());
                continue;
            };
            let name = format!("{stem}/{}/{}.{end}", track_word(track), view.number());
            made.image(name, bytes);
            cells.push(image.time_us.to_string());
            seconds.push(view.seconds(image));
        }
        cells.append(&mut seconds);
        made.rows.push((format!("{stem}/frames.csv"), cells.join(",")));
    }
}

/// An image as a file: its extension and bytes.
///
/// # Errors
/// Why it cannot be one, in words.
pub fn image_file<'c>(
    view: &View<'_, '_>,
    track: TrackName,
    image: &'c Image<'_>,
) -> Result<(&'static str, Cow<'c, [u8]>), String> {
    match track {
        TrackName::Color => color_file(size(image), view.color_format(), &image.bytes),
        _ => Ok(("png", Cow::Owned(gray16_png(size(image), image.pixels_le())?))),
    }
}
