//! What the tests of the whole program share: the binary, and the judges that other people wrote.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod faulty;
pub mod judges;
pub mod simulated;
pub mod small_disk;
pub mod unfinished;

use judges::{missing, oracle};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One at a time: recordings in real time must not starve each other of the machine's cores.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs genlock when it is its turn.
pub fn genlock<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let _turn = turn();
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

/// Every file of a folder, by its name.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("within").to_owned();
            found.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

/// Waits until a file has so many bytes.
pub fn grown_to(part: &Path, bytes: u64) {
    let begun = Instant::now();
    while std::fs::metadata(part).map_or(0, |data| data.len()) < bytes {
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute without {bytes} bytes");
        std::thread::yield_now();
    }
}

/// What Microsoft's library reads from a file, as JSON; `Err` holds what it says when it refuses.
pub fn official_dump(file: &Path) -> Option<Result<Value, String>> {
    let output = oracle()?.arg("dump").arg(file).output();
    let output = output.expect("timeout is part of every Linux");
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

/// Runs another tool; nothing where it is not installed.
pub fn tool(name: &str, args: &[&OsStr]) -> Option<Output> {
    match Command::new(name).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => missing(name),
    }
}
