//! The door to devices: one seam with two sides, real USB and the emulator.
//!
//! [`Bus`] finds devices, [`Port`] is one opened USB device (a camera has two: depth 097C, color
//! 097D), [`Stream`] is an endpoint that data flows from.

pub mod cable;
pub mod emulated;
mod events;
mod flow;
pub mod host;
mod transfer;

use crate::error::Result;
use crate::pool::{Buf, Pool};
use std::time::Duration;

/// Where USB devices are found.
pub trait Bus: Send + Sync {
    /// The devices of vendor 045E that are parts of an Azure Kinect, plugged in now.
    ///
    /// # Errors
    /// `Device` when the machine's USB cannot be asked.
    fn devices(&self) -> Result<Vec<UsbDevice>>;

    /// Opens a device found by [`Bus::devices`].
    ///
    /// # Errors
    /// `Device` when it is gone, in use, or not permitted.
    fn open(&self, device: &UsbDevice) -> Result<Box<dyn Port>>;
}

/// One USB device, as enumeration shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Product id: 097C depth, 097D color.
    pub product: u16,
    /// Serial number string (iSerialNumber).
    pub serial: String,
    /// Bus number.
    pub bus: u8,
    /// Address on the bus.
    pub address: u8,
    /// Port numbers from the root hub, e.g. `[1, 3]`.
    pub ports: Vec<u8>,
    /// Whether it runs at SuperSpeed or faster.
    pub superspeed: bool,
}

/// A control request: the fields of a USB setup packet, without the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// bmRequestType.
    pub kind: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
}

/// Why a request on an opened device failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device refused (STALL).
    Stall,
    /// No answer in time.
    Timeout,
    /// The device is gone.
    Gone,
    /// The device sent more than was asked for.
    Overflow,
    /// Another program or a driver of the kernel has it.
    Busy,
    /// The kernel has no memory for the transfer.
    Memory,
    /// Any other transfer error.
    Io,
}

/// Result of a request on an opened device.
pub type Answer<T> = std::result::Result<T, Fault>;

/// An opened USB device. Requests block for at most [`REQUEST_TIMEOUT`].
pub trait Port: Send {
    /// The raw configuration descriptor, with everything under it.
    fn configuration(&self) -> &[u8];

    /// Claims an interface, detaching a kernel driver that holds it.
    fn claim(&mut self, interface: u8) -> Answer<()>;

    /// Selects an alternate setting.
    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Answer<()>;

    /// A control request that reads; gives the bytes read.
    fn control_in(&mut self, request: Request, into: &mut [u8]) -> Answer<usize>;

    /// A control request that writes.
    fn control_out(&mut self, request: Request, data: &[u8]) -> Answer<()>;

    /// One bulk transfer to the device.
    fn bulk_out(&mut self, endpoint: u8, data: &[u8]) -> Answer<()>;

    /// One bulk transfer from the device; gives the bytes read.
    fn bulk_in(&mut self, endpoint: u8, into: &mut [u8]) -> Answer<usize>;

    /// Starts reading an endpoint into buffers of `pool`.
    fn stream(&mut self, endpoint: StreamEndpoint, pool: Pool) -> Answer<Box<dyn Stream>>;
}

/// Limit of each request: libk4a's own (usb-protocol.md 2.4).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// An endpoint to stream from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEndpoint {
    /// Endpoint address, e.g. 0x83.
    pub address: u8,
    /// How it transfers.
    pub kind: TransferKind,
}

/// How an endpoint transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// Bulk: a transfer ends with a short packet, so a buffer holds one frame or packet of the
    /// device.
    Bulk,
    /// Isochronous, with this many bytes a packet: a buffer holds up to [`PACKETS_MAX`] packets.
    Isochronous {
        /// Bytes that the endpoint moves in one service interval.
        packet_bytes: usize,
    },
}

/// Bytes of a bulk transfer at most. Some host controller drivers, that of USB/IP among them, have
/// no memory for more in one piece (usb-protocol.md 14.5); a multiple of every packet size.
pub const PIECE_BYTES: usize = 512 * 1024;

/// The transfers that keep an endpoint busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// How many there are.
    pub count: usize,
    /// Bytes of each.
    pub bytes: usize,
}

/// What is in flight on an endpoint that is read into buffers of `buf_bytes`: two buffers' worth,
/// so that one fills while the other is handed over, and never fewer than 16 transfers. Of
/// isochronous transfers those last 64 ms at SuperSpeed, of IMU packets 77 ms.
#[must_use]
pub fn in_flight(kind: TransferKind, buf_bytes: usize) -> InFlight {
    const AT_LEAST: usize = 16;
    match kind {
        TransferKind::Bulk => {
            let whole = buf_bytes.next_multiple_of(1024);
            let bytes = whole.clamp(1024, PIECE_BYTES);
            InFlight { count: (2 * whole.div_ceil(bytes)).max(AT_LEAST), bytes }
        }
        TransferKind::Isochronous { packet_bytes } => {
            InFlight { count: AT_LEAST, bytes: PACKETS_MAX * packet_bytes }
        }
    }
}

/// Packets in one isochronous transfer at most (libuvc's number, usb-protocol.md 6.5).
pub const PACKETS_MAX: usize = 32;

/// An endpoint that data flows from.
pub trait Stream: Send {
    /// The oldest finished transfer, waiting for one no longer than `wait`. Before it is handed
    /// over, a fresh buffer takes its place; where the pool has none, the same buffer goes back to
    /// work, and what it held is counted as [`Stream::starved`]. A zero wait never blocks.
    fn next(&mut self, wait: Duration) -> Option<Transfer>;

    /// Transfers lost so far because the pool was empty.
    fn starved(&self) -> u64;
}

/// A finished transfer.
#[derive(Debug)]
pub struct Transfer {
    /// The data; its length is what arrived.
    pub buf: Buf,
    /// Lengths of isochronous packets; empty for bulk.
    pub packets: Packets,
    /// How it ended.
    pub status: std::result::Result<(), Fault>,
    /// When it completed, in nanoseconds of the monotonic clock.
    pub arrived_ns: u64,
}

/// The packets of an isochronous transfer: packet `i` starts at `i * stride`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packets {
    /// Bytes from the start of one packet to the start of the next.
    pub stride: usize,
    lens: [Option<u32>; PACKETS_MAX],
    count: usize,
}

impl Packets {
    /// No packets yet, `stride` bytes apart.
    #[must_use]
    pub fn new(stride: usize) -> Self {
        Self { stride, ..Self::default() }
    }

    /// Adds a packet: its length, or none when it was lost on the way. Says false where
    /// [`PACKETS_MAX`] are there already.
    #[must_use]
    pub fn push(&mut self, len: Option<u32>) -> bool {
        let Some(slot) = self.lens.get_mut(self.count) else {
            return false;
        };
        *slot = len;
        self.count += 1;
        true
    }

    /// Lengths of the packets in bytes; none for those that were lost.
    #[must_use]
    pub fn lens(&self) -> &[Option<u32>] {
        &self.lens[..self.count]
    }
}

impl Transfer {
    /// The payloads: isochronous packets one by one, none for those that were lost; or the whole
    /// buffer of a bulk transfer.
    pub fn payloads(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let whole = self.packets.lens().is_empty().then_some(Some(&self.buf[..]));
        let packets = self.packets.lens().iter().enumerate().map(|(i, len)| {
            let start = i * self.packets.stride;
            self.buf.get(start..start + (*len)? as usize)
        });
        whole.into_iter().chain(packets)
    }
}
