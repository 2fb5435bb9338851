//! The color camera: probe and commit, and frames cut into payloads (usb-protocol.md 6).

use crate::controls::{Effective, GET_CUR, GET_DEF, GET_MAX, SET_CUR};
use crate::descriptors::{
    BULK_PAYLOAD_BYTES, ColorTransfer, FORMATS, INTERVAL_BYTES, INTERVALS, intervals,
};
use crate::faults::ColorFault;
use crate::usb::{Request, Stall};
use genlock_formats::k4a::{ColorFormat, ColorMode, Rate, Resolution};

/// Bytes of a probe or commit block of UVC 1.0.
const PROBE_BYTES: usize = 26;

const PROBE: u16 = 0x0100;
const COMMIT: u16 = 0x0200;

/// Metadata items of a frame (usb-protocol.md 6.7).
const FRAME_ALIGN_INFO: (u32, usize) = (0x8000_0001, 44);
const CAPTURE_STATS: (u32, usize) = (0x0000_0003, 80);
const HEAD_BYTES: usize = 2;
const METADATA_BYTES: usize = FRAME_ALIGN_INFO.1 + CAPTURE_STATS.1;

/// What was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    format: u8,
    frame: u8,
    interval: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { format: 3, frame: 1, interval: INTERVALS[0] }
    }
}

impl Probe {
    fn resolution(self) -> Result<Resolution, Stall> {
        let mjpg = usize::from(self.format) == FORMATS;
        let index = usize::from(self.frame).checked_sub(1).ok_or(Stall)?;
        let offered = if mjpg { &Resolution::ALL[..] } else { &[Resolution::P720] };
        offered.get(index).copied().ok_or(Stall)
    }

    /// The mode and rate that it stands for.
    pub fn mode(self) -> Result<(ColorMode, Rate), Stall> {
        let format = match self.format {
            1 => ColorFormat::Yuy2,
            2 => ColorFormat::Nv12,
            3 => ColorFormat::Mjpg,
            _ => return Err(Stall),
        };
        let rate = match INTERVALS.iter().position(|interval| *interval == self.interval) {
            Some(0) => Rate::Fps30,
            Some(1) => Rate::Fps15,
            Some(2) => Rate::Fps5,
            _ => return Err(Stall),
        };
        let resolution = self.resolution()?;
        if !intervals(resolution).contains(&self.interval) {
            return Err(Stall);
        }
        Ok((ColorMode { format, resolution }, rate))
    }

    fn read(data: &[u8]) -> Result<Self, Stall> {
        if data.len() != PROBE_BYTES {
            return Err(Stall);
        }
        let interval = u32::from_le_bytes([data[4], data[5], data[6], data[7]]);
        let probe = Self { format: data[2], frame: data[3], interval };
        probe.mode().map(|_| probe)
    }

    fn to_bytes(self, color: ColorTransfer) -> Result<[u8; PROBE_BYTES], Stall> {
        let (width, height) = self.resolution()?.size();
        let mut bytes = [0; PROBE_BYTES];
        bytes[0] = 1;
        bytes[2] = self.format;
        bytes[3] = self.frame;
        bytes[4..8].copy_from_slice(&self.interval.to_le_bytes());
        bytes[18..22].copy_from_slice(&(width * height * 2).to_le_bytes());
        let payload_bytes = match color {
            ColorTransfer::Isochronous => INTERVAL_BYTES[2],
            ColorTransfer::Bulk => BULK_PAYLOAD_BYTES,
        };
        bytes[22..26].copy_from_slice(&payload_bytes.to_le_bytes());
        Ok(bytes)
    }
}

/// Probe and commit.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    probe: Probe,
    pub committed: Option<Probe>,
}

impl Negotiation {
    pub fn get(
        &self,
        request: Request,
        color: ColorTransfer,
        into: &mut [u8],
    ) -> Result<usize, Stall> {
        let probe = match (request.value, request.request) {
            (PROBE, GET_CUR | GET_MAX | GET_DEF | 0x82) => self.probe,
            (COMMIT, GET_CUR) => self.committed.ok_or(Stall)?,
            _ => return Err(Stall),
        };
        let bytes = probe.to_bytes(color)?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Whether it was the commit.
    pub fn set(&mut self, request: Request, data: &[u8]) -> Result<bool, Stall> {
        let probe = Probe::read(data)?;
        match (request.value, request.request) {
            (PROBE, SET_CUR) => self.probe = probe,
            (COMMIT, SET_CUR) => self.committed = Some(probe),
            _ => return Err(Stall),
        }
        Ok(request.value == COMMIT)
    }
}

/// The stamps and statistics of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFacts {
    pub pts_ticks: u64,
    pub sof_ticks: u64,
    pub effective: Effective,
}

impl FrameFacts {
    /// The two metadata items.
    fn write(&self, into: &mut [u8]) {
        into.fill(0);
        let (align, stats) = into.split_at_mut(FRAME_ALIGN_INFO.1);
        for (item, (id, bytes)) in [(&mut *align, FRAME_ALIGN_INFO), (&mut *stats, CAPTURE_STATS)] {
            item[..4].copy_from_slice(&id.to_le_bytes());
            item[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
        }
        align[16..24].copy_from_slice(&self.pts_ticks.to_le_bytes());
        align[36..44].copy_from_slice(&self.sof_ticks.to_le_bytes());
        // Exposure time, ISO and white balance are given.
        stats[8..12].copy_from_slice(&0x25_u32.to_le_bytes());
        stats[16..24].copy_from_slice(&self.effective.exposure_100ns.to_le_bytes());
        stats[36..40].copy_from_slice(&self.effective.iso.to_le_bytes());
        stats[48..52].copy_from_slice(&self.effective.white_balance_k.to_le_bytes());
    }
}

/// Where the host is within a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position {
    /// Bytes of the image sent.
    pub sent: usize,
    /// The frame bit: toggles from frame to frame.
    pub frame_id: bool,
}

impl Position {
    /// Writes the next payload of `image` into `packet`; gives its bytes, and whether it is the
    /// last.
    pub fn payload(
        &mut self,
        image: &[u8],
        facts: &FrameFacts,
        fault: Option<ColorFault>,
        packet: &mut [u8],
    ) -> (usize, bool) {
        let first = self.sent == 0;
        let metadata = first && fault != Some(ColorFault::NoMetadata);
        let head_bytes = HEAD_BYTES + if metadata { METADATA_BYTES } else { 0 };
        let (head, room) = packet.split_at_mut(head_bytes);
        let bytes = room.len().min(image.len() - self.sent);
        room[..bytes].copy_from_slice(&image[self.sent..self.sent + bytes]);
        self.sent += bytes;
        let last = self.sent == image.len();
        head[0] = head_bytes as u8;
        head[1] = 0x80 | u8::from(self.frame_id);
        if last && fault != Some(ColorFault::NoEndOfFrame) {
            head[1] |= 0x02;
        }
        if first && fault == Some(ColorFault::ErrorBit) {
            head[1] |= 0x40;
        }
        if metadata {
            facts.write(&mut head[HEAD_BYTES..]);
        }
        if last {
            *self = Self { sent: 0, frame_id: !self.frame_id };
        }
        (head_bytes + bytes, last)
    }
}
