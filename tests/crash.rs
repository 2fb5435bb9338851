//! A recorder that is killed leaves files that open.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use support::small_disk::taken;
use support::{genlock, genlock_exits, grown_to, official_dump, turn};

/// Starts an endless take and waits until `bytes` of it are in its file.
fn recording_until(part: &Path, file: &Path, bytes: u64) -> std::process::Child {
    let child = Command::new(env!("CARGO_BIN_EXE_genlock"))
        .args(["record", "--emulated", "1", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"])
        .arg(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built with this test");
    grown_to(part, bytes);
    child
}

#[test]
fn a_recording_killed_in_the_middle_opens_and_reads_up_to_the_last_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, part) = (folder.path().join("cut.mkv"), folder.path().join("cut.mkv.part"));
    let turn = turn();
    let mut child = recording_until(&part, &file, 20_000_000);
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    drop(turn);
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
    // Finished where it lies, with or without a torn last cluster, it also gives back what the
    // recorder had held behind its end.
    genlock(["repair", "--in-place", path]);
    let whole = std::fs::metadata(&file).expect("it has its name").len();
    assert!(taken(&file) < whole + 100_000, "{} for {whole}", taken(&file));
}

#[test]
fn every_polite_signal_finishes_the_file() {
    for signal in ["INT", "TERM", "HUP"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, part) = (folder.path().join("s.mkv"), folder.path().join("s.mkv.part"));
        let turn = turn();
        let mut child = recording_until(&part, &file, 5_000_000);
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(killed.expect("kill is part of every Linux").success());
        let status = child.wait().expect("it was asked to stop");
        drop(turn);
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(!part.exists());
        genlock_exits(0, &["verify", file.to_str().expect("a plain path")]);
    }
}

/// Whenever the signal comes, there is a whole file and exit code 0, or no file and another.
#[test]
fn a_take_stopped_at_its_beginning_never_passes_for_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, part) = (folder.path().join("s.mkv"), folder.path().join("s.mkv.part"));
    let turn = turn();
    let mut child = recording_until(&part, &file, 0);
    // The file is created before the devices start; the first frame takes a third of a second more.
    while !part.exists() && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill is part of every Linux").success());
    let code = child.wait().expect("it was asked to stop").code();
    drop(turn);
    assert_eq!(code == Some(0), file.exists(), "exit code {code:?}");
    assert!(!part.exists(), "exit code {code:?}");
}

#[test]
fn a_take_that_was_stopped_early_says_so_and_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let path = take.to_str().expect("a plain path");
    let turn = turn();
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    command.args(["record", "--emulated", "1", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"]);
    let mut child = command.args(["--frames", "9999", path]).spawn().expect("it runs");
    grown_to(&take.join("000000000001.mkv.part"), 3_000_000);
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill is part of every Linux").success());
    assert_eq!(child.wait().expect("it was asked to stop").code(), Some(0));
    drop(turn);
    let toml = std::fs::read_to_string(take.join("take.toml")).expect("take.toml");
    assert!(toml.contains("of 9999 triggers") && toml.contains("\"whole\""), "{toml}");
    genlock_exits(0, &["verify", path]);
}

/// As `nohup` starts programs: they outlive the terminal.
#[test]
fn a_take_that_ignores_the_terminals_end_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, part) = (folder.path().join("s.mkv"), folder.path().join("s.mkv.part"));
    let turn = turn();
    let record = "trap '' HUP; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", record, "bash", env!("CARGO_BIN_EXE_genlock"), "record", "--quiet"]);
    command.args(["--emulated", "1", "-c", "720p", "-d", "NFOV_2X2BINNED"]).arg(&file);
    let mut child = command.spawn().expect("bash is there");
    let kill = |signal: &str| {
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(killed.expect("kill is part of every Linux").success());
    };
    grown_to(&part, 2_000_000);
    kill("HUP");
    let now = std::fs::metadata(&part).expect("it is still there").len();
    grown_to(&part, now + 5_000_000);
    kill("TERM");
    assert_eq!(child.wait().expect("it was asked to stop").code(), Some(0));
    drop(turn);
}

/// Records one device where no file may grow beyond so many KiB: that stands for a full disk, as
/// the write that crosses it fails.
fn record_within(kib: u64, output: &Path) -> std::process::Output {
    let _turn = turn();
    let record = format!("ulimit -f {kib}; exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &record, "bash", env!("CARGO_BIN_EXE_genlock"), "record"]);
    command.args(["--emulated", "1", "-c", "720p", "-d", "NFOV_2X2BINNED"]).arg(output);
    command.output().expect("bash is there")
}

#[test]
fn a_disk_that_is_full_from_the_start_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // Room for the front of the file, and for a part of the first cluster.
    for (kib, output) in [(20, "a.mkv"), (20, "a"), (1, "b/b"), (0, "c.mkv"), (0, "c")] {
        let output = record_within(kib, &folder.path().join(output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write"), "{stderr}");
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "{kib} KiB: {stderr}");
    }
}

#[test]
fn a_single_file_whose_take_failed_is_readable_and_the_failure_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.mkv");
    let output = record_within(8000, &file);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for word in ["cannot write", "disk write failed", "holds what was recorded until then"] {
        assert!(stderr.contains(word), "{stderr} lacks {word:?}");
    }
    genlock_exits(0, &["verify", file.to_str().expect("a plain path")]);
}

#[test]
fn a_disk_that_takes_no_more_leaves_a_whole_file_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = folder.path().join("take");
    let path = take.to_str().expect("a plain path");
    let output = record_within(8000, &take);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write") && stderr.contains("disk write failed"), "{stderr}");
    let toml = std::fs::read_to_string(take.join("take.toml")).expect("take.toml");
    assert!(toml.contains("outcome = \"failed\"") && toml.contains("disk write failed"), "{toml}");
    let file = take.join("000000000001.mkv");
    genlock_exits(0, &["verify", file.to_str().expect("a plain path")]);
    let verified = genlock_exits(1, &["verify", path]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("the take failed: cannot write"));
    if let Some(dump) = official_dump(&file) {
        let dump = dump.expect("the official library opens it");
        assert!(dump["captures"].as_array().expect("captures").len() > 5);
    }
}
