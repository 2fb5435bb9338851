//! A take in words, as it is told before it is made, and when it was.

use super::{Verdict, print, sync_words, tell};
use crate::error::Result;
use crate::rig::{Finding, Severity};
use genlock_formats::take::{Outcome, Take};
use std::path::Path;

/// What a take is, in a few lines.
pub(super) fn summary(place: &Path, take: &Take) -> Vec<String> {
    let verdict = take.verdict.map_or(String::new(), |verdict| format!(", sync {verdict}"));
    let mut lines = vec![format!("{}: {}{verdict}", place.display(), take.outcome)];
    for device in take.devices.iter().filter(|device| device.file.is_some()) {
        let frames = device.frames.iter().map(|(track, count)| format!("{track} {count}"));
        lines.push(format!(
            "  {} {}: {} triggers from {}, {}, {:.1} MB",
            device.serial,
            device.role,
            device.trigger_count,
            device.first_trigger,
            frames.collect::<Vec<_>>().join(", "),
            device.bytes as f64 / 1e6
        ));
        lines.extend(sync_words(device.phase.as_ref(), device.clock.as_ref()));
        lines.extend(device.reasons.iter().map(|reason| format!("    {reason}")));
    }
    lines
}

/// Losses on standard error, also when quiet: a take with losses must not pass for a whole one.
pub(super) fn report_losses(take: &Take) {
    const SHOWN_MAX: usize = 20;
    for device in &take.devices {
        for loss in device.losses.iter().take(SHOWN_MAX) {
            tell(&format!(
                "loss: {}: {} of triggers {} to {}: {}",
                device.serial, loss.track, loss.first_trigger, loss.last_trigger, loss.cause
            ));
        }
        let more = device.losses.len().saturating_sub(SHOWN_MAX);
        if more > 0 {
            tell(&format!("loss: {}: and {more} more ranges", device.serial));
        }
    }
}

/// Says what came of a take, and of what is `more` to say of it; gives the verdict, which that may
/// be too.
pub(super) fn conclude(
    (place, quiet): (&Path, bool),
    take: &Take,
    late: Option<&str>,
    more: &dyn Fn() -> Option<Verdict>,
) -> Result<Verdict> {
    let lines = if quiet { Vec::new() } else { summary(place, take) };
    let printed = lines.iter().try_for_each(|line| print(line));
    // Whether or not anybody reads the summary, losses and failures are told.
    report_losses(take);
    if let Some(late) = late {
        tell(&format!("warning: {late}"));
    }
    if let Some(verdict) = more() {
        return Ok(verdict);
    }
    printed?;
    Ok(match take.outcome {
        Outcome::Whole if late.is_some() => Verdict::Losses,
        outcome => outcome.into(),
    })
}

/// Says what stands against a take, and whether it may begin: errors forbid it, unless forced.
pub(super) fn heed(findings: &[Finding], force: bool, quiet: bool) -> bool {
    let of = |severity| findings.iter().filter(move |finding| finding.severity == severity);
    for warning in of(Severity::Warning).filter(|_| !quiet) {
        tell(&format!("warning: {warning}"));
    }
    for error in of(Severity::Error) {
        tell(&format!("error: {error}"));
    }
    force || of(Severity::Error).next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_forbid_a_take_and_force_lets_it_begin() {
        let (error, warning) =
            (Finding::error("disk", "full", "free some"), Finding::warning("rig", "odd", "look"));
        let begins = |findings: &[Finding], force| heed(findings, force, true);
        let both = [error, warning];
        assert!(begins(&[], false) && begins(&both[1..], false));
        assert!(!begins(&both, false) && begins(&both, true));
    }
}
