//! `record` for a rig that spans machines.

use super::ceremony::Ceremony;
use super::clocks::{Sample, now_ns, offset, passport};
use super::messages::{Answer, Ask};
use super::name::HostName;
use super::pending::Pending;
use super::rig::{Hosts, SOON};
use crate::config::{Named, Output, Plan, Wanted};
use crate::error::{Error, Result};
use crate::record::{Place as TakePlace, Status};
use crate::rig::Finding;
use genlock_formats::take::HostClock;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::AtomicBool;

/// Looks at a host's clock, of which the quickest counts.
const CLOCK_LOOKS: usize = 8;

/// Between the first pulse and the take's first trigger, in seconds: devices need up to two to be
/// ready (as when a take is played, docs/replay.md), on machines with much to do a little more. No
/// message decides where a take begins.
const READY_S: f64 = 3.0;

/// The first trigger of a take across hosts.
#[must_use]
pub fn first_trigger(plan: &Plan) -> u64 {
    let Wanted::Each(devices) = &plan.wanted else { return 0 };
    let fps = devices.first().map_or(1, |named| named.config.rate.fps());
    let seconds = READY_S + plan.opening.warm_up.as_secs_f64();
    (seconds * f64::from(fps)).ceil() as u64
}

/// A take on several hosts, from its order to what is gathered of it.
pub struct Recording<'a> {
    /// Sessions with all hosts.
    pub hosts: &'a Hosts,
    /// Those that record.
    pub names: &'a [HostName],
    /// What is asked for.
    pub plan: &'a Plan,
    /// Set when a person stops it.
    pub stop: &'a AtomicBool,
}

/// What was recorded, and is to be gathered.
pub struct Recorded {
    /// What is known of it.
    pub pending: Pending,
    /// Hosts that did not answer at its end.
    pub silent: Vec<HostName>,
    /// Holds the take for this process.
    pub lock: File,
}

impl Recording<'_> {
    /// Records; what was recorded is then to be gathered.
    ///
    /// # Errors
    /// As [`crate::record::run`] when the take could not begin; what went wrong behind it is for
    /// whoever gathers.
    pub fn run(
        &self,
        mut pending: Pending,
        heed: &mut dyn FnMut(&[Finding]) -> Result<()>,
        watch: &mut dyn FnMut(&Status),
    ) -> Result<Recorded> {
        let Wanted::Each(devices) = &self.plan.wanted else {
            return Err(Error::Usage("a rig of several hosts lists its devices".to_owned()));
        };
        let Output::Folder(folder) = &self.plan.output else {
            return Err(Error::Usage("a take of several hosts is a folder".to_owned()));
        };
        self.hosts.find(self.names)?;
        pending.clocks = self.clocks();
        let place = TakePlace::create(&self.plan.output)?;
        let lock = Pending::lock(folder)?;
        pending.write(folder)?;
        let order = pending.order(self.plan.force);
        let devices: &[Named] = devices;
        let ceremony = Ceremony {
            hosts: self.hosts,
            names: self.names,
            devices,
            order: &order,
            stop: self.stop,
        };
        match ceremony.run(heed, watch) {
            Ok(ended) => {
                pending.end = ended.end;
                pending.write(folder)?;
                Ok(Recorded { pending, silent: ended.silent, lock })
            }
            Err(cause) => {
                Pending::remove(folder)?;
                drop(place);
                Err(cause)
            }
        }
    }

    /// How the hosts' clocks stand.
    fn clocks(&self) -> BTreeMap<HostName, HostClock> {
        self.hosts.each(self.names, |host| {
            let (mut samples, mut keeper) = (Vec::new(), None);
            for _ in 0..CLOCK_LOOKS {
                let before_ns = now_ns();
                if let Ok((Answer::Clock(theirs_ns, kept), _)) =
                    self.hosts.ask(host, Ask::Clock, SOON)
                {
                    samples.push(Sample { before_ns, theirs_ns, after_ns: now_ns() });
                    keeper = kept;
                }
            }
            passport(offset(&samples), keeper.as_ref())
        })
    }
}
