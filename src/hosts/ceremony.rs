//! A take across hosts, from its first order to its end: prepared everywhere or nowhere, whoever
//! waits for pulses before whoever gives them, and nothing that happens on the network after that
//! decides what is in it.

use super::messages::{Answer, Ask, Facts, Order, PartStatus, State};
use super::name::HostName;
use super::poll::{Heard, Polls};
use super::rig::{Answered, Hosts, SOON};
use crate::config::Named;
use crate::error::{Error, Result};
use crate::record::{self, Status};
use crate::rig::Finding;
use crate::rig::check::DeviceFacts;
use genlock_formats::k4a::Role;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often is looked how the take goes.
const LOOK: Duration = Duration::from_millis(100);

/// How long devices may take to be opened and armed.
const ARM_MAX: Duration = Duration::from_secs(60);

/// How long an order that must arrive is repeated.
const INSIST: Duration = Duration::from_secs(10);

/// How long hosts that do not answer are waited for when the others are done.
const LATE_MAX: Duration = Duration::from_secs(10);

/// Between the order to stop and the end of the take, in seconds of triggers: so long it may be on
/// its way for all hosts to end with the same.
const STOP_AHEAD_S: u64 = 1;

/// A take on several hosts.
pub struct Ceremony<'a> {
    /// Sessions with all hosts.
    pub hosts: &'a Hosts,
    /// Those that record.
    pub names: &'a [HostName],
    /// The devices of all.
    pub devices: &'a [Named],
    /// What they are told.
    pub order: &'a Order,
    /// Set when a person stops the take.
    pub stop: &'a AtomicBool,
}

/// How a take across hosts came to its end.
#[derive(Debug, Default)]
pub struct Ended {
    /// The trigger after its last, where it was stopped.
    pub end: Option<u64>,
    /// Hosts that did not answer at its end, and may still be recording.
    pub silent: Vec<HostName>,
}

impl Ceremony<'_> {
    /// Carries the take out. What stands against it goes to `heed`, which says whether it may begin
    /// all the same; `watch` is told how it goes.
    ///
    /// # Errors
    /// `Device` when it could not begin: then nothing was recorded anywhere. `Usage` when a host
    /// refuses its order.
    pub fn run(
        &self,
        heed: &mut dyn FnMut(&[Finding]) -> Result<()>,
        watch: &mut dyn FnMut(&Status),
    ) -> Result<Ended> {
        thread::scope(|scope| {
            let polls = Polls::of(self.hosts, self.names, &self.order.take, scope);
            let begun = self.arm(&polls).and_then(|()| {
                heed(&self.findings(&polls))?;
                self.start()
            });
            let ended = match begun {
                Ok(()) => self.watch(&polls, watch),
                Err(cause) => {
                    self.call_off(&polls);
                    Err(cause)
                }
            };
            polls.end();
            ended
        })
    }

    fn master(&self) -> Option<&HostName> {
        let leads = |named: &&Named| named.config.role != Role::Subordinate;
        let leader = self.devices.iter().find(leads)?.host.as_deref()?;
        self.names.iter().find(|name| name.as_ref() == leader)
    }

    /// Arms every host, or none.
    fn arm(&self, polls: &Polls) -> Result<()> {
        let order = || Ask::Arm(Box::new(self.order.clone()));
        let answers = self.hosts.each(self.names, |host| self.hosts.insist(host, &order(), INSIST));
        all_done(answers)?;
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Acquire) {
                let text = "stopped before the take began: nothing was recorded";
                return Err(Error::Device(text.to_owned()));
            }
            let mut armed = 0;
            let mut failed = Vec::new();
            for (host, heard) in polls.heard() {
                match (heard.state, heard.why) {
                    (Some(State::Armed | State::Recording), _) => armed += 1,
                    (Some(State::Failed | State::Idle), Some(why)) => failed.push(why.of(&host)),
                    _ => {}
                }
            }
            if let Some(first) = failed.into_iter().next() {
                return Err(first);
            }
            if armed == self.names.len() {
                return Ok(());
            }
            if begun.elapsed() > ARM_MAX {
                return Err(Error::Device(format!(
                    "not all hosts were armed within {} s: {}; nothing was recorded",
                    ARM_MAX.as_secs(),
                    polls.not_armed().join(", ")
                )));
            }
            thread::park_timeout(LOOK);
        }
    }

    /// What stands against the take, of every host and of the rig as a whole.
    fn findings(&self, polls: &Polls) -> Vec<Finding> {
        let (mut findings, mut facts) = (Vec::new(), Vec::new());
        for (host, heard) in polls.heard() {
            let PartStatus { findings: of_host, facts: known, .. } = heard.part.unwrap_or_default();
            findings
                .extend(of_host.into_iter().map(|finding| on_host(finding, &host, self.devices)));
            facts.extend(known);
        }
        findings.extend(of_rig(self.devices, facts));
        findings.sort_by_key(|finding| finding.severity);
        findings
    }

    /// Those who wait for pulses first, and whoever gives them last.
    fn start(&self) -> Result<()> {
        let start = Ask::Start(self.order.take.clone());
        let master = self.master();
        let others = self.names.iter().filter(|name| Some(*name) != master);
        all_done(self.hosts.each(others, |host| self.hosts.insist(host, &start, INSIST)))?;
        all_done(self.hosts.each(master, |host| self.hosts.insist(host, &start, INSIST)))
    }

    /// Nothing is to be left of a take that does not begin. Who does not hear it calls it off by
    /// itself. The next take finds all others at rest.
    fn call_off(&self, polls: &Polls) {
        let stop = Ask::Stop(self.order.take.clone(), None);
        self.hosts.each(self.names, |host| self.hosts.insist(host, &stop, SOON));
        let begun = Instant::now();
        let busy = |(_, heard): &(HostName, Heard)| heard.is_busy && !heard.is_silent();
        while polls.heard().iter().any(busy) && begun.elapsed() < LATE_MAX {
            thread::park_timeout(LOOK);
        }
    }

    fn watch(&self, polls: &Polls, watch: &mut dyn FnMut(&Status)) -> Result<Ended> {
        let (begun, mut ended) = (Instant::now(), Ended::default());
        // Since when those who answer are done.
        let mut done_since = None;
        let mut stopping = false;
        loop {
            let heard = polls.heard();
            watch(&status(begun.elapsed(), &heard, polls.news()));
            if !stopping && (self.stop.load(Ordering::Acquire) || self.master_is_done(&heard)) {
                stopping = true;
                ended.end = self.agree_on_end(&heard);
                polls.stop_with(ended.end);
            }
            let at_work = heard.iter().filter(|(_, heard)| !heard.is_over);
            let (silent, busy): (Vec<_>, Vec<_>) =
                at_work.partition(|(_, heard)| heard.is_silent());
            if busy.is_empty() {
                let since = *done_since.get_or_insert_with(Instant::now);
                let nobody_began = || heard.iter().all(|(_, heard)| !heard.has_begun());
                if silent.is_empty() && nobody_began() {
                    return Err(self.never_began(&heard));
                }
                if silent.is_empty() || since.elapsed() > LATE_MAX {
                    ended.silent = silent.into_iter().map(|(host, _)| host.clone()).collect();
                    return Ok(ended);
                }
            } else {
                done_since = None;
            }
            thread::park_timeout(LOOK);
        }
    }

    fn never_began(&self, heard: &[(HostName, Heard)]) -> Error {
        let failed = heard.iter().find_map(|(host, heard)| Some(heard.why.clone()?.of(host)));
        let stopped = self.stop.load(Ordering::Acquire);
        failed.filter(|_| !stopped).unwrap_or_else(|| {
            let text = "stopped before the take began: nothing was recorded";
            Error::Device(text.to_owned())
        })
    }

    /// Without the master's host nobody gives pulses, and the others would wait for ever.
    fn master_is_done(&self, heard: &[(HostName, Heard)]) -> bool {
        let master = self.master();
        let is_master = |(host, _): &&(HostName, Heard)| Some(host) == master;
        heard.iter().find(is_master).is_some_and(|(_, heard)| heard.is_over)
    }

    /// A trigger that no host has reached when it hears of it, before which all end.
    fn agree_on_end(&self, heard: &[(HostName, Heard)]) -> Option<u64> {
        let latest = heard.iter().filter_map(|(_, heard)| heard.part.as_ref());
        let latest = latest.filter(|part| part.begun).map(|part| part.latest).max()?;
        let fps = self.devices.first().map_or(1, |named| u64::from(named.config.rate.fps()));
        let planned = self.order.triggers.map(|count| self.order.first_trigger + count);
        let end = latest + STOP_AHEAD_S * fps;
        Some(planned.map_or(end, |planned| planned.min(end)))
    }
}

/// That all hosts have done what they were told.
fn all_done(answers: BTreeMap<HostName, Answered>) -> Result<()> {
    let mut first = Ok(());
    for (host, answer) in answers {
        let done = match answer {
            Ok((Answer::Done, _)) => Ok(()),
            Ok(_) => Err(Error::Device(format!("host {host}: answers something else"))),
            Err(trouble) => Err(trouble.of(&host)),
        };
        first = first.and(done);
    }
    first
}

/// A finding, told of its host where it is about none of the devices.
#[must_use]
pub fn on_host(finding: Finding, host: &HostName, devices: &[Named]) -> Finding {
    let of_device = devices.iter().any(|named| finding.about.contains(&named.serial));
    let about = if of_device { finding.about } else { format!("{host} {}", finding.about) };
    Finding { about, ..finding }
}

/// What is found of the rig as a whole.
#[must_use]
pub fn of_rig(devices: &[Named], facts: Vec<Facts>) -> Vec<Finding> {
    let of = |named: &Named| {
        let known = facts.iter().find(|facts| facts.serial == named.serial);
        DeviceFacts {
            serial: named.serial.clone(),
            config: named.config.clone(),
            jacks: known.and_then(|known| known.jacks),
            firmware: known.and_then(|known| known.firmware),
        }
    };
    let facts: Vec<_> = devices.iter().map(of).collect();
    record::of_rig(&facts)
}

/// How a take goes on all hosts.
fn status(elapsed: Duration, heard: &[(HostName, Heard)], news: Vec<String>) -> Status {
    let parts = || heard.iter().filter_map(|(_, heard)| heard.part.as_ref());
    Status {
        elapsed,
        devices: parts().flat_map(|part| part.devices.iter().cloned()).collect(),
        alarms: news,
        warming_up: parts().any(|part| part.warming_up),
        begun: parts().all(|part| part.begun),
        latest: parts().map(|part| part.latest).max().unwrap_or(0),
    }
}
