//! `genlock-fuzz`: runs one target until it is told to stop, or until an input breaks a rule.

use clap::Parser;
use genlock_fuzz::run::{Finding, Until, Watched, check, fuzz};
use genlock_fuzz::targets::{self, Target};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

/// Feeds changed input to everything that reads what others wrote.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 no finding, 1 a finding, 2 usage.")]
struct Args {
    /// What to feed; without one the targets are listed
    target: Option<String>,
    /// For how long
    #[arg(long, value_name = "N", default_value = "60")]
    seconds: u64,
    /// For how many inputs, instead
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Which sequence of inputs
    #[arg(long, value_name = "S", default_value = "1")]
    seed: u64,
    /// This input alone
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(name) = &args.target else {
        targets::ALL.iter().for_each(|target| println!("{:12} {}", target.name, target.about));
        return ExitCode::SUCCESS;
    };
    let Some(target) = targets::ALL.iter().find(|target| target.name == name) else {
        eprintln!("error: no target {name}; without one the targets are listed");
        return ExitCode::from(2);
    };
    match run(target, &args) {
        Ok(words) => {
            println!("{name}: {words}");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("error: {cause}");
            ExitCode::from(2)
        }
    }
}

fn run(target: &'static Target, args: &Args) -> Result<String, String> {
    let watched = Arc::new(Watched::default());
    watch_over(target, Arc::clone(&watched));
    let report = match &args.input {
        Some(path) => {
            let input = std::fs::read(path);
            check(target, &input.map_err(|cause| format!("{}: {cause}", path.display()))?)
        }
        None => {
            let until = match args.runs {
                Some(runs) => Until::Runs(runs),
                None => Until::Time(Duration::from_secs(args.seconds)),
            };
            fuzz(target, &targets::corpus(target.name), until, args.seed, &watched)
        }
    };
    match report {
        Ok(report) => Ok(report.to_string()),
        Err(finding) => tell(target, &finding),
    }
}

/// Ends the program when a run does not end by itself.
fn watch_over(target: &'static Target, watched: Arc<Watched>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Some(finding) = watched.endless() {
                tell(target, &finding);
            }
        }
    });
}

/// Keeps a finding, says how to see it again, and ends the program.
fn tell(target: &Target, finding: &Finding) -> ! {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let hash = crc32fast::hash(&finding.input);
    let path = folder.join(format!("{}-{hash:08x}", target.name));
    let written = std::fs::create_dir_all(&folder);
    let written = written.and_then(|()| std::fs::write(&path, &finding.input));
    eprintln!("{}: {}", target.name, finding.what);
    match written {
        Ok(()) => {
            let (name, path) = (target.name, path.display());
            eprintln!("cargo run --release -p genlock-fuzz -- {name} --input {path}");
        }
        Err(cause) => eprintln!("cannot write {}: {cause}", path.display()),
    }
    exit(1)
}
