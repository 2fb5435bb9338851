//! Signals that stop a take or a session, and those that must not.

use crate::batch::Stop;
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
    let stop = Arc::new(AtomicBool::new(false));
    on_signals(Arc::clone(&stop), end_as)?;
    Ok(stop)
}

/// The same for a batch, which must see to its takes and hooks before a second signal ends it.
pub(super) fn stop_batch_on_signals() -> Result<Stop> {
    let stop = Stop::default();
    let again = Arc::clone(&stop.again);
    on_signals(Arc::clone(&stop.stop), move |signal| again.store(signal, Ordering::Release))?;
    Ok(stop)
}

/// Ends the process as a signal does.
pub(super) fn end_as(signal: i32) {
    // One that cannot end the process leaves it to finish.
    let _ = emulate_default_handler(signal);
}

fn on_signals(first: Arc<AtomicBool>, again: impl Fn(i32) + Send + 'static) -> Result<()> {
    let failed = |cause| Error::Device(format!("cannot watch for signals: {cause}"));
    let hang_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up)).map_err(failed)?;
    let listen = move || {
        let mut begun = None;
        for signal in signals.forever() {
            first.store(true, Ordering::Release);
            if begun.get_or_insert_with(Instant::now).elapsed() > SAME {
                again(signal);
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    fail_at_size_limits()
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
