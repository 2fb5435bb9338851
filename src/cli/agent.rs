//! `genlock agent`: this machine's part in rigs that span several; and `genlock part`, the process
//! that it has for each take.

use super::signals::stop_on_signals;
use super::{Verdict, print, tell};
use crate::config::seconds;
use crate::error::{Error, Result};
use crate::hosts::agent::Agent;
use crate::hosts::certs;
use crate::hosts::control::Wire;
use crate::hosts::link::{Endpoint, Identity, open_agent, serve};
use crate::hosts::name::{HostName, TakeId};
use crate::hosts::order::Local;
use crate::hosts::part::{self, Done, Work};
use crate::hosts::shelf::{Released, Shelf};
use clap::{Args, Subcommand};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of the path of a store at most: with the name of the socket in it, it fits into what the
/// kernel takes for an address (108 bytes).
const STORE_BYTES_MAX: usize = 90;

/// The lock of the folder of an agent.
const LOCK: &str = "agent.lock";

/// How long a recorder of before may take to say which take it records.
const ADOPT_MAX: Duration = Duration::from_secs(3);

/// Bytes of what a recorder is told at most.
const WORK_BYTES_MAX: u64 = 1 << 20;

/// Options of `genlock agent`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AgentArgs {
    #[command(subcommand)]
    command: Option<AgentCommand>,
    /// What rig files call this host
    #[arg(long, required = true, value_name = "HOST", value_parser = host_name)]
    name: Option<HostName>,
    /// Where it listens: tcp/127.0.0.1:PORT, or tls/ADDRESS:PORT with --certs
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp/127.0.0.1:7447")]
    listen: Endpoint,
    /// The folder for its parts of takes
    #[arg(long, required = true, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// The folder of this host that `genlock agent certs` made
    #[arg(long, value_name = "FOLDER")]
    certs: Option<PathBuf>,
    /// How long a take without an end goes on when its coordinator is silent
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = seconds)]
    lease: f64,
    /// What becomes of parts that are safe elsewhere
    #[arg(long, value_enum, default_value = "keep")]
    released: Released,
    /// The depth engine to load, if it is not the usual one
    #[arg(long, value_name = "PATH")]
    depth_engine: Option<PathBuf>,
    /// The sync cable between emulated devices of agents on one machine
    #[arg(long, value_name = "FILE")]
    cable: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Make the certificates of a lab: a folder for its coordinator, and one for each host
    Certs {
        /// The folder; one that was made before gets more hosts
        output: PathBuf,
        /// A host, and its address
        #[arg(long = "host", required = true, value_name = "HOST=ADDRESS")]
        #[arg(value_parser = host_at)]
        hosts: Vec<(HostName, String)>,
    },
}

fn host_name(text: &str) -> std::result::Result<HostName, String> {
    HostName::try_from(text.to_owned())
}

fn host_at(text: &str) -> std::result::Result<(HostName, String), String> {
    let (name, address) = text.split_once('=').ok_or("write HOST=ADDRESS, as a=10.0.0.2")?;
    Ok((host_name(name)?, address.to_owned()))
}

pub(super) fn run(args: AgentArgs) -> Result<Verdict> {
    match args.command {
        Some(AgentCommand::Certs { output, hosts }) => make_certs(&output, hosts),
        None => serve_rigs(args),
    }
}

fn make_certs(output: &Path, hosts: Vec<(HostName, String)>) -> Result<Verdict> {
    let mut all: Vec<(HostName, Vec<String>)> = Vec::new();
    for (name, address) in hosts {
        match all.iter_mut().find(|(other, _)| *other == name) {
            Some((_, addresses)) => addresses.push(address),
            None => all.push((name, vec![address])),
        }
    }
    certs::make(output, &all)?;
    let output = output.display();
    for (name, _) in &all {
        print(&format!("{output}/{name}: copy it to host {name}, for genlock agent --certs"))?;
    }
    print(&format!("{output}/coordinator: for certs = \"...\" in the rig file"))?;
    print(&format!("{output}/ca.key: keep it where nobody else reads it; no host needs it"))?;
    Ok(Verdict::Whole)
}

fn serve_rigs(args: AgentArgs) -> Result<Verdict> {
    let missing = || Error::Usage("give --name and --store".to_owned());
    let local = Local {
        name: args.name.ok_or_else(missing)?,
        store: std::path::absolute(args.store.ok_or_else(missing)?)
            .map_err(|cause| Error::Usage(cause.to_string()))?,
        depth_engine: args.depth_engine,
        cable: args.cable,
        lease_s: args.lease.ceil().max(1.0) as u64,
    };
    if local.store.as_os_str().len() > STORE_BYTES_MAX {
        return Err(Error::Usage(format!(
            "--store {}: its path is longer than the {STORE_BYTES_MAX} bytes that leave room for \
             the name of a socket: use a shorter one",
            local.store.display()
        )));
    }
    let identity = args.certs.as_deref().map(Identity::open).transpose()?;
    let _lock = lock(&local.store)?;
    let at_work = at_work(&local.store);
    let shelf = Shelf::open(&local.store, args.released, at_work.as_ref().map(|(take, _)| take))?;
    let (name, store) = (local.name.clone(), local.store.clone());
    let agent = Arc::new(Mutex::new(Agent::new(local, shelf, at_work)));
    let stop = stop_on_signals()?;
    let session = open_agent(&name, &args.listen, identity.as_ref())?;
    let answering = Arc::clone(&agent);
    let answer = move |message: &[u8]| {
        answering.lock().unwrap_or_else(PoisonError::into_inner).answer(message)
    };
    let serving = serve(&session, &name, answer)?;
    tell(&format!("host {name} listens at {}, and records to {}", args.listen, store.display()));
    while !stop.load(Ordering::Acquire) {
        thread::park_timeout(Duration::from_millis(100));
    }
    drop(serving);
    if let Some(take) = agent.lock().unwrap_or_else(PoisonError::into_inner).at_work() {
        tell(&format!("note: the take {take} goes on to its end: it has a process of its own"));
    }
    Ok(Verdict::Whole)
}

/// One agent works in a folder at a time.
fn lock(store: &Path) -> Result<File> {
    let path = store.join(LOCK);
    let failed = |cause| Error::disk("cannot create", &path, &cause);
    std::fs::create_dir_all(store).map_err(failed)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
            "{}: another agent works in this folder: give each its own --store",
            store.display()
        ))),
        // Where the file system knows no locks it is not held.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
    }
}

/// The take that an agent of before this one began, and its recorder is still at.
fn at_work(store: &Path) -> Option<(TakeId, Wire)> {
    let wire = Wire::connect(store)?;
    let begun = Instant::now();
    while begun.elapsed() < ADOPT_MAX && !wire.is_closed() {
        if let Some(take) = wire.status().and_then(|status| status.take) {
            return Some((take, wire));
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    None
}

/// `genlock part`: what an agent has a process for; what to do comes by standard input.
pub(super) fn part() -> Result<Verdict> {
    let mut text = String::new();
    let read = std::io::stdin().take(WORK_BYTES_MAX).read_to_string(&mut text);
    let work: Option<Work> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
    let work = work.ok_or_else(|| Error::Usage("genlock agent runs this".to_owned()))?;
    match part::run(&work, stop_on_signals()?)? {
        Done::Told(text) => print(&text).map(|()| Verdict::Whole),
        Done::Recorded(outcome) => {
            if let Some(failure) = &outcome.failure {
                tell(&format!("error: {failure}"));
            }
            Ok(outcome.take.outcome.into())
        }
    }
}
