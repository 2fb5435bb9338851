//! Takes for other programs: images as files, MCAP, the RGB-D benchmark of the TUM, shards of a
//! dataset, clouds of points. `docs/export.md` has each layout.

mod container;
mod foxglove;
mod image;
mod imu;
mod mcap;
mod output;
mod place;
mod ply;
mod png;
mod protobuf;
mod run;
mod scene;
mod schema;
mod sink;
mod tar;
mod times;
mod tum;
mod webdataset;

use crate::error::{Error, Result};
use crate::map::Map;
use crate::repair::refuse_growing;
use crate::replay::{Files, Reader, Selected, Selection};
use genlock_formats::k4a::TrackName;
use place::{Found, Place};
use run::Run;
use scene::Scene;
use serde::{Deserialize, Serialize};
use sink::{LOSSES, LOSSES_HEAD, Sink};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use times::Times;

/// What a take becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Images as files.
    Png,
    /// One MCAP file with Foxglove's schemas.
    Mcap,
    /// The layout of the RGB-D benchmark of the TUM.
    Tum,
    /// Tar archives for the `webdataset` package.
    Webdataset,
    /// Colored clouds of points.
    Ply,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Png => "png",
            Self::Mcap => "mcap",
            Self::Tum => "tum",
            Self::Webdataset => "webdataset",
            Self::Ply => "ply",
        })
    }
}

/// How to export.
#[derive(Debug, Clone, Serialize)]
pub struct Options {
    /// To what.
    pub to: Format,
    /// With clouds of points, in an MCAP file.
    pub clouds: bool,
    /// Triggers in a shard.
    pub shard_size: u64,
    /// What of the take.
    pub selection: Selection,
}

/// Who watches over an export.
pub struct Watch<'a> {
    /// Set from outside: stop, and keep what there is.
    pub stop: &'a AtomicBool,
    /// Hears of triggers that are done, and of how many there are.
    pub told: &'a mut dyn FnMut(u64),
}

impl Watch<'_> {
    fn done(&mut self, triggers: u64) -> Result<()> {
        (self.told)(triggers);
        match self.stop.load(Ordering::Acquire) {
            false => Ok(()),
            true => {
                Err(Error::Disk("stopped; the same command again goes on from here".to_owned()))
            }
        }
    }
}

/// What came of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Triggers.
    pub triggers: u64,
    /// Images that they have; of clouds, these.
    pub images: u64,
    /// Rows in the list of what is missing.
    pub lost: u64,
    /// Zero of times in seconds: `utc`, or `device` for the clock of each.
    pub clock: String,
    /// Whether nothing was left to be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_whole: bool,
}

/// What an export is made of and how, as its `export.toml` says.
#[derive(Serialize)]
struct About<'a> {
    format: u32,
    genlock: &'static str,
    options: &'a Options,
    source: Vec<Source>,
}

/// A recording: enough of it to tell another one.
#[derive(Serialize)]
struct Source {
    file: String,
    bytes: u64,
    front_crc32: String,
}

/// The part of `export.toml` that is written last.
#[derive(Serialize, Deserialize)]
struct Whole {
    result: Exported,
}

/// How much of a recording's front is looked at: what it is, whose it is, and its first frames.
const FRONT: usize = 1 << 20;

/// A take that is open, and what of it is exported.
pub struct Export<'a> {
    files: &'a Files,
    options: &'a Options,
}

impl<'a> Export<'a> {
    /// Of these files.
    #[must_use]
    pub fn new(files: &'a Files, options: &'a Options) -> Self {
        Self { files, options }
    }

    /// How many triggers are selected.
    ///
    /// # Errors
    /// `Usage` when the take has nothing of what is selected; `File` when it cannot be read.
    pub fn count(&self) -> Result<u64> {
        let reader = Reader::open(self.files)?;
        Ok(self.options.selection.of(&reader)?.count())
    }

    /// Exports into the folder `out`, or goes on there.
    ///
    /// # Errors
    /// `Usage` when the take has nothing of what is selected, or `out` holds something else; `File`
    /// when the take cannot be read; `Disk` when `out` cannot be written, or it was told to stop.
    pub fn run(&self, out: &Path, watch: &mut Watch<'_>) -> Result<Exported> {
        refuse_inside(self.files.path(), out)?;
        let reader = Reader::open(self.files)?;
        reader.devices().iter().try_for_each(|device| refuse_growing(device.path()))?;
        let selected = self.options.selection.of(&reader)?;
        let (times, scene) = (Times::of(&reader), Scene::of(&selected));
        let sink = self.sink(&selected, &scene)?;
        let about = self.about(&reader)?;
        let mut place = match Place::open(out, &about)? {
            Found::Open(place) => place,
            Found::Whole(text) => return whole(out, &text),
        };
        let run = Run {
            reader: &reader,
            selected: &selected,
            times: &times,
            scene: &scene,
            sink: &*sink,
        };
        place.folder.make(&sink.folders())?;
        for (name, bytes) in sink.once() {
            place.folder.put(&name, &bytes)?;
        }
        run.run(&mut place, sink.front()?, watch)?;
        let mut more = run.absent(&self.options.selection.devices);
        for chosen in selected.devices.iter().filter(|_| selected.has(TrackName::Imu)) {
            let range = imu::range(&reader, &selected, chosen);
            more.append(&mut imu::write(&place.folder, (chosen, &times), range, sink.imu())?);
        }
        let mut lists = sink.lists();
        lists.push((LOSSES.to_owned(), LOSSES_HEAD.to_owned()));
        let so_far = place.so_far;
        let mut exported = Exported {
            triggers: so_far.triggers,
            images: so_far.images,
            lost: 0,
            clock: times.word().to_owned(),
            was_whole: false,
        };
        place.finish(&lists, &more, &about, |counts| {
            exported.lost = counts.get(LOSSES).copied().unwrap_or(0);
            toml_text(&Whole { result: exported.clone() })
        })?;
        Ok(exported)
    }

    fn sink(&self, selected: &Selected<'_, '_>, scene: &Scene) -> Result<Box<dyn Sink>> {
        Ok(match self.options.to {
            Format::Png => Box::new(png::Png::new(selected)),
            Format::Webdataset => {
                Box::new(webdataset::Webdataset::new(selected, self.options.shard_size))
            }
            Format::Mcap => Box::new(mcap::Mcap::new(selected, scene, self.options.clouds)),
            Format::Tum => Box::new(tum::Tum::new(selected, scene)?),
            Format::Ply => Box::new(ply::Ply::new(selected, scene)?),
        })
    }

    fn about(&self, reader: &Reader<'_>) -> Result<String> {
        let source = |device: &crate::replay::Device<'_>| {
            let bytes = Map::open(device.path())?;
            Ok(Source {
                file: device.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: bytes.len() as u64,
                front_crc32: format!("{:08x}", crc32fast::hash(&bytes[..bytes.len().min(FRONT)])),
            })
        };
        toml_text(&About {
            format: 1,
            genlock: env!("CARGO_PKG_VERSION"),
            options: self.options,
            source: reader.devices().iter().map(source).collect::<Result<_>>()?,
        })
    }
}

fn toml_text(value: &impl Serialize) -> Result<String> {
    toml::to_string(value).map_err(|cause| Error::Disk(format!("cannot write TOML: {cause}")))
}

fn whole(out: &Path, text: &str) -> Result<Exported> {
    let path = out.join(place::EXPORT);
    let said: Whole = toml::from_str(text).map_err(|cause| Error::file(&path, &cause))?;
    Ok(Exported { was_whole: true, ..said.result })
}

/// A folder in a take is none of its recordings.
fn refuse_inside(source: &Path, out: &Path) -> Result<()> {
    let existing = out.ancestors().find_map(|path| path.canonicalize().ok());
    match (existing, source.canonicalize()) {
        (Some(existing), Ok(source)) if source.is_dir() && existing.starts_with(&source) => {
            Err(Error::Usage(format!("{} is inside the take: put it beside it", out.display())))
        }
        _ => Ok(()),
    }
}
