//! Whether the host's clock is disciplined: takes are dated by it, and several hosts, or other
//! sensors, can be aligned by it alone.

use crate::rig::Finding;
use std::io;
use std::mem::MaybeUninit;

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// Whether something keeps it synchronized.
    pub synchronized: bool,
    /// Its greatest error in microseconds, as the kernel reckons it.
    pub error_us_max: i64,
}

impl Discipline {
    /// Asks the kernel; changes nothing.
    ///
    /// # Errors
    /// The system's, as in containers that forbid the question.
    pub fn of_host() -> io::Result<Self> {
        // SAFETY: the structure holds numbers alone, for which zero bits are a value; mode 0 asks
        // and changes nothing.
        let mut clock: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the pointer is to a structure of ours that lives through the call.
        let state = unsafe { libc::adjtimex(&raw mut clock) };
        if state < 0 {
            return Err(io::Error::last_os_error());
        }
        let synchronized = clock.status & libc::STA_UNSYNC == 0;
        Ok(Self { synchronized, error_us_max: clock.maxerror })
    }
}

/// Whether times of this host can be trusted.
#[must_use]
pub fn finding(discipline: &io::Result<Discipline>) -> Finding {
    let fix = "`sudo timedatectl set-ntp true`, or install chrony";
    match discipline {
        Ok(clock) if clock.synchronized => {
            let error_ms = clock.error_us_max as f64 / 1000.0;
            Finding::good("host", format!("clock synchronized, within {error_ms:.1} ms"))
        }
        Ok(_) => Finding::warning(
            "host",
            "its clock is not synchronized: dates of takes drift, and takes of several hosts \
             cannot be aligned by them",
            fix,
        ),
        Err(cause) => Finding::warning(
            "host",
            format!("whether its clock is synchronized cannot be asked: {cause}"),
            "check `timedatectl` outside of the container",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Severity;

    #[test]
    fn a_clock_is_synchronized_or_the_fix_is_said() {
        let of = |synchronized| finding(&Ok(Discipline { synchronized, error_us_max: 2500 }));
        assert_eq!(of(true).severity, Severity::Good);
        assert!(of(true).what.contains("2.5 ms"), "{}", of(true));
        assert_eq!(of(false).severity, Severity::Warning);
        assert!(of(false).to_string().contains("set-ntp true"), "{}", of(false));
        let refused = finding(&Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.severity, Severity::Warning);
    }

    #[test]
    fn the_kernel_answers_or_says_why_not() {
        match Discipline::of_host() {
            Ok(clock) => assert!(clock.error_us_max >= 0, "{clock:?}"),
            Err(cause) => assert!(cause.raw_os_error().is_some(), "{cause}"),
        }
    }
}
