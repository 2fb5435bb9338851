//! The words of the user: one file per command.

#[cfg(feature = "hosts")]
mod agent;
mod align;
mod batch;
mod bus;
mod check;
mod convert;
mod devices;
mod export;
#[cfg(feature = "hosts")]
mod gather;
mod generate;
mod info;
mod list;
mod out;
mod progress;
mod record;
mod repair;
mod replay;
mod rig;
mod select;
mod signals;
#[cfg_attr(not(feature = "hosts"), path = "one_host.rs")]
mod spanning;
mod summary;
mod target;
mod verify;

pub use devices::DeviceArgs;
pub use record::RecordArgs;
pub use verify::problems;

use crate::error::Error;
use clap::{Parser, Subcommand};
use genlock_formats::take::Outcome;
use out::{lossy, plain, print, print_json, sync_words, tell};
use std::process::ExitCode;

/// Headless synchronized recorder for rigs of Azure Kinect DK cameras.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 whole, 1 failed, 2 usage, 3 finished with losses, or out of step."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the devices: serial, firmware, sync jacks, USB path
    List(list::ListArgs),
    /// Write a rig file
    Rig(rig::RigArgs),
    /// Check the rig before a take: every finding with its fix
    Check(check::CheckArgs),
    /// Record one take
    #[command(after_help = "SIGINT, SIGTERM and SIGHUP stop the take at its next trigger and \
                            finish its files; a second one ends genlock at once.")]
    Record(RecordArgs),
    /// Record a session: the takes of a plan, one after the other
    #[command(after_help = "Run again, it goes on with what is left; nothing is overwritten. \
                            SIGINT, SIGTERM and SIGHUP finish the take's files and end the \
                            session; a second one ends genlock at once.\n\n\
                            Exit codes: 0 all takes are whole; 3 some have losses; 1 some failed \
                            or are missing, or a dry run does not fit on the disk; 2 usage.")]
    Batch(batch::BatchArgs),
    /// Show what is in takes and recordings
    Info(info::InfoArgs),
    /// Read takes and recordings through: are they whole?
    Verify(verify::VerifyArgs),
    /// Finish what a crash left open, also files of other recorders
    #[command(after_help = "Exit codes: 0 repaired, or nothing to do; 3 repaired, and something \
                            is lost; 1 cannot be repaired; 2 usage.")]
    Repair(repair::RepairArgs),
    /// Store takes and recordings in another profile, without loss
    #[command(after_help = "Exit codes: 0 converted, and it holds the same; 3 the same, and \
                            something of the source was lost before; 1 failed; 2 usage.")]
    Convert(convert::ConvertArgs),
    /// Turn takes and recordings into what other programs read
    #[command(
        after_help = "An export that was interrupted goes on when the same command is given \
                            again. Exit codes: 0 exported; 3 exported, and something of what was \
                            selected is missing: losses.csv says what; 1 failed; 2 usage."
    )]
    Export(export::ExportArgs),
    /// Play the captures of a take again, at any pace, also to another program
    #[command(after_help = "Exit codes: 0 played; 3 played, and frames of the take are missing; \
                            1 failed; 2 usage.")]
    Replay(replay::ReplayArgs),
    /// Make one take of files that were recorded device by device
    #[command(after_help = "Exit codes: 0 aligned, complete and in step; 3 aligned, with losses \
                            or out of step; 1 failed; 2 usage.")]
    Align(align::AlignArgs),
    /// Record this machine's devices in rigs that span several
    #[cfg(feature = "hosts")]
    #[command(after_help = "It runs until it is stopped; a take at work then goes on to its end. \
                            docs/hosts.md tells how a rig of several machines is set up.")]
    Agent(Box<agent::AgentArgs>),
    /// Fetch what the hosts of a take still have of it
    #[cfg(feature = "hosts")]
    #[command(after_help = "It may be given again and again: what is there is not fetched twice. \
                            Exit codes: 0 the take is whole; 3 it has losses, or parts of it are \
                            still elsewhere; 1 failed; 2 usage.")]
    Gather(gather::GatherArgs),
    /// What an agent has a process of its own for
    #[cfg(feature = "hosts")]
    #[command(hide = true)]
    Part,
    /// Print what a shell needs to complete commands
    #[command(after_help = "In bash: source <(genlock completions bash)")]
    Completions(generate::CompletionsArgs),
    /// Write the manual pages
    Man(generate::ManArgs),
}

/// How a command ended, for the program that called it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Exit code 0.
    Whole,
    /// Exit code 3.
    Losses,
    /// Exit code 1.
    Failed,
}

/// How the command ends that made the take.
impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Whole => Self::Whole,
            Outcome::Losses => Self::Losses,
            Outcome::Failed => Self::Failed,
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List(args) => list::run(&args),
        Command::Rig(args) => rig::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Record(args) => record::run(args),
        Command::Batch(args) => batch::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Align(args) => align::run(&args),
        #[cfg(feature = "hosts")]
        Command::Agent(args) => agent::run(*args),
        #[cfg(feature = "hosts")]
        Command::Gather(args) => gather::run(&args),
        #[cfg(feature = "hosts")]
        Command::Part => agent::part(),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    };
    match done {
        Ok(Verdict::Whole) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Ok(Verdict::Losses) => ExitCode::from(3),
        Err(error) => {
            tell(&format!("error: {error}"));
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}
