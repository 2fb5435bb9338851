//! What a camera's two microcontrollers do with commands.

use super::{Imu, Kinect, SyncConfig};
use crate::calibration::blob;
use crate::descriptors::Function;
use crate::mcu::{Request, Status};
use crate::raw::SensorMode;
use crate::timing::Pulses;
use crate::usb::Stall;
use genlock_formats::k4a::{Rate, Role};

/// Firmware versions, as command 0x201 gives them (usb-protocol.md 3.2).
const VERSIONS: [u8; 18] = [1, 6, 0x6E, 0, 1, 6, 0x4F, 0, 1, 6, 0x0E, 0, 0xDD, 0x17, 7, 0, 0, 0];

impl Kinect {
    /// A firmware package: taken, and thrown away. The emulated versions do not change.
    pub(super) fn take_package(
        &mut self,
        function: Function,
        request: &[u8],
        bytes: usize,
        data: &[u8],
    ) -> Result<(), Stall> {
        let request = Request::read(request).ok_or(Stall)?;
        if function != Function::Depth {
            return Err(Stall);
        }
        let whole =
            if data.len() == bytes { Ok(Vec::new()) } else { Err(Status::InvalidPayloadSize) };
        self.depth_replies.answer(&request, false, whole);
        Ok(())
    }

    /// usb-protocol.md 3.1.
    pub(super) fn depth_command(
        &mut self,
        request: &Request<'_>,
        now_ns: u64,
    ) -> Result<Vec<u8>, Status> {
        match request.code {
            0x0 => self.power_cycle(now_ns),
            0x09 if self.depth.mode.is_none() || self.depth.rate.is_none() => {
                return Err(Status::WrongDeviceState);
            }
            0x09 => self.depth.started = true,
            0x0A => self.depth.started = false,
            0x22 if self.depth.mode.is_none() => return Err(Status::WrongDeviceState),
            0x22 => match request.number()? {
                2 => return Ok(blob(self.setup.seed)),
                _ => return Err(Status::BadTag),
            },
            0xE1 => {
                let mode = SensorMode::from_id(request.number()?);
                let mode = mode.ok_or(Status::InvalidParameter)?;
                if !self.setup.view.prepare_depth(mode) {
                    return Err(Status::InvalidParameter);
                }
                self.depth.mode = Some(mode);
            }
            0xEF | 0xF0 => {}
            0xF1 => match (self.depth.started, self.depth.rate) {
                (true, Some(rate)) => {
                    let own = Pulses::new(now_ns, rate, self.clock, &self.setup.faults);
                    self.depth.streaming = Some(own);
                }
                _ => return Err(Status::WrongCommandState),
            },
            0xF2 => self.depth.streaming = None,
            0x103 => {
                let fps = request.number()?;
                let rate = Rate::ALL.into_iter().find(|rate| rate.fps() == fps);
                let too_fast = self.depth.mode == Some(SensorMode::MegaPixel) && fps > 15;
                self.depth.rate = Some(rate.filter(|_| !too_fast).ok_or(Status::InvalidParameter)?);
            }
            0x111 => return Ok(self.setup.view.calibration().to_vec()),
            0x115 => return Ok(self.setup.serial.clone().into_bytes()),
            0x201 => return Ok(self.versions().to_vec()),
            // No update is under way: every component says that it succeeded.
            0x203 => return Ok([0xFF, 0xC3].repeat(4)),
            _ => return Err(Status::NotImplemented),
        }
        Ok(Vec::new())
    }

    /// usb-protocol.md 8.
    pub(super) fn color_command(
        &mut self,
        request: &Request<'_>,
        now_ns: u64,
    ) -> Result<Vec<u8>, Status> {
        match request.code {
            0x8000_0000 => self.power_cycle(now_ns),
            0x8000_0001 => self.sync = sync_config(request.arguments)?,
            0x8000_0003 => self.imu = Some(Imu { start_ns: now_ns, next_packet: 0 }),
            0x8000_0004 => self.imu = None,
            0x8000_0006 => {
                let (sync_in, sync_out) = (self.has_cable(now_ns), self.setup.sync_out.is_some());
                return Ok(vec![u8::from(sync_in) | u8::from(sync_out) << 1]);
            }
            _ => return Err(Status::NotImplemented),
        }
        Ok(Vec::new())
    }

    fn versions(&self) -> [u8; 18] {
        let mut versions = VERSIONS;
        if let Some(build) = self.setup.faults.color_firmware_build {
            versions[2..4].copy_from_slice(&build.to_le_bytes());
        }
        versions
    }
}

/// The 13 bytes of SET_SYS_CFG.
fn sync_config(arguments: &[u8]) -> Result<SyncConfig, Status> {
    let words = arguments.as_chunks::<4>().0;
    let [role, subordinate_delay, depth_delay] = words else {
        return Err(Status::InvalidPayloadSize);
    };
    if arguments.len() != 13 {
        return Err(Status::InvalidPayloadSize);
    }
    let role = Role::ALL.get(u32::from_le_bytes(*role) as usize).copied();
    Ok(SyncConfig {
        role: role.ok_or(Status::InvalidParameter)?,
        subordinate_delay: u32::from_le_bytes(*subordinate_delay),
        depth_delay: i32::from_le_bytes(*depth_delay),
    })
}
