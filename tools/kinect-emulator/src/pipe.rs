//! Endpoints that data come from: transfers of the host wait in order, and a frame of the device is
//! dealt out over as many of them as it takes.

use crate::device::Device;
use crate::fault::{PACKET_BYTES_MAX, PACKETS_MAX, Pipe, WireFault};
use crate::wire::{Ended, Packet, status};
use genlock_emulator::Read;
use std::collections::VecDeque;
use std::ops::Range;

/// Packet size of SuperSpeed bulk endpoints.
const BULK_PACKET_BYTES: usize = 1024;
/// Bytes that are overwritten at the end of a garbled frame, and in the header of a payload.
const GARBLED_BYTES: usize = 40;
const GARBLED_HEADER_BYTES: usize = 12;

/// A transfer that waits for data.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub seqnum: u32,
    pub bytes: usize,
    pub packets: Vec<Packet>,
}

/// What the device sends, until the host has it all.
#[derive(Debug, Clone, Copy)]
struct Sending {
    bytes: usize,
    sent: usize,
}

/// What the oldest waiting transfer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits on; until this host time, where the device knows.
    Waits(Option<u64>),
    /// It ends, with these bytes of [`Endpoint::data`].
    Ends(i32, Range<usize>),
    /// The device has left the bus.
    Gone,
}

/// An endpoint, with the transfers that wait for it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub pipe: Pipe,
    pub halted: bool,
    pub waiting: VecDeque<Waiting>,
    sending: Option<Sending>,
    data: Vec<u8>,
    /// Descriptors of the packets of the transfer that ends.
    packets: Vec<u8>,
    failed: usize,
}

impl Endpoint {
    pub fn new(pipe: Pipe) -> Self {
        Self {
            pipe,
            halted: false,
            waiting: VecDeque::new(),
            sending: None,
            data: vec![0; pipe.room_bytes()],
            packets: Vec::new(),
            failed: 0,
        }
    }

    /// What was not sent is dropped.
    pub fn drop_unsent(&mut self) {
        self.sending = None;
    }

    /// As after SET_CONFIGURATION.
    pub fn reset(&mut self) {
        self.halted = false;
        self.sending = None;
    }

    /// What follows the header of a transfer that ends: its data, its packets' descriptors.
    pub fn parts(&self, data: Range<usize>) -> [&[u8]; 2] {
        [&self.data[data], &self.packets]
    }

    /// How the transfer that ends is told of.
    pub fn ended(&self, status: i32, data: &Range<usize>) -> Ended {
        let packets = self.packets.len() / crate::wire::PACKET_BYTES;
        Ended { status, bytes: data.len(), packets, failed: self.failed }
    }

    /// Tries to end the oldest waiting transfer. `asked` is what the last command asked for.
    pub fn step(&mut self, device: &Device, asked: usize) -> Step {
        self.packets.clear();
        self.failed = 0;
        let Some(first) = self.waiting.front() else {
            return Step::Waits(None);
        };
        // The device refuses what its color endpoint is not.
        let isochronous = !first.packets.is_empty();
        if isochronous && self.pipe != Pipe::Color {
            return self.fails(status::INVALID);
        }
        if isochronous { self.isochronous(device) } else { self.bulk(device, asked) }
    }

    /// The oldest waiting transfer fails, with all its packets.
    fn fails(&mut self, status: i32) -> Step {
        if let Some(first) = self.waiting.front() {
            self.failed = first.packets.len();
            for packet in &first.packets {
                packet.write(0, status, &mut self.packets);
            }
        }
        Step::Ends(status, 0..0)
    }

    fn bulk(&mut self, device: &Device, asked: usize) -> Step {
        if self.halted {
            return self.fails(status::STALL);
        }
        let sending = match self.sending {
            Some(sending) => sending,
            None => match self.load(device) {
                Ok(sending) => sending,
                Err(step) => return step,
            },
        };
        let ordered = device.take_order(self.pipe, |fault| fault.status().is_some());
        if let Some(status) = ordered.and_then(WireFault::status) {
            // The frame is lost with its transfer.
            self.sending = None;
            self.halted = status == status::STALL;
            return self.fails(status);
        }
        let room = self.waiting.front().map_or(0, |first| first.bytes);
        let left = sending.bytes - sending.sent;
        let bytes = room.min(left);
        if bytes < left && !room.is_multiple_of(BULK_PACKET_BYTES) {
            // A whole packet comes where a part of one has room.
            self.sending = None;
            return self.fails(status::OVERFLOW);
        }
        let until = sending.sent + bytes;
        // A full last packet is followed by an empty one, unless the host asked for no more.
        let full = self.is_of_replies() && sending.bytes == asked;
        let short = full || !sending.bytes.is_multiple_of(BULK_PACKET_BYTES);
        let over = until == sending.bytes && (bytes < room || short);
        self.sending = (!over).then_some(Sending { sent: until, ..sending });
        Step::Ends(status::DONE, sending.sent..until)
    }

    fn is_of_replies(&self) -> bool {
        matches!(self.pipe, Pipe::DepthReplies | Pipe::ColorReplies)
    }

    /// Gets the next frame, packet or reply from the device.
    fn load(&mut self, device: &Device) -> Result<Sending, Step> {
        let (function, address) = (self.pipe.function(), self.pipe.address());
        let now_ns = device.now_ns();
        let mut kinect = device.kinect();
        let read = kinect.bulk_in(function, address, &mut self.data, now_ns);
        let mut bytes = match read {
            Read::Done(bytes) => bytes,
            Read::Pending => {
                return Err(Step::Waits(kinect.ready_at(function, address, now_ns)));
            }
            Read::Stall => return Err(self.fails(status::STALL)),
            Read::Overflow => return Err(self.fails(status::OVERFLOW)),
            Read::Gone => return Err(Step::Gone),
        };
        drop(kinect);
        match device.take_order(self.pipe, |fault| fault.status().is_none()) {
            // An odd number of bytes always ends in a short packet.
            Some(WireFault::Short) => bytes = (bytes / 2) | 1,
            Some(WireFault::Garble) => {
                self.data[bytes.saturating_sub(GARBLED_BYTES)..bytes].fill(0xA5);
            }
            _ => {}
        }
        Ok(Sending { bytes: bytes.min(self.data.len()), sent: 0 })
    }

    fn isochronous(&mut self, device: &Device) -> Step {
        let Some(first) = self.waiting.front() else {
            return Step::Waits(None);
        };
        let stride = first.packets[0].bytes as usize;
        let even = first.packets.iter().all(|packet| packet.bytes as usize == stride);
        if !even || !(1..=PACKET_BYTES_MAX).contains(&stride) {
            return self.fails(status::INVALID);
        }
        let mut lens = [None; PACKETS_MAX];
        let room = first.packets.len().min(PACKETS_MAX);
        let (function, address) = (self.pipe.function(), self.pipe.address());
        let into = &mut self.data[..room * stride];
        let now_ns = device.now_ns();
        let mut kinect = device.kinect();
        let read =
            kinect.isochronous_in(function, address, into, stride, &mut lens[..room], now_ns);
        let count = match read {
            Read::Done(count) => count,
            Read::Pending => return Step::Waits(kinect.ready_at(function, address, now_ns)),
            Read::Stall => return self.fails(status::STALL),
            Read::Overflow => return self.fails(status::OVERFLOW),
            Read::Gone => return Step::Gone,
        };
        drop(kinect);
        let lost = self.spoil(device, stride, &mut lens[..count]);
        let bytes = self.compact(stride, &lens[..count], lost);
        Step::Ends(status::DONE, 0..bytes)
    }

    /// Carries out an order on the packet in the middle. Gives the status of lost packets.
    fn spoil(&mut self, device: &Device, stride: usize, lens: &mut [Option<u32>]) -> i32 {
        let middle = lens.len() / 2;
        let Some(len) = lens.get_mut(middle) else {
            return status::PROTOCOL;
        };
        let fault = device.take_order(self.pipe, |_| true);
        match fault {
            None => {}
            Some(WireFault::Short) => *len = len.map(|len| len / 2),
            Some(WireFault::Garble) => {
                let header = &mut self.data[middle * stride..];
                let bytes = GARBLED_HEADER_BYTES.min(header.len());
                header[..bytes].fill(0xFF);
            }
            Some(WireFault::Stall | WireFault::Babble | WireFault::Protocol) => *len = None,
        }
        fault.and_then(WireFault::status).unwrap_or(status::PROTOCOL)
    }

    /// Moves packets together, as they travel, and writes their descriptors; gives their bytes.
    fn compact(&mut self, stride: usize, lens: &[Option<u32>], lost: i32) -> usize {
        let mut at = 0;
        let Some(first) = self.waiting.front() else {
            return at;
        };
        for (i, packet) in first.packets.iter().enumerate() {
            let (len, status) = match lens.get(i) {
                Some(Some(len)) => (*len, status::DONE),
                Some(None) => (0, lost),
                None => (0, status::DONE),
            };
            self.failed += usize::from(status != status::DONE);
            packet.write(len, status, &mut self.packets);
            let from = i * stride;
            if len > 0 && from != at {
                self.data.copy_within(from..from + len as usize, at);
            }
            at += len as usize;
        }
        at
    }
}
