//! What other people wrote and recorded, to judge us by: Microsoft's library behind a command line,
//! and a real recording. Shared by the tests of the program and those of `formats`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository, from whichever crate's tests.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|path| path.join(".ci").exists()).unwrap_or(here)
}

/// The shared data beside the checkout.
pub fn shared(path: &str) -> PathBuf {
    root().join("../shared").join(path)
}

/// A real recording: 720p MJPG, NFOV unbinned, IMU, one capture at 5 fps.
pub fn real_recording() -> Option<PathBuf> {
    let path = shared("data/pyk4a-recording/recording.mkv");
    path.exists().then_some(path).or_else(|| missing("the real recording"))
}

/// Says aloud that something is missing; where CI runs, that is a failure.
pub fn missing<T>(what: &str) -> Option<T> {
    let ci = std::env::var_os("CI").is_some();
    assert!(!ci, "{what} is missing, and CI must not skip what needs it");
    // Not by a macro: the harness would swallow it.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} is missing");
    None
}

/// Microsoft's library behind its command line, two minutes at most: it can hang on hostile files.
/// Its Python is `GENLOCK_ORACLE_PYTHON`, or the one that `.ci/run` made.
pub fn oracle() -> Option<Command> {
    let (python, script) = oracle_script()?;
    let mut command = Command::new("timeout");
    command.args([Path::new("120"), &python, &script]);
    Some(command)
}

/// That Python, and the script that drives the library.
pub fn oracle_script() -> Option<(PathBuf, PathBuf)> {
    let named = std::env::var_os("GENLOCK_ORACLE_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-conformance/bin/python"));
    let script = shared("tools/k4a_oracle.py");
    if !python.exists() || !script.exists() {
        return missing("Microsoft's library (run .ci/run once)");
    }
    Some((python, script))
}

/// What other people's readers find in an export of this kind. Their Python is
/// `GENLOCK_EXPORT_PYTHON`, or the one that `.ci/run` made.
pub fn read_export(kind: &str, folder: &Path) -> Option<Value> {
    let named = std::env::var_os("GENLOCK_EXPORT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-export/bin/python"));
    if !python.exists() {
        return missing("a Python that reads exports (run .ci/run once)");
    }
    let script = root().join("tests/support/read_export.py");
    let mut command = Command::new("timeout");
    command.arg("120").arg(python).arg(script).arg(kind).arg(folder);
    let output = command.output().expect("timeout is part of every Linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// What Microsoft's library makes of each of many files, read to their ends: captures, samples and
/// the last times; `Err` holds how it refuses one, or fails in it.
pub fn official_reads<P: AsRef<Path>>(files: &[P]) -> Option<Vec<Result<Value, String>>> {
    let (python, script) = oracle_script()?;
    let mut command = Command::new("timeout");
    command.args([Path::new("300"), &python, &root().join("tests/support/open_all.py"), &script]);
    // What it says of files that it refuses would be pages.
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("timeout is part of every Linux");
    let mut list = child.stdin.take().expect("piped");
    for file in files {
        // It reads the list before it says a word.
        writeln!(list, "{}", file.as_ref().display()).expect("it reads the list");
    }
    drop(list);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("a line of JSON");
        value["error"].as_str().map_or(Ok(value.clone()), |error| Err(error.to_owned()))
    };
    let reads: Vec<_> = text.lines().map(read).collect();
    assert_eq!(reads.len(), files.len(), "a line for each file; {}", output.status);
    Some(reads)
}

/// What Microsoft's library makes of calibrated images, on the processor: the files in `folder` and
/// what it says are described in `transformation.py`. Modes are numbers of its enumerations; each
/// call is made so many times.
pub fn official_transformation(
    calibration: &Path,
    [depth_mode, color_mode]: [usize; 2],
    folder: &Path,
    times: u32,
) -> Option<Value> {
    let (python, script) = oracle_script()?;
    let mut command = Command::new("timeout");
    let judge = root().join("tests/support/transformation.py");
    command.args([Path::new("300"), &python, &judge, &script, calibration]);
    command.args([depth_mode, color_mode].map(|mode| mode.to_string()));
    command.arg(folder).arg(times.to_string());
    let output = command.output().expect("timeout is part of every Linux");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    Some(serde_json::from_slice(&output.stdout).expect("a line of JSON"))
}
