//! What a format makes of captures.

use super::container::{Container, Entry};
use super::image;
use super::scene::Scene;
use super::times::Times;
use crate::error::Result;
use crate::replay::{Chosen, DeviceFrames, IMAGES, Slot, track_word};
use genlock_formats::k4a::{ColorFormat, Image, TrackName};
use std::borrow::Cow;
use std::ops::Range;

/// The list of what is missing, which every export has.
pub const LOSSES: &str = "losses.csv";
/// Its first line.
pub const LOSSES_HEAD: &str = "trigger,device,track,cause\n";

/// How the files of a format lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each by itself.
    Files,
    /// In archives, of so many triggers each.
    Shards(u64),
    /// In one MCAP file.
    One,
}

/// What a format does with the IMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImuForm {
    /// Nothing, or something of its own.
    None,
    /// One `imu.csv` for each device.
    Csv,
    /// `accelerometer.txt` and `gyroscope.txt`, as the RGB-D benchmark of the TUM has them.
    Tum,
}

/// A format: a pure function from the frames of a trigger to files and rows. It is called on many
/// cores at once.
pub trait Sink: Sync {
    /// How its files lie.
    fn shape(&self) -> Shape;

    /// What it does with the IMU.
    fn imu(&self) -> ImuForm;

    /// The folders that it needs.
    fn folders(&self) -> Vec<String> {
        Vec::new()
    }

    /// Its lists beside the losses: name, and what they begin with.
    fn lists(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Files that it has but once.
    fn once(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    /// What stands in front of the chunks of an MCAP file.
    ///
    /// # Errors
    /// `File` when it is too large for the format.
    fn front(&self) -> Result<Option<(Container, Vec<u8>)>> {
        Ok(None)
    }

    /// Makes something of what a device has for a trigger.
    fn device<'c>(&self, view: &View<'c, '_>, scene: &mut Scene, made: &mut Made<'c>);

    /// Makes something of the trigger as such, behind all devices.
    fn trigger(&self, _views: &[View<'_, '_>], _made: &mut Made<'_>) {}
}

/// What a device has for a trigger.
pub struct View<'c, 'f> {
    /// The trigger.
    pub trigger: u64,
    /// The device.
    pub chosen: &'c Chosen<'c, 'f>,
    /// Its frames; tracks that are not exported are off.
    pub frames: &'c DeviceFrames<'f>,
    /// The clock of the export.
    pub times: &'c Times,
    /// IMU samples that belong to this trigger, by device time in microseconds.
    pub imu_us: Range<u64>,
}

impl<'c, 'f> View<'c, 'f> {
    /// The trigger as it stands in names: of a fixed width, so that names sort.
    pub fn number(&self) -> String {
        number(self.trigger)
    }

    /// The frames, each with its track.
    pub fn images(&self) -> impl Iterator<Item = (TrackName, &'c Slot<'f>)> + use<'c, 'f> {
        IMAGES.into_iter().zip(self.frames.slots())
    }

    /// When an image was, in nanoseconds of the export's clock.
    pub fn ns(&self, image: &Image<'_>) -> u64 {
        self.times.ns(self.chosen.place, image.time_us.saturating_mul(1000))
    }

    /// The same in seconds.
    pub fn seconds(&self, image: &Image<'_>) -> String {
        self.times.seconds(self.chosen.place, image.time_us.saturating_mul(1000))
    }

    /// How the pixels of color are stored.
    pub fn color_format(&self) -> ColorFormat {
        self.chosen.device.configuration().color.map_or(ColorFormat::Mjpg, |color| color.format)
    }

    /// A color image as 8-bit red, green and blue.
    ///
    /// # Errors
    /// Why it cannot be decoded, in words.
    pub fn rgb(&self, color: &Image<'_>) -> std::result::Result<Vec<u8>, String> {
        image::rgb(image::size(color), self.color_format(), &color.bytes)
    }
}

/// A trigger as it stands in names: of a fixed width, so that names sort. Eight digits are a month
/// at 30 fps.
pub fn number(trigger: u64) -> String {
    format!("{trigger:08}")
}

/// What was made of a trigger.
#[derive(Default)]
pub struct Made<'c> {
    /// Files, with their names in the export or its archive.
    pub files: Vec<(String, Cow<'c, [u8]>)>,
    /// Messages of an MCAP file.
    pub entries: Vec<Entry>,
    /// Rows, each with the name of its list.
    pub rows: Vec<(String, String)>,
    /// Images that are exported.
    pub images: u64,
}

impl<'c> Made<'c> {
    /// An image became a file.
    pub fn image(&mut self, name: String, bytes: impl Into<Cow<'c, [u8]>>) {
        self.files.push((name, bytes.into()));
        self.images += 1;
    }

    /// An image is missing. The first cause counts.
    pub fn lose(&mut self, view: &View<'_, '_>, track: TrackName, cause: &str) {
        let (trigger, serial) = (view.trigger.to_string(), view.chosen.device.serial());
        let same = loss_row(&trigger, serial, track, "");
        if !self.rows.iter().any(|(list, row)| list == LOSSES && row.starts_with(&same)) {
            self.rows.push((LOSSES.to_owned(), loss_row(&trigger, serial, track, cause)));
        }
    }
}

/// A row of the list of losses.
pub fn loss_row(trigger: &str, serial: &str, track: TrackName, cause: &str) -> String {
    let words = [trigger, serial, track_word(track), cause];
    words.map(quoted).join(",")
}

/// A cell of a table, quoted where it has to be.
fn quoted(word: &str) -> String {
    let word = word.replace(char::is_control, " ");
    match word.contains([',', '"']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word,
    }
}
