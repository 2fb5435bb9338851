//! Opens a device once more that died in mid-take.

use crate::clock::Clock;
use crate::config::{ColorControls, DeviceConfig};
use crate::device::{self, Buffering, Device, EngineLibrary, Heard, Outputs, Settled};
use crate::error::{Error, Result};
use crate::lane::{Sender, lane};
use crate::record::encode::{Encoding, Forms, LANE_FRAMES};
use crate::record::recorder::Feed;
use crate::stage::{Stage, Step};
use crate::usb::Bus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Losses that fit on a lane; beyond, the cause of a loss is forgotten, never the loss.
const LANE_LOSSES: usize = 1024;

/// What a device and those who watch it have in common, however often it is opened.
#[derive(Clone)]
pub(super) struct Shared {
    pub clock: Clock,
    pub heard: Arc<Heard>,
    pub stale: Arc<AtomicBool>,
    pub settled: Arc<Settled>,
    pub forms: Forms,
}

/// Everything between an opened device and its recorder.
pub(super) struct Connection {
    pub outputs: Outputs,
    pub encoders: Vec<Box<dyn Stage>>,
    pub feed: Feed,
    /// Stops the stages of the device.
    pub stop: Arc<AtomicBool>,
}

impl Connection {
    /// Fresh lanes for the device with `serial`, which `rejoins` a take that runs.
    pub fn new(serial: &str, shared: &Shared, rejoins: bool) -> Self {
        let (to_recorder, frames) = lane(LANE_FRAMES);
        let (losses, lost) = lane(LANE_LOSSES);
        let stop = Arc::<AtomicBool>::default();
        let Shared { clock, heard, stale, settled, forms } = shared.clone();
        let Encoding { color, depth, stages } = forms.encoding(serial, &to_recorder, &losses);
        let outputs = Outputs {
            color,
            depth,
            imu: to_recorder,
            losses,
            stop: Arc::clone(&stop),
            heard,
            stale,
            settled,
            clock,
            rejoins,
        };
        Self { outputs, encoders: stages, feed: Feed { frames, losses: lost }, stop }
    }
}

/// A device that is back, started, with what its frames run through.
pub(super) struct Reopened {
    pub device: Device,
    pub stages: Vec<Box<dyn Stage>>,
    pub feed: Feed,
    pub stop: Arc<AtomicBool>,
}

/// Buffers for a second and a half of frames: what the window holds back at most, and what a slow
/// disk may take for one write.
pub(super) fn buffering(config: &DeviceConfig, forms: &Forms) -> Buffering {
    Buffering { frames: (config.rate.fps() as usize * 3 / 2).max(12), beyond: forms.growth_max() }
}

/// Looks for a device, opens it and starts it as it was: until that works, or for as long as it
/// may.
pub(super) struct Reopener {
    pub name: String,
    pub serial: String,
    /// The device as it was; it is let go of first.
    pub before: Option<Device>,
    pub bus: Arc<dyn Bus>,
    pub engine: Option<EngineLibrary>,
    pub config: DeviceConfig,
    pub controls: ColorControls,
    pub shared: Shared,
    pub next_ns: u64,
    pub until_ns: u64,
    /// Set when the take is over.
    pub quit: Arc<AtomicBool>,
    pub output: Sender<Result<Reopened>>,
}

/// From try to try: a device that was just plugged in is on the bus after some seconds.
const TRY_EVERY: Duration = Duration::from_millis(500);

impl Reopener {
    fn reopen(&self) -> Result<Reopened> {
        let all = device::find_each(self.bus.as_ref())?;
        let found = all.into_iter().find(|(serial, _)| *serial == self.serial);
        let (_, found) =
            found.ok_or_else(|| Error::Device(format!("{}: is not on the bus", self.serial)))?;
        let mut device = Device::open(self.bus.as_ref(), &found?)?;
        if self.config.color.is_some() {
            device.set_controls(&self.controls)?;
        }
        let Connection { outputs, encoders, feed, stop } =
            Connection::new(&self.serial, &self.shared, true);
        let (config, engine) = (&self.config, self.engine.as_ref());
        match device.start(config, engine, outputs, buffering(config, &self.shared.forms)) {
            Ok(mut stages) => {
                stages.extend(encoders);
                Ok(Reopened { device, stages, feed, stop })
            }
            Err(cause) => {
                // That it did not start is what there is to say.
                let _ = device.stop();
                Err(cause)
            }
        }
    }
}

impl Stage for Reopener {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        if self.quit.load(Ordering::Acquire) {
            return Ok(Step::Done);
        }
        if let Some(mut before) = self.before.take() {
            // One that is gone cannot be asked to stop; one that is silent perhaps can.
            let _ = before.stop();
            return Ok(Step::Worked);
        }
        let now_ns = self.shared.clock.now_ns();
        if now_ns < self.next_ns {
            self.shared.clock.wait_until(self.next_ns, wait);
            return Ok(Step::Idle);
        }
        self.next_ns = now_ns + TRY_EVERY.as_nanos() as u64;
        let tried = self.reopen();
        if tried.is_err() && self.next_ns < self.until_ns {
            return Ok(Step::Worked);
        }
        // The lane has room for the one outcome.
        let _ = self.output.send(tried);
        Ok(Step::Done)
    }
}
