//! Who listens, who signals, and what the host's clock says: a take does not depend on it.
#![cfg(target_arch = "x86_64")]

mod support;

use genlock_formats::k4a::Recording;
use genlock_formats::take::Take;
use genlock_formats::triggers::{Cell, Triggers};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::faulty::{self, Fault};
use support::{official_dump, turn};

const SMALL: [&str; 8] =
    ["record", "--emulated", "1", "-c", "720p", "-d", "NFOV_2X2BINNED", "--quiet"];

const SIGINT: i32 = 2;

fn interrupt(child: &std::process::Child) {
    let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is part of every Linux").success());
}

/// A SIGINT long after the first, while the file is being finished, ends the program at once. What
/// is there opens; nothing passes for a concluded take.
#[test]
fn a_second_interrupt_in_the_middle_of_finishing_leaves_files_that_open() {
    let _turn = turn();
    // Before the index is durable, between the front's parts, and before the file gets its name.
    for call in ["fdatasync", "pwrite64", "renameat2"] {
        let fault = Fault { kind: "slow", at: 1, call, wait_ms: 30_000, ..Fault::default() };
        let mut running = faulty::start(&SMALL, "take", fault);
        running.until(|calls| calls.iter().any(|call| call.name == "writev"));
        interrupt(&running.child);
        running.until(|calls| calls.iter().any(|call| call.name == "waits"));
        // Two within a second are one, and the second of those that are not ends it.
        while running.child.try_wait().expect("a child").is_none() {
            interrupt(&running.child);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let run = running.end();
        assert_eq!(run.status.signal(), Some(SIGINT), "{}", run.about());
        let take = run.there().join("take");
        assert!(!take.join("take.toml").exists(), "{}", run.about());
        let part = take.join("000000000001.mkv.part");
        let bytes = fs::read(&part).expect("it has not got its name");
        let recording = Recording::open(&bytes).expect("it opens");
        assert!(recording.demuxer().clusters().all(|c| c.is_ok_and(|c| c.is_complete())));
        if let Some(dump) = official_dump(&part) {
            let dump = dump.expect("the official library opens it");
            assert_eq!(dump["captures_end"], "eof", "{call}");
        }
        let path = take.to_str().expect("a plain path");
        exits(1, &["verify", path]);
        exits(0, &["repair", "--in-place", path]);
        let file = take.join("000000000001.mkv");
        exits(0, &["verify", file.to_str().expect("a plain path")]);
    }
}

/// Runs genlock, which must exit with `code`; for who has the turn.
fn exits(code: i32, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_genlock")).args(args).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&said));
}

/// Records a take of `frames` triggers with its outputs as `redirect` has them for bash; gives the
/// exit code.
fn redirected(frames: &str, quiet: bool, redirect: &str, take: &Path) -> Option<i32> {
    let record = format!("exec \"$@\" {redirect}");
    let mut command = Command::new("bash");
    command.args(["-c", &record, "bash", env!("CARGO_BIN_EXE_genlock")]);
    command.args(&SMALL[..if quiet { 8 } else { 7 }]).args(["--frames", frames]).arg(take);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("bash is there").code()
}

/// The take is whole whoever listens. Its exit code says so, but where its summary was asked for
/// and could not be written.
#[test]
fn outputs_that_nobody_reads_harm_no_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let gone = "| true; exit ${PIPESTATUS[0]}";
    let _turn = turn();
    for (place, (code, quiet, redirect)) in [
        (0, false, ">&-"),
        (0, false, "2>&-"),
        (0, false, ">&- 2>&-"),
        (0, false, "2>/dev/full"),
        (0, true, ">/dev/full 2>/dev/full"),
        (1, false, ">/dev/full"),
        (1, false, ">/dev/full 2>/dev/full"),
    ]
    .into_iter()
    .enumerate()
    {
        let take = folder.path().join(place.to_string());
        assert_eq!(redirected("6", quiet, redirect, &take), Some(code), "{redirect}");
        is_whole(&take, redirect);
    }
    // The reader of both is gone long before the summary.
    let take = folder.path().join("pipe");
    let record = format!("\"$@\" 2>&1 {gone}");
    let mut command = Command::new("bash");
    command.args(["-c", &record, "bash", env!("CARGO_BIN_EXE_genlock")]);
    let status = command.args(&SMALL[..7]).args(["--frames", "6"]).arg(&take).status();
    assert_eq!(status.expect("bash is there").code(), Some(0));
    is_whole(&take, gone);
}

fn is_whole(take: &Path, about: &str) {
    let toml = fs::read_to_string(take.join("take.toml")).expect("take.toml");
    let read = Take::from_toml(&toml).expect("it reads");
    assert_eq!(read.outcome, genlock_formats::take::Outcome::Whole, "{about}: {toml}");
    exits(0, &["verify", take.to_str().expect("a plain path")]);
}

/// The host's clock is set in mid-take, by an hour and by a day, forward and back: no stamp moves,
/// and `take.toml` tells of it.
#[test]
fn a_step_of_the_hosts_clock_moves_no_stamp_and_is_told_of() {
    let _turn = turn();
    for (place, step_s) in [3_600, -3_600, 86_400, -86_400].into_iter().enumerate() {
        let devices = if place % 2 == 0 { "1" } else { "2" };
        // In the middle: the twelfth call that changes the disk.
        let fault = Fault { clock: (12, step_s), ..Fault::default() };
        let args = ["record", "--quiet", "--emulated", devices, "-c", "720p", "--frames", "20"];
        let args = [&args[..], &["-d", "NFOV_2X2BINNED"]].concat();
        let run = faulty::run(&args, "take", fault);
        assert_eq!(run.status.code(), Some(0), "{}", run.about());
        let path = run.there().join("take");
        let text = |name| fs::read_to_string(path.join(name)).expect(name);
        let take = Take::from_toml(&text("take.toml")).expect("it reads");
        let host = take.host.expect("the host's clock");
        let off_us = host.utc_moved_us - step_s as f64 * 1e6;
        assert!(off_us.abs() < 1e6, "{step_s} s: utc_moved_us = {}", host.utc_moved_us);
        let triggers = Triggers::from_csv(&text("triggers.csv")).expect("it reads");
        assert_eq!(triggers.rows.len(), 20);
        for name in triggers.columns.iter().filter(|name| !name.ends_with(".ir")) {
            let times: Vec<_> = triggers.column(name).expect("a column").map(time_us).collect();
            let steps = times.windows(2).map(|two| two[1] as i64 - two[0] as i64);
            // Arrivals may be late on a busy machine, by far less than a step.
            let room = if name.ends_with(".host") { 500_000 } else { 200 };
            for step_us in steps {
                assert!((step_us - 33_333).abs() < room, "{step_s} s: {name}: {step_us} us");
            }
        }
        exits(0, &["verify", path.to_str().expect("a plain path")]);
    }
}

fn time_us(cell: &Cell) -> u64 {
    let Cell::At(us) = cell else { panic!("{cell:?} in a whole take") };
    *us
}
