//! Emulated Azure Kinect DKs as USB devices of this machine, or over TCP.

mod orders;

use clap::Parser;
use genlock_emulator::EMULATED_MAX;
use genlock_formats::k4a::{ColorMode, DepthMode};
use kinect_emulator::{Error, Faults, Playback, Result, Rig, chain};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Instant;

/// The port of USB/IP.
const PORT: u16 = 3240;

/// Emulated Azure Kinect DKs as USB devices.
///
/// Attaches cameras to this machine's kernel, where they are USB devices like real ones: `modprobe
/// vhci_hcd` first, and run it as root. More than one form a chain of sync cables, the first being
/// the master. They stay until SIGINT or SIGTERM.
///
/// Lines on standard input order what goes wrong: `unplug SERIAL`, `plug SERIAL`, or FAULT SERIAL
/// PIPE, where FAULT is stall, babble, protocol, short or garble, and PIPE is depth, color, imu,
/// depth-replies or color-replies.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Number of cameras
    #[arg(default_value_t = 1, value_name = "N", value_parser = count)]
    cameras: usize,

    /// Wait for hosts on TCP (`usbip attach -r HOST -b 1-1`, and 1-2) instead of attaching to this
    /// machine: 127.0.0.1 for hosts on this machine, 0.0.0.0 for all, with :PORT if it is not 3240
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,

    /// The cameras see this recording (k4arecorder's or genlock's, profile k4a)
    #[arg(long, value_name = "FILE.mkv")]
    from: Option<PathBuf>,

    /// Get color images of this mode ready first: on a slow machine that takes longer than a host
    /// waits when it starts the camera
    #[arg(short, long, value_name = "MODE")]
    color_mode: Option<ColorMode>,

    /// The same for depth and infrared images
    #[arg(short, long, value_name = "MODE")]
    depth_mode: Option<DepthMode>,

    /// What goes wrong with all cameras, as under [emulator.faults] of a rig file: hit_per_mille=5,
    /// gone_s=10
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

fn count(text: &str) -> std::result::Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=EMULATED_MAX).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {EMULATED_MAX} is wanted"))
}

fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    let address = text.parse().ok();
    let address = address.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)));
    address.ok_or_else(|| "wanted is an address like 127.0.0.1 or 0.0.0.0:3240".to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let faults = match faults(&args.set) {
        Ok(faults) => faults,
        Err(why) => {
            eprintln!("kinect-emulator: {why}");
            return ExitCode::from(2);
        }
    };
    match run(&args, &faults) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kinect-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What `--set` asks for.
fn faults(set: &[String]) -> std::result::Result<Faults, String> {
    let keys = set.iter().map(|one| one.strip_prefix("faults.").unwrap_or(one));
    let text = keys.collect::<Vec<_>>().join("\n");
    toml::from_str(&text).map_err(|error| format!("--set: {}", error.message()))
}

fn recording(path: &Path) -> Result<Arc<Playback>> {
    let bytes = std::fs::read(path)
        .map_err(|cause| Error::Attach(format!("{}: {cause}", path.display())))?;
    let playback = Playback::open(&bytes)
        .map_err(|why| Error::Attach(format!("{}: cannot be played: {why}", path.display())))?;
    Ok(Arc::new(playback))
}

fn run(args: &Args, faults: &Faults) -> Result<()> {
    let failed = |cause| Error::Attach(format!("cannot watch for signals: {cause}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let recording = args.from.as_deref().map(recording).transpose()?;
    let faults = vec![faults.clone(); args.cameras];
    let mut setups = chain(&faults, recording.as_ref());
    if !setups.iter_mut().all(|setup| setup.prepare(args.color_mode, args.depth_mode)) {
        return Err(Error::Attach("the recording has no images of the modes asked for".to_owned()));
    }
    let rig = Arc::new(Rig::new(setups, Instant::now()));
    match args.listen {
        None => attach(&rig)?,
        Some(address) => listen(&rig, address)?,
    }
    spawn("orders", {
        let rig = Arc::clone(&rig);
        move || orders::obey(&rig, std::io::stdin().lock())
    })?;
    signals.forever().next();
    rig.cameras().iter().for_each(|camera| camera.unplug());
    Ok(())
}

fn attach(rig: &Rig) -> Result<()> {
    for camera in rig.cameras() {
        camera.plug()?;
        println!("{} attached: depth and color", camera.serial());
    }
    Ok(())
}

fn listen(rig: &Arc<Rig>, address: SocketAddr) -> Result<()> {
    let failed = |cause| Error::Listen(format!("cannot listen on {address}: {cause}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    for (i, camera) in (1..).zip(rig.cameras()) {
        println!("{} at {at}: color {i}-1, depth {i}-2", camera.serial());
    }
    let rig = Arc::clone(rig);
    spawn("listen", move || {
        if let Err(error) = rig.listen(&listener) {
            eprintln!("kinect-emulator: {error}");
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = Builder::new().name(name.to_owned()).spawn(work);
    thread.map(|_| ()).map_err(|cause| Error::Listen(format!("cannot start a thread: {cause}")))
}
