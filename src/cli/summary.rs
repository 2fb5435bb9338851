//! A take in words, as it is told when it was made.

use super::{sync_words, tell};
use genlock_formats::take::Take;
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
