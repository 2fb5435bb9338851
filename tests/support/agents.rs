//! Three hosts with an agent each, and a desk from which takes are recorded with all of them.

use crate::network::{Network, until};
use genlock_formats::take::Take;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The machines that have devices, and where they listen.
pub const HOSTS: [&str; 3] = ["a", "b", "c"];
const PORT: u16 = 7447;

/// The machine of the coordinator, and that of somebody who does not belong there.
pub const DESK: &str = "desk";
pub const STRANGER: &str = "stranger";

/// The devices of the rig: the first is the master.
pub const DEVICES: usize = 8;

/// What anything may take on a machine that others use too.
pub const LONG: Duration = Duration::from_secs(120);

/// Three hosts, their agents, and a rig file with all of their devices.
pub struct Studio {
    pub network: Network,
    agents: Vec<(&'static str, Child)>,
    stores: Vec<(&'static str, PathBuf)>,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A program that has ended: its exit code, and all that it said.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub said: String,
}

/// A program that runs at the desk.
pub struct Running {
    pub child: Child,
    said: PathBuf,
}

impl Running {
    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Done {
        let mut code = None;
        until("genlock ends", LONG, || {
            let status = self.child.try_wait().expect("a child");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        Done { code, said: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// It ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }

    /// It said all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for words in words {
            assert!(self.said.contains(words), "{words:?} is not in: {}", self.said);
        }
        self
    }
}

impl Studio {
    /// The studio with its agents at work; none where no network can be made. One at a time:
    /// recordings in real time must not starve each other of the machine's cores.
    pub fn open() -> Option<Self> {
        Self::with_stores(&[])
    }

    /// The same, where some hosts keep their parts elsewhere.
    pub fn with_stores(elsewhere: &[(&'static str, &Path)]) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::of(&[HOSTS[0], HOSTS[1], HOSTS[2], DESK, STRANGER])?;
        let folder = tempfile::tempdir().expect("a folder");
        let store = |host: &'static str| {
            let given = elsewhere.iter().find(|(name, _)| *name == host);
            let usual = folder.path().join("parts").join(host);
            (host, given.map_or(usual, |(_, path)| path.join("parts")))
        };
        let stores = HOSTS.map(store).into();
        let mut studio = Self { network, agents: Vec::new(), stores, folder, _turn: turn };
        let at = |host: &str| format!("--host={host}={}", studio.network.address(host));
        let hosts = HOSTS.map(at);
        let mut certs = vec!["agent", "certs", "lab"];
        certs.extend(hosts.iter().map(String::as_str));
        studio.genlock(&certs).exits(0);
        fs::write(studio.path("rig.toml"), studio.rig()).expect("a file");
        for host in HOSTS {
            studio.start(host);
        }
        Some(studio)
    }

    /// A path in the folder that genlock is started in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Modes of few bytes, slow and small, since two cores carry all eight devices and three
    /// agents, and MJPG, since its frames are ready: raw colour would be most of what is written.
    fn rig(&self) -> String {
        let mut text = format!(
            "certs = \"lab/coordinator\"\ncolor_mode = \"720p\"\ndepth_mode = \
             \"NFOV_2X2BINNED\"\nrate = 15\n\n[emulator]\ndevices = {DEVICES}\n"
        );
        for host in HOSTS {
            let endpoint = format!("tls/{}:{PORT}", self.network.address(host));
            text += &format!("\n[[host]]\nname = \"{host}\"\nendpoint = \"{endpoint}\"\n");
        }
        for place in 0..DEVICES {
            let (serial, host) = (place + 1, HOSTS[place % HOSTS.len()]);
            let role = if place == 0 { "master" } else { "subordinate" };
            text += &format!(
                "\n[[device]]\nserial = \"{serial:012}\"\nrole = \"{role}\"\nhost = \"{host}\"\n\
                 depth_delay_us = {}\n",
                160 * place
            );
        }
        text
    }

    /// The folder of a host for its parts of takes.
    pub fn store(&self, host: &str) -> &Path {
        let found = self.stores.iter().find(|(name, _)| *name == host);
        &found.expect("a host").1
    }

    /// Starts the agent of a host, and waits until it listens.
    pub fn start(&mut self, host: &'static str) {
        let said = self.path(&format!("agent-{host}.txt"));
        let endpoint = format!("tls/{}:{PORT}", self.network.address(host));
        let mut command = self.network.command(host, env!("CARGO_BIN_EXE_genlock"));
        command.args(["agent", "--name", host, "--listen", &endpoint, "--lease", "20s"]);
        command.arg("--store").arg(self.store(host));
        command.arg("--certs").arg(self.path("lab").join(host));
        command.arg("--cable").arg(self.path("cable"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(new_file(&said));
        let child = command.spawn().expect("ip is part of every Linux");
        self.agents.push((host, child));
        until(&format!("the agent of {host} listens"), LONG, || {
            fs::read_to_string(&said).is_ok_and(|said| said.contains("listens"))
        });
    }

    /// Kills the agent of a host, and nothing else there.
    pub fn kill_agent(&mut self, host: &str) {
        for (_, mut child) in self.agents.extract_if(.., |(name, _)| *name == host) {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Takes the power from a host: whatever runs there is gone at once.
    pub fn kill_host(&mut self, host: &str) {
        self.network.kill_all(host);
        self.kill_agent(host);
    }

    fn command(&self, machine: &str, args: &[&str]) -> Command {
        let mut command = self.network.command(machine, env!("CARGO_BIN_EXE_genlock"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts genlock on a machine.
    pub fn begin_on(&self, machine: &str, args: &[&str]) -> Running {
        static BEGUN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = BEGUN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let said = self.path(&format!("said-{number}.txt"));
        let file = new_file(&said);
        let both = file.try_clone().expect("a file");
        let mut command = self.command(machine, args);
        let child = command.stdout(file).stderr(both).spawn().expect("ip is part of every Linux");
        Running { child, said }
    }

    /// Runs genlock at the desk.
    pub fn genlock(&self, args: &[&str]) -> Done {
        self.begin_on(DESK, args).end()
    }

    /// Starts to record a take of so many triggers.
    pub fn begin(&self, take: &str, triggers: u64) -> Running {
        let triggers = triggers.to_string();
        self.begin_on(DESK, &["record", "--rig", "rig.toml", "--frames", &triggers, take])
    }

    /// Waits until every device has frames on the disk of its host: a trigger of them is half a
    /// megabyte.
    pub fn recording_everywhere(&self, running: &Running) {
        let has_frames =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 1_000_000);
        for host in HOSTS {
            until(&format!("{host} records: {}", running.said()), LONG, || {
                let recordings = self.recordings(host);
                !recordings.is_empty() && recordings.iter().all(has_frames)
            });
        }
    }

    /// Every recording in the store of a host, finished or not.
    pub fn recordings(&self, host: &str) -> Vec<PathBuf> {
        let entries = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let files = entries(self.store(host)).into_iter().flat_map(|folder| entries(&folder));
        files.filter(|path| path.to_string_lossy().contains(".mkv")).collect()
    }

    /// The take as its `take.toml` has it.
    pub fn take(&self, take: &str) -> Take {
        let text = fs::read_to_string(self.path(take).join("take.toml")).expect("a take.toml");
        Take::from_toml(&text).expect("a sound take.toml")
    }
}

fn new_file(path: &Path) -> File {
    File::create(path).expect("a file")
}

impl Drop for Studio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in HOSTS {
                let said = self.path(&format!("agent-{host}.txt"));
                let said = fs::read_to_string(said).unwrap_or_default();
                eprintln!("the agent of {host} said: {said}");
            }
        }
        for host in HOSTS {
            self.kill_host(host);
        }
    }
}
