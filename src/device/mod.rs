//! One Azure Kinect: found, opened, configured, started, its streams turned into frames.
//!
//! The order of requests is libk4a's (usb-protocol.md 10): it is the one that the firmware was
//! tested with.

mod calibration;
mod color;
mod command;
mod controls;
mod depth;
mod engine;
mod firmware;
mod imu;
mod payload;
mod settled;
mod source;
mod uvc;

pub use calibration::{Calibration, ImuCorrection};
pub use engine::EngineLibrary;
pub use firmware::{Firmware, Version};
pub use imu::Packet;
pub use payload::{Assembled, Assembly};
pub use settled::{Settled, TakenWith};
pub use uvc::{ColorStream, negotiate};

use crate::clock::Clock;
use crate::config::{ColorControls, DeviceConfig};
use crate::error::{Error, Result};
use crate::frame::{Frame, Loss};
use crate::lane::{Sender, lane};
use crate::pool::Pool;
use crate::stage::Stage;
use crate::usb::{Bus, Port, Request, StreamEndpoint, TransferKind, UsbDevice};
use color::ColorSource;
use command::{Endpoints, Mcu, unanswered};
use controls::Controls;
use depth::{DepthEngine, DepthSource};
use engine::{Engine, EngineParts};
use firmware::VERSION_BYTES;
use genlock_formats::k4a::{ColorMode, DepthMode, ImuSample, Rate, Role};
use imu::ImuSource;
use serde::{Deserialize, Serialize};
pub use source::Heard;
use source::{Exit, StaleGuard};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Product ids.
const DEPTH_PRODUCT: u16 = 0x097C;
const COLOR_PRODUCT: u16 = 0x097D;

/// Interfaces and endpoints (usb-protocol.md 1.4).
const DEPTH_INTERFACE: u8 = 0;
const IMU_INTERFACE: u8 = 2;
const DEPTH_ENDPOINTS: Endpoints = Endpoints { command_out: 0x02, command_in: 0x81 };
const COLOR_ENDPOINTS: Endpoints = Endpoints { command_out: 0x04, command_in: 0x83 };
const DEPTH_STREAM: StreamEndpoint = StreamEndpoint { address: 0x83, kind: TransferKind::Bulk };
const IMU_STREAM: StreamEndpoint = StreamEndpoint { address: 0x82, kind: TransferKind::Bulk };

/// Commands of the depth microcontroller (usb-protocol.md 3.1).
const DEPTH_START: u32 = 0x09;
const DEPTH_STOP: u32 = 0x0A;
const NV_DATA_GET: u32 = 0x22;
const DEPTH_MODE_SET: u32 = 0xE1;
const DEPTH_STREAM_START: u32 = 0xF1;
const DEPTH_STREAM_STOP: u32 = 0xF2;
const DEPTH_FPS_SET: u32 = 0x103;
const READ_CALIBRATION: u32 = 0x111;
const READ_SERIAL: u32 = 0x115;
const VERSIONS_GET: u32 = 0x201;

/// Commands of the color microcontroller (usb-protocol.md 8).
const SET_SYS_CFG: u32 = 0x8000_0001;
const IMU_START: u32 = 0x8000_0003;
const IMU_STOP: u32 = 0x8000_0004;
const GET_JACKS: u32 = 0x8000_0006;

/// The tag of the depth calibration blob, and the room that libk4a gives it.
const BLOB_TAG: u32 = 2;
const BLOB_MAX: usize = 2_000_000;

/// Room for the calibration JSON: what libk4a offers in the end.
const CALIBRATION_MAX: usize = 56_320;

/// Tries until a device that was just plugged in answers; each takes up to 2 s.
const READY_TRIES: usize = 5;

/// Raw depth frames between the wire and the engine: a quarter of a second at 30 fps, for an engine
/// that stands still for a moment.
const RAW_LANE: usize = 8;

/// A camera on the bus: its two USB devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Serial number.
    pub serial: String,
    /// The depth function.
    pub depth: UsbDevice,
    /// The color function.
    pub color: UsbDevice,
}

/// The cameras on the bus, in order of their serials.
///
/// # Errors
/// `Device` when a camera shows one of its two functions alone, two have the same serial, or the
/// bus cannot be asked.
pub fn find(bus: &dyn Bus) -> Result<Vec<Found>> {
    find_each(bus)?.into_iter().map(|(_, found)| found).collect()
}

/// Every serial on the bus, in order, with its camera: `Device` where that shows one of its two
/// functions alone.
///
/// # Errors
/// `Device` when the bus cannot be asked.
pub fn find_each(bus: &dyn Bus) -> Result<Vec<(String, Result<Found>)>> {
    let devices = bus.devices()?;
    let of = |product, serial: &str| {
        devices.iter().find(|d| d.product == product && d.serial == serial).cloned()
    };
    let mut serials: Vec<_> = devices.iter().map(|device| device.serial.clone()).collect();
    serials.sort();
    serials.dedup();
    let double = |serial: &str| {
        [DEPTH_PRODUCT, COLOR_PRODUCT].into_iter().any(|product| {
            let same = devices.iter().filter(|d| d.product == product && d.serial == serial);
            same.count() > 1
        })
    };
    let pair = |serial: String| match (of(DEPTH_PRODUCT, &serial), of(COLOR_PRODUCT, &serial)) {
        _ if double(&serial) => Err(Error::Device(format!(
            "{serial}: two cameras have this serial number, and their files would be one: unplug \
             one of them"
        ))),
        (Some(depth), Some(color)) => Ok(Found { serial, depth, color }),
        (depth, _) => {
            let there = if depth.is_some() { "depth" } else { "color" };
            Err(Error::Device(format!(
                "{serial}: only its {there} camera is on the bus; use its own power supply and \
                 plug it in again"
            )))
        }
    };
    Ok(serials.into_iter().map(|serial| (serial.clone(), pair(serial))).collect())
}

/// Bytes of a raw depth frame as it comes over USB: more than its images have (usb-protocol.md
/// 3.6).
#[must_use]
pub fn raw_frame_bytes(mode: DepthMode) -> usize {
    sensor(mode).frame_bytes
}

/// What is plugged into the sync jacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jacks {
    /// A cable in sync-in.
    pub sync_in: bool,
    /// A cable in sync-out.
    pub sync_out: bool,
}

/// Where a device's frames and losses go.
#[derive(Clone)]
pub struct Outputs {
    /// Color frames.
    pub color: Sender<Frame>,
    /// Depth and IR frames.
    pub depth: Sender<Frame>,
    /// IMU frames.
    pub imu: Sender<Frame>,
    /// What was lost.
    pub losses: Sender<Loss>,
    /// Set when the take is over: sources are done at their next step.
    pub stop: Arc<AtomicBool>,
    /// What comes of each camera.
    pub heard: Arc<Heard>,
    /// Set while depth frames come with stamps from before the clocks' reset.
    pub stale: Arc<AtomicBool>,
    /// What color frames are taken with.
    pub settled: Arc<Settled>,
    /// Host time.
    pub clock: Clock,
    /// Whether it joins a rig that runs: a subordinate's clock is then not set to zero.
    pub rejoins: bool,
}

/// How much a device may hold back.
#[derive(Debug, Clone, Copy)]
pub struct Buffering {
    /// Buffers of each image track.
    pub frames: usize,
    /// Bytes of each of them beyond those of its image: what the stages behind may add.
    pub beyond: usize,
}

/// An opened camera.
pub struct Device {
    serial: String,
    depth: Mcu,
    color: Mcu,
    firmware: Firmware,
    calibration: Vec<u8>,
    blob: Option<Vec<u8>>,
    running: Running,
    buffer_bytes: u64,
}

/// What has been started and must be stopped.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    depth: bool,
    color: bool,
    imu: bool,
}

impl Device {
    /// Opens a camera and reads who it is, in libk4a's order (usb-protocol.md 10.1).
    ///
    /// # Errors
    /// `Device` when it does not answer, its halves do not belong together, or its firmware is too
    /// old.
    pub fn open(bus: &dyn Bus, found: &Found) -> Result<Self> {
        let serial = found.serial.as_str();
        if !found.depth.superspeed || !found.color.superspeed {
            return Err(Error::Device(format!(
                "{serial}: runs at USB 2 speed, too slow to stream; use a USB 3 port and cable"
            )));
        }
        let mut depth = open_mcu(bus, &found.depth, DEPTH_INTERFACE, DEPTH_ENDPOINTS)?;
        let mut product_serial = [0; 255];
        let bytes = depth.read(READ_SERIAL, &[], &mut product_serial)?;
        let told = product_serial[..bytes].split(|byte| *byte == 0).next().unwrap_or_default();
        if told != serial.as_bytes() {
            return Err(Error::Device(format!(
                "{serial}: its depth camera says that it is {}; plug it in again",
                String::from_utf8_lossy(told)
            )));
        }
        let mut color = open_mcu(bus, &found.color, IMU_INTERFACE, COLOR_ENDPOINTS)?;
        if container_id(&mut depth, serial)? != container_id(&mut color, serial)? {
            return Err(Error::Device(format!(
                "{serial}: its depth and color halves are those of two cameras; plug it in again"
            )));
        }
        let calibration = read_calibration(&mut depth)?;
        let firmware = read_firmware(&mut depth)?;
        firmware.check(serial)?;
        // What an earlier session may have left running.
        depth.write_blindly(DEPTH_STREAM_STOP);
        depth.write_blindly(DEPTH_STOP);
        let claimed = color.port().claim(uvc::CONTROL_INTERFACE);
        claimed.map_err(|fault| unanswered(serial, "claiming its color camera", fault))?;
        color.write_blindly(IMU_STOP);
        Ok(Self {
            serial: serial.to_owned(),
            depth,
            color,
            firmware,
            calibration,
            blob: None,
            running: Running::default(),
            buffer_bytes: 0,
        })
    }

    /// Serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Firmware versions.
    #[must_use]
    pub fn firmware(&self) -> &Firmware {
        &self.firmware
    }

    /// The calibration JSON, without trailing NUL.
    #[must_use]
    pub fn calibration(&self) -> &[u8] {
        &self.calibration
    }

    /// What is plugged into its sync jacks.
    ///
    /// # Errors
    /// `Device` when it does not answer.
    pub fn jacks(&mut self) -> Result<Jacks> {
        let mut bits = [0];
        self.color.read(GET_JACKS, &[], &mut bits)?;
        Ok(Jacks { sync_in: bits[0] & 1 != 0, sync_out: bits[0] & 2 != 0 })
    }

    /// Sets color controls; those that are not given stay as they are.
    ///
    /// # Errors
    /// `Usage` with the device's range where a value lies outside; `Device` when it does not
    /// answer.
    pub fn set_controls(&mut self, controls: &ColorControls) -> Result<()> {
        Controls::new(self.color.port(), &self.serial).apply(controls)
    }

    /// The color controls as the device has them.
    ///
    /// # Errors
    /// `Device` when it does not answer.
    pub fn read_controls(&mut self) -> Result<ColorControls> {
        Controls::new(self.color.port(), &self.serial).read()
    }

    /// Configures the device and starts it, depth first, then color, then IMU (usb-protocol.md 10.2
    /// to 10.4). Gives the stages that turn its streams into frames.
    ///
    /// # Errors
    /// `Device` when a jack that its role needs is empty or it does not start. What was started is
    /// stopped by [`Device::stop`].
    pub fn start(
        &mut self,
        config: &DeviceConfig,
        engine: Option<&EngineLibrary>,
        outputs: Outputs,
        buffering: Buffering,
    ) -> Result<Vec<Box<dyn Stage>>> {
        self.check_jacks(config.role)?;
        let calibration = self.cameras()?;
        self.color.write(SET_SYS_CFG, &sync_config(config))?;
        // Starting color resets the clocks of all streams, a subordinate's when the master starts;
        // depth alone keeps the old time.
        let started_ns = outputs.clock.now_ns();
        let is_reset = match config.role {
            Role::Subordinate => !outputs.rejoins,
            Role::Standalone | Role::Master => config.color.is_some(),
        };
        let guard = |seen: &Arc<AtomicBool>| match is_reset {
            true => StaleGuard::since(started_ns, Arc::clone(seen)),
            false => StaleGuard::open(),
        };
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        let exit = |output: &Sender<Frame>| Exit {
            output: output.clone(),
            losses: outputs.losses.clone(),
            stop: Arc::clone(&outputs.stop),
            heard: Arc::clone(&outputs.heard),
        };
        if let Some(mode) = config.depth {
            let library = engine.cloned().ok_or_else(|| {
                Error::Usage("depth needs a depth engine: see --depth-engine".to_owned())
            })?;
            let parts =
                EngineParts { library, mode, blob: Vec::new(), camera: calibration.depth_camera };
            stages.extend(self.start_depth(
                config.rate,
                parts,
                exit(&outputs.depth),
                guard(&outputs.stale),
                buffering,
            )?);
        }
        if let Some(mode) = config.color {
            let settled = Arc::clone(&outputs.settled);
            let exit = exit(&outputs.color);
            stages.push(self.start_color((mode, config.rate), exit, settled, buffering)?);
        }
        if config.imu {
            // Its clock follows late, also where all is well: that is worth no word.
            let guard = guard(&Arc::default());
            stages.push(self.start_imu(&calibration, exit(&outputs.imu), guard)?);
        }
        Ok(stages)
    }

    /// Bytes of the buffers that its frames are in on their way to the file: no more are ever used.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes
    }

    fn pool(&mut self, count: usize, buf_bytes: usize) -> Pool {
        self.buffer_bytes += (count * buf_bytes) as u64;
        Pool::new(count, buf_bytes)
    }

    fn cameras(&self) -> Result<Calibration> {
        Calibration::read(&self.calibration).map_err(|what| {
            let serial = &self.serial;
            Error::Device(format!("{serial}: its calibration cannot be used: {what}"))
        })
    }

    /// Creates a depth engine as a take would, and lets go of it: whether engine, graphics and this
    /// device's calibration work together. The device stays stopped.
    ///
    /// # Errors
    /// `Device` when it does not answer, or the engine cannot be created.
    pub fn try_engine(&mut self, mode: DepthMode, library: &EngineLibrary) -> Result<()> {
        let camera = self.cameras()?.depth_camera;
        // The calibration blob can be read once a mode is set (usb-protocol.md 3.7).
        self.depth.write(DEPTH_MODE_SET, &sensor(mode).id.to_le_bytes())?;
        let blob = self.read_blob();
        self.depth.write_blindly(DEPTH_STREAM_STOP);
        self.depth.write_blindly(DEPTH_STOP);
        let parts = EngineParts { library: library.clone(), mode, blob: blob?, camera };
        Engine::create(&parts).map(|_| ())
    }

    fn check_jacks(&mut self, role: Role) -> Result<()> {
        let (jack, plugged) = match role {
            Role::Standalone => return Ok(()),
            Role::Master => ("sync-out", self.jacks()?.sync_out),
            Role::Subordinate => ("sync-in", self.jacks()?.sync_in),
        };
        if plugged {
            return Ok(());
        }
        let role = role.to_string().to_lowercase();
        Err(Error::Device(format!(
            "{}: a {role} needs a cable in its {jack} jack, and there is none; plug it in, or \
             choose another --external-sync",
            self.serial
        )))
    }

    fn start_depth(
        &mut self,
        rate: Rate,
        mut parts: EngineParts,
        exit: Exit,
        guard: StaleGuard,
        buffering: Buffering,
    ) -> Result<[Box<dyn Stage>; 2]> {
        let sensor = sensor(parts.mode);
        self.running.depth = true;
        self.depth.write(DEPTH_MODE_SET, &sensor.id.to_le_bytes())?;
        parts.blob = self.read_blob()?;
        self.depth.write(DEPTH_FPS_SET, &rate.fps().to_le_bytes())?;
        self.depth.write(DEPTH_START, &[])?;
        self.depth.write(DEPTH_STREAM_START, &[])?;
        // In the lane, in the engine, on the wire.
        let raw = self.pool(RAW_LANE + 3, sensor.frame_bytes.next_multiple_of(1024));
        let stream = self.depth.port().stream(DEPTH_STREAM, raw);
        let stream =
            stream.map_err(|fault| unanswered(&self.serial, "starting its depth stream", fault))?;
        let images = self.pool(2 * buffering.frames, parts.mode.image_bytes() + buffering.beyond);
        let (to_engine, from_wire) = lane(RAW_LANE);
        let frames = (parts.mode, sensor.frame_bytes);
        let source = DepthSource::new(&self.serial, stream, frames, to_engine, exit.clone());
        let engine = DepthEngine::new(&self.serial, parts, from_wire, images, exit, guard);
        Ok([Box::new(source), Box::new(engine)])
    }

    /// The depth calibration blob: read once, after the first mode was set.
    fn read_blob(&mut self) -> Result<Vec<u8>> {
        if let Some(blob) = &self.blob {
            return Ok(blob.clone());
        }
        let mut blob = vec![0; BLOB_MAX];
        let bytes = self.depth.read(NV_DATA_GET, &BLOB_TAG.to_le_bytes(), &mut blob)?;
        blob.truncate(bytes);
        Ok(self.blob.insert(blob).clone())
    }

    fn start_color(
        &mut self,
        (mode, rate): (ColorMode, Rate),
        exit: Exit,
        settled: Arc<Settled>,
        buffering: Buffering,
    ) -> Result<Box<dyn Stage>> {
        let serial = self.serial.as_str();
        let failed = |fault| unanswered(serial, "starting its color stream", fault);
        let port = self.color.port();
        port.claim(uvc::STREAMING_INTERFACE).map_err(failed)?;
        let setup = negotiate(port, mode, rate).map_err(failed)?;
        self.running.color = true;
        if setup.alternate > 0 {
            port.set_alternate(uvc::STREAMING_INTERFACE, setup.alternate).map_err(failed)?;
        }
        // One is read while the other is taken apart.
        let payloads = Pool::new(2, setup.buf_bytes);
        let stream = port.stream(setup.endpoint, payloads).map_err(failed)?;
        let images = self.pool(buffering.frames, mode.image_bytes_max() + buffering.beyond);
        let serial = self.serial.as_str();
        Ok(Box::new(ColorSource::new(serial, stream, mode, images, settled, exit)))
    }

    fn start_imu(
        &mut self,
        calibration: &Calibration,
        exit: Exit,
        guard: StaleGuard,
    ) -> Result<Box<dyn Stage>> {
        self.running.imu = true;
        self.color.write(IMU_START, &[])?;
        let stream = self.color.port().stream(IMU_STREAM, Pool::new(2, imu::PACKET_BYTES));
        let stream =
            stream.map_err(|fault| unanswered(&self.serial, "starting its IMU stream", fault))?;
        // Two seconds of packets: 208 come in one.
        let samples = self.pool(416, imu::SAMPLES_MAX * ImuSample::BYTES);
        Ok(Box::new(ImuSource::new(&self.serial, stream, calibration, samples, exit, guard)))
    }

    /// Stops what was started, when its stages are gone (usb-protocol.md 10.5).
    ///
    /// # Errors
    /// `Device` with the first request that failed; the others are made all the same.
    pub fn stop(&mut self) -> Result<()> {
        let running = std::mem::take(&mut self.running);
        let mut done = Ok(());
        if running.depth {
            done = done.and(self.depth.write(DEPTH_STREAM_STOP, &[]));
            done = done.and(self.depth.write(DEPTH_STOP, &[]));
        }
        if running.color {
            let stopped = self.color.port().set_alternate(uvc::STREAMING_INTERFACE, 0);
            let what = "stopping its color stream";
            done = done.and(stopped.map_err(|fault| unanswered(&self.serial, what, fault)));
        }
        if running.imu {
            done = done.and(self.color.write(IMU_STOP, &[]));
        }
        done
    }
}

/// What the depth sensor must do for a mode (usb-protocol.md 3.6).
struct Sensor {
    id: u32,
    frame_bytes: usize,
}

fn sensor(mode: DepthMode) -> Sensor {
    let (id, frame_bytes) = match mode {
        DepthMode::Nfov2x2Binned | DepthMode::NfovUnbinned => (4, 5_310_760),
        DepthMode::Wfov2x2Binned => (7, 3_777_232),
        DepthMode::WfovUnbinned => (5, 9_438_664),
        DepthMode::PassiveIr => (3, 1_678_024),
    };
    Sensor { id, frame_bytes }
}

/// The 13 bytes of SET_SYS_CFG: role, delays in ticks, and that the streaming LED may shine.
fn sync_config(config: &DeviceConfig) -> [u8; 13] {
    let role: u32 = match config.role {
        Role::Standalone => 0,
        Role::Master => 1,
        Role::Subordinate => 2,
    };
    // libk4a's own rounding: what is less than a tick is dropped.
    let subordinate = u64::from(config.subordinate_delay_us) * 9 / 100;
    let depth = i64::from(config.depth_delay_us) * 9 / 100;
    let mut bytes = [0; 13];
    bytes[..4].copy_from_slice(&role.to_le_bytes());
    bytes[4..8].copy_from_slice(&(subordinate as u32).to_le_bytes());
    bytes[8..12].copy_from_slice(&(depth as i32).to_le_bytes());
    bytes[12] = 1;
    bytes
}

fn open_mcu(bus: &dyn Bus, device: &UsbDevice, interface: u8, endpoints: Endpoints) -> Result<Mcu> {
    let mut mcu = Mcu::new(bus.open(device)?, endpoints);
    mcu.set_serial(&device.serial);
    let claimed = mcu.port().claim(interface);
    claimed.map_err(|fault| unanswered(&device.serial, "claiming it", fault))?;
    Ok(mcu)
}

/// The 16 bytes that both halves of a camera have in common (usb-protocol.md 1.2).
fn container_id(mcu: &mut Mcu, serial: &str) -> Result<[u8; 16]> {
    let missing = || {
        Error::Device(format!(
            "{serial}: does not say which camera it belongs to; plug it in again"
        ))
    };
    let bos = read_bos(mcu.port()).map_err(|fault| unanswered(serial, "its BOS", fault))?;
    let mut rest = bos.get(5..).unwrap_or_default();
    while let [len, ..] = *rest {
        let (one, behind) = rest.split_at_checked(usize::from(len.max(1))).ok_or_else(missing)?;
        if let [20, 0x10, 4, _, id @ ..] = one
            && let Ok(id) = id.try_into()
        {
            return Ok(id);
        }
        rest = behind;
    }
    Err(missing())
}

fn read_bos(port: &mut dyn Port) -> crate::usb::Answer<Vec<u8>> {
    let request = Request { kind: 0x80, request: 6, value: 0x0F00, index: 0 };
    let mut head = [0; 5];
    port.control_in(request, &mut head)?;
    let mut bytes = vec![0; usize::from(u16::from_le_bytes([head[2], head[3]]))];
    let count = port.control_in(request, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn read_calibration(depth: &mut Mcu) -> Result<Vec<u8>> {
    let mut json = vec![0; CALIBRATION_MAX];
    let bytes = depth.read(READ_CALIBRATION, &[], &mut json)?;
    json.truncate(bytes);
    while json.last() == Some(&0) {
        json.pop();
    }
    Ok(json)
}

/// Polls until the device answers: one that was just plugged in takes its time.
fn read_firmware(depth: &mut Mcu) -> Result<Firmware> {
    let mut bytes = [0; VERSION_BYTES];
    let mut tries = 1;
    loop {
        match depth.read(VERSIONS_GET, &[], &mut bytes) {
            Ok(VERSION_BYTES) => return Ok(Firmware::read(&bytes)),
            Ok(_) | Err(_) if tries < READY_TRIES => tries += 1,
            Ok(count) => {
                return Err(Error::Device(format!(
                    "a version answer of {count} bytes; update the device's firmware"
                )));
            }
            Err(cause) => return Err(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Setting;
    use crate::usb::emulated::EmulatedBus;
    use genlock_emulator::{Kinect, Setup};

    #[test]
    fn a_value_between_two_steps_is_refused_with_the_step() {
        let bus = EmulatedBus::new(vec![Kinect::new(Setup::new("1", 1))], Clock::machine());
        let found = find(&bus).expect("a camera");
        let mut device = Device::open(&bus, &found[0]).expect("it opens");
        let white_balance = Some(Setting::Manual(2505));
        let controls = ColorControls { white_balance, ..ColorControls::default() };
        let refusal = device.set_controls(&controls).expect_err("no such step").to_string();
        assert!(refusal.contains("2500 to 12500 in steps of 10"), "{refusal}");
    }

    #[test]
    fn two_cameras_with_one_serial_are_told_of() {
        let found = |serials: &[&str]| {
            let kinects = serials.iter().map(|serial| Kinect::new(Setup::new(serial, 1)));
            find(&EmulatedBus::new(kinects.collect(), Clock::machine()))
        };
        assert_eq!(found(&["1", "2"]).expect("two cameras").len(), 2);
        let refusal = found(&["1", "2", "1"]).expect_err("one of them would vanish").to_string();
        assert!(refusal.contains("1: two cameras have this serial"), "{refusal}");
    }
}
