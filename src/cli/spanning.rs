//! Commands on rigs that span machines: the same words, spoken to agents.

use super::progress::{Bytes, Progress};
use super::signals::stop_on_signals;
use super::summary::{self, conclude};
use super::{Verdict, tell};
use crate::config::{Asked, Named, Output, Plan, Rig, Wanted, lines};
use crate::error::{Error, Result};
use crate::hosts::ceremony::{of_rig, on_host};
use crate::hosts::collect::{Pace, Place};
use crate::hosts::gather::{Event, Gathered, Gathering};
use crate::hosts::messages::{Answer, Ask, Order};
use crate::hosts::name::{HostName, TakeId};
use crate::hosts::pending::{Pending, hosts_of};
use crate::hosts::record::{Recording, first_trigger};
use crate::hosts::rig::Hosts;
use crate::rig::Finding;
use crate::rig::list::Listed;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a host may take to open its devices and look at them.
const LOOK_MAX: Duration = Duration::from_secs(70);

/// What is said of a take that is not on this machine alone.
fn pending(asked: &Asked, plan: &Plan, output: &Path) -> Result<Pending> {
    let no_file = || Error::Usage("hosts are in a rig file: give --rig".to_owned());
    let rig = asked.rig.as_deref().ok_or_else(no_file)?;
    let now = jiff::Timestamp::now();
    let called = output.file_name().unwrap_or_default().to_string_lossy();
    let flags = asked.flags.iter().map(|flag| format!("{}={}", flag.key, flag.value));
    let only = asked.pick.is_some();
    let first = wanted(plan).first().filter(|_| only).map(|named| named.serial.clone());
    Ok(Pending {
        take: TakeId::new(&called, now, now.subsec_nanosecond() as u16),
        started: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        rig_path: std::path::absolute(rig).unwrap_or(rig.to_owned()),
        rig: lines::read(rig, "rig file")?,
        sets: flags.chain(asked.sets.iter().cloned()).collect(),
        serial: first,
        first_trigger: first_trigger(plan),
        triggers: plan.triggers,
        end: None,
        place: None,
        complete: false,
        gathered: Default::default(),
        clocks: Default::default(),
    })
}

fn wanted(plan: &Plan) -> &[Named] {
    match &plan.wanted {
        Wanted::Each(devices) => devices,
        Wanted::Alike { .. } => &[],
    }
}

/// `genlock record`.
pub fn record(asked: &Asked, plan: &Plan, leave: bool, quiet: bool) -> Result<Verdict> {
    let Output::Folder(output) = &plan.output else {
        return Err(Error::Usage("a take of several hosts is a folder: name one".to_owned()));
    };
    let pending = pending(asked, plan, output)?;
    let names = hosts_of(&plan.hosts, &plan.wanted)?;
    let hosts = Hosts::open(&plan.hosts, plan.certs.as_deref())?;
    let stop = stop_on_signals()?;
    let mut progress = Progress::new(quiet, output);
    let recording = Recording { hosts: &hosts, names: &names, plan, stop: &stop };
    let mut heed = |findings: &[Finding]| match summary::heed(findings, plan.force, quiet) {
        true => Ok(()),
        false => Err(Error::Device("the take was not begun: nothing was recorded".to_owned())),
    };
    let done = recording.run(pending, &mut heed, &mut |status| progress.show(status));
    progress.finish();
    let mut recorded = done?;
    for host in &recorded.silent {
        tell(&format!("warning: host {host} does not answer: it ends its part by itself"));
    }
    // A person who has stopped the take wants it to be gathered.
    let place = Place::parse(&output.to_string_lossy(), output)?;
    let place = (!leave).then_some(&place);
    let gathered = gather_to(
        (&hosts, output, place, &Pace::unlimited()),
        &mut recorded.pending,
        &AtomicBool::new(false),
        quiet,
    )?;
    conclude((output, quiet), &gathered.take, None, &|| {
        left(&gathered, output, place.is_some());
        None
    })
}

/// Gathers, and shows how far it is.
pub fn gather_to(
    (hosts, folder, place, pace): (&Hosts, &Path, Option<&Place>, &Pace),
    pending: &mut Pending,
    stop: &AtomicBool,
    quiet: bool,
) -> Result<Gathered> {
    let gathering = Gathering { hosts, folder, place, pace, stop };
    let mut bar: Option<(HostName, Bytes)> = None;
    let gathered = gathering.run(pending, &mut |event| match event {
        Event::Waiting(host, why) => {
            if !quiet {
                tell(&format!("host {host}: {why}"));
            }
        }
        Event::Bytes(host, bytes, all) => {
            if bar.as_ref().is_none_or(|(of, _)| of != host) {
                bar = Some((host.clone(), Bytes::new(quiet, all)));
            }
            bar.iter().for_each(|(_, bar)| bar.add(bytes));
        }
    });
    bar.iter().for_each(|(_, bar)| bar.finish());
    gathered
}

/// Tells of parts that are not there yet.
pub fn left(gathered: &Gathered, folder: &Path, fetched: bool) {
    for (host, why) in &gathered.kept {
        tell(&format!("note: host {host} keeps its part of the take too: {why}"));
    }
    for (host, why) in &gathered.left {
        tell(&format!("warning: host {host}: {why}"));
    }
    let folder = folder.display();
    if !fetched {
        tell(&format!("note: its recordings are on its hosts: `genlock gather {folder}`"));
    } else if !gathered.left.is_empty() {
        tell(&format!("note: `genlock gather {folder}` fetches what is missing, when it is there"));
    }
}

/// `genlock check`.
pub fn check(asked: &Asked, plan: &Plan) -> Result<Vec<Finding>> {
    let order = pending(asked, plan, Path::new("check"))?.order(true);
    let names = hosts_of(&plan.hosts, &plan.wanted)?;
    let hosts = Hosts::open(&plan.hosts, plan.certs.as_deref())?;
    if let Err(error) = hosts.find(&names) {
        return Ok(vec![Finding::of_error("rig", &error)]);
    }
    let ask = |host: &HostName| hosts.ask(host, Ask::Check(Box::new(order.clone())), LOOK_MAX);
    let (mut findings, mut facts) = (Vec::new(), Vec::new());
    for (host, answer) in hosts.each(&names, ask) {
        match answer {
            Ok((Answer::Checked(of_host, known), _)) => {
                let told = |finding| on_host(finding, &host, wanted(plan));
                findings.extend(of_host.into_iter().map(told));
                facts.extend(known);
            }
            Ok(_) => findings.push(Finding::error(
                host.to_string(),
                "answers something else",
                "give all machines the same genlock",
            )),
            Err(trouble) => {
                findings.push(Finding::of_error(host.as_ref(), &trouble.of(&host)));
            }
        }
    }
    findings.extend(of_rig(wanted(plan), facts));
    findings.sort_by_key(|finding| finding.severity);
    Ok(findings)
}

/// `genlock list`.
pub fn list(path: &Path, rig: &Rig) -> Result<(Vec<Listed>, Verdict)> {
    let names = hosts_of(&rig.hosts, &rig.wanted)?;
    let hosts = Hosts::open(&rig.hosts, rig.certs.as_deref())?;
    hosts.find(&names)?;
    let order = Order {
        take: TakeId::new("list", jiff::Timestamp::now(), 0),
        rig: lines::read(path, "rig file")?,
        sets: Vec::new(),
        serial: None,
        first_trigger: 0,
        triggers: None,
        force: false,
    };
    let ask = |host: &HostName| hosts.ask(host, Ask::List(Some(Box::new(order.clone()))), LOOK_MAX);
    let (mut listed, mut verdict) = (Vec::new(), Verdict::Whole);
    let mut answers = hosts.each(&names, ask);
    for host in &names {
        match answers.remove(host) {
            Some(Ok((Answer::Devices(devices), _))) => listed.extend(devices),
            Some(Err(trouble)) => {
                tell(&format!("error: {}", trouble.of(host)));
                verdict = Verdict::Failed;
            }
            _ => verdict = Verdict::Failed,
        }
    }
    Ok((listed, verdict))
}
