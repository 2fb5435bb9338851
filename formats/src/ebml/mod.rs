//! EBML, the binary tree that Matroska is made of: element ids, variable-length numbers, reading
//! and writing elements.

pub mod id;
mod read;
mod write;

pub use read::{Children, Element, is_top_level, number};
pub use write::{Writer, put_id, put_size, put_size_of_width, size_width};

/// Bytes from hexadecimal digits, white space ignored.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
