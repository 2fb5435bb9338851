//! The binary, the real libusb and a real Linux USB stack against emulated cameras, and Microsoft's
//! own library as a witness.
//!
//! The machine that tests need not have USB: each test here starts a guest that has, and runs this
//! very program in it once more, with the tests that are ignored outside of one.

#[path = "../support/mod.rs"]
mod support;

mod cameras;
mod faults;
mod takes;
mod witness;

use genlock_guest::Guest;
use std::path::Path;
use std::time::Duration;
use support::judges::missing;

/// A guest; none, said aloud, where the machine cannot have one.
fn guest() -> Option<Guest> {
    let guest = Guest {
        uvcvideo: true,
        limit: Duration::from_secs(600),
        ..Guest::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(".."))
    };
    match guest.prepare() {
        Ok(()) => Some(guest),
        Err(cause) => missing(&format!("a guest with USB ({cause})")),
    }
}

/// Runs the tests of a module in a guest.
fn in_guest(guest: &Guest, module: &str) {
    let _turn = support::turn();
    let share = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("a path");
    let arguments = ["--ignored", "--test-threads=1", module];
    let outcome = guest.run(&this, &arguments, share.path()).expect("the guest ends by itself");
    println!("{}", outcome.output);
    assert_eq!(outcome.code, 0, "tests failed in the guest: see above");
    let passed = outcome.output.contains("test result: ok. ");
    assert!(passed && !outcome.output.contains(" 0 passed"), "no test of {module} ran");
}

#[test]
fn takes_over_usb() {
    let Some(guest) = guest() else { return };
    in_guest(&guest, "takes::");
}

#[test]
fn faults_of_usb() {
    let Some(guest) = guest() else { return };
    in_guest(&guest, "faults::");
}

#[test]
fn libk4a_is_the_witness() {
    let Some(guest) = guest() else { return };
    // That library asks for a whole frame in one transfer.
    let guest = Guest { long_transfers: true, uvcvideo: false, ..guest };
    if support::judges::oracle().is_some() {
        in_guest(&guest, "witness::");
    }
}
