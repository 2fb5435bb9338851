//! `genlock check`: is the rig ready for a take?

use super::record::RecordArgs;
use super::{Verdict, bus, print, print_json, spanning};
use crate::clock::Clock;
use crate::config::Output;
use crate::error::Result;
use crate::record;
use crate::rig::host::Host;
use crate::rig::{Finding, Severity};
use clap::Args;
use serde::Serialize;

/// Options of `genlock check`: those of the take that it checks.
#[derive(Debug, Args)]
#[command(mut_arg("output", |output| output
    .required(false)
    .default_value(".")
    .help("Where the take will go; its folder need not exist")))]
pub struct CheckArgs {
    #[command(flatten)]
    take: RecordArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Checked {
    ready: bool,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &CheckArgs) -> Result<Verdict> {
    // The place may well exist: the check asks for its disk, not for its name.
    let plan = args.take.plan(|path, _| Ok(Output::Folder(path.to_owned())))?;
    let findings = if plan.hosts.is_empty() {
        let bus = bus::bus(&plan.devices, &Clock::machine());
        record::check(&plan, bus.as_deref().map_err(Clone::clone), &Host::machine())
    } else {
        spanning::check(&args.take.devices.asked(), &plan)?
    };
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if args.json {
        print_json(&Checked { ready: errors == 0, findings })?;
    } else {
        let told = |finding: &&Finding| !args.take.quiet || finding.severity == Severity::Error;
        let told: Vec<_> = findings.iter().filter(told).collect();
        for line in lines(&told) {
            print(&line)?;
        }
        print(&match errors {
            0 => "ready".to_owned(),
            1 => "not ready: 1 error".to_owned(),
            errors => format!("not ready: {errors} errors"),
        })?;
    }
    Ok(if errors == 0 { Verdict::Whole } else { Verdict::Failed })
}

/// A line for each finding, in columns.
fn lines(findings: &[&Finding]) -> Vec<String> {
    /// Longer subjects, such as many serials, push their own line aside and no other.
    const ABOUT_MAX: usize = 16;
    let widths = findings.iter().map(|finding| finding.about.chars().count());
    let width = widths.filter(|width| *width <= ABOUT_MAX).max().unwrap_or(0);
    let line = |finding: &&Finding| {
        let Finding { severity, about, what, fix } = finding;
        let fix = fix.as_ref().map_or(String::new(), |fix| format!("; {fix}"));
        format!("{severity:<7}  {about:<width$}  {what}{fix}")
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns() {
        let findings = [
            Finding::error("000000000001", "no cable", "plug it in"),
            Finding::warning("000000000001, 000000000002", "slow", "be quick"),
            Finding::good("rig", "one master"),
        ];
        let expected = [
            "error    000000000001  no cable; plug it in",
            "warning  000000000001, 000000000002  slow; be quick",
            "good     rig           one master",
        ];
        assert_eq!(lines(&findings.each_ref()), expected);
    }
}
