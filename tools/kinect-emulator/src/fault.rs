//! The endpoints that data come from, and what can go wrong on them.

use crate::wire::status;
use genlock_emulator::Function;

/// Isochronous packets that one transfer is given at most; those behind stay empty.
pub(crate) const PACKETS_MAX: usize = 128;
/// The largest isochronous packet: three bursts of eight packets of 1024 bytes.
pub(crate) const PACKET_BYTES_MAX: usize = 24_576;

/// An endpoint of a camera that data come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Depth frames.
    Depth,
    /// What the depth function answers to commands.
    DepthReplies,
    /// Color payloads: the isochronous one.
    Color,
    /// IMU packets.
    Imu,
    /// What the color function answers to commands.
    ColorReplies,
}

impl Pipe {
    /// All of a camera.
    pub const ALL: [Self; 5] =
        [Self::Depth, Self::DepthReplies, Self::Color, Self::Imu, Self::ColorReplies];

    /// The function that it belongs to.
    #[must_use]
    pub const fn function(self) -> Function {
        match self {
            Self::Depth | Self::DepthReplies => Function::Depth,
            Self::Color | Self::Imu | Self::ColorReplies => Function::Color,
        }
    }

    /// Its address (usb-protocol.md 1.4).
    #[must_use]
    pub const fn address(self) -> u8 {
        match self {
            Self::DepthReplies | Self::Color => 0x81,
            Self::Imu => 0x82,
            Self::Depth | Self::ColorReplies => 0x83,
        }
    }

    /// Its name, as orders are typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::DepthReplies => "depth-replies",
            Self::Color => "color",
            Self::Imu => "imu",
            Self::ColorReplies => "color-replies",
        }
    }

    /// Room for the largest of what comes from it: a frame, a calibration blob, a transfer of
    /// packets.
    pub(crate) const fn room_bytes(self) -> usize {
        match self {
            Self::Depth => 9_438_664,
            Self::DepthReplies => 2 << 20,
            Self::Color => PACKETS_MAX * PACKET_BYTES_MAX,
            Self::Imu | Self::ColorReplies => 1024,
        }
    }
}

/// Something that goes wrong on the wire, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// The next transfer with data is refused, and so are all after it until the host clears the
    /// halt; the frame is lost. An isochronous endpoint cannot halt: a packet is refused.
    Stall,
    /// The next transfer with data, or a packet, ends with more than it has room for.
    Babble,
    /// The next transfer with data, or a packet, ends with a protocol error: the cable.
    Protocol,
    /// The next frame is cut in its middle by a short packet; of color, one payload is.
    Short,
    /// The last bytes of the next frame are overwritten; of color, the header of one payload is.
    Garble,
}

impl WireFault {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Stall, Self::Babble, Self::Protocol, Self::Short, Self::Garble];

    /// Its name, as orders are typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Babble => "babble",
            Self::Protocol => "protocol",
            Self::Short => "short",
            Self::Garble => "garble",
        }
    }

    /// What a transfer that it hits ends with; none where the frame is hit.
    pub(crate) const fn status(self) -> Option<i32> {
        match self {
            Self::Stall => Some(status::STALL),
            Self::Babble => Some(status::OVERFLOW),
            Self::Protocol => Some(status::PROTOCOL),
            Self::Short | Self::Garble => None,
        }
    }
}
