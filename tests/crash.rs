//! A recorder that is killed leaves files that open.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{genlock_exits, official_dump};

/// Starts an endless take and waits until `bytes` of it are in its file.
fn recording_until(part: &Path, file: &Path, bytes: u64) -> std::process::Child {
    let child = Command::new(env!("CARGO_BIN_EXE_genlock"))
        .args(["record", "--emulated", "1", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"])
        .arg(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built with this test");
    let begun = Instant::now();
    while std::fs::metadata(part).map_or(0, |data| data.len()) < bytes {
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute without {bytes} bytes");
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_recording_killed_in_the_middle_opens_and_reads_up_to_the_last_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, part) = (folder.path().join("cut.mkv"), folder.path().join("cut.mkv.part"));
    let mut child = recording_until(&part, &file, 20_000_000);
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    assert!(!file.exists(), "a file that is not whole does not get the name of a whole one");
    let path = part.to_str().expect("a plain path");
    let output = genlock_exits(1, &["verify", "--json", path]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(verdict.to_string().contains("unfinished"), "{verdict}");
    if let Some(dump) = official_dump(&part) {
        let dump = dump.expect("the official library opens it");
        let captures = dump["captures"].as_array().expect("captures");
        assert!(captures.len() > 20, "{} captures in 20 MB", captures.len());
        assert_eq!(dump["captures_end"], "eof");
    }
}

#[test]
fn both_polite_signals_finish_the_file() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, part) = (folder.path().join("s.mkv"), folder.path().join("s.mkv.part"));
        let mut child = recording_until(&part, &file, 5_000_000);
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(killed.expect("kill is part of every Linux").success());
        let status = child.wait().expect("it was asked to stop");
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(!part.exists());
        genlock_exits(0, &["verify", file.to_str().expect("a plain path")]);
    }
}
