//! One try of a take: its hooks, its recorder, and what came of it.

use crate::batch::join::utc;
use crate::batch::plan::{Plan, Planned};
use crate::batch::process::{self, Ended, Stop};
use crate::record::{is_taken, read_take};
use genlock_formats::session::{Standing, Take, Try};
use genlock_formats::take::Device;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A hook of a plan, and what it is told.
pub struct Hook<'a> {
    /// What it is called in the plan.
    pub name: &'static str,
    /// The command.
    pub command: &'a str,
    /// How long it may run.
    pub limit: Duration,
    /// Names and values of its environment.
    pub told: Vec<(&'static str, String)>,
}

impl Hook<'_> {
    /// Runs it to its end, or to its limit.
    ///
    /// # Errors
    /// In words, why it did not do what it should.
    pub fn run(&self, plan: &Plan, stop: &Stop) -> Result<(), String> {
        let name = self.name;
        let mut shell = shell(plan, self.command);
        shell.envs(self.told.iter().map(|(key, value)| (key, value)));
        match process::hook(&mut shell, self.limit, stop) {
            Err(cause) => Err(format!("the hook {name} cannot be started: {cause}")),
            Ok(ended) if ended.overdue => {
                let limit = self.limit.as_secs_f64();
                Err(format!("the hook {name} was ended: it ran longer than {limit} s (hook_limit)"))
            }
            Ok(ended) if !ended.status.success() => {
                Err(format!("the hook {name} ended with {}", ended.words()))
            }
            Ok(_) => Ok(()),
        }
    }
}

/// A command of the plan, which is run in the folder of the plan, whoever runs it from where.
pub fn shell(plan: &Plan, command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("GENLOCK_SESSION", absolute(&plan.folder));
    if let Some(folder) = plan.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        shell.current_dir(folder);
    }
    shell
}

/// What the hooks of a take are told.
pub fn told(plan: &Plan, take: &Take, tried: &Try) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let folder = tried.folder.as_ref().map(|folder| absolute(&plan.folder.join(folder)));
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut told = vec![
        ("GENLOCK_TAKE", folder.map(path).unwrap_or_default()),
        ("GENLOCK_NAME", take.name.clone()),
        ("GENLOCK_SUBJECT", text(&take.subject)),
        ("GENLOCK_CONDITION", text(&take.condition)),
        ("GENLOCK_NUMBER", take.number.to_string()),
        ("GENLOCK_TRY", take.tries.len().to_string()),
    ];
    if tried.standing != Standing::Recording {
        told.push(("GENLOCK_OUTCOME", tried.standing.to_string()));
        told.extend(tried.exit_code.map(|code| ("GENLOCK_EXIT_CODE", code.to_string())));
        told.extend(tried.verdict.map(|verdict| ("GENLOCK_SYNC", verdict.to_string())));
    }
    told
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.to_owned())
}

/// How `genlock record` is run for a take.
pub struct Recorder<'a> {
    /// The program.
    pub exe: &'a Path,
    /// Whether it says nothing but errors and losses.
    pub quiet: bool,
    /// Whether what it tells of errors is heard.
    pub listen: bool,
    /// What it holds as long as it runs.
    pub held: Stdio,
}

impl Recorder<'_> {
    /// Records into `folder`, and writes down what came of it.
    pub fn record(
        self,
        (plan, planned): (&Plan, &Planned),
        length: Duration,
        folder: &Path,
        tried: &mut Try,
        stop: &Stop,
    ) {
        let mut command = Command::new(self.exe);
        command.arg("record").args(planned.options(Some(plan))).args(self.quiet.then_some("-q"));
        command.arg("--").arg(folder).stdin(self.held);
        let limit = length.saturating_add(planned.settings.overtime);
        match process::take(&mut command, limit, self.listen, stop) {
            Err(cause) => {
                tried.standing = Standing::Failed;
                tried.reason = Some(format!("genlock record cannot be started: {cause}"));
                (tried.folder, tried.ended) = (None, Some(utc(jiff::Timestamp::now())));
            }
            Ok((ended, error)) => {
                tried.exit_code = ended.status.code();
                settle(folder, tried, Some(ended), stop.is_asked());
                if tried.standing == Standing::Failed {
                    tried.reason = error.or(tried.reason.take());
                }
                if ended.overdue && !tried.standing.is_done() {
                    tried.standing = Standing::Failed;
                    let overtime = planned.settings.overtime.as_secs_f64();
                    let why = format!("it was ended {overtime} s behind its time (overtime)");
                    tried.reason = Some(why);
                }
            }
        }
    }
}

/// Why a take that ran its time is not whole, as far as its devices say: the first that it was out
/// of step, or else was noticed of one.
fn blemish(devices: &[Device]) -> Option<String> {
    let worst = devices.iter().max_by_key(|d| (d.verdict, std::cmp::Reverse(&d.serial)))?;
    let noticed = devices.iter().find_map(|d| d.alarms.first().map(|alarm| (d, &alarm.what)));
    let (device, why) = worst.reasons.first().map(|why| (worst, why)).or(noticed)?;
    Some(format!("{}: {why}", device.name.as_ref().unwrap_or(&device.serial)))
}

/// Writes down what a try has left in its folder. Nobody may have seen how it ended.
pub fn settle(folder: &Path, tried: &mut Try, ended: Option<Ended>, stopped: bool) {
    if !is_taken(folder) {
        tried.folder = None;
    }
    match read_take(folder) {
        Ok(take) => {
            tried.standing = take.outcome.into();
            // What fails is told by its outcome: else a person has stopped it.
            if tried.standing.is_done() && take.reason.is_some() {
                tried.standing = Standing::Interrupted;
            }
            let not_whole = tried.standing != Standing::Whole;
            tried.reason = take.reason.or(not_whole.then(|| blemish(&take.devices)).flatten());
            tried.verdict = take.verdict;
            let devices = take.devices.iter();
            tried.triggers = devices.clone().map(|d| d.trigger_count).max().unwrap_or(0);
            tried.losses = devices.clone().fold(0, |sum, d| d.lost().saturating_add(sum));
            tried.bytes = devices.fold(0, |sum, d| d.bytes.saturating_add(sum));
        }
        Err(_) => {
            let what = match (ended, stopped) {
                (Some(ended), false) => {
                    tried.standing = Standing::Failed;
                    format!("genlock record ended with {}", ended.words())
                }
                _ => {
                    tried.standing = Standing::Interrupted;
                    "it was cut off".to_owned()
                }
            };
            tried.reason = Some(match tried.folder {
                Some(_) => format!("{what}: genlock repair finishes what is there"),
                None => format!("{what}: nothing was recorded"),
            });
        }
    }
    tried.ended = Some(utc(jiff::Timestamp::now()));
}
