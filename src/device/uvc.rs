//! The color stream's setup over UVC: which format and frame a mode is, probe and commit, and the
//! alternate setting that carries it (usb-protocol.md 6.2 to 6.5).

use crate::usb::{Answer, Fault, PACKETS_MAX, Port, Request, StreamEndpoint, TransferKind};
use genlock_formats::k4a::{ColorFormat, ColorMode, Rate};

/// Interface numbers of the color function.
pub const CONTROL_INTERFACE: u8 = 0;
/// See [`CONTROL_INTERFACE`].
pub const STREAMING_INTERFACE: u8 = 1;

/// UVC requests.
pub const SET_CUR: u8 = 0x01;
/// See [`SET_CUR`].
pub const GET_CUR: u8 = 0x81;
/// See [`SET_CUR`].
pub const GET_MIN: u8 = 0x82;
/// See [`SET_CUR`].
pub const GET_MAX: u8 = 0x83;
/// See [`SET_CUR`]: the step between values.
pub const GET_RES: u8 = 0x84;

const PROBE: u16 = 0x0100;
const COMMIT: u16 = 0x0200;
/// Bytes of a bulk payload at most: more than any frame has.
const PAYLOAD_MAX: usize = 32 << 20;

/// Bytes of a probe block of UVC 1.0.
const PROBE_BYTES: usize = 26;

/// How the color stream was set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColorStream {
    /// Where it comes from.
    pub endpoint: StreamEndpoint,
    /// The alternate setting that carries it; 0 is there from the start.
    pub alternate: u8,
    /// Bytes of a transfer: a payload of a bulk endpoint, all packets of an isochronous one.
    pub buf_bytes: usize,
}

/// Sets the color stream up; nothing flows before its alternate setting is selected.
///
/// # Errors
/// What the device answered; [`Fault::Io`] when its descriptors do not offer the mode.
pub fn negotiate(port: &mut dyn Port, mode: ColorMode, rate: Rate) -> Answer<ColorStream> {
    let descriptors = port.configuration().to_vec();
    let (format, frame, interval) = find_frame(&descriptors, mode, rate).ok_or(Fault::Io)?;
    let mut probe = [0; PROBE_BYTES];
    get(port, GET_MAX, PROBE, &mut probe)?;
    probe[0] = 1;
    probe[1] = 0;
    probe[2] = format;
    probe[3] = frame;
    probe[4..8].copy_from_slice(&interval.to_le_bytes());
    set(port, PROBE, &probe)?;
    get(port, GET_CUR, PROBE, &mut probe)?;
    if probe[2] != format || probe[3] != frame || probe[4..8] != interval.to_le_bytes() {
        return Err(Fault::Io);
    }
    set(port, COMMIT, &probe)?;
    let payload_bytes = u32::from_le_bytes([probe[22], probe[23], probe[24], probe[25]]);
    find_alternate(&descriptors, payload_bytes).ok_or(Fault::Io)
}

fn request(kind: u8, request: u8, value: u16) -> Request {
    Request { kind, request, value, index: u16::from(STREAMING_INTERFACE) }
}

fn get(port: &mut dyn Port, what: u8, value: u16, into: &mut [u8; PROBE_BYTES]) -> Answer<()> {
    match port.control_in(request(0xA1, what, value), into)? {
        PROBE_BYTES => Ok(()),
        _ => Err(Fault::Io),
    }
}

fn set(port: &mut dyn Port, value: u16, data: &[u8]) -> Answer<()> {
    port.control_out(request(0x21, SET_CUR, value), data)
}

/// Descriptors one after the other, each with its type and bytes; ends where one is malformed.
fn walk(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&len, &kind) = (rest.first()?, rest.get(1)?);
        let (one, behind) = rest.split_at_checked(usize::from(len.max(2)))?;
        rest = behind;
        Some((kind, one))
    })
}

/// Format index, frame index and frame interval of a mode, found by what they are and never by
/// their place (usb-protocol.md 15, unknown 3).
fn find_frame(descriptors: &[u8], mode: ColorMode, rate: Rate) -> Option<(u8, u8, u32)> {
    const CLASS_INTERFACE: u8 = 0x24;
    let (width, height) = mode.size();
    let mut format = None;
    for (_, d) in walk(descriptors).filter(|(kind, _)| *kind == CLASS_INTERFACE) {
        match (*d.get(2)?, d.len()) {
            // Uncompressed formats say what they are by a GUID that begins with the FOURCC.
            (4, 27..) => {
                let is_ours = d[5..9] == *mode.format.to_string().as_bytes();
                format = is_ours.then_some(d[3]);
            }
            (6, 11) => format = (mode.format == ColorFormat::Mjpg).then_some(d[3]),
            (5 | 7, 26..) if format.is_some() => {
                let size = |at| u32::from(u16::from_le_bytes([d[at], d[at + 1]]));
                if (size(5), size(7)) != (width, height) {
                    continue;
                }
                let (intervals, _) = d[26..].as_chunks::<4>();
                let intervals = intervals.iter().map(|bytes| u32::from_le_bytes(*bytes));
                let fits =
                    |interval: &u32| 10_000_000_u32.checked_div(*interval) == Some(rate.fps());
                return Some((format?, d[3], intervals.into_iter().find(fits)?));
            }
            _ => {}
        }
    }
    None
}

/// The first alternate setting that carries payloads of `payload_bytes`: with an isochronous
/// endpoint that moves them in a service interval, or with a bulk endpoint, which moves any.
fn find_alternate(descriptors: &[u8], payload_bytes: u32) -> Option<ColorStream> {
    const INTERFACE: u8 = 4;
    const ENDPOINT: u8 = 5;
    const COMPANION: u8 = 0x30;
    const ISOCHRONOUS: u8 = 1;
    const BULK: u8 = 2;
    let (mut alternate, mut isochronous) = (None, None);
    let bulk =
        usize::try_from(payload_bytes).ok().filter(|bytes| (1..=PAYLOAD_MAX).contains(bytes));
    for (kind, d) in walk(descriptors) {
        match (kind, d.len()) {
            (INTERFACE, 9) => {
                alternate = (d[2] == STREAMING_INTERFACE).then_some(d[3]);
                isochronous = None;
            }
            (ENDPOINT, 7) if d[3] & 3 == ISOCHRONOUS => isochronous = Some(d[2]),
            (ENDPOINT, 7) if d[3] & 3 == BULK => {
                if let (Some(alternate), Some(buf_bytes)) = (alternate, bulk) {
                    let endpoint = StreamEndpoint { address: d[2], kind: TransferKind::Bulk };
                    return Some(ColorStream { endpoint, alternate, buf_bytes });
                }
            }
            (COMPANION, 6) => {
                let bytes = u16::from_le_bytes([d[4], d[5]]);
                if let (Some(alternate), Some(address)) = (alternate, isochronous)
                    && u32::from(bytes) >= payload_bytes.max(1)
                {
                    let packet_bytes = usize::from(bytes);
                    let kind = TransferKind::Isochronous { packet_bytes };
                    let endpoint = StreamEndpoint { address, kind };
                    let buf_bytes = PACKETS_MAX * packet_bytes;
                    return Some(ColorStream { endpoint, alternate, buf_bytes });
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_emulator::{ColorTransfer, Descriptors, Function};

    fn descriptors() -> Vec<u8> {
        Descriptors::new(Function::Color, "1", ColorTransfer::default()).configuration
    }

    #[test]
    fn modes_are_found_by_what_they_are() {
        let find =
            |mode: &str, rate| find_frame(&descriptors(), mode.parse().expect("a mode"), rate);
        assert_eq!(find("720p_YUY2", Rate::Fps30), Some((1, 1, 333_333)));
        assert_eq!(find("720p_NV12", Rate::Fps15), Some((2, 1, 666_666)));
        assert_eq!(find("1080p", Rate::Fps5), Some((3, 2, 2_000_000)));
        assert_eq!(find("3072p", Rate::Fps30), None);
    }

    #[test]
    fn the_smallest_sufficient_alternate_setting_is_taken() {
        let alternate =
            |bytes| find_alternate(&descriptors(), bytes).map(|stream| stream.alternate);
        assert_eq!(alternate(1024), Some(1));
        assert_eq!(alternate(1025), Some(2));
        assert_eq!(alternate(24_576), Some(3));
        assert_eq!(alternate(24_577), None);
    }

    #[test]
    fn bulk_color_needs_no_alternate_setting() {
        let bulk = Descriptors::new(Function::Color, "1", ColorTransfer::Bulk).configuration;
        let endpoint = StreamEndpoint { address: 0x81, kind: TransferKind::Bulk };
        let expected = ColorStream { endpoint, alternate: 0, buf_bytes: 65_536 };
        assert_eq!(find_alternate(&bulk, 65_536), Some(expected));
        assert_eq!(find_alternate(&bulk, 0), None);
        assert_eq!(find_alternate(&bulk, u32::MAX), None);
    }

    #[test]
    fn malformed_descriptors_offer_nothing() {
        let whole = descriptors();
        for cut in 0..whole.len() {
            let mode = "1080p".parse().expect("a mode");
            let _ = find_frame(&whole[..cut], mode, Rate::Fps30);
            let _ = find_alternate(&whole[..cut], 1);
        }
        assert_eq!(find_alternate(&[0, 4, 0, 5], 1), None);
    }
}
