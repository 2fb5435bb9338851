//! The program on a disk that fails, and under a clock that is set: faulty_disk.c.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Errors, as Linux numbers them.
pub const EINTR: i32 = 4;
pub const EIO: i32 = 5;
pub const EINVAL: i32 = 22;
pub const ENOSPC: i32 = 28;

/// What to do to calls that change something on disk: see faulty_disk.c.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fault {
    pub kind: &'static str,
    pub at: u64,
    pub errno: i32,
    pub call: &'static str,
    pub wait_ms: u64,
    /// From which call on the clock of the day is how many seconds further.
    pub clock: (u64, i64),
}

/// A call that changed something, or failed to.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    pub bytes: i64,
    /// What it gave; below 0, which error.
    pub result: i64,
    pub path: PathBuf,
}

/// A run that has ended, and what it left.
pub struct Run {
    pub fault: Fault,
    pub status: ExitStatus,
    pub stderr: String,
    pub calls: Vec<Call>,
    dir: tempfile::TempDir,
}

/// A run that goes on.
pub struct Running {
    fault: Fault,
    pub child: Child,
    dir: tempfile::TempDir,
}

/// The preloaded library, compiled once a process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("faulty_disk.{}.so", std::process::id()));
        let source = super::judges::root().join("tests/support/faulty_disk.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
        let done = command.arg(&path).arg(source).arg("-ldl").status();
        assert!(done.expect("a compiler for C is there").success());
        // Other tests may compile it, too; all make the same.
        let name = folder.join("faulty_disk.so");
        fs::rename(path, &name).expect("a file");
        name
    })
}

/// Starts genlock with `args` and a path under the folder with the fault.
pub fn start(args: &[&str], output: &str, fault: Fault) -> Running {
    start_beside(args, output, fault, &[])
}

/// The same where files are in that folder already.
pub fn start_beside(args: &[&str], output: &str, fault: Fault, files: &[(&str, &[u8])]) -> Running {
    let dir = tempfile::tempdir().expect("a folder");
    let there = dir.path().join("there");
    fs::create_dir(&there).expect("a folder");
    for (name, bytes) in files {
        fs::write(there.join(name), bytes).expect("a file");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    command.args(args).arg(there.join(output)).env("LD_PRELOAD", library());
    command.env("FAULT_FOLDER", &there).env("FAULT_LOG", dir.path().join("log"));
    command.env("FAULT_KIND", fault.kind).env("FAULT_CALL", fault.call);
    command.env("FAULT_AT", fault.at.to_string()).env("FAULT_ERRNO", fault.errno.to_string());
    command.env("FAULT_WAIT_MS", fault.wait_ms.to_string());
    command.env("CLOCK_AT", fault.clock.0.to_string());
    command.env("CLOCK_STEP_S", fault.clock.1.to_string());
    let stderr = fs::File::create(dir.path().join("stderr")).expect("a file");
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    Running { fault, child: command.spawn().expect("the binary was built"), dir }
}

/// Runs genlock to its end, which must come.
pub fn run(args: &[&str], output: &str, fault: Fault) -> Run {
    start(args, output, fault).end()
}

impl Running {
    /// The folder with the fault.
    pub fn there(&self) -> PathBuf {
        self.dir.path().join("there")
    }

    /// Waits until its log says so.
    pub fn until(&mut self, told: impl Fn(&[Call]) -> bool) {
        let begun = Instant::now();
        while !told(&calls(self.dir.path())) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}: a minute", self.fault);
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{:?}: it ended: {ended:?}", self.fault);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Waits for its end, which must come.
    pub fn end(mut self) -> Run {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                let _ = self.child.kill();
                panic!("{:?}: no end within a minute", self.fault);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let stderr = fs::read_to_string(self.dir.path().join("stderr")).expect("text");
        let calls = calls(self.dir.path());
        Run { fault: self.fault, status, stderr, calls, dir: self.dir }
    }
}

fn calls(dir: &Path) -> Vec<Call> {
    let call = |line: &str| {
        let mut words = line.splitn(5, ' ').skip(1);
        let name = words.next()?.to_owned();
        let (bytes, result) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Call { name, bytes, result, path: words.next()?.into() })
    };
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    log.lines().filter_map(call).collect()
}

impl Run {
    /// The folder with the fault.
    pub fn there(&self) -> PathBuf {
        self.dir.path().join("there")
    }

    /// What it was, for who reads that an assertion failed.
    pub fn about(&self) -> String {
        let Self { fault, status, stderr, calls, .. } = self;
        let calls: Vec<_> = calls.iter().map(|call| format!("{call:?}")).collect();
        format!("{fault:?}: {status}: {stderr}\n{}", calls.join("\n"))
    }
}
