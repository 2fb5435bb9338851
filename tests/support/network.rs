//! A network of machines within this one: a network namespace for each, and one that holds the
//! bridge between them, so that nothing is seen outside.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the names of all namespaces begin with, before the process that made them.
const PREFIX: &str = "genlock-test-";

/// The bridge, in the namespace that is named after the network alone.
const BRIDGE: &str = "bridge";

/// Machines on one network, each with the addresses `10.77.0.N` and loopback. Gone when dropped.
pub struct Network {
    name: String,
    machines: Vec<&'static str>,
    poor: Vec<PoorLink>,
    folder: TempDir,
}

/// A link that is slow and loses packets, of one machine.
struct PoorLink {
    machine: &'static str,
    process: Child,
    counts: PathBuf,
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("ip is part of every Linux")
}

fn ip(words: &str) -> Result<String, String> {
    let output = run(Command::new("ip").args(words.split_whitespace()));
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn must(words: &str) {
    if let Err(why) = ip(words) {
        panic!("{why}");
    }
}

/// Whether this process may make network namespaces. That it may not is said aloud, and is no
/// failure of CI either: many machines that run it forbid them.
fn is_allowed() -> bool {
    let made = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if made.is_ok_and(|status| status.success()) {
        return true;
    }
    // Not by a macro: the harness would swallow it.
    let _ = std::io::stderr().write_all(b"SKIPPED: no network namespaces can be made here\n");
    false
}

/// Ends what lives in a namespace.
fn kill_all(namespace: &str) {
    let pids = ip(&format!("netns pids {namespace}")).unwrap_or_default();
    if !pids.trim().is_empty() {
        let _ = run(Command::new("kill").arg("-KILL").args(pids.split_whitespace()));
    }
}

/// Ends what lives in a namespace, and removes it.
fn remove(namespace: &str) {
    kill_all(namespace);
    let _ = ip(&format!("netns del {namespace}"));
}

/// Removes what a run that was killed has left.
fn sweep() {
    for line in ip("netns list").unwrap_or_default().lines() {
        let namespace = line.split_whitespace().next().unwrap_or_default();
        let Some(rest) = namespace.strip_prefix(PREFIX) else { continue };
        let pid = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            remove(namespace);
        }
    }
}

impl Network {
    /// A network of these machines, with the addresses `10.77.0.1`, `10.77.0.2` and so on. None
    /// where no namespaces can be made.
    pub fn of(machines: &[&'static str]) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !is_allowed() {
            return None;
        }
        sweep();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("{PREFIX}{}-{number}", std::process::id()),
            machines: machines.to_vec(),
            poor: Vec::new(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        let name = &network.name;
        must(&format!("netns add {name}"));
        must(&format!("-n {name} link add {BRIDGE} type bridge"));
        must(&format!("-n {name} link set {BRIDGE} up"));
        for machine in machines {
            let (space, address) = (network.space(machine), network.address(machine));
            must(&format!("netns add {space}"));
            must(&format!("-n {space} link set lo up"));
            let port = network.end("port", machine);
            must(&format!("-n {name} link add {port} type veth peer name eth0 netns {space}"));
            must(&format!("-n {space} address add {address}/24 dev eth0"));
            must(&format!("-n {space} link set eth0 up"));
            must(&format!("-n {name} link set {port} master {BRIDGE} up"));
        }
        Some(network)
    }

    fn space(&self, machine: &str) -> String {
        format!("{}-{machine}", self.name)
    }

    fn number(&self, machine: &str) -> usize {
        let place = self.machines.iter().position(|name| *name == machine);
        place.expect("a machine of this network") + 1
    }

    /// The address of a machine.
    pub fn address(&self, machine: &str) -> String {
        format!("10.77.0.{}", self.number(machine))
    }

    /// The name of an interface beside the bridge: at most 15 letters, so machines are numbered.
    fn end(&self, kind: &str, machine: &str) -> String {
        format!("{kind}{}", self.number(machine))
    }

    /// A command that runs on a machine, as a process of its own and without a shell between.
    pub fn command(&self, machine: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(machine)]).arg(program);
        command
    }

    /// The port of the bridge behind which a machine is.
    fn port(&self, machine: &str) -> String {
        let is_poor = self.poor.iter().any(|link| link.machine == machine);
        self.end(if is_poor { "far" } else { "port" }, machine)
    }

    /// Parts a machine from all others. Its own interface stays up: what it sends gets no answer,
    /// as if a switch far away had failed.
    pub fn cut(&self, machine: &str) {
        must(&format!("-n {} link set {} nomaster", self.name, self.port(machine)));
    }

    /// Puts it back.
    pub fn heal(&self, machine: &str) {
        must(&format!("-n {} link set {} master {BRIDGE}", self.name, self.port(machine)));
    }

    /// From now on every packet from and to the machine takes `delay`, and of 1 so many as `loss`
    /// get lost, as `seed` has it.
    pub fn worsen(&mut self, machine: &'static str, delay: Duration, loss: f64, seed: u64) {
        let (name, counts) = (&self.name, self.folder.path().join(machine));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/poor_link.py");
        let [port, near, far, own] =
            ["port", "near", "far", "own"].map(|end| self.end(end, machine));
        let numbers = [delay.as_secs_f64().to_string(), loss.to_string(), seed.to_string()];
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, "python3", script]).args([&near, &far]).args(numbers);
        command.arg(&counts).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 is part of every machine");
        let mut said = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut said).expect("it says that it is ready");
        assert_eq!(said, "ready\n", "the link of {machine} was not made");
        must(&format!("-n {name} link add {own} type bridge"));
        for end in [port, near] {
            must(&format!("-n {name} link set {end} master {own} up"));
        }
        must(&format!("-n {name} link set {far} master {BRIDGE} up"));
        must(&format!("-n {name} link set {own} up"));
        self.poor.push(PoorLink { machine, process, counts });
    }

    /// Ends all that runs on a machine.
    pub fn kill_all(&self, machine: &str) {
        kill_all(&self.space(machine));
    }

    /// Makes the link of a machine good again; gives the packets that it has dropped.
    pub fn mend(&mut self, machine: &str) -> u64 {
        let (_, dropped) = self.counts(machine);
        for mut link in self.poor.extract_if(.., |link| link.machine == machine) {
            drop(link.process.stdin.take());
            let _ = link.process.wait();
        }
        self.heal(machine);
        dropped
    }

    /// Packets that a link that was worsened has moved and dropped, up to a moment ago.
    pub fn counts(&self, machine: &str) -> (u64, u64) {
        let link = self.poor.iter().find(|link| link.machine == machine).expect("a poor link");
        let text = std::fs::read_to_string(&link.counts).unwrap_or_default();
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            remove(&self.space(machine));
        }
        for link in &mut self.poor {
            drop(link.process.stdin.take());
            let _ = link.process.wait();
        }
        remove(&self.name);
    }
}

/// Looks again and again, until something holds.
pub fn until(what: &str, longest: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < longest, "{what}: not within {longest:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
