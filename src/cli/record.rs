//! `genlock record`: one take.

use super::devices::DeviceArgs;
use super::progress::Progress;
use super::signals::stop_on_signals;
use super::summary::{conclude, heed};
use super::{Verdict, bus, spanning, tell};
use crate::clock::Clock;
use crate::config::{Devices, Output, Plan, seconds};
use crate::error::{Error, Result};
use crate::record::{self, Cue, is_taken, part_path};
use crate::rig::host::Host;
use clap::Args;
use genlock_formats::take;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Options of `genlock record`; those of k4arecorder have its names.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// Where the take goes: a folder, or one file when it ends in .mkv
    output: PathBuf,
    /// Stop after this time: seconds, or 10s, 2m, 1h
    #[arg(short = 'l', long, value_name = "TIME", value_parser = seconds)]
    #[arg(conflicts_with = "frames")]
    record_length: Option<f64>,
    /// Stop after this many frames of each camera
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    #[command(flatten)]
    pub(super) devices: DeviceArgs,
    /// Go on where the checks before the take find errors
    #[arg(long)]
    force: bool,
    /// Leave the recordings of a rig of several machines on its hosts: genlock gather fetches them
    #[arg(long)]
    leave: bool,
    /// Say nothing but errors and losses
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl RecordArgs {
    /// Checks everything that was asked for, and says what is to be done. Nothing is touched.
    ///
    /// # Errors
    /// `Usage` when it cannot be done as asked; `File` when the recording to play cannot be read.
    pub fn resolve(&self) -> Result<Plan> {
        self.plan(output)
    }

    /// The same, with another judge of the place: it is told whether several devices go there.
    pub(super) fn plan(&self, output: fn(&Path, bool) -> Result<Output>) -> Result<Plan> {
        let rig = self.devices.resolve()?;
        let fps = f64::from(rig.rate().fps());
        // What a float makes of 0.1 s at 30 fps is not more than 3 triggers.
        let of_length =
            self.record_length.map(|length| (length * fps - 1e-6).ceil().max(1.0) as u64);
        Ok(Plan {
            output: output(&self.output, rig.is_several() || !rig.hosts.is_empty())?,
            devices: rig.devices,
            wanted: rig.wanted,
            opening: rig.opening,
            keeping: rig.keeping,
            storing: rig.storing,
            depth_engine: rig.depth_engine,
            force: self.force,
            is_part: false,
            hosts: rig.hosts,
            certs: rig.certs,
            triggers: self.frames.or(of_length).or(rig.triggers),
        })
    }
}

/// Where the take goes; what is there already is never overwritten.
fn output(path: &Path, several: bool) -> Result<Output> {
    let refuse = |why: &str| Err(Error::Usage(format!("{}: {why}", path.display())));
    let is_file = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mkv"));
    if is_file && several {
        return refuse("one file cannot hold several devices: name a folder");
    }
    if is_taken(path) {
        return refuse("is there already and is not overwritten: choose another name");
    }
    let part = part_path(path);
    if is_file && is_taken(&part) {
        return Err(Error::Usage(format!(
            "{}: is there already, left by a crash or still being recorded, and is not \
             overwritten; info and verify read it: rename it, or choose another name",
            part.display()
        )));
    }
    if !is_file {
        return Ok(Output::Folder(path.to_owned()));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            refuse("its folder does not exist: create it first")
        }
        _ => Ok(Output::File(path.to_owned())),
    }
}

pub(super) fn run(args: RecordArgs) -> Result<Verdict> {
    let plan = args.resolve()?;
    if !plan.hosts.is_empty() {
        return spanning::record(&args.devices.asked(), &plan, args.leave, args.quiet);
    }
    if args.leave {
        let text = "--leave is for a rig with a [[host]]: this one is all on this machine";
        return Err(Error::Usage(text.to_owned()));
    }
    let clock = Clock::machine();
    let bus = bus::bus(&plan.devices, &clock)?;
    let mut members = record::members(&plan, bus.as_ref())?;
    let findings = record::preflight(&plan, bus.as_ref(), &mut members, &Host::machine());
    if !heed(&findings, plan.force, args.quiet) {
        return Ok(Verdict::Failed);
    }
    let stop = stop_on_signals()?;
    let mut progress = Progress::new(args.quiet, &args.output);
    let cue = Cue { stop: &stop, end: &AtomicU64::new(u64::MAX), armed: &mut || Ok(()) };
    let done = record::run_opened(&plan, &bus, members, &clock, cue, &mut |s| progress.show(s));
    progress.finish();
    let outcome = done?;
    let late = began_late(&plan, &outcome.take);
    conclude((&args.output, args.quiet), &outcome.take, late.as_deref(), &|| {
        if let Some(unstopped) = &outcome.unstopped {
            tell(&format!("warning: {unstopped}"));
        }
        let failure = outcome.failure.as_ref()?;
        tell(&format!("error: {failure}"));
        if let (Output::File(path), Some(what)) = (&plan.output, left_behind(&outcome.take)) {
            tell(&format!("note: {} {what}", path.display()));
        }
        Some(Verdict::Failed)
    })
}

/// That a take which was to be played from its first trigger on was not.
fn began_late(plan: &Plan, take: &take::Take) -> Option<String> {
    let Devices::Emulated { from: Some(from), .. } = &plan.devices else { return None };
    if !from.is_dir() {
        return None;
    }
    let (from, first) = (from.display(), take.devices.first()?.first_trigger);
    match plan.opening.first_trigger {
        0 => Some(format!(
            "a device that records depth alone counts from no reset: the first captures of {from} \
             may be missing"
        )),
        planned if first > planned => Some(format!(
            "the first {} captures of {from} are missing: the devices were not ready in time",
            first - planned
        )),
        _ => None,
    }
}

/// What a failed take of one file leaves, which has no `take.toml` to say it.
fn left_behind(take: &take::Take) -> Option<String> {
    let device = take.devices.iter().find(|device| device.file.is_some())?;
    let frames = device.frames.iter().map(|(track, count)| format!("{track} {count}"));
    let frames = frames.collect::<Vec<_>>().join(", ");
    Some(format!(
        "is closed and holds what was recorded until then ({frames}); nothing in it says that the \
         take failed"
    ))
}
