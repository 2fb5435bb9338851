//! USB descriptors of the two functions of a camera (usb-protocol.md 14.2 to 14.4).

use crate::noise::hash;
use genlock_formats::k4a::Resolution;

/// The two USB devices that a camera is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// 097C: depth commands and frames.
    Depth,
    /// 097D: color over UVC, IMU and sync commands.
    Color,
}

impl Function {
    /// Product id.
    #[must_use]
    pub const fn product(self) -> u16 {
        match self {
            Self::Depth => 0x097C,
            Self::Color => 0x097D,
        }
    }
}

/// The descriptors of one function, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    /// Device descriptor.
    pub device: Vec<u8>,
    /// Configuration descriptor, with everything under it.
    pub configuration: Vec<u8>,
    /// BOS descriptor, with the container id.
    pub bos: Vec<u8>,
    /// Strings 1 to 3: manufacturer, product, serial.
    pub strings: [String; 3],
}

/// How the color stream goes over USB (usb-protocol.md 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorTransfer {
    /// As real devices do it: alternate settings with an isochronous endpoint.
    #[default]
    Isochronous,
    /// From a bulk endpoint that is there from the start; no real device is known to do so.
    Bulk,
}

/// Bytes of a payload of bulk color.
pub(crate) const BULK_PAYLOAD_BYTES: u32 = 65_536;

/// Bytes that the color stream moves in one service interval, by alternate setting 1 to 3: packets
/// of 1024 bytes, in bursts of 1, 8 and three times 8.
pub(crate) const INTERVAL_BYTES: [u32; 3] = [1024, 8192, 24_576];

/// Video formats by their index less one: YUY2, NV12, MJPG.
pub(crate) const FORMATS: usize = 3;

/// Frame intervals in 100 ns: 30, 15 and 5 fps (usb-protocol.md 6.3).
pub(crate) const INTERVALS: [u32; 3] = [333_333, 666_666, 2_000_000];

/// Ids of the UVC units.
pub(crate) const CAMERA_TERMINAL: u8 = 1;
pub(crate) const PROCESSING_UNIT: u8 = 3;

impl Descriptors {
    /// The descriptors of a function of the camera with `serial`.
    #[must_use]
    pub fn new(function: Function, serial: &str, color: ColorTransfer) -> Self {
        let product = match function {
            Function::Depth => "Azure Kinect Depth Camera",
            Function::Color => "Azure Kinect 4K Camera",
        };
        Self {
            device: device(function),
            configuration: match function {
                Function::Depth => depth_configuration(),
                Function::Color => color_configuration(color),
            },
            bos: bos(serial),
            strings: ["Microsoft".to_owned(), product.to_owned(), serial.to_owned()],
        }
    }

    /// String descriptor `index`, as bytes; 0 lists the languages.
    #[must_use]
    pub(crate) fn string(&self, index: u8) -> Option<Vec<u8>> {
        let units: Vec<u16> = match index {
            0 => vec![0x0409],
            _ => self.strings.get(usize::from(index) - 1)?.encode_utf16().take(126).collect(),
        };
        let mut bytes = vec![2 + 2 * units.len() as u8, 3];
        units.iter().for_each(|unit| bytes.extend(unit.to_le_bytes()));
        Some(bytes)
    }
}

fn device(function: Function) -> Vec<u8> {
    let class = match function {
        Function::Depth => [0, 0, 0],
        Function::Color => [0xEF, 2, 1],
    };
    let mut bytes = vec![18, 1, 0x00, 0x03];
    bytes.extend(class);
    bytes.push(9);
    bytes.extend(0x045E_u16.to_le_bytes());
    bytes.extend(function.product().to_le_bytes());
    bytes.extend([0x00, 0x01, 1, 2, 3, 1]);
    bytes
}

/// USB 2.0 extension, SuperSpeed, container id: the same for both functions of a camera.
fn bos(serial: &str) -> Vec<u8> {
    let mut bytes = vec![5, 0x0F, 42, 0, 3];
    bytes.extend([7, 0x10, 2, 0x02, 0, 0, 0]);
    bytes.extend([10, 0x10, 3, 0, 0x0E, 0, 3, 10, 0xFF, 0x07]);
    bytes.extend([20, 0x10, 4, 0]);
    let number = serial.bytes().fold(0, |sum, byte| hash(&[sum, u64::from(byte)]));
    bytes.extend(number.to_le_bytes());
    bytes.extend(hash(&[number]).to_le_bytes());
    bytes
}

/// A configuration with its total length filled in.
fn configuration(interfaces: u8, content: &[u8]) -> Vec<u8> {
    let total = 9 + content.len() as u16;
    let mut bytes = vec![9, 2];
    bytes.extend(total.to_le_bytes());
    bytes.extend([interfaces, 1, 0, 0x80, 112]);
    bytes.extend(content);
    bytes
}

fn interface(number: u8, alternate: u8, endpoints: u8, class: [u8; 3]) -> Vec<u8> {
    let [class, subclass, protocol] = class;
    vec![9, 4, number, alternate, endpoints, class, subclass, protocol, 0]
}

/// A bulk endpoint of 1024-byte packets with its SuperSpeed companion.
fn bulk(address: u8, burst: u8) -> Vec<u8> {
    vec![7, 5, address, 2, 0, 4, 0, 6, 0x30, burst, 0, 0, 0]
}

fn depth_configuration() -> Vec<u8> {
    let content = [interface(0, 0, 3, [0xFF; 3]), bulk(0x02, 0), bulk(0x81, 0), bulk(0x83, 15)];
    configuration(1, &content.concat())
}

fn color_configuration(color: ColorTransfer) -> Vec<u8> {
    let mut content = vec![8, 11, 0, 2, 0x0E, 3, 0, 0];
    content.extend(interface(0, 0, 0, [0x0E, 1, 0]));
    content.extend(video_control());
    let (endpoints, intervals) = match color {
        ColorTransfer::Isochronous => (0, &INTERVAL_BYTES[..]),
        ColorTransfer::Bulk => (1, &[][..]),
    };
    content.extend(interface(1, 0, endpoints, [0x0E, 2, 0]));
    content.extend(video_streaming());
    if color == ColorTransfer::Bulk {
        content.extend(bulk(0x81, 15));
    }
    for (alternate, &bytes) in (1..).zip(intervals) {
        content.extend(interface(1, alternate, 1, [0x0E, 2, 0]));
        content.extend([7, 5, 0x81, 5, 0, 4, 1]);
        let (burst, mult) = if bytes > 8192 { (7, 2) } else { ((bytes / 1024 - 1) as u8, 0) };
        content.extend([6, 0x30, burst, mult]);
        content.extend((bytes as u16).to_le_bytes());
    }
    content.extend(interface(2, 0, 3, [0xFF; 3]));
    content.extend([bulk(0x04, 0), bulk(0x83, 0), bulk(0x82, 0)].concat());
    configuration(3, &content)
}

/// Header, camera terminal, processing unit, output terminal: 51 bytes.
fn video_control() -> Vec<u8> {
    let mut bytes = vec![13, 0x24, 1, 0x00, 0x01, 51, 0];
    bytes.extend(90_000_u32.to_le_bytes());
    bytes.extend([1, 1]);
    // Camera terminal: exposure mode and absolute exposure time can be set.
    bytes.extend([18, 0x24, 2, CAMERA_TERMINAL, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0x0A, 0, 0]);
    bytes.extend([11, 0x24, 5, PROCESSING_UNIT, CAMERA_TERMINAL, 0, 0, 2, 0x5B, 0x17, 0]);
    bytes.extend([9, 0x24, 3, 4, 0x01, 0x01, 0, PROCESSING_UNIT, 0]);
    bytes
}

/// Input header, then the formats with their frames.
fn video_streaming() -> Vec<u8> {
    let mut formats = Vec::new();
    for (index, (fourcc, bits)) in (1..).zip([(b"YUY2", 16), (b"NV12", 12)]) {
        formats.extend([27, 0x24, 4, index, 1]);
        formats.extend(fourcc);
        formats.extend([0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
        formats.extend([bits, 1, 0, 0, 0, 0]);
        formats.extend(frame(5, 1, Resolution::P720));
    }
    formats.extend([11, 0x24, 6, 3, Resolution::ALL.len() as u8, 1, 1, 0, 0, 0, 0]);
    for (index, resolution) in (1..).zip(Resolution::ALL) {
        formats.extend(frame(7, index, resolution));
    }
    let total = 13 + FORMATS as u16 + formats.len() as u16;
    let mut bytes = vec![13 + FORMATS as u8, 0x24, 1, FORMATS as u8];
    bytes.extend(total.to_le_bytes());
    bytes.extend([0x81, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
    bytes.extend(formats);
    bytes
}

fn frame(subtype: u8, index: u8, resolution: Resolution) -> Vec<u8> {
    let (width, height) = resolution.size();
    let intervals = intervals(resolution);
    let mut bytes = vec![26 + 4 * intervals.len() as u8, 0x24, subtype, index, 0];
    bytes.extend((width as u16).to_le_bytes());
    bytes.extend((height as u16).to_le_bytes());
    let bits = width * height * 16;
    bytes.extend((bits * 5).to_le_bytes());
    bytes.extend(bits.saturating_mul(30).to_le_bytes());
    bytes.extend((width * height * 2).to_le_bytes());
    bytes.extend(intervals[0].to_le_bytes());
    bytes.push(intervals.len() as u8);
    intervals.iter().for_each(|interval| bytes.extend(interval.to_le_bytes()));
    bytes
}

/// The frame intervals of a resolution: 3072p does not reach 30 fps.
pub(crate) fn intervals(resolution: Resolution) -> &'static [u32] {
    &INTERVALS[usize::from(resolution == Resolution::P3072)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks descriptors by their lengths; gives type and bytes of each.
    fn walk(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut all = Vec::new();
        while let [len, kind, ..] = *bytes {
            let (one, rest) = bytes.split_at(usize::from(len));
            all.push((kind, one));
            bytes = rest;
        }
        assert!(bytes.is_empty(), "bytes behind the last descriptor");
        all
    }

    #[test]
    fn configurations_are_as_long_as_they_say_and_name_the_known_endpoints() {
        use ColorTransfer::{Bulk, Isochronous};
        for (function, color, addresses) in [
            (Function::Depth, Isochronous, vec![0x02, 0x81, 0x83]),
            (Function::Color, Isochronous, vec![0x81, 0x81, 0x81, 0x04, 0x83, 0x82]),
            (Function::Color, Bulk, vec![0x81, 0x04, 0x83, 0x82]),
        ] {
            let bytes = Descriptors::new(function, "000123456789", color).configuration;
            assert_eq!(usize::from(u16::from_le_bytes([bytes[2], bytes[3]])), bytes.len());
            let all = walk(&bytes);
            let endpoints: Vec<_> = all.iter().filter(|d| d.0 == 5).map(|d| d.1[2]).collect();
            assert_eq!(endpoints, addresses);
            let companions = all.iter().filter(|d| d.0 == 0x30).count();
            assert_eq!(companions, addresses.len());
        }
        assert_eq!(depth_configuration().len(), 57);
        assert_eq!(video_control().len(), 51);
    }

    #[test]
    fn the_streaming_header_covers_its_formats() {
        let bytes = video_streaming();
        assert_eq!(usize::from(u16::from_le_bytes([bytes[4], bytes[5]])), bytes.len());
        let frames = walk(&bytes).iter().filter(|d| [5, 7].contains(&d.1[2])).count();
        assert_eq!(frames, 8);
    }

    #[test]
    fn both_functions_of_a_camera_have_its_container_id() {
        let bos =
            |function, serial| Descriptors::new(function, serial, ColorTransfer::default()).bos;
        assert_eq!(bos(Function::Depth, "1"), bos(Function::Color, "1"));
        assert_ne!(bos(Function::Depth, "1")[26..], bos(Function::Depth, "2")[26..]);
        assert_eq!(bos(Function::Depth, "1").len(), 42);
        assert_eq!(walk(&bos(Function::Depth, "1")).len(), 4);
    }
}
