//! A take: devices started in order, one recorder each, and what came of it.
//!
//! Threads are somebody else's: [`Take::start`] hands out stages, so that production runs them on
//! threads and simulation gives them turns.

use crate::clock::Clock;
use crate::config::{ColorControls, DeviceConfig, Opening};
use crate::device::{Buffering, Device, EngineLibrary, Outputs, Settled, TakenWith};
use crate::error::{Error, Result};
use crate::frame::TrackName;
use crate::lane::{Received, Receiver, Sender, lane};
use crate::record::cameras::Cameras;
use crate::record::counters::Counters;
use crate::record::disk::Disk;
use crate::record::encode::Encoder;
use crate::record::file::{About, RecordingFile};
use crate::record::monitor::{Evidence, Monitor, NOTES_MAX, Note, Watched};
use crate::record::recorder::{Lanes, Part, Recorder, Report};
use crate::record::settle;
use crate::record::status::{DeviceStatus, Status, Waiting};
use crate::rig::start_rank;
use crate::stage::Stage;
use crate::sync::Span;
use genlock_formats::k4a::{self, Configuration, Role};
use genlock_formats::take::Delay;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Frames that fit on a lane. The pools behind hold about as many, so a lane is full only when its
/// receiver has stood still for a second.
const LANE_FRAMES: usize = 512;

/// Losses that fit on a lane; beyond, the cause of a loss is forgotten, never the loss.
const LANE_LOSSES: usize = 1024;

/// Alarms that wait for whoever watches.
const ALARMS_MAX: usize = 256;

/// Triggers between setting controls and a frame that was taken with them.
const SETTLING: u64 = 4;

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
    opening: Opening,
    /// Whether the take may begin as soon as its devices agree.
    released: bool,
    notes: Option<Sender<Note>>,
    alarms: Receiver<String>,
    evidence: Receiver<Vec<Evidence>>,
}

struct Running {
    device: Device,
    name: Option<String>,
    config: DeviceConfig,
    controls: ColorControls,
    counters: Arc<Counters>,
    stale: Arc<AtomicBool>,
    settled: Arc<Settled>,
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
    /// Sets a stage going.
    pub launch: &'a mut dyn FnMut(Job) -> Result<()>,
    /// How often what was written is made durable.
    pub sync_every: Duration,
    /// Program, date and UID seed of the files.
    pub written: k4a::About,
}

/// A stage of a take.
pub enum Job {
    /// Between a device and its recorder.
    Source(Box<dyn Stage>),
    /// A recorder, which is done when its file is.
    Recorder(Box<dyn Stage>),
    /// The monitor, which is done when all recorders are gone.
    Monitor(Box<dyn Stage>),
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
    /// What the take has of it for each trigger.
    pub evidence: Evidence,
}

/// A device about to be started.
struct Armed {
    member: Member,
    outputs: Outputs,
    encoder: Encoder,
    running: (Arc<Counters>, Receiver<Report>),
    recorder: Recorder,
}

/// What came of starting a device.
type Started = Result<Vec<Box<dyn Stage>>>;

impl Take {
    /// Starts the devices: subordinates first, side by side, the master last. The take begins when
    /// all deliver, and after the `opening`; it ends by itself after `triggers`.
    ///
    /// # Errors
    /// When a device does not start, or its file cannot be created. Devices started so far are
    /// stopped.
    pub fn start(
        mut members: Vec<Member>,
        triggers: Option<u64>,
        opening: Opening,
        around: Surroundings<'_>,
    ) -> Result<Self> {
        members.sort_by_key(|member| start_rank(member.config.role));
        // The take itself is a party: it agrees when the opening is over.
        let span = Arc::new(Span::new(members.len() + 1, triggers));
        let mut around = around;
        // Every file is created before any device starts: a refusal costs nobody's time.
        let places = members.iter().map(|member| (around.place)(member.device.serial()));
        let places = places.collect::<Result<Vec<_>>>()?;
        let (notes, heard) = lane(NOTES_MAX);
        let (to_alarms, alarms) = lane(ALARMS_MAX);
        let (to_evidence, evidence) = lane(1);
        let (watched, master) = watched(&members);
        let monitor =
            Monitor::new(watched, master, Arc::clone(&span), heard, (to_alarms, to_evidence));
        let mut take = Self {
            members: Vec::new(),
            span,
            stop: Arc::new(AtomicBool::new(false)),
            opening,
            released: false,
            notes: None,
            alarms,
            evidence,
        };
        (around.launch)(Job::Monitor(Box::new(monitor)))?;
        let parts = parts(&members);
        let mut armed: VecDeque<_> = members
            .into_iter()
            .zip(places)
            .zip(parts)
            .enumerate()
            .map(|(place, ((member, disk), part))| {
                take.arm(member, disk, (place, part, notes.clone()), &around)
            })
            .collect();
        take.notes = Some(notes);
        while let Some(first) = armed.front() {
            let rank = start_rank(first.member.config.role);
            let same = armed.iter().take_while(|a| start_rank(a.member.config.role) == rank);
            let group = armed.drain(..same.count()).collect();
            if let Err(cause) = take.start_together(group, &mut around) {
                take.end_now();
                // What failed first is what there is to say.
                let _ = take.stop_devices();
                return Err(cause);
            }
        }
        if opening == Opening::default() {
            take.release(0);
        }
        Ok(take)
    }

    /// Makes everything that a device's frames run through.
    fn arm(
        &self,
        member: Member,
        disk: Box<dyn Disk>,
        (place, part, notes): (usize, Part, Sender<Note>),
        around: &Surroundings<'_>,
    ) -> Armed {
        let serial = member.device.serial().to_owned();
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
            stale: Arc::default(),
            settled: Arc::default(),
            clock: around.clock.clone(),
        };
        let (device, config) = (&member.device, &member.config);
        let (about, clock) = (about(device, config, around), around.clock.clone());
        let file = RecordingFile::new(about, disk, clock, around.sync_every);
        let counters = Arc::new(Counters::default());
        let recorder = Recorder::new(
            (&serial, place, part),
            Cameras::new(config),
            Lanes { frames, losses: lost, report, notes },
            Arc::clone(&self.span),
            file,
            Arc::clone(&counters),
        );
        let encoder = Encoder::new(&serial, depth_frames, to_recorder, losses);
        Armed { member, outputs, encoder, running: (counters, reported), recorder }
    }

    /// Starts devices side by side, and sets their stages going.
    fn start_together(
        &mut self,
        mut group: Vec<Armed>,
        around: &mut Surroundings<'_>,
    ) -> Result<()> {
        let start = |armed: &mut Armed, engine: Option<&EngineLibrary>| {
            let Armed { member: Member { device, config, .. }, outputs, .. } = armed;
            device.start(config, engine, outputs.clone(), buffering(config))
        };
        let engine = around.engine.as_ref();
        let started: Vec<Started> = match &mut group[..] {
            [alone] => vec![start(alone, engine)],
            several => std::thread::scope(|scope| {
                let threads: Vec<_> =
                    several.iter_mut().map(|armed| scope.spawn(|| start(armed, engine))).collect();
                let gone = || Err(Error::Device("a device's start was cut off".to_owned()));
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gone())).collect()
            }),
        };
        let mut done = Ok(());
        for (armed, started) in group.into_iter().zip(started) {
            let one = self.set_going(armed, started, around);
            done = done.and(one);
        }
        done
    }

    fn set_going(
        &mut self,
        armed: Armed,
        started: Started,
        around: &mut Surroundings<'_>,
    ) -> Result<()> {
        let Armed { member, outputs, encoder, running: (counters, report), recorder } = armed;
        let Member { device, name, config, controls } = member;
        let Outputs { stale, settled, .. } = outputs;
        // What was started must be stopped, also if it did not start as a whole.
        self.members.push(Running {
            device,
            name,
            config,
            controls,
            counters,
            stale,
            settled,
            report,
        });
        for source in started? {
            (around.launch)(Job::Source(source))?;
        }
        (around.launch)(Job::Source(Box::new(encoder)))?;
        (around.launch)(Job::Recorder(Box::new(recorder)))
    }

    /// How the take goes, `elapsed` after its start, with the alarms since the last look.
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
                waiting: match (counters.waiting(), member.config.role) {
                    (false, _) => None,
                    (true, Role::Subordinate) => Some(Waiting::Pulses),
                    (true, Role::Master | Role::Standalone) => Some(Waiting::Frames),
                },
                stale: member.stale.load(Ordering::Relaxed),
            }
        });
        let mut alarms = Vec::new();
        while let Received::Value(alarm) = self.alarms.receive(Duration::ZERO) {
            alarms.push(alarm);
        }
        let warming_up = !self.released;
        Status { elapsed, devices: devices.collect(), alarms, warming_up }
    }

    /// Looks at the sync cables, and tells the monitor.
    pub fn look_at_cables(&mut self) {
        let Some(notes) = &self.notes else { return };
        for (place, member) in self.members.iter_mut().enumerate() {
            let Ok(Some(plugged)) = member.plugged() else { continue };
            // A full lane costs this look.
            let _ = notes.send(Note::Cable { device: place, plugged });
        }
    }

    /// Ends the opening once the cameras have run for `elapsed` since all delivered: holds what the
    /// automatics have found, and lets the take begin.
    ///
    /// # Errors
    /// `Device` or `Usage` when a device refuses its controls.
    pub fn open_after(&mut self, elapsed: Duration) -> Result<()> {
        if self.released || elapsed < self.opening.warm_up {
            return Ok(());
        }
        settle::settle(&self.opening, &mut self.members)?;
        // Frames on their way were taken before.
        self.release(self.span.latest() + SETTLING);
        Ok(())
    }

    fn release(&mut self, first: u64) {
        if !self.released {
            self.released = true;
            self.span.propose(first);
        }
    }

    /// Whether all devices have agreed on the first trigger.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.span.first().is_some()
    }

    /// Ends the take soon, at the same trigger for every device.
    pub fn end_soon(&self) {
        self.span.close();
    }

    /// Ends the take with what is there: sources stop at their next step.
    pub fn end_now(&mut self) {
        self.span.close();
        self.stop.store(true, Ordering::Release);
        self.notes = None;
    }

    /// Stops the devices, the master first, and collects their reports. Call it when all
    /// stages are gone.
    ///
    /// # Errors
    /// The first device that did not stop as it should; the take is complete all the same.
    pub fn finish(mut self) -> (Vec<Recorded>, Result<()>) {
        let stopped = self.stop_devices();
        let evidence = match self.evidence.receive(Duration::ZERO) {
            Received::Value(evidence) => evidence,
            Received::Nothing | Received::Closed => Vec::new(),
        };
        let evidence = evidence.into_iter().chain(std::iter::repeat_with(Evidence::default));
        let recorded = self.members.into_iter().zip(evidence).map(|(member, mut evidence)| {
            let report = match member.report.receive(Duration::ZERO) {
                Received::Value(report) => Some(report),
                Received::Nothing | Received::Closed => None,
            };
            if let Some(report) = &report {
                evidence.leave_out(report.first_trigger, &report.missing);
            }
            let Running { device, name, config, controls, .. } = member;
            Recorded { device, name, config, controls, report, evidence }
        });
        let mut recorded: Vec<Recorded> = recorded.collect();
        recorded.sort_by(|a, b| a.device.serial().cmp(b.device.serial()));
        (recorded, stopped)
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

impl Running {
    /// Whether the sync cable that its role needs is in; none where it needs none.
    fn plugged(&mut self) -> Result<Option<bool>> {
        Ok(match self.config.role {
            Role::Standalone => None,
            Role::Master => Some(self.device.jacks()?.sync_out),
            Role::Subordinate => Some(self.device.jacks()?.sync_in),
        })
    }
}

impl settle::Automatic for Running {
    fn has_color(&self) -> bool {
        self.config.color.is_some()
    }

    fn is_master(&self) -> bool {
        self.config.role != Role::Subordinate
    }

    fn controls(&self) -> &ColorControls {
        &self.controls
    }

    fn taken_with(&self) -> Option<TakenWith> {
        self.settled.newest()
    }

    fn hold(&mut self, controls: &ColorControls) -> Result<()> {
        self.device.set_controls(controls)?;
        self.controls = self.device.read_controls()?;
        Ok(())
    }
}

/// The part of each device: with a master among them, its subordinates count by its pulses.
fn parts(members: &[Member]) -> Vec<Part> {
    let master = members.iter().find(|member| member.config.role == Role::Master);
    let other = |member: &Member| {
        let masters = master.map(|master| master.device.firmware().color);
        masters.is_some_and(|masters| member.device.firmware().color != masters)
    };
    let part = |member: &Member| match (member.config.role, master) {
        (Role::Master, _) => Part::Leads { other_firmware: members.iter().any(other) },
        (Role::Subordinate, Some(_)) => Part::Follows { other_firmware: other(member) },
        _ => Part::Alone,
    };
    members.iter().map(part).collect()
}

/// What the monitor must know of the devices, and which of them is the master.
fn watched(members: &[Member]) -> (Vec<Watched>, Option<usize>) {
    let master = members.iter().position(|member| member.config.role == Role::Master);
    let device = |member: &Member| {
        let follows = master.is_some() && member.config.role == Role::Subordinate;
        let tracks: Vec<_> = Cameras::new(&member.config).image_tracks().collect();
        Watched {
            serial: member.device.serial().to_owned(),
            leading: tracks.first().copied().unwrap_or(TrackName::Color),
            tracks,
            delay_us: follows.then(|| delay_us(&member.config)),
            rate: member.config.rate,
        }
    };
    (members.iter().map(device).collect(), master)
}

/// How much later than the master's color a subordinate's leading exposures are planned, as the
/// device rounds it.
#[must_use]
pub fn delay_us(config: &DeviceConfig) -> f64 {
    let us = |asked_us: i64| Delay::of(asked_us).ticks as f64 * 100.0 / 9.0;
    let depth_us = match config.color {
        Some(_) => 0,
        None => config.depth_delay_us.into(),
    };
    us(config.subordinate_delay_us.into()) + us(depth_us)
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
