//! Writing elements into a byte vector.

use super::id;

/// Elements appended to a byte vector, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// No elements yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The elements written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An unsigned integer in as few bytes as it needs, at least one.
    pub fn uint(&mut self, id: u32, value: u64) {
        let skip = (value.leading_zeros() as usize / 8).min(7);
        self.binary(id, &value.to_be_bytes()[skip..]);
    }

    /// A signed integer in eight bytes, as dates are written.
    pub fn date(&mut self, id: u32, ns: i64) {
        self.binary(id, &ns.to_be_bytes());
    }

    /// An eight-byte float.
    pub fn float(&mut self, id: u32, value: f64) {
        self.binary(id, &value.to_be_bytes());
    }

    /// A string.
    pub fn text(&mut self, id: u32, value: &str) {
        self.binary(id, value.as_bytes());
    }

    /// An element with these bytes as its content.
    pub fn binary(&mut self, id: u32, content: &[u8]) {
        put_id(&mut self.bytes, id);
        put_size(&mut self.bytes, content.len() as u64);
        self.bytes.extend_from_slice(content);
    }

    /// An element whose content is what `children` writes.
    pub fn master(&mut self, id: u32, children: impl FnOnce(&mut Self)) {
        let mut inner = Self::new();
        children(&mut inner);
        self.binary(id, &inner.bytes);
    }

    /// A master whose first child is the CRC-32 of the others.
    pub fn master_with_crc(&mut self, id: u32, children: impl FnOnce(&mut Self)) {
        self.master(id, |outer| {
            let mut inner = Self::new();
            children(&mut inner);
            outer.binary(id::CRC_32, &crc32fast::hash(&inner.bytes).to_le_bytes());
            outer.bytes.extend_from_slice(&inner.bytes);
        });
    }

    /// Elements that are laid out already.
    pub fn raw(&mut self, elements: &[u8]) {
        self.bytes.extend_from_slice(elements);
    }

    /// A Void of `total` bytes in all, its own head of three bytes included.
    ///
    /// # Panics
    /// Below 3 bytes and above 16385: reserves are made larger and smaller than that.
    pub fn void(&mut self, total: usize) {
        let content = total.checked_sub(3).expect("a void's head takes three bytes");
        put_id(&mut self.bytes, id::VOID);
        let size = u16::try_from(content).expect("reserves are small");
        assert!(size < 0x3FFF, "a two-byte size holds 14 bits");
        self.bytes.extend_from_slice(&(size | 0x4000).to_be_bytes());
        self.bytes.resize(self.bytes.len() + content, 0);
    }
}

/// Appends an element's id.
pub fn put_id(bytes: &mut Vec<u8>, id: u32) {
    let skip = id.leading_zeros() as usize / 8;
    bytes.extend_from_slice(&id.to_be_bytes()[skip.min(3)..]);
}

/// Appends an element's size in as few bytes as it needs.
pub fn put_size(bytes: &mut Vec<u8>, size: u64) {
    put_size_of_width(bytes, size, size_width(size));
}

/// Appends an element's size in `width` bytes, at most 8 and no fewer than it needs.
pub fn put_size_of_width(bytes: &mut Vec<u8>, size: u64, width: usize) {
    let marked = size | (1 << (7 * width));
    bytes.extend_from_slice(&marked.to_be_bytes()[8 - width..]);
}

/// Bytes that [`put_size`] takes for `size`.
#[must_use]
pub const fn size_width(size: u64) -> usize {
    let mut width = 1;
    // All ones means "unknown", so each width ends one short of its largest number.
    while width < 8 && size >= (1 << (7 * width)) - 1 {
        width += 1;
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebml::hex;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn sizes_take_as_few_bytes_as_they_need() {
        let size = |size| written(|w| put_size(&mut w.bytes, size));
        assert_eq!(size(0), [0x80]);
        assert_eq!(size(126), [0xFE]);
        assert_eq!(size(127), [0x40, 0x7F]);
        assert_eq!(size(16_382), [0x7F, 0xFE]);
        assert_eq!(size(16_383), [0x20, 0x3F, 0xFF]);
    }

    #[test]
    fn elements_are_those_of_the_official_writer() {
        // recording-format.md, Appendix A.
        assert_eq!(written(|w| w.uint(id::TIMESTAMP_SCALE, 1000)), hex("2AD7B1 82 03E8"));
        assert_eq!(
            written(|w| w.uint(id::DEFAULT_DURATION, 200_000_000)),
            hex("23E383 84 0BEBC200")
        );
        assert_eq!(written(|w| w.void(1027))[..3], hex("EC 4400"));
        assert_eq!(written(|w| w.void(259)).len(), 259);
    }
}
