//! Emulated cameras on the USB of the guest, and genlock beside them.

use crate::support::{genlock, genlock_exits, grown_to};
use genlock_emulator::{ColorTransfer, View};
use genlock_formats::take::Take;
use kinect_emulator::{Camera, Faults, Rig, Setup, chain};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The serial numbers of the cameras.
pub const MASTER: &str = "000000000001";
pub const SUBORDINATE: &str = "000000000002";

/// Modes and rate that the guest, a translated processor, can keep up with.
const MODES: [&str; 3] = ["color_mode=720p", "depth_mode=NFOV_2X2BINNED", "rate=5"];
pub const FPS: u64 = 5;

/// Takes until one is whole: the guest shares its machine, and a stall of that is no fault of ours.
pub const TRIES: usize = 4;

/// What the cameras see: rendered once, for that takes longer here than a camera may take.
fn views() -> &'static [View] {
    static VIEWS: OnceLock<Vec<View>> = OnceLock::new();
    VIEWS.get_or_init(|| {
        let ready = |mut setup: Setup| {
            let (color, depth) = ("720p".parse().ok(), "NFOV_2X2BINNED".parse().ok());
            assert!(color.is_some() && depth.is_some() && setup.prepare(color, depth));
            setup.view
        };
        chain(&[Faults::default(), Faults::default()], None).into_iter().map(ready).collect()
    })
}

/// Cameras that are plugged in, chained by sync cables; they are pulled out when dropped.
pub struct Cameras {
    rig: Rig,
    folder: TempDir,
}

impl Cameras {
    /// Plugs `count` cameras in, at most two.
    pub fn plug_in(count: usize) -> Self {
        Self::with(count, ColorTransfer::Isochronous)
    }

    /// The same, with color by this kind of transfer.
    pub fn with(count: usize, color: ColorTransfer) -> Self {
        let mut setups = chain(&vec![Faults::default(); count], None);
        for (setup, view) in setups.iter_mut().zip(views()) {
            setup.view = view.clone();
            setup.color_transfer = color;
        }
        let rig = Rig::new(setups, Instant::now());
        rig.attach().expect("the guest has free ports");
        until("the kernel has them", || nodes().len() == 2 * count);
        let cameras = Self { rig, folder: tempfile::tempdir().expect("a folder") };
        genlock_exits(0, &["rig", "init", "-o", &text(&cameras.place("rig.toml"))]);
        cameras
    }

    /// One of the cameras.
    pub fn camera(&self, serial: &str) -> &Arc<Camera> {
        self.rig.camera(serial).expect("it is one of them")
    }

    /// A place for a take.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `genlock record` comes to with these options, and where its take is.
    pub fn record(&self, name: &str, options: &[&str]) -> (Output, PathBuf) {
        let place = self.place(name);
        (genlock(self.arguments("record", options, &place)), place)
    }

    /// The arguments of `record` and `check` for a take of all cameras.
    pub fn arguments(&self, command: &str, options: &[&str], place: &Path) -> Vec<String> {
        let rig = text(&self.place("rig.toml"));
        let engine = text(&depth_engine());
        let mut words = vec![command, "--quiet", "--rig", &rig, "--depth-engine", &engine];
        words.extend(MODES.iter().flat_map(|mode| ["--set", mode]));
        words.extend(options);
        let place = text(place);
        words.push(&place);
        words.into_iter().map(str::to_owned).collect()
    }

    /// A take without losses; more are made where the machine was too busy for one.
    pub fn whole_take(&self, options: &[&str]) -> PathBuf {
        let mut told = String::new();
        for number in 0..TRIES {
            let (output, place) = self.record(&format!("take{number}"), options);
            let stderr = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => return place,
                Some(3) => told += &stderr,
                code => panic!("exit code {code:?}: {stderr}"),
            }
        }
        panic!("{TRIES} takes with losses: {told}");
    }

    /// A recorder that runs, with its place, when its file for `serial` has frames.
    pub fn recorder(&self, options: &[&str], serial: &str) -> (Child, PathBuf) {
        self.recorder_at(0, options, serial)
    }

    /// The same, for the take of a number.
    pub fn recorder_at(&self, number: usize, options: &[&str], serial: &str) -> (Child, PathBuf) {
        let place = self.place(&format!("running{number}"));
        let child = Command::new(env!("CARGO_BIN_EXE_genlock"))
            .args(self.arguments("record", options, &place))
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        grown_to(&place.join(format!("{serial}.mkv.part")), 1_000_000);
        (child, place)
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        self.rig.cameras().iter().for_each(|camera| camera.unplug());
        if !std::thread::panicking() {
            until("the kernel has let go of them", || nodes().is_empty());
        }
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The emulator's depth engine as a library, which was built with this test.
pub fn depth_engine() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    this.with_file_name("libdepthengine.so")
}

/// The kernel's folders of the cameras' USB devices.
pub fn nodes() -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/bus/usb/devices").into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| {
        let vendor = fs::read_to_string(path.join("idVendor"));
        // It can be used when its configuration was set.
        let configured = fs::read_to_string(path.join("bConfigurationValue"));
        vendor.is_ok_and(|vendor| vendor.trim() == "045e")
            && configured.is_ok_and(|number| number.trim() == "1")
    };
    devices.map(|device| device.path()).filter(is_ours).collect()
}

/// Waits for what must come to be, a minute at most.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute, and not yet: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// What a take says of itself.
pub fn take_of(place: &Path) -> Take {
    let text = fs::read_to_string(place.join("take.toml")).expect("a take");
    Take::from_toml(&text).expect("it reads")
}

/// What a finished recorder said and ended with.
pub fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
