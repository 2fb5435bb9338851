//! A take played to another program.

use super::capture::{Capture, Slot};
use super::messages::Messages;
use super::pace::{Pace, Speed};
use super::reader::{Device, Reader};
use super::selection::Selected;
use crate::error::{Error, Result};
use genlock_formats::k4a::{ImuSample, TrackName};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What was played, and how fast.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Played {
    /// Captures that were given away.
    pub captures: u64,
    /// Frames in them.
    pub frames: u64,
    /// Frames that they lack.
    pub lost: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// IMU samples.
    pub samples: u64,
    /// What the captures took when they were recorded.
    pub recorded_s: f64,
    /// What they took now.
    pub took_s: f64,
    /// How late the latest was.
    pub late_max_ms: f64,
    /// Whether the reader went away before the end.
    pub left: bool,
}

/// Plays what is wanted of a take to `to`, until its end, until `stop` is set, or until the reader
/// goes away. `told` hears of each capture.
///
/// # Errors
/// `Disk` when the other program cannot be written to; `File` for IMU blocks that break the rules.
pub fn play<'f>(
    reader: &Reader<'f>,
    wanted: &Selected<'_, 'f>,
    speed: Speed,
    to: &mut dyn Write,
    stop: &AtomicBool,
    told: &mut dyn FnMut(),
) -> Result<Played> {
    let mut player = Player {
        reader,
        wanted,
        pace: Pace::begin(speed),
        played: Played::default(),
        imu: imu(wanted),
        stop,
    };
    let done = Messages::begin(to, wanted).map_err(End::Writing).and_then(|mut messages| {
        let mut end = Ok(());
        let played = reader.play(wanted, |capture| {
            end = player.capture(&mut messages, &capture);
            told();
            match &end {
                Ok(()) => Ok(()),
                // The dealing of work ends with an error, whatever it is.
                Err(_) => Err(Error::Disk(String::new())),
            }
        });
        end.and(played.map_err(End::Failed))?;
        player.end(&mut messages)
    });
    let mut played = player.played;
    let period_s = reader.period_us() as f64 / 1e6;
    played.recorded_s = played.captures as f64 * wanted.every as f64 * period_s;
    played.took_s = player.pace.elapsed().as_secs_f64();
    played.late_max_ms = player.pace.late_max().as_secs_f64() * 1e3;
    match done {
        Ok(()) | Err(End::Stopped) => Ok(played),
        Err(End::Writing(cause)) if cause.kind() == ErrorKind::BrokenPipe => {
            Ok(Played { left: true, ..played })
        }
        Err(End::Writing(cause)) => {
            Err(Error::Disk(format!("cannot write to the other program: {cause}")))
        }
        Err(End::Failed(error)) => Err(error),
    }
}

/// Why playing ended before its time.
enum End {
    Stopped,
    Writing(std::io::Error),
    Failed(Error),
}

struct Player<'p, 'f> {
    reader: &'p Reader<'f>,
    wanted: &'p Selected<'p, 'f>,
    pace: Pace,
    played: Played,
    imu: Vec<Imu<'p, 'f>>,
    stop: &'p AtomicBool,
}

/// The samples of a device that have not been given away.
struct Imu<'p, 'f> {
    device: &'p Device<'f>,
    place: usize,
    samples: Peekable<Box<dyn Iterator<Item = ImuSample> + 'p>>,
}

fn imu<'p, 'f>(wanted: &'p Selected<'_, 'f>) -> Vec<Imu<'p, 'f>> {
    let chosen = wanted.devices.iter().filter(|_| wanted.has(TrackName::Imu));
    let of = |chosen: &'p super::Chosen<'_, 'f>| {
        let device = chosen.device;
        // A block that breaks the rules is passed over: verify tells of it.
        let samples = device.imu(wanted.time_us(device)).flatten();
        let samples: Box<dyn Iterator<Item = ImuSample>> = Box::new(samples);
        Imu { device, place: chosen.place, samples: samples.peekable() }
    };
    chosen.filter(|one| one.device.configuration().imu).map(of).collect()
}

impl Player<'_, '_> {
    fn capture<W: Write>(
        &mut self,
        messages: &mut Messages<W>,
        capture: &Capture<'_>,
    ) -> std::result::Result<(), End> {
        let ahead = capture.trigger - self.wanted.triggers.start();
        let recorded = Duration::from_micros(ahead.saturating_mul(self.reader.period_us()));
        self.pace.wait(recorded, self.stop);
        if self.stop.load(Ordering::Relaxed) {
            return Err(End::Stopped);
        }
        self.samples_until(messages, |imu| {
            let slots = capture.devices[imu.place].slots();
            slots.into_iter().filter_map(Slot::frame).map(|frame| frame.time_us).min()
        })?;
        messages.capture(self.reader, capture).map_err(End::Writing)?;
        self.played.captures += 1;
        for slot in capture.devices.iter().flat_map(|device| device.slots()) {
            match slot {
                Slot::Frame(frame) => {
                    self.played.frames += 1;
                    self.played.bytes += frame.bytes.len() as u64;
                }
                Slot::Lost(_) => self.played.lost += 1,
                Slot::Off => {}
            }
        }
        Ok(())
    }

    /// Gives away each device's samples of before the time that `until` says, if it says any.
    fn samples_until<W: Write>(
        &mut self,
        messages: &mut Messages<W>,
        until: impl Fn(&Imu<'_, '_>) -> Option<u64>,
    ) -> std::result::Result<(), End> {
        for imu in &mut self.imu {
            let Some(until_us) = until(imu) else { continue };
            let before = |sample: &ImuSample| sample.accelerometer_ns / 1000 < until_us;
            let samples: Vec<_> = std::iter::from_fn(|| imu.samples.next_if(before)).collect();
            if !samples.is_empty() {
                self.played.samples += samples.len() as u64;
                messages.imu(imu.device, &samples).map_err(End::Writing)?;
            }
        }
        Ok(())
    }

    fn end<W: Write>(&mut self, messages: &mut Messages<W>) -> std::result::Result<(), End> {
        self.samples_until(messages, |_| Some(u64::MAX))?;
        messages.end(self.played.captures, self.played.lost).map_err(End::Writing)
    }
}
