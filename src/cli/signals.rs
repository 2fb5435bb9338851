//! Signals that stop a take, and those that must not.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A second signal sooner than this after the first is the same one once more: `timeout` sends it
/// to its program and to the group that the program is in.
const SAME: Duration = Duration::from_secs(1);

/// Set by the first SIGINT, SIGTERM or SIGHUP (a terminal that is gone): stop cleanly. A second
/// one, a second later or more, ends the process as signals do. Whoever started us with SIGHUP
/// ignored, as `nohup` does, wants us to outlive the terminal.
pub(super) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let failed = |cause| Error::Device(format!("cannot watch for signals: {cause}"));
    let stop = Arc::new(AtomicBool::new(false));
    let hang_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up)).map_err(failed)?;
    let told = Arc::clone(&stop);
    let listen = move || {
        let mut first = None;
        for signal in signals.forever() {
            told.store(true, Ordering::Release);
            if first.get_or_insert_with(Instant::now).elapsed() > SAME {
                // One that cannot end the process leaves it to finish.
                let _ = emulate_default_handler(signal);
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    fail_at_size_limits()?;
    Ok(stop)
}

/// A write to a file at its size limit fails, as on a full disk, so that files can be closed; it
/// does not end the process.
pub(super) fn fail_at_size_limits() -> Result<()> {
    let failed = |cause| Error::Device(format!("cannot watch for signals: {cause}"));
    flag::register(SIGXFSZ, Arc::default()).map(|_| ()).map_err(failed)
}

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
