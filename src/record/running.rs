//! One device of a running take: connected, or being brought back.

use crate::config::{ColorControls, DeviceConfig};
use crate::device::{Device, EngineLibrary, Firmware, TakenWith};
use crate::error::{Error, Result};
use crate::lane::{Received, Receiver, Sender, lane};
use crate::record::cameras::Cameras;
use crate::record::counters::{Counters, Presence};
use crate::record::job::Job;
use crate::record::recorder::{Feed, Outage, Report};
use crate::record::reopen::{Reopened, Reopener, Shared};
use crate::record::settle;
use crate::record::status::{DeviceStatus, Waiting};
use crate::usb::Bus;
use genlock_formats::k4a::Role;
use genlock_formats::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a device that dies is brought back with.
pub(super) struct Revival {
    pub bus: Arc<dyn Bus>,
    pub engine: Option<EngineLibrary>,
    pub rejoin_for: Duration,
    /// Set when nobody is to be brought back any more.
    pub quit: Arc<AtomicBool>,
}

/// One device of a running take.
pub(super) struct Running {
    pub serial: String,
    pub firmware: Firmware,
    /// None while it is being brought back.
    pub device: Option<Device>,
    pub name: Option<String>,
    pub config: DeviceConfig,
    pub controls: ColorControls,
    pub counters: Arc<Counters>,
    pub shared: Shared,
    /// Stops its stages.
    pub stop: Arc<AtomicBool>,
    pub report: Receiver<Report>,
    /// Where its recorder gets it back; closed when it will not.
    pub returns: Option<Sender<Feed>>,
    pub link: Link,
    /// Why it left, each time.
    pub whys: Vec<String>,
    /// Whether it was told that its file takes nothing more.
    pub failure_told: bool,
}

/// How a device is connected.
pub(super) enum Link {
    /// It is; it has left so many times before.
    Connected { departures: u64 },
    /// It is looked for.
    Reopening(Receiver<Result<Reopened>>),
    /// It is not, and nobody looks for it.
    GivenUp,
}

impl Running {
    /// Its stages have failed: those that still run are stopped. Gives what to say.
    pub fn lost(&mut self, why: &Error, rejoin_for: Duration) -> Option<String> {
        let Link::Connected { departures } = self.link else { return None };
        self.stop.store(true, Ordering::Release);
        // One device has several streams, and the first to fail tells why.
        if self.whys.len() as u64 > departures {
            return None;
        }
        self.whys.push(why.to_string());
        let seconds = rejoin_for.as_secs_f64();
        Some(match rejoin_for.is_zero() {
            true => format!("{why}; it is out of the take"),
            false => format!("{why}; it is out of the take, and looked for during {seconds} s"),
        })
    }

    /// Whether its recorder gets nothing, and waits for it or for the end.
    pub fn is_away(&self) -> bool {
        !matches!(self.link, Link::Connected { .. }) || self.has_left()
    }

    fn has_left(&self) -> bool {
        let before = match self.link {
            Link::Connected { departures } => departures,
            Link::Reopening(_) | Link::GivenUp => return false,
        };
        self.counters.departures() > before
    }

    /// Why nothing more of it will be recorded, if nothing will.
    pub fn why_out(&self) -> Option<Error> {
        let given_up = matches!(self.link, Link::GivenUp);
        let why = || Error::Device(self.whys.last().cloned().unwrap_or_default());
        self.counters.failure().cloned().or_else(|| given_up.then(why))
    }

    /// Looks for a device that has left, and takes it back. Gives what to say.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn tend(
        &mut self,
        place: usize,
        revival: &Revival,
        launch: &mut dyn FnMut(Job) -> Result<()>,
    ) -> Result<Option<String>> {
        if self.has_left() {
            let (output, reopened) = lane(1);
            self.link = match revival.rejoin_for.is_zero() {
                true => Link::GivenUp,
                false => Link::Reopening(reopened),
            };
            if !revival.rejoin_for.is_zero() {
                launch(Job::Helper(Box::new(self.reopener(revival, output))))?;
            }
            return Ok(None);
        }
        let Link::Reopening(reopened) = &self.link else { return Ok(None) };
        match reopened.receive(Duration::ZERO) {
            Received::Nothing => Ok(None),
            Received::Value(Ok(back)) => self.take_back(place, back, launch).map(Some),
            Received::Value(Err(cause)) => {
                self.link = Link::GivenUp;
                Ok(Some(format!("{cause}; it is given up")))
            }
            Received::Closed => {
                self.link = Link::GivenUp;
                Ok(None)
            }
        }
    }

    fn reopener(&mut self, revival: &Revival, output: Sender<Result<Reopened>>) -> Reopener {
        let now_ns = self.shared.clock.now_ns();
        Reopener {
            name: format!("{} reopener", self.serial),
            serial: self.serial.clone(),
            before: self.device.take(),
            bus: Arc::clone(&revival.bus),
            engine: revival.engine.clone(),
            config: self.config.clone(),
            controls: self.controls,
            shared: self.shared.clone(),
            next_ns: now_ns,
            until_ns: now_ns.saturating_add(revival.rejoin_for.as_nanos() as u64),
            quit: Arc::clone(&revival.quit),
            output,
        }
    }

    fn take_back(
        &mut self,
        place: usize,
        back: Reopened,
        launch: &mut dyn FnMut(Job) -> Result<()>,
    ) -> Result<String> {
        let Reopened { device, stages, feed, stop } = back;
        self.device = Some(device);
        self.stop = stop;
        self.link = Link::Connected { departures: self.counters.departures() };
        for stage in stages {
            launch(Job::Source(place, stage))?;
        }
        // Where nobody waits for it any more, the take is over, and it is stopped with it.
        let _ = self.returns.as_ref().map(|returns| returns.send(feed));
        Ok(format!("{}: is back", self.serial))
    }

    /// How it goes.
    pub fn status(&self) -> DeviceStatus {
        let counters = &self.counters;
        let cameras = Cameras::new(&self.config);
        let frames = cameras.image_tracks().map(|track| counters.frames(track));
        DeviceStatus {
            serial: self.serial.clone(),
            frames: frames.min().unwrap_or(0),
            heard: self
                .shared
                .heard
                .least(self.config.color.is_some(), self.config.depth.is_some()),
            losses: counters.losses(),
            bytes: counters.bytes(),
            buffer_bytes: self.device.as_ref().map_or(0, Device::buffer_bytes)
                + self.shared.forms.encoder_bytes(),
            waiting: match (counters.presence(), self.config.role) {
                (Presence::Recording | Presence::Done, _) => None,
                (Presence::Waiting, Role::Subordinate) => Some(Waiting::Pulses),
                (Presence::Waiting, Role::Master | Role::Standalone) => Some(Waiting::Frames),
                (Presence::Away, _) => Some(Waiting::Return),
                (Presence::Joining, _) => Some(Waiting::Trigger),
            },
            given_up: matches!(self.link, Link::GivenUp),
            stale: self.shared.stale.load(Ordering::Relaxed),
            role: self.config.role,
            is_done: counters.is_done(),
        }
    }

    /// Stops the device, and one that came back too late.
    ///
    /// # Errors
    /// `Device` when it did not stop as it should.
    pub fn stop_device(&mut self) -> Result<()> {
        if let Link::Reopening(reopened) = &self.link
            && let Received::Value(Ok(mut back)) = reopened.receive(Duration::ZERO)
        {
            back.device.stop()?;
        }
        // One that has left cannot be asked.
        let is_there = !self.is_away();
        self.device.as_mut().map_or(Ok(()), |device| match (device.stop(), is_there) {
            (Err(cause), true) => Err(cause),
            _ => Ok(()),
        })
    }

    /// When it was out of the take, as `take.toml` tells.
    pub fn outages(&self, report: &Report) -> Vec<take::Outage> {
        let end = report.first_trigger + report.trigger_count;
        let mut whys = self.whys.iter();
        let outage = |outage: &Outage| {
            let known = outage.why.clone().or_else(|| whys.next().cloned());
            take::Outage {
                first_trigger: outage.first,
                last_trigger: outage.until.unwrap_or(end).min(end).saturating_sub(1),
                why: known.unwrap_or_else(|| "its stages ended".to_owned()),
                clock_moved_us: outage.moved_us,
            }
        };
        report.outages.iter().map(outage).collect()
    }

    /// Whether the sync cable that its role needs is in; none where it needs none, or is away.
    ///
    /// # Errors
    /// `Device` when it does not answer.
    pub fn plugged(&mut self) -> Result<Option<bool>> {
        let Some(device) = &mut self.device else { return Ok(None) };
        Ok(match self.config.role {
            Role::Standalone => None,
            Role::Master => Some(device.jacks()?.sync_out),
            Role::Subordinate => Some(device.jacks()?.sync_in),
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
        self.shared.settled.newest()
    }

    fn hold(&mut self, controls: &ColorControls) -> Result<()> {
        let Some(device) = &mut self.device else { return Ok(()) };
        device.set_controls(controls)?;
        self.controls = device.read_controls()?;
        Ok(())
    }
}
