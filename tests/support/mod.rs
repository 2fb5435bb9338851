//! What the tests of the whole program share: the binary, and the judges that other people wrote.
#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The shared data beside the checkout.
pub fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path)
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

/// Runs genlock.
pub fn genlock<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    command.args(args).output().expect("the binary was built with this test")
}

/// Runs genlock, which must exit with `code`.
pub fn genlock_exits(code: i32, args: &[&str]) -> Output {
    let output = genlock(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "genlock {}: {stderr}", args.join(" "));
    output
}

/// What Microsoft's library reads from a file, as JSON; `Err` holds what it says when it refuses.
pub fn official_dump(file: &Path) -> Option<Result<Value, String>> {
    let python = official_python()?;
    let output = Command::new("timeout")
        .arg("120")
        .args([&python, &shared("tools/k4a_oracle.py")])
        .args([OsStr::new("dump"), file.as_os_str()])
        .output()
        .expect("timeout is part of every Linux");
    let json = serde_json::from_slice(&output.stdout);
    Some(match (output.status.success(), json) {
        (true, Ok(json)) => Ok(json),
        _ => Err(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout)
        )),
    })
}

/// A Python that has `pyk4a-bundle`: `GENLOCK_ORACLE_PYTHON`, or the one that `.ci/run` made.
pub fn official_python() -> Option<PathBuf> {
    let named = std::env::var_os("GENLOCK_ORACLE_PYTHON").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv-conformance/bin/python");
    let python = named.unwrap_or(made);
    let there = python.exists() && shared("tools/k4a_oracle.py").exists();
    there.then_some(python).or_else(|| missing("Microsoft's library (run .ci/run once)"))
}

/// Runs another tool; nothing where it is not installed.
pub fn tool(name: &str, args: &[&OsStr]) -> Option<Output> {
    match Command::new(name).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => missing(name),
    }
}
