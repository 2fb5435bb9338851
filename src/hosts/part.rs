//! What an agent has a process of its own for: listing, checking, and recording this host's part of
//! a take.

use super::control::Control;
use super::messages::{Facts, Order, PartStatus};
use super::order::Local;
use crate::clock::Clock;
use crate::config::{Devices, Plan, Wanted};
use crate::device;
use crate::error::{Error, Result};
use crate::record::{self, Cue, DeviceStatus, Member, Outcome, Status, Waiting};
use crate::rig::check::DeviceFacts;
use crate::rig::host::Host;
use crate::rig::list::{Listed, look};
use crate::rig::{Finding, Severity};
use crate::usb::Bus;
use crate::usb::host::HostBus;
use genlock_formats::k4a::Role;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Alarms that are kept for whoever asks.
const ALARMS_MAX: usize = 64;

/// What the process is for; it comes by standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// What is to be done.
    pub task: Task,
    /// For which rig; listing needs none.
    pub order: Option<Order>,
    /// What is this host's alone.
    pub local: Local,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Say which devices are plugged in.
    List,
    /// Say whether they are ready.
    Check,
    /// Record.
    Record,
}

/// What came of it; what is of use to others is JSON for standard output.
#[derive(Debug)]
pub enum Done {
    /// What was asked for, as JSON.
    Told(String),
    /// A take, or none.
    Recorded(Box<Outcome>),
}

/// Does it.
///
/// # Errors
/// As the commands `list`, `check` and `record`.
pub fn run(work: &Work, stop: Arc<AtomicBool>) -> Result<Done> {
    let told = |value: serde_json::Result<String>| {
        value.map(Done::Told).map_err(|cause| Error::Device(cause.to_string()))
    };
    let order = || work.order.as_ref().ok_or(Error::Usage("no order".to_owned()));
    match work.task {
        Task::List => told(serde_json::to_string(&list(work)?)),
        Task::Check => told(serde_json::to_string(&check(&work.local, order()?)?)),
        Task::Record => record(&work.local, order()?, stop).map(|done| Done::Recorded(done.into())),
    }
}

fn list(work: &Work) -> Result<Vec<Listed>> {
    let clock = Clock::machine();
    let (bus, emulated): (Arc<dyn Bus>, _) = match &work.order {
        Some(order) => {
            let plan = work.local.plan(order)?;
            (work.local.bus(&plan, &clock)?, plan.devices != Devices::Usb)
        }
        None => (Arc::new(HostBus::new(clock)?), false),
    };
    let host = Host::machine();
    let found = device::find_each(bus.as_ref())?.into_iter();
    found.map(|(_, found)| look(bus.as_ref(), &found?, emulated, &host)).collect()
}

/// What is asked of a check: what it found, and what is known of the devices.
pub type Checked = (Vec<Finding>, Vec<Facts>);

fn check(local: &Local, order: &Order) -> Result<Checked> {
    let plan = local.plan(order)?;
    let bus = local.bus(&plan, &Clock::machine());
    let bus = bus.as_deref().map_err(Clone::clone);
    let (findings, facts) = record::check_with_facts(&plan, bus, &Host::machine());
    Ok((findings, facts.into_iter().map(Facts::from).collect()))
}

impl From<DeviceFacts> for Facts {
    fn from(facts: DeviceFacts) -> Self {
        let DeviceFacts { serial, jacks, firmware, .. } = facts;
        Self { serial, jacks, firmware }
    }
}

fn record(local: &Local, order: &Order, stop: Arc<AtomicBool>) -> Result<Outcome> {
    let plan = local.plan(order)?;
    let clock = Clock::machine();
    let bus = local.bus(&plan, &clock)?;
    let control = Control::listen(&local.store, stop)?;
    control.tell(|status| status.take = Some(order.take.clone()));
    let mut members = record::members(&plan, bus.as_ref())?;
    look_at(&plan, bus.as_ref(), &mut members, &control)?;
    let lease = Duration::from_secs(local.lease_s);
    let leads = members.iter().any(|member| member.config.role != Role::Subordinate);
    let mut armed = || {
        control.tell(|status| status.armed = true);
        if leads {
            control.wait_for_start(lease)?;
        }
        control.tell(|status| status.started = true);
        Ok(())
    };
    let cue = Cue { stop: &control.stop, end: &control.end, armed: &mut armed };
    let mut lease =
        Lease { time: lease, fps: fps(&plan), open_ended: plan.triggers.is_none(), end: None };
    let outcome = record::run_opened(&plan, &bus, members, &clock, cue, &mut |status| {
        control.tell(|told| tell(told, status));
        lease.look(&control, status);
    });
    control.tell(|status| status.ended = true);
    outcome
}

/// For how long a recorder goes on that nobody leads any more.
struct Lease {
    time: Duration,
    fps: u64,
    /// Whether the take has no end of its own.
    open_ended: bool,
    /// The end that was chosen when the lease ran out, and when.
    end: Option<(u64, Instant)>,
}

/// A take that nobody leads ends at a multiple of so many seconds of triggers: the leases of
/// several hosts run out within a fraction of a second, and so most often end at the same trigger.
const LEASE_STEP_S: u64 = 10;

impl Lease {
    fn look(&mut self, control: &Control, status: &Status) {
        if control.silence() <= self.time {
            self.end = None;
            return;
        }
        let waits = |device: &DeviceStatus| device.waiting == Some(Waiting::Pulses);
        if !status.begun && status.devices.iter().any(waits) {
            // Whoever was to start the pulses is gone.
            control.stop.store(true, Ordering::Release);
        } else if status.begun && self.open_ended {
            let soon = status.latest + self.fps;
            let step = LEASE_STEP_S * self.fps;
            let chosen = || ((soon / step + 1) * step, Instant::now());
            let (end, since) = *self.end.get_or_insert_with(chosen);
            // Where the master was stopped, no later trigger comes.
            if soon >= end || since.elapsed().as_secs() > LEASE_STEP_S {
                control.end.store(end, Ordering::Release);
                control.stop.store(true, Ordering::Release);
            }
        }
    }
}

fn fps(plan: &Plan) -> u64 {
    match &plan.wanted {
        Wanted::Each(devices) => devices.first().map_or(1, |named| named.config.rate.fps().into()),
        Wanted::Alike { config, .. } => config.rate.fps().into(),
    }
}

/// Looks whether this host is ready; whether the rig is, its coordinator tells.
fn look_at(plan: &Plan, bus: &dyn Bus, members: &mut [Member], control: &Control) -> Result<()> {
    let findings = record::preflight(plan, bus, members, &Host::machine());
    let (facts, _) = record::facts(plan, members);
    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
    let error = error.filter(|_| !plan.force).map(ToString::to_string);
    control.tell(|status| {
        status.findings = findings;
        status.facts = facts.into_iter().map(Facts::from).collect();
    });
    error.map_or(Ok(()), |error| Err(Error::Device(error)))
}

fn tell(told: &mut PartStatus, status: &Status) {
    told.begun |= status.begun;
    told.elapsed_ms = u64::try_from(status.elapsed.as_millis()).unwrap_or(u64::MAX);
    told.devices.clone_from(&status.devices);
    told.warming_up = status.warming_up;
    told.latest = status.latest;
    told.alarm_count += status.alarms.len() as u64;
    told.alarms.extend(status.alarms.iter().cloned());
    let surplus = told.alarms.len().saturating_sub(ALARMS_MAX);
    told.alarms.drain(..surplus);
}
