//! A take: devices started in order, one recorder each, and what came of it.
//!
//! Threads are somebody else's: [`Take::start`] hands out stages, so that production runs them on
//! threads and simulation gives them turns.

use crate::clock::Clock;
use crate::config::{ColorControls, DeviceConfig};
use crate::device::{Buffering, Device, EngineLibrary, Outputs};
use crate::error::Result;
use crate::lane::{Received, Receiver, lane};
use crate::record::cameras::Cameras;
use crate::record::counters::Counters;
use crate::record::disk::Disk;
use crate::record::encode::Encoder;
use crate::record::file::{About, RecordingFile};
use crate::record::recorder::{Lanes, Recorder, Report};
use crate::record::status::{DeviceStatus, Status};
use crate::rig::start_rank;
use crate::stage::Stage;
use crate::sync::Span;
use genlock_formats::k4a::{self, Configuration, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Frames that fit on a lane. The pools behind hold about as many, so a lane is full only when its
/// receiver has stood still for a second.
const LANE_FRAMES: usize = 512;

/// Losses that fit on a lane; beyond, the cause of a loss is forgotten, never the loss.
const LANE_LOSSES: usize = 1024;

/// One device of a take, opened and checked.
pub struct Member {
    /// The opened device.
    pub device: Device,
    /// What people call it.
    pub name: Option<String>,
    /// What it is asked to do.
    pub config: DeviceConfig,
    /// Its color controls, as it has them after they were set; nothing with color off.
    pub controls: ColorControls,
}

/// A running take.
pub struct Take {
    members: Vec<Running>,
    span: Arc<Span>,
    stop: Arc<AtomicBool>,
}

struct Running {
    device: Device,
    name: Option<String>,
    config: DeviceConfig,
    controls: ColorControls,
    counters: Arc<Counters>,
    report: Receiver<Report>,
}

/// What a take needs beside its devices.
pub struct Surroundings<'a> {
    /// Turns raw depth into images; needed when a depth camera is on.
    pub engine: Option<EngineLibrary>,
    /// Time.
    pub clock: Clock,
    /// Gives the place for the file of the device with this serial.
    pub place: &'a mut dyn FnMut(&str) -> Result<Box<dyn Disk>>,
    /// Sets stages going.
    pub launch: &'a mut dyn FnMut(Stages) -> Result<()>,
    /// Program, date and UID seed of the files.
    pub written: k4a::About,
}

/// The stages of one device.
pub struct Stages {
    /// From the device to the recorder.
    pub sources: Vec<Box<dyn Stage>>,
    /// The recorder, which is done when the file is.
    pub recorder: Box<dyn Stage>,
}

/// What came of one device.
pub struct Recorded {
    /// The device, stopped.
    pub device: Device,
    /// What people call it.
    pub name: Option<String>,
    /// What it was asked to do.
    pub config: DeviceConfig,
    /// Its color controls in the take; nothing with color off.
    pub controls: ColorControls,
    /// What its file holds; none when the file could not be finished.
    pub report: Option<Report>,
}

impl Take {
    /// Starts the devices: subordinates first, the master last. The take ends by itself after
    /// `triggers`.
    ///
    /// # Errors
    /// When a device does not start, or its file cannot be created. Devices started so far are
    /// stopped.
    pub fn start(
        mut members: Vec<Member>,
        triggers: Option<u64>,
        around: Surroundings<'_>,
    ) -> Result<Self> {
        let span = Arc::new(Span::new(members.len(), triggers));
        let stop = Arc::new(AtomicBool::new(false));
        let mut take = Self { members: Vec::new(), span, stop };
        members.sort_by_key(|member| start_rank(member.config.role));
        let mut around = around;
        // Every file is created before any device starts: a refusal costs nobody's time.
        let places = members.iter().map(|member| (around.place)(member.device.serial()));
        let places = places.collect::<Result<Vec<_>>>()?;
        for (member, disk) in members.into_iter().zip(places) {
            if let Err(cause) = take.start_device(member, disk, &mut around) {
                take.end_now();
                // What failed first is what there is to say.
                let _ = take.stop_devices();
                return Err(cause);
            }
        }
        Ok(take)
    }

    fn start_device(
        &mut self,
        member: Member,
        disk: Box<dyn Disk>,
        around: &mut Surroundings<'_>,
    ) -> Result<()> {
        let Member { mut device, name, config, controls } = member;
        let serial = device.serial().to_owned();
        let (to_recorder, frames) = lane(LANE_FRAMES);
        let (to_encoder, depth_frames) = lane(LANE_FRAMES);
        let (losses, lost) = lane(LANE_LOSSES);
        let (report, reported) = lane(1);
        let outputs = Outputs {
            color: to_recorder.clone(),
            depth: to_encoder,
            imu: to_recorder.clone(),
            losses: losses.clone(),
            stop: Arc::clone(&self.stop),
            clock: around.clock.clone(),
        };
        let file = RecordingFile::new(about(&device, &config, around), disk, around.clock.clone());
        let counters = Arc::new(Counters::default());
        let recorder = Recorder::new(
            &serial,
            Cameras::new(&config),
            Lanes { frames, losses: lost, report },
            Arc::clone(&self.span),
            file,
            Arc::clone(&counters),
        );
        let started = device.start(&config, around.engine.as_ref(), outputs, buffering(&config));
        self.members.push(Running { device, name, config, controls, counters, report: reported });
        let mut sources = started?;
        sources.push(Box::new(Encoder::new(&serial, depth_frames, to_recorder, losses)));
        (around.launch)(Stages { sources, recorder: Box::new(recorder) })
    }

    /// How the take goes, `elapsed` after its start.
    #[must_use]
    pub fn status(&self, elapsed: Duration) -> Status {
        let devices = self.members.iter().map(|member| {
            let counters = &member.counters;
            let of_tracks = Cameras::new(&member.config);
            let frames = of_tracks.image_tracks().map(|track| counters.frames(track)).min();
            DeviceStatus {
                serial: member.device.serial().to_owned(),
                frames: frames.unwrap_or(0),
                losses: counters.losses(),
                bytes: counters.bytes(),
                waiting_for_master: counters.waiting() && member.config.role == Role::Subordinate,
            }
        });
        Status { elapsed, devices: devices.collect() }
    }

    /// Serials of the devices that have not yet delivered a frame of every camera.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let waiting = self.members.iter().filter(|member| member.counters.waiting());
        waiting.map(|member| member.device.serial().to_owned()).collect()
    }

    /// Ends the take soon, at the same trigger for every device.
    pub fn end_soon(&self) {
        self.span.close();
    }

    /// Ends the take with what is there: sources stop at their next step.
    pub fn end_now(&self) {
        self.span.close();
        self.stop.store(true, Ordering::Release);
    }

    /// Stops the devices, the master first, and collects their reports. Call it when all
    /// stages are gone.
    ///
    /// # Errors
    /// The first device that did not stop as it should; the take is complete all the same.
    pub fn finish(mut self) -> (Vec<Recorded>, Result<()>) {
        let stopped = self.stop_devices();
        let recorded = self.members.into_iter().map(|member| Recorded {
            report: match member.report.receive(Duration::ZERO) {
                Received::Value(report) => Some(report),
                Received::Nothing | Received::Closed => None,
            },
            device: member.device,
            name: member.name,
            config: member.config,
            controls: member.controls,
        });
        (recorded.collect(), stopped)
    }

    fn stop_devices(&mut self) -> Result<()> {
        let mut first_failure = Ok(());
        for member in self.members.iter_mut().rev() {
            let stopped = member.device.stop();
            first_failure = first_failure.and(stopped);
        }
        first_failure
    }
}

fn about(device: &Device, config: &DeviceConfig, around: &Surroundings<'_>) -> About {
    let firmware = device.firmware();
    About {
        configuration: Configuration {
            color: config.color,
            depth: config.depth,
            rate: config.rate,
            imu: config.imu,
            role: config.role,
            subordinate_delay_us: config.subordinate_delay_us,
            depth_delay_us: config.depth_delay_us,
            start_offset_ns: 0,
        },
        device: k4a::Device {
            serial: device.serial().to_owned(),
            color_firmware: firmware.color.to_string(),
            depth_firmware: firmware.depth.to_string(),
            calibration: device.calibration().to_vec(),
        },
        written: around.written.clone(),
    }
}

/// Buffers for a second and a half of frames: what the window holds back at most, and what a slow
/// disk may take for one write.
fn buffering(config: &DeviceConfig) -> Buffering {
    Buffering { frames: (config.rate.fps() as usize * 3 / 2).max(12) }
}
