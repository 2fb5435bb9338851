//! Shards of a dataset: tar archives whose files are grouped by trigger, as the `webdataset`
//! package reads them. What stands before the first dot of a name is the sample's key.

use super::png::{calibration, calibration_files, image_file};
use super::scene::Scene;
use super::sink::{ImuForm, Made, Shape, Sink, View};
use crate::replay::{Selected, Slot, track_word};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The format `webdataset`.
pub struct Webdataset {
    triggers: u64,
    /// The devices: name in files, and calibration.
    devices: Vec<(String, Vec<u8>)>,
}

impl Webdataset {
    /// Shards of so many triggers.
    pub fn new(selected: &Selected<'_, '_>, triggers: u64) -> Self {
        let devices = selected.devices.iter();
        let devices = devices.map(|chosen| (chosen.stem.clone(), calibration(chosen.device)));
        Self { triggers: triggers.max(1), devices: devices.collect() }
    }
}

impl Sink for Webdataset {
    fn shape(&self) -> Shape {
        Shape::Shards(self.triggers)
    }

    fn imu(&self) -> ImuForm {
        ImuForm::Csv
    }

    fn folders(&self) -> Vec<String> {
        self.devices.iter().map(|(stem, _)| stem.clone()).collect()
    }

    fn once(&self) -> Vec<(String, Vec<u8>)> {
        calibration_files(self.devices.iter().map(|(stem, json)| (stem, json)))
    }

    fn device<'c>(&self, view: &View<'c, '_>, _: &mut Scene, made: &mut Made<'c>) {
        for (track, slot) in view.images() {
            let Slot::Frame(image) = slot else { continue };
            match image_file(view, track, image) {
                Err(cause) => made.lose(view, track, &cause),
                Ok((end, bytes)) => {
                    let (number, stem) = (view.number(), key_part(&view.chosen.stem));
                    made.image(format!("{number}.{stem}.{}.{end}", track_word(track)), bytes);
                }
            }
        }
    }

    fn trigger(&self, views: &[View<'_, '_>], made: &mut Made<'_>) {
        let Some(number) = views.first().map(View::number) else { return };
        let device = |view: &View<'_, '_>| {
            let of = |(track, slot): (_, &Slot<'_>)| {
                let said = match slot {
                    Slot::Frame(image) => {
                        json!({ "time_us": image.time_us, "time_s": view.seconds(image) })
                    }
                    Slot::Lost(cause) => json!({ "lost": cause }),
                    Slot::Off => return None,
                };
                Some((track_word(track).to_owned(), said))
            };
            let tracks: Map<String, Value> = view.images().filter_map(of).collect();
            (key_part(&view.chosen.stem), Value::Object(tracks))
        };
        let devices: Map<String, Value> = views.iter().map(device).collect();
        let said = json!({ "trigger": views[0].trigger, "devices": devices });
        made.files.push((format!("{number}.json"), Cow::Owned(said.to_string().into_bytes())));
    }
}

/// A name that has no dot of its own.
fn key_part(stem: &str) -> String {
    stem.replace('.', "_")
}
