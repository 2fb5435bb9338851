//! A take as messages for another program: docs/replay.md describes them.
//!
//! A message is two lengths, u32 little-endian, of its head and of its body; the head, which is
//! JSON; and the body.

use super::capture::{Capture, Slot};
use super::cursor::IMAGES;
use super::reader::{Device, Reader};
use super::selection::{Selected, track_word};
use genlock_formats::k4a::{ColorFormat, Image, ImuSample, TrackName};
use serde::Serialize;
use std::io::{Result, Write};

/// The version of the messages, in the first of them.
const FORMAT: u32 = 1;

/// The head of a message.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Head<'a> {
    Take {
        format: u32,
        first_trigger: u64,
        last_trigger: u64,
        every: usize,
        devices: Vec<DeviceHead<'a>>,
    },
    Calibration {
        device: &'a str,
    },
    Frame {
        trigger: u64,
        device: &'a str,
        track: &'static str,
        time_us: u64,
        width: u64,
        height: u64,
        format: &'a str,
    },
    Lost {
        trigger: u64,
        device: &'a str,
        track: &'static str,
        cause: &'a str,
    },
    Imu {
        device: &'a str,
        samples: usize,
    },
    End {
        captures: u64,
        lost: u64,
    },
}

#[derive(Debug, Serialize)]
struct DeviceHead<'a> {
    serial: &'a str,
    name: &'a str,
    role: String,
    color_mode: String,
    depth_mode: String,
    rate: u32,
    depth_delay_us: i32,
    subordinate_delay_us: u32,
}

impl<'a> DeviceHead<'a> {
    fn of(device: &'a Device<'_>) -> Self {
        let configuration = device.configuration();
        let off = || "OFF".to_owned();
        Self {
            serial: device.serial(),
            name: device.name(),
            role: configuration.role.to_string().to_lowercase(),
            color_mode: configuration.color.map_or_else(off, |mode| mode.to_string()),
            depth_mode: configuration.depth.map_or_else(off, |mode| mode.to_string()),
            rate: configuration.rate.fps(),
            depth_delay_us: configuration.depth_delay_us,
            subordinate_delay_us: configuration.subordinate_delay_us,
        }
    }
}

/// Writes a take as messages.
pub struct Messages<W> {
    to: W,
    head: Vec<u8>,
    pixels: Vec<u8>,
}

impl<W: Write> Messages<W> {
    /// Begins with what the take is, and the calibration of each device.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn begin(to: W, wanted: &Selected<'_, '_>) -> Result<Self> {
        let mut messages = Self { to, head: Vec::new(), pixels: Vec::new() };
        let head = Head::Take {
            format: FORMAT,
            first_trigger: *wanted.triggers.start(),
            last_trigger: *wanted.triggers.end(),
            every: wanted.every,
            devices: wanted.devices.iter().map(|one| DeviceHead::of(one.device)).collect(),
        };
        messages.put(&head, &[])?;
        for chosen in &wanted.devices {
            if let Some(json) = chosen.device.recording().calibration() {
                messages.put(&Head::Calibration { device: chosen.device.serial() }, json)?;
            }
        }
        Ok(messages)
    }

    fn put(&mut self, head: &Head<'_>, body: &[u8]) -> Result<()> {
        self.head.clear();
        serde_json::to_writer(&mut self.head, head)?;
        let too_long = |_| std::io::Error::other("a message longer than its length can say");
        let lengths = [self.head.len(), body.len()].map(|len| u32::try_from(len).map_err(too_long));
        for length in lengths {
            self.to.write_all(&length?.to_le_bytes())?;
        }
        self.to.write_all(&self.head)?;
        self.to.write_all(body)
    }

    /// The frames of a capture, and what it lacks: as a device gives them, 16-bit pixels
    /// little-endian.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn capture(&mut self, reader: &Reader<'_>, capture: &Capture<'_>) -> Result<()> {
        for (device, frames) in reader.devices().iter().zip(&capture.devices) {
            for (slot, track) in frames.slots().into_iter().zip(IMAGES) {
                let (trigger, serial, word) = (capture.trigger, device.serial(), track_word(track));
                match slot {
                    Slot::Off => {}
                    Slot::Lost(cause) => {
                        let head = Head::Lost { trigger, device: serial, track: word, cause };
                        self.put(&head, &[])?;
                    }
                    Slot::Frame(image) => {
                        let format = format(device, track);
                        let Image { time_us, width, height, .. } = *image;
                        let head = Head::Frame {
                            trigger,
                            device: serial,
                            track: word,
                            time_us,
                            width,
                            height,
                            format: &format,
                        };
                        let mut pixels = std::mem::take(&mut self.pixels);
                        let body = image.pixels_le_in(&mut pixels);
                        let put = self.put(&head, body);
                        self.pixels = pixels;
                        put?;
                    }
                }
            }
        }
        self.to.flush()
    }

    /// Samples of a device's IMU, 40 bytes each as a recording holds them (docs/take.md).
    ///
    /// # Errors
    /// Those of the writer.
    pub fn imu(&mut self, device: &Device<'_>, samples: &[ImuSample]) -> Result<()> {
        let body: Vec<u8> = samples.iter().flat_map(ImuSample::to_bytes).collect();
        self.put(&Head::Imu { device: device.serial(), samples: samples.len() }, &body)
    }

    /// That all captures were sent.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(&mut self, captures: u64, lost: u64) -> Result<()> {
        self.put(&Head::End { captures, lost }, &[])?;
        self.to.flush()
    }
}

/// How the pixels of a track lie.
fn format(device: &Device<'_>, track: TrackName) -> String {
    match track {
        TrackName::Color => {
            let format = device.configuration().color.map(|mode| mode.format);
            format.unwrap_or(ColorFormat::Mjpg).to_string()
        }
        _ => "GRAY16LE".to_owned(),
    }
}
