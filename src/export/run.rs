//! The work of an export: triggers dealt to all cores, and what comes of them collected in order.

use super::Watch;
use super::container::{Chunk, Container};
use super::imu;
use super::output::{Output, Packed, Piece};
use super::place::{Folder, Noted, Place};
use super::scene::Scene;
use super::sink::{LOSSES, Made, Shape, Sink, View, loss_row};
use super::tar;
use super::times::Times;
use crate::deal::{cores, in_order};
use crate::error::Result;
use crate::replay::{Capture, Chosen, Decoder, Found, FoundDevice, IMAGES, Reader, Selected, Slot};
use genlock_formats::k4a::TrackName;
use genlock_formats::take::Device as Told;
use std::ops::Range;

/// An export that runs.
pub struct Run<'a, 'f> {
    /// The take.
    pub reader: &'a Reader<'f>,
    /// What of it is exported.
    pub selected: &'a Selected<'a, 'f>,
    /// By which clock.
    pub times: &'a Times,
    /// Where the cameras of each device stand.
    pub scene: &'a Scene,
    /// What is made.
    pub sink: &'a dyn Sink,
}

/// The frames of a trigger, found; and the times of the samples that belong to it, for each device.
struct Job<'f> {
    found: Found<'f>,
    imu_us: Vec<Range<u64>>,
}

impl<'f> Run<'_, 'f> {
    /// Does what is left to be done. `front` is laid in front of the chunks of an MCAP file.
    ///
    /// # Errors
    /// `Disk` when something cannot be written, or it was told to stop.
    pub fn run(
        &self,
        place: &mut Place,
        front: Option<(Container, Vec<u8>)>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (done, count) = (place.so_far.triggers, self.selected.count());
        watch.done(done)?;
        if done >= count {
            return Ok(());
        }
        let mut output = Output::begin(self.sink.shape(), (done, count), front, &place.folder)?;
        let folder = place.folder.clone();
        let begin = || {
            let (mut decoder, mut scene) = (Decoder::new(self.reader), self.scene.clone());
            let folder = &folder;
            move |job: Job<'f>| {
                self.make(&decoder.decode(job.found), &job.imu_us, &mut scene, folder)
            }
        };
        in_order(cores(), self.jobs(done), begin, |piece: Result<Piece>| {
            output.take(place, piece?)?;
            watch.done(1)
        })
    }

    /// What is left to be done, each with the bytes that it takes.
    fn jobs(&self, done: u64) -> impl Iterator<Item = (Job<'f>, usize)> {
        let mut cursor = self.reader.cursor();
        let triggers = self.selected.triggers().skip(usize::try_from(done).unwrap_or(usize::MAX));
        let mut samples = Samples::new(self);
        triggers.map(move |trigger| {
            let mut found = cursor.find(trigger);
            let imu_us = samples.of(trigger, &found);
            self.selected.keep(&mut found);
            let bytes = self.reader.decoded_bytes(&found) + self.made_bytes();
            (Job { found, imu_us }, bytes)
        })
    }

    /// About the memory that making something of a trigger takes.
    fn made_bytes(&self) -> usize {
        let of_device = |chosen: &Chosen<'_, '_>| {
            let configuration = chosen.device.configuration();
            let color = configuration.color.map_or(0, |color| color.image_bytes_max() * 2);
            let depth = configuration.depth.map_or(0, |depth| {
                let (width, height) = depth.size();
                (width * height) as usize * 16
            });
            color + depth
        };
        self.selected.devices.iter().map(of_device).sum()
    }

    fn make(
        &self,
        capture: &Capture<'f>,
        imu_us: &[Range<u64>],
        scene: &mut Scene,
        folder: &Folder,
    ) -> Result<Piece> {
        let views = self.selected.devices.iter().zip(imu_us);
        let views: Vec<_> = views
            .map(|(chosen, imu_us)| View {
                trigger: capture.trigger,
                chosen,
                frames: &capture.devices[chosen.place],
                times: self.times,
                imu_us: imu_us.clone(),
            })
            .collect();
        let mut made = Made::default();
        for view in &views {
            self.losses(view, &mut made);
            self.sink.device(view, scene, &mut made);
        }
        self.sink.trigger(&views, &mut made);
        let packed = match self.sink.shape() {
            Shape::Files => {
                made.files.iter().try_for_each(|(name, bytes)| folder.put(name, bytes))?;
                Packed::Written
            }
            Shape::Shards(_) => {
                let mut archive = Vec::new();
                for (name, bytes) in &made.files {
                    tar::append(&mut archive, name, bytes);
                }
                Packed::Tar(archive)
            }
            Shape::One => Packed::Chunk(Chunk::of(&made.entries)?),
        };
        Ok(Piece { noted: Noted { images: made.images, rows: made.rows }, packed })
    }

    /// What is missing already in the take.
    fn losses(&self, view: &View<'_, 'f>, made: &mut Made<'_>) {
        for (track, slot) in view.images() {
            if let Slot::Lost(cause) = slot {
                made.lose(view, track, cause);
            }
        }
        let is_there = |first, last| (first..=last).contains(&view.trigger);
        let told = &view.chosen.device.told().losses;
        let imu = told.iter().filter(|loss| loss.track == "imu");
        for loss in imu.filter(|loss| is_there(loss.first_trigger, loss.last_trigger)) {
            if self.selected.has(TrackName::Imu) {
                made.lose(view, TrackName::Imu, &loss.cause);
            }
        }
    }

    /// Rows for the devices of the take that have no recording at all.
    pub fn absent(&self, asked_for: &[String]) -> Vec<(String, String)> {
        let is_read = |told: &&Told| {
            self.reader.devices().iter().any(|device| device.serial() == told.serial)
        };
        let is_asked_for = |told: &&Told| {
            let is = |name: &String| {
                *name == told.serial || told.name.as_ref().is_some_and(|known| known == name)
            };
            asked_for.is_empty() || asked_for.iter().any(is)
        };
        let told = self.reader.files().take().devices.iter();
        let absent = told.filter(|told| !is_read(told)).filter(is_asked_for);
        let tracks = IMAGES.into_iter().filter(|track| self.selected.has(*track));
        let pairs = absent.flat_map(|told| tracks.clone().map(move |track| (told, track)));
        let cause = "the device has no recording: every trigger";
        let row = |(told, track): (&Told, TrackName)| loss_row("", &told.serial, track, cause);
        pairs.map(|pair| (LOSSES.to_owned(), row(pair))).collect()
    }
}

/// Deals the samples of the IMU to triggers: each gets those up to its first frame.
struct Samples<'a, 'f> {
    selected: &'a Selected<'a, 'f>,
    /// What is left, for each device.
    left: Vec<Range<u64>>,
}

impl<'a, 'f> Samples<'a, 'f> {
    fn new(run: &Run<'a, 'f>) -> Self {
        let devices = run.selected.devices.iter();
        let wanted = run.selected.has(TrackName::Imu) && run.sink.shape() == Shape::One;
        let range = |chosen| match wanted {
            true => imu::range(run.reader, run.selected, chosen),
            false => 0..0,
        };
        Self { selected: run.selected, left: devices.map(range).collect() }
    }

    fn of(&mut self, trigger: u64, found: &Found<'f>) -> Vec<Range<u64>> {
        let next = trigger.saturating_add(self.selected.every as u64);
        let is_last = next > *self.selected.triggers.end();
        let devices = self.selected.devices.iter().zip(&mut self.left);
        let deal = |(chosen, left): (&Chosen<'_, '_>, &mut Range<u64>)| {
            let device: &FoundDevice<'f> = &found.devices[chosen.place];
            let first = imu::first_us(chosen, device).map(|us| us.saturating_add(1));
            let to = if is_last { left.end } else { first.unwrap_or(left.start) };
            let dealt = left.start..to.clamp(left.start, left.end);
            left.start = dealt.end;
            dealt
        };
        devices.map(deal).collect()
    }
}
