//! EBML, the binary tree that Matroska is made of: element ids, variable-length numbers, reading and
//! writing elements.

pub mod id;
