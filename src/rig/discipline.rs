//! Whether the host's clock is disciplined: takes are dated by it, and several hosts, or other
//! sensors, can be aligned by it alone.

use crate::rig::Finding;
use serde::{Deserialize, Serialize};
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::{fmt, fs};

/// What the kernel says of its clock, and which program keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discipline {
    /// Whether something keeps it synchronized.
    pub synchronized: bool,
    /// Its greatest error in microseconds, as the kernel reckons it.
    pub error_us_max: i64,
    /// The program that does, as far as it can be seen.
    pub keeper: Keeper,
}

/// A program that keeps a host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// The clock of a network card, which keeps it by PTP.
    Ptp,
    /// chrony.
    Chrony,
    /// ntpd.
    Ntpd,
    /// systemd-timesyncd.
    Timesyncd,
    /// One that is not known, or not to be seen, as from within a container.
    Other,
    /// None.
    None,
}

/// The programs by the names of their processes, of which the kernel keeps 15 letters. phc2sys sets
/// the host's clock whatever else runs; ptp4l alone does so where no other program does.
const KEEPERS: [(&str, Keeper); 6] = [
    ("phc2sys", Keeper::Ptp),
    ("chronyd", Keeper::Chrony),
    ("ntpd", Keeper::Ntpd),
    ("ntpsec", Keeper::Ntpd),
    ("systemd-timesyn", Keeper::Timesyncd),
    ("ptp4l", Keeper::Ptp),
];

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ptp => "ptp",
            Self::Chrony => "chrony",
            Self::Ntpd => "ntpd",
            Self::Timesyncd => "timesyncd",
            Self::Other => "other",
            Self::None => "none",
        })
    }
}

impl Keeper {
    /// The program that runs on the machine whose `/proc` is below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
        let names = processes.filter_map(|one| fs::read_to_string(one.path().join("comm")).ok());
        let place = |name: &str| KEEPERS.iter().position(|(keeper, _)| *keeper == name.trim_end());
        let first = names.filter_map(|name| place(&name)).min();
        first.map_or(Self::None, |place| KEEPERS[place].1)
    }

    /// The same, where the kernel says whether its clock is kept.
    fn of_clock(self, synchronized: bool) -> Self {
        if synchronized && self == Self::None { Self::Other } else { self }
    }
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
        let keeper = Keeper::below(Path::new("/")).of_clock(synchronized);
        Ok(Self { synchronized, error_us_max: clock.maxerror, keeper })
    }

    /// The keeper, and whether it has not done it yet.
    #[must_use]
    pub fn word(&self) -> String {
        match (self.synchronized, self.keeper) {
            (true, keeper) | (false, keeper @ Keeper::None) => keeper.to_string(),
            (false, keeper) => format!("{keeper}, not synchronized"),
        }
    }
}

/// Whether times of this host can be trusted.
#[must_use]
pub fn finding(discipline: &io::Result<Discipline>) -> Finding {
    let fix = "`sudo timedatectl set-ntp true`, or install chrony";
    match discipline {
        Ok(clock) if clock.synchronized => {
            let error_ms = clock.error_us_max as f64 / 1000.0;
            let by = match clock.keeper {
                Keeper::Other | Keeper::None => String::new(),
                keeper => format!(" by {keeper}"),
            };
            Finding::good("host", format!("clock synchronized{by}, within {error_ms:.1} ms"))
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
        let of = |synchronized| {
            let keeper = Keeper::Chrony;
            finding(&Ok(Discipline { synchronized, error_us_max: 2500, keeper }))
        };
        assert_eq!(of(true).severity, Severity::Good);
        assert!(of(true).what.contains("by chrony, within 2.5 ms"), "{}", of(true));
        assert_eq!(of(false).severity, Severity::Warning);
        assert!(of(false).to_string().contains("set-ntp true"), "{}", of(false));
        let refused = finding(&Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.severity, Severity::Warning);
    }

    #[test]
    fn the_program_that_keeps_the_clock_is_found_among_the_processes() {
        let kept_by = |names: &[&str]| {
            let root = tempfile::tempdir().expect("a folder");
            for (id, name) in names.iter().enumerate() {
                let process = root.path().join("proc").join(id.to_string());
                fs::create_dir_all(&process).expect("a folder");
                fs::write(process.join("comm"), format!("{name}\n")).expect("a file");
            }
            Keeper::below(root.path())
        };
        assert_eq!(kept_by(&[]), Keeper::None);
        assert_eq!(kept_by(&["bash", "chronyd-helper"]), Keeper::None);
        assert_eq!(kept_by(&["bash", "systemd-timesyn"]), Keeper::Timesyncd);
        assert_eq!(kept_by(&["ptp4l", "chronyd"]), Keeper::Chrony);
        assert_eq!(kept_by(&["chronyd", "ptp4l", "phc2sys"]), Keeper::Ptp);
        assert_eq!(kept_by(&["ptp4l"]), Keeper::Ptp);
        assert_eq!(Keeper::None.of_clock(true), Keeper::Other);
        assert_eq!(Keeper::Ntpd.of_clock(true), Keeper::Ntpd);
    }

    #[test]
    fn the_kernel_answers_or_says_why_not() {
        match Discipline::of_host() {
            Ok(clock) => assert!(clock.error_us_max >= 0, "{clock:?}"),
            Err(cause) => assert!(cause.raw_os_error().is_some(), "{cause}"),
        }
    }
}
