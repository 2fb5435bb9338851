//! The messages of USB/IP once a device is attached: 48 bytes, big-endian, then data, then the
//! descriptors of isochronous packets.

use crate::error::{Error, Result};

pub(crate) const HEADER_BYTES: usize = 48;
/// Bytes of the descriptor of an isochronous packet.
pub(crate) const PACKET_BYTES: usize = 16;

const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;

/// Data of a transfer to the device at most; the kernel's own limit.
const OUT_BYTES_MAX: u32 = 4 << 20;
/// Data of a transfer from the device at most.
const IN_BYTES_MAX: u32 = 64 << 20;
/// Packets of an isochronous transfer at most; the kernel's own limit.
const PACKETS_MAX: u32 = 1024;

/// What a transfer ends with, as Linux numbers it.
pub(crate) mod status {
    pub const DONE: i32 = 0;
    pub const INVALID: i32 = -22;
    pub const STALL: i32 = -32;
    pub const PROTOCOL: i32 = -71;
    pub const OVERFLOW: i32 = -75;
    pub const UNLINKED: i32 = -104;
}

/// What the host wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// A transfer.
    Submit(Submit),
    /// That a transfer be given back.
    Unlink { seqnum: u32, unlinked: u32 },
}

/// A transfer that the host submits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Submit {
    pub seqnum: u32,
    /// Endpoint address, with its direction.
    pub endpoint: u8,
    /// Bytes of data that it brings, or has room for.
    pub bytes: usize,
    /// Isochronous packets; none of another kind.
    pub packets: usize,
    pub setup: [u8; 8],
}

impl Submit {
    /// Whether data go from the device to the host.
    pub fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }

    /// Bytes of data that follow the header.
    pub fn data_bytes(&self) -> usize {
        if self.is_in() { 0 } else { self.bytes }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

impl Command {
    /// Takes a header apart.
    pub fn read(header: &[u8; HEADER_BYTES]) -> Result<Self> {
        let (command, seqnum) = (word(header, 0), word(header, 4));
        match command {
            CMD_SUBMIT => Submit::read(header, seqnum).map(Self::Submit),
            CMD_UNLINK => Ok(Self::Unlink { seqnum, unlinked: word(header, 20) }),
            _ => Err(Error::Wire(format!(
                "message {seqnum}: command {command:#x}, which no USB/IP host sends"
            ))),
        }
    }

    /// Bytes that follow its header.
    pub fn rest_bytes(&self) -> usize {
        match self {
            Self::Submit(submit) => submit.data_bytes() + submit.packets * PACKET_BYTES,
            Self::Unlink { .. } => 0,
        }
    }
}

impl Submit {
    fn read(header: &[u8; HEADER_BYTES], seqnum: u32) -> Result<Self> {
        let wrong = |what: &str, value: u32, most: u32| {
            Error::Wire(format!("transfer {seqnum}: {what} {value}, where {most} is the most"))
        };
        let (direction, number) = (word(header, 12), word(header, 16));
        let (bytes, packets) = (word(header, 24), word(header, 32));
        if direction > 1 {
            return Err(wrong("direction", direction, 1));
        }
        if number > 15 {
            return Err(wrong("endpoint number", number, 15));
        }
        let most = if direction == 1 { IN_BYTES_MAX } else { OUT_BYTES_MAX };
        if bytes > most {
            return Err(wrong("bytes", bytes, most));
        }
        // Of a transfer that is not isochronous some hosts say -1.
        let packets = if packets == u32::MAX { 0 } else { packets };
        if packets > PACKETS_MAX {
            return Err(wrong("packets", packets, PACKETS_MAX));
        }
        let mut setup = [0; 8];
        setup.copy_from_slice(&header[40..48]);
        Ok(Self {
            seqnum,
            endpoint: (direction as u8) << 7 | number as u8,
            bytes: bytes as usize,
            packets: packets as usize,
            setup,
        })
    }
}

/// An isochronous packet of a transfer: its place in the host's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub offset: u32,
    pub bytes: u32,
}

impl Packet {
    /// Takes the descriptors of a transfer's packets apart.
    pub fn read_all(submit: &Submit, bytes: &[u8], into: &mut Vec<Self>) -> Result<()> {
        into.clear();
        for (i, one) in bytes.as_chunks::<PACKET_BYTES>().0.iter().enumerate() {
            let packet = Self { offset: word(one, 0), bytes: word(one, 4) };
            let end = u64::from(packet.offset) + u64::from(packet.bytes);
            if end > submit.bytes as u64 {
                let Submit { seqnum, bytes, .. } = submit;
                return Err(Error::Wire(format!(
                    "transfer {seqnum}: packet {i} ends at byte {end} of {bytes}"
                )));
            }
            into.push(packet);
        }
        Ok(())
    }

    /// Writes its descriptor, with what arrived.
    pub fn write(self, arrived: u32, status: i32, into: &mut Vec<u8>) {
        for value in [self.offset, self.bytes, arrived] {
            into.extend(value.to_be_bytes());
        }
        into.extend(status.to_be_bytes());
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ended {
    pub status: i32,
    pub bytes: usize,
    /// Isochronous packets, and how many of them failed.
    pub packets: usize,
    pub failed: usize,
}

/// The header that gives a transfer back.
pub(crate) fn submitted(seqnum: u32, ended: Ended) -> [u8; HEADER_BYTES] {
    let mut header = returned(RET_SUBMIT, seqnum, ended.status);
    header[24..28].copy_from_slice(&(ended.bytes as u32).to_be_bytes());
    header[32..36].copy_from_slice(&(ended.packets as u32).to_be_bytes());
    header[36..40].copy_from_slice(&(ended.failed as u32).to_be_bytes());
    header
}

/// The header that answers an unlink: whether the transfer was still there.
pub(crate) fn unlinked(seqnum: u32, was_there: bool) -> [u8; HEADER_BYTES] {
    let status = if was_there { status::UNLINKED } else { status::DONE };
    returned(RET_UNLINK, seqnum, status)
}

fn returned(command: u32, seqnum: u32, status: i32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&command.to_be_bytes());
    header[4..8].copy_from_slice(&seqnum.to_be_bytes());
    header[20..24].copy_from_slice(&status.to_be_bytes());
    header
}
