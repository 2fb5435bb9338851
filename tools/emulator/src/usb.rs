//! The shape of USB requests, and what comes of them.

/// A control request: the fields of a setup packet, without the length.
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

/// The device refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall;

/// What reading an endpoint comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The transfer is done; of bulk, with this many bytes; of isochronous, with this many packets.
    Done(usize),
    /// Nothing is there yet.
    Pending,
    /// The endpoint refuses.
    Stall,
    /// The device sends more than the buffer holds.
    Overflow,
    /// The device has left the bus.
    Gone,
}

/// A command or control write that a device received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The function that received it.
    pub function: crate::Function,
    /// Command code; of a control request, bmRequestType, bRequest and wValue in one number, and
    /// wIndex above them.
    pub code: u64,
    /// Arguments of the command, or data of the request.
    pub data: Vec<u8>,
}
