//! A take: devices started in order, one recorder each, and what came of it.
//!
//! Threads are somebody else's: [`Take::start`] hands out stages, so that production runs them on
//! threads and simulation gives them turns.

use crate::clock::Clock;
use crate::config::{ColorControls, DeviceConfig, Keeping, Opening, Storing};
use crate::device::{Device, EngineLibrary, Firmware, Outputs};
use crate::error::{Error, Result};
use crate::frame::TrackName;
use crate::lane::{Received, Receiver, Sender, lane};
use crate::record::cameras::Cameras;
use crate::record::counters::Counters;
use crate::record::disk::Disk;
use crate::record::encode::Forms;
use crate::record::file::{About, RecordingFile};
use crate::record::job::Job;
use crate::record::monitor::{Evidence, Monitor, NOTES_MAX, Note, Watched};
use crate::record::recorder::{Feed, Lanes, Part, Recorder, Report};
use crate::record::reopen::{Connection, Shared, buffering};
use crate::record::running::{Link, Revival, Running};
use crate::record::settle;
use crate::record::shed::Shedder;
use crate::record::status::Status;
use crate::rig::start_rank;
use crate::stage::Stage;
use crate::sync::Span;
use crate::usb::Bus;
use genlock_formats::k4a::{self, Configuration, Role};
use genlock_formats::take::{Delay, Outage, Profile};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    revival: Revival,
    span: Arc<Span>,
    shedder: Arc<Shedder>,
    profile: Profile,
    /// What was last said of it.
    shed_told: Option<String>,
    opening: Opening,
    /// Whether the take may begin as soon as its devices agree.
    released: bool,
    notes: Option<Sender<Note>>,
    to_alarms: Sender<String>,
    alarms: Receiver<String>,
    evidence: Receiver<Vec<Evidence>>,
}

/// What a take needs beside its devices.
pub struct Surroundings<'a> {
    /// Where devices are found that have died.
    pub bus: Arc<dyn Bus>,
    /// How the take is kept from harm.
    pub keeping: Keeping,
    /// How the take is stored.
    pub storing: Storing,
    /// Turns raw depth into images; needed when a depth camera is on.
    pub engine: Option<EngineLibrary>,
    /// Time.
    pub clock: Clock,
    /// Gives the place for the file of the device with this serial.
    pub place: &'a mut dyn FnMut(&str) -> Result<Box<dyn Disk>>,
    /// Sets a stage going.
    pub launch: &'a mut dyn FnMut(Job) -> Result<()>,
    /// Returns when whatever gives pulses may start: everybody who waits for them does.
    pub armed: &'a mut dyn FnMut() -> Result<()>,
    /// Program, date and UID seed of the files.
    pub written: k4a::About,
}

/// What came of one device.
pub struct Recorded {
    /// Serial number.
    pub serial: String,
    /// Firmware versions.
    pub firmware: Firmware,
    /// What people call it.
    pub name: Option<String>,
    /// What it was asked to do.
    pub config: DeviceConfig,
    /// Its color controls in the take; nothing with color off.
    pub controls: ColorControls,
    /// What its file holds; none when its recorder was cut off.
    pub report: Option<Report>,
    /// What the take has of it for each trigger.
    pub evidence: Evidence,
    /// When it was out of the take.
    pub outages: Vec<Outage>,
    /// Why its file took nothing more, or could not be finished.
    pub failure: Option<Error>,
}

/// A device about to be started.
struct Armed {
    member: Member,
    parts: Parts,
    recorder: Recorder,
    /// What its running is watched by.
    counters: Arc<Counters>,
    shared: Shared,
    report: Receiver<Report>,
    returns: Sender<Feed>,
}

/// What a device is started with.
struct Parts {
    outputs: Outputs,
    encoders: Vec<Box<dyn Stage>>,
    stop: Arc<AtomicBool>,
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
        let span = Span::new(members.len() + 1, triggers).ending_before(opening.end_trigger);
        let span = Arc::new(span);
        let mut around = around;
        // Every file is created before any device starts: a refusal costs nobody's time.
        let places = members.iter().map(|member| (around.place)(member.device.serial()));
        let places = places.collect::<Result<Vec<_>>>()?;
        let (notes, heard) = lane(NOTES_MAX);
        let (to_alarms, alarms) = lane(ALARMS_MAX);
        let (to_evidence, evidence) = lane(1);
        let (watched, master) = watched(&members);
        let fps = members.first().map_or(1, |member| member.config.rate.fps());
        let outputs = (to_alarms.clone(), to_evidence);
        let monitor = Monitor::new(watched, master, Arc::clone(&span), heard, outputs);
        let mut take = Self {
            members: Vec::new(),
            revival: Revival {
                bus: Arc::clone(&around.bus),
                engine: around.engine.clone(),
                rejoin_for: around.keeping.rejoin_for,
                quit: Arc::default(),
            },
            span,
            shedder: Arc::new(Shedder::new(&around.keeping.shed, fps)),
            profile: around.storing.profile,
            shed_told: None,
            opening,
            released: false,
            notes: None,
            to_alarms,
            alarms,
            evidence,
        };
        (around.launch)(Job::Helper(Box::new(monitor)))?;
        let parts = parts(&members);
        let armed: VecDeque<_> = members
            .into_iter()
            .zip(places)
            .zip(parts)
            .enumerate()
            .map(|(place, ((member, disk), part))| {
                take.arm(member, disk, (place, part, notes.clone()), &around)
            })
            .collect();
        take.notes = Some(notes);
        if let Err(cause) = take.start_in_order(armed, &mut around) {
            take.end_now();
            // What failed first is what there is to say.
            let _ = take.stop_devices();
            return Err(cause);
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
        let (device, config) = (&member.device, &member.config);
        let serial = device.serial();
        let about = about(device, config, around);
        let shared = Shared {
            clock: around.clock.clone(),
            heard: Arc::default(),
            stale: Arc::default(),
            settled: Arc::default(),
            forms: Forms::new(about.packed(), around.storing),
        };
        let Connection { outputs, encoders, feed, stop } = Connection::new(serial, &shared, false);
        let (report, reported) = lane(1);
        // One return waits at most: the next departure is after it.
        let (returns, returned) = lane(1);
        let clock = around.clock.clone();
        let file = RecordingFile::new(about, disk, clock, around.keeping.sync_every);
        let counters = Arc::new(Counters::default());
        let recorder = Recorder::new(
            (serial, place, part),
            Cameras::new(config),
            Lanes { feed, returns: returned, report, notes },
            (Arc::clone(&self.span), Arc::clone(&self.shedder)),
            file,
            Arc::clone(&counters),
        );
        let parts = Parts { outputs, encoders, stop };
        Armed { member, parts, recorder, counters, shared, report: reported, returns }
    }

    /// Starts the devices, those that wait for pulses before whoever gives them.
    fn start_in_order(
        &mut self,
        mut armed: VecDeque<Armed>,
        around: &mut Surroundings<'_>,
    ) -> Result<()> {
        let rank = |armed: &Armed| start_rank(armed.member.config.role);
        let mut told = false;
        while let Some(first) = armed.front().map(rank) {
            if !told && first > start_rank(Role::Subordinate) {
                (around.armed)()?;
                told = true;
            }
            let same = armed.iter().take_while(|other| rank(other) == first);
            let group = armed.drain(..same.count()).collect();
            self.start_together(group, around)?;
        }
        if told { Ok(()) } else { (around.armed)() }
    }

    /// Starts devices side by side, and sets their stages going.
    fn start_together(
        &mut self,
        mut group: Vec<Armed>,
        around: &mut Surroundings<'_>,
    ) -> Result<()> {
        let start = |armed: &mut Armed, engine: Option<&EngineLibrary>| {
            let Armed { member: Member { device, config, .. }, parts, shared, .. } = armed;
            let buffering = buffering(config, &shared.forms);
            device.start(config, engine, parts.outputs.clone(), buffering)
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
        let Armed { member, parts, recorder, counters, shared, report, returns } = armed;
        let Member { device, name, config, controls } = member;
        let place = self.members.len();
        // What was started must be stopped, also if it did not start as a whole.
        self.members.push(Running {
            serial: device.serial().to_owned(),
            firmware: *device.firmware(),
            device: Some(device),
            name,
            config,
            controls,
            counters,
            shared,
            stop: parts.stop,
            report,
            returns: Some(returns),
            link: Link::Connected { departures: 0 },
            whys: Vec::new(),
            failure_told: false,
        });
        for source in started?.into_iter().chain(parts.encoders) {
            (around.launch)(Job::Source(place, source))?;
        }
        (around.launch)(Job::Recorder(place, Box::new(recorder)))
    }

    /// How the take goes, `elapsed` after its start, with the alarms since the last look.
    #[must_use]
    pub fn status(&mut self, elapsed: Duration) -> Status {
        let mut alarms = Vec::new();
        let others = if self.members.len() > 1 { ", the others go on" } else { "" };
        for member in &mut self.members {
            if let Some(failure) = member.counters.failure().filter(|_| !member.failure_told) {
                alarms.push(format!("{failure}; its file ends here{others}"));
                member.failure_told = true;
            }
        }
        let shed = self.shedder.words();
        if shed != self.shed_told {
            let what = match self.profile {
                Profile::K4a => "the disk",
                // A frame that came late to its recorder does not tell what it waited for.
                Profile::Compact => "the disk, or packing,",
            };
            alarms.push(match &shed {
                Some(words) => format!("{what} is too slow: left out of all devices: {words}"),
                None => format!("{what} keeps up again: nothing is left out"),
            });
            self.shed_told = shed;
        }
        while let Received::Value(alarm) = self.alarms.receive(Duration::ZERO) {
            alarms.push(alarm);
        }
        let devices = self.members.iter().map(Running::status).collect();
        let (begun, latest) = (self.has_begun(), self.span.latest());
        Status { elapsed, devices, alarms, warming_up: !self.released, begun, latest }
    }

    /// The stages of the device at `place` have failed. The others go on, and it is looked for.
    ///
    /// # Errors
    /// What it failed with, where the take has not begun: then there is nothing to go on with.
    pub fn lost(&mut self, place: usize, why: Error) -> Result<()> {
        if !self.has_begun() {
            let text = format!("{why}; the take had not begun, and nothing was recorded");
            return Err(Error::Device(text));
        }
        let rejoin_for = self.revival.rejoin_for;
        let told = self.members.get_mut(place).and_then(|member| member.lost(&why, rejoin_for));
        self.alarm(told);
        Ok(())
    }

    /// Looks for devices that have left, and takes back those that are there again.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn tend(&mut self, launch: &mut dyn FnMut(Job) -> Result<()>) -> Result<()> {
        if !self.has_begun() || self.span.is_closed() {
            return Ok(());
        }
        for place in 0..self.members.len() {
            let told = self.members[place].tend(place, &self.revival, launch)?;
            self.alarm(told);
        }
        Ok(())
    }

    fn alarm(&self, told: Option<String>) {
        // Whoever does not listen finds it in take.toml.
        let _ = told.map(|told| self.to_alarms.send(told));
    }

    /// Whether the device at `place` is away.
    #[must_use]
    pub fn is_away(&self, place: usize) -> bool {
        self.members.get(place).is_some_and(Running::is_away)
    }

    /// Why nothing more will be recorded, where no device and no file is left.
    #[must_use]
    pub fn all_lost(&self) -> Option<Error> {
        let mut whys = self.members.iter().map(Running::why_out);
        let first = whys.next().flatten();
        first.filter(|_| whys.all(|why| why.is_some()))
    }

    /// Looks at the sync cables, and tells the monitor.
    pub fn look_at_cables(&mut self) {
        let Some(notes) = &self.notes else { return };
        let members = self.members.iter_mut().enumerate();
        for (place, member) in members.filter(|(_, member)| !member.is_away()) {
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
            self.span.propose(first.max(self.opening.first_trigger));
        }
    }

    /// Whether all devices have agreed on the first trigger.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.span.first().is_some()
    }

    /// Ends the take soon, at the same trigger for every device. Nobody is brought back any more.
    pub fn end_soon(&mut self) {
        self.span.close();
        self.revival.quit.store(true, Ordering::Release);
        for member in self.members.iter_mut().filter(|member| member.is_away()) {
            member.returns = None;
        }
    }

    /// Ends the take soon, before trigger `end` where no later one is written yet.
    pub fn end_before(&mut self, end: u64) {
        self.span.close_at(end);
        self.end_soon();
    }

    /// Ends the take with what is there: sources stop at their next step.
    pub fn end_now(&mut self) {
        self.end_soon();
        for member in &mut self.members {
            member.stop.store(true, Ordering::Release);
            member.returns = None;
        }
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
            let outages = report.as_ref().map(|report| member.outages(report));
            let outages = outages.unwrap_or_default();
            let failure = member.counters.failure().cloned();
            let Running { serial, firmware, name, config, controls, .. } = member;
            Recorded {
                serial,
                firmware,
                name,
                config,
                controls,
                report,
                evidence,
                outages,
                failure,
            }
        });
        let mut recorded: Vec<Recorded> = recorded.collect();
        recorded.sort_by(|a, b| a.serial.cmp(&b.serial));
        (recorded, stopped)
    }

    fn stop_devices(&mut self) -> Result<()> {
        let mut first_failure = Ok(());
        for member in self.members.iter_mut().rev() {
            let stopped = member.stop_device();
            first_failure = first_failure.and(stopped);
        }
        first_failure
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
        profile: around.storing.profile,
    }
}
