//! The guest comes up and runs programs of this machine.

use genlock_guest::{Guest, Outcome};
use std::path::Path;

/// A guest; none, said aloud, where the machine cannot have one. `.ci/run` installs what it needs.
fn guest() -> Option<Guest> {
    let guest = Guest::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(".."));
    match guest.prepare() {
        Ok(()) => Some(guest),
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "no guest: {cause}");
            eprintln!("SKIPPED: no guest: {cause}");
            None
        }
    }
}

fn ran(guest: &Guest, script: &str) -> Outcome {
    let share = tempfile::tempdir().expect("a folder");
    guest.run(Path::new("/bin/sh"), &["-c", script], share.path()).expect("it comes up")
}

#[test]
fn a_program_of_this_machine_runs_and_its_exit_code_comes_back() {
    let Some(guest) = guest() else { return };
    let seven = ran(&guest, "echo \"it's $(uname -s)\"; ls -d /sys/bus/usb/devices/usb*; exit 7");
    assert_eq!(seven.code, 7, "{}", seven.output);
    assert!(seven.output.contains("it's Linux"), "{}", seven.output);
    assert!(seven.output.contains("/sys/bus/usb/devices/usb2"), "{}", seven.output);
}

#[test]
fn the_share_can_be_written_and_nothing_else() {
    let Some(guest) = guest() else { return };
    let share = tempfile::tempdir().expect("a folder");
    let script = "echo hello > /mnt/file; touch /run/mine && ! touch /etc/file 2>/dev/null";
    let outcome = guest.run(Path::new("/bin/sh"), &["-c", script], share.path());
    assert_eq!(outcome.expect("it comes up").code, 0);
    let written = std::fs::read_to_string(share.path().join("file"));
    assert_eq!(written.expect("the guest wrote it"), "hello\n");
}

#[test]
fn a_guest_that_takes_too_long_is_ended_and_what_it_said_is_told() {
    let Some(guest) = guest() else { return };
    let guest = Guest { limit: std::time::Duration::from_secs(15), ..guest };
    let share = tempfile::tempdir().expect("a folder");
    let script = "echo here; exec tail -f /dev/null";
    let error = guest.run(Path::new("/bin/sh"), &["-c", script], share.path());
    let error = error.expect_err("it never ends").to_string();
    assert!(error.contains("longer than 15 s") && error.contains("here"), "{error}");
}
