//! Protocol Buffers, as far as messages are written: fields in the order of their calls.
//! The wire format: <https://protobuf.dev/programming-guides/encoding/>.

/// A message that grows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message(Vec<u8>);

/// How a field's bytes are to be read.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

impl Message {
    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7F {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn field(mut self, field: u32, wire: Wire) -> Self {
        self.number(u64::from(field << 3 | wire as u32));
        self
    }

    /// An integer or an enumeration's value, not negative.
    pub fn varint(self, field: u32, value: u64) -> Self {
        let mut message = self.field(field, Wire::Varint);
        message.number(value);
        message
    }

    /// A `fixed32`.
    pub fn fixed32(self, field: u32, value: u32) -> Self {
        let mut message = self.field(field, Wire::Fixed32);
        message.0.extend(value.to_le_bytes());
        message
    }

    /// A `double`.
    pub fn double(self, field: u32, value: f64) -> Self {
        let mut message = self.field(field, Wire::Fixed64);
        message.0.extend(value.to_le_bytes());
        message
    }

    /// Repeated `double`s.
    pub fn doubles(self, field: u32, values: &[f64]) -> Self {
        let mut message = self.field(field, Wire::Bytes);
        message.number(values.len() as u64 * 8);
        message.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        message
    }

    /// A `bytes`.
    pub fn bytes(self, field: u32, value: &[u8]) -> Self {
        let mut message = self.field(field, Wire::Bytes);
        message.number(value.len() as u64);
        message.0.extend(value);
        message
    }

    /// A `string`.
    pub fn string(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message within this one.
    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_bytes_of_the_specification() {
        // The examples of the encoding's guide.
        assert_eq!(Message::default().varint(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().string(2, "testing").into_bytes();
        assert_eq!(text, b"\x12\x07testing");
        let inner = Message::default().varint(1, 150);
        let outer = Message::default().message(3, &inner).into_bytes();
        assert_eq!(outer, [0x1A, 0x03, 0x08, 0x96, 0x01]);
        let fixed = Message::default().fixed32(1, 1).double(2, 1.0).into_bytes();
        assert_eq!(fixed, [0x0D, 1, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]);
        let many = Message::default().doubles(5, &[0.0, 1.0]).into_bytes();
        assert_eq!(many[..2], [0x2A, 16]);
        assert_eq!(many.len(), 18);
    }
}
