//! A take as films for emulated cameras: each sends again what the device of its place recorded.

use super::capture::{Decoder, DeviceFrames};
use super::cursor::Cursor;
use super::files::Files;
use super::reader::{Device, Reader};
use crate::config::TakePlayed;
use crate::error::{Error, Result};
use genlock_emulator::Film;
use genlock_emulator::raw::Body;
use genlock_formats::k4a::{ColorFormat, Configuration, DepthMode, Image, ImuSample, TrackName};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Samples that are kept of each device: ten minutes of them. Then they begin anew.
const SAMPLES_MAX: usize = 1_000_000;

/// The films of the devices of a take, with their serials, the master's first. Frames are read when
/// they are sent; what is mapped for it stays so until the program ends.
///
/// # Errors
/// `File` when it is no take that devices can play.
pub fn films(path: &Path) -> Result<Vec<(String, Arc<dyn Film>)>> {
    let TakePlayed { serials, begins_at, .. } = TakePlayed::open(path)?;
    // Films live as long as the emulated devices, which are part of the program.
    let files: &'static Files = Box::leak(Box::new(Files::open(path)?));
    let reader: &'static Reader<'static> = Box::leak(Box::new(Reader::open(files)?));
    let film = |serial: &String| {
        let place = reader.devices().iter().position(|device| device.serial() == serial);
        let place =
            place.ok_or_else(|| Error::file(path, &format!("{serial} has no recording")))?;
        let device = &reader.devices()[place];
        let color = device.configuration().color;
        if color.is_some_and(|mode| mode.format == ColorFormat::Bgra) {
            let text = format!("the color of {serial} is BGRA, which no device sends");
            return Err(Error::file(path, &text));
        }
        let film = TakeFilm {
            device,
            place,
            begins_at,
            first: reader.triggers().start,
            count: reader.triggers().end - reader.triggers().start,
            samples: device.recording().imu().flatten().take(SAMPLES_MAX).collect(),
            color: Mutex::new(Shown::new(reader, device.first_of(TrackName::Color))),
            depth: Mutex::new(Shown::new(reader, device.first_of(TrackName::Ir))),
        };
        Ok((serial.clone(), Arc::new(film) as Arc<dyn Film>))
    };
    serials.iter().map(film).collect()
}

/// The frames of one device.
struct TakeFilm {
    device: &'static Device<'static>,
    place: usize,
    /// The pulse that the first trigger is for.
    begins_at: u64,
    first: u64,
    count: u64,
    samples: Vec<ImuSample>,
    /// What is being sent: the cameras of a device do not send the same frame at once.
    color: Mutex<Shown<Vec<u8>>>,
    depth: Mutex<Shown<Body>>,
}

/// The frame that one camera sends, which is asked for again and again until it is sent. The lock
/// is that of the emulated device once more: nobody else asks for its frames.
struct Shown<T> {
    cursor: Cursor<'static, 'static>,
    decoder: Decoder,
    /// The first trigger that it has a frame of.
    first: u64,
    trigger: Option<u64>,
    frame: Option<Arc<T>>,
}

impl<T> Shown<T> {
    fn new(reader: &'static Reader<'static>, first: u64) -> Self {
        let (cursor, decoder) = (reader.cursor(), Decoder::new(reader));
        Self { cursor, decoder, first, trigger: None, frame: None }
    }
}

impl TakeFilm {
    /// What the pulse of this number shows: the first frame until the take begins, and the take
    /// again behind its last trigger.
    fn show<T>(
        &self,
        shown: &Mutex<Shown<T>>,
        number: u64,
        tracks: [bool; 3],
        make: impl FnOnce(&DeviceFrames<'_>) -> Option<T>,
    ) -> Option<Arc<T>> {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let trigger = match number.checked_sub(self.begins_at) {
            Some(behind) => self.first + behind.checked_rem(self.count)?,
            None => shown.first,
        };
        if shown.trigger != Some(trigger) {
            let mut find = |trigger| {
                let mut found = shown.cursor.find_device(self.place, trigger);
                for (frame, wanted) in found.frames.iter_mut().zip(tracks) {
                    frame.take_if(|_| !wanted);
                }
                found
            };
            // A device does not wait for a disk.
            let soon = find(trigger.saturating_add(self.device.configuration().rate.fps().into()));
            soon.frames.iter().flatten().flatten().for_each(|block| self.device.will_need(block));
            let found = find(trigger);
            let frames = shown.decoder.decode_device(self.place, found);
            shown.trigger = Some(trigger);
            shown.frame = make(&frames).map(Arc::new);
        }
        shown.frame.clone()
    }
}

/// The raw frame of a depth and an IR image; none where one of them is missing or does not fit.
fn body(mode: DepthMode, depth: Option<&Image<'_>>, ir: Option<&Image<'_>>) -> Option<Body> {
    let fits = |image: &&Image<'_>| image.bytes.len() == mode.image_bytes();
    let ir = ir.filter(fits)?.pixels_le();
    match mode.has_depth() {
        true => Body::pack(mode, &depth.filter(fits)?.pixels_le(), &ir),
        false => Body::pack(mode, &[], &ir),
    }
}

impl std::fmt::Debug for TakeFilm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "film of {}", self.device.serial())
    }
}

impl Film for TakeFilm {
    fn configuration(&self) -> &Configuration {
        self.device.configuration()
    }

    fn calibration(&self) -> Option<&[u8]> {
        self.device.recording().calibration()
    }

    fn color(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        self.show(&self.color, number, [true, false, false], |frames| {
            frames.color.frame().map(|image| image.bytes.to_vec())
        })
    }

    fn depth(&self, number: u64) -> Option<Arc<Body>> {
        let mode = self.device.configuration().depth?;
        self.show(&self.depth, number, [false, true, true], |frames| {
            body(mode, frames.depth.frame(), frames.ir.frame())
        })
    }

    fn imu(&self, number: u64) -> Option<ImuSample> {
        let number = number.checked_rem(self.samples.len() as u64)?;
        self.samples.get(number as usize).copied()
    }
}
