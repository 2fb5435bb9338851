//! The streams of a coded image, one after another: each behind its length, and the length it has
//! when it is coded.
//!
//! zstd is the entropy stage, and of it the Huffman coder alone. Behind a good prediction no bytes
//! repeat but by chance, and matches cost more than they save.

use crate::{Error, ErrorKind, Result};
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, FrameFormat, ParamSwitch, compress_bound,
};

/// Seeks matches in the fewest places that zstd can be told to.
const HUFFMAN_ALONE: i32 = -131_072;

/// Streams shorter than this are not coded: a table would be longer than what it saves.
const CODED_FROM: usize = 64;

/// Bytes of a number at most.
const NUMBER_BYTES_MAX: usize = 5;

/// Writes streams.
pub(super) struct Writer {
    context: CCtx<'static>,
    pairs: Vec<u8>,
    coded: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        let mut context = CCtx::create();
        let parameters = [
            CParameter::CompressionLevel(HUFFMAN_ALONE),
            CParameter::LiteralCompressionMode(ParamSwitch::Enable),
            CParameter::Format(FrameFormat::Magicless),
            CParameter::ContentSizeFlag(false),
        ];
        for parameter in parameters {
            context.set_parameter(parameter).expect("zstd knows its own parameters");
        }
        Self { context, pairs: Vec::new(), coded: Vec::new() }
    }
}

impl Writer {
    /// Writes a number: seven bits a byte, the lowest first.
    fn number(out: &mut Vec<u8>, mut number: usize) {
        while number > 0x7F {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    /// Writes bytes that cannot be coded shorter.
    pub(super) fn stored(out: &mut Vec<u8>, stream: &[u8]) {
        Self::number(out, stream.len());
        out.extend_from_slice(stream);
    }

    /// Writes bytes.
    pub(super) fn bytes(&mut self, out: &mut Vec<u8>, stream: &[u8]) {
        Self::number(out, stream.len());
        if stream.is_empty() {
            return;
        }
        let length = self.code(stream);
        if (1..stream.len()).contains(&length) {
            Self::number(out, length);
            out.extend_from_slice(&self.coded[..length]);
        } else {
            Self::number(out, 0);
            out.extend_from_slice(stream);
        }
    }

    /// Puts the short form of a stream into `coded`; gives its length, 0 for one that has none.
    /// What zstd cannot do is done without it.
    fn code(&mut self, stream: &[u8]) -> usize {
        if stream.len() < CODED_FROM {
            return 0;
        }
        let room = compress_bound(stream.len());
        if self.coded.len() < room {
            self.coded.resize(room, 0);
        }
        self.context.compress2(&mut self.coded[..], stream).unwrap_or(0)
    }

    /// Writes numbers below 16, two a byte, the first in the low bits.
    #[inline(always)]
    pub(super) fn nibbles(&mut self, out: &mut Vec<u8>, stream: &[u8]) {
        let (pairs, last) = stream.as_chunks::<2>();
        let mut bytes = std::mem::take(&mut self.pairs);
        bytes.clear();
        bytes.resize(pairs.len(), 0);
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = u16::from_le_bytes(*pair);
            *byte = (pair | pair >> 4) as u8;
        }
        bytes.extend_from_slice(last);
        // Whether there is a last one alone, the length in nibbles says.
        Self::number(out, stream.len() % 2);
        self.bytes(out, &bytes);
        self.pairs = bytes;
    }
}

/// Reads streams.
pub(super) struct Reader<'a> {
    context: &'a mut Context,
    bytes: &'a [u8],
    at: usize,
}

/// What a reader keeps from one image to the next.
pub(super) struct Context {
    context: DCtx<'static>,
    pairs: Vec<u8>,
}

impl Default for Context {
    fn default() -> Self {
        let mut context = DCtx::create();
        let set = context.set_parameter(DParameter::Format(FrameFormat::Magicless));
        set.expect("zstd knows its own parameters");
        Self { context, pairs: Vec::new() }
    }
}

impl<'a> Reader<'a> {
    /// A reader of a coded image.
    pub(super) fn new(context: &'a mut Context, bytes: &'a [u8]) -> Self {
        Self { context, bytes, at: 0 }
    }

    /// What is wrong where it has come to.
    pub(super) fn malformed(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Malformed(what), self.at as u64)
    }

    /// So many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..bytes));
        let truncated = || Error::new(ErrorKind::Truncated("a coded image"), self.at as u64);
        let taken = taken.ok_or_else(truncated)?;
        self.at += bytes;
        Ok(taken)
    }

    /// A byte.
    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number, and that it is at most `most`.
    fn number(&mut self, most: usize) -> Result<usize> {
        let mut number = 0;
        for place in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return match number <= most {
                    true => Ok(number),
                    false => Err(self.malformed("a stream that is longer than its image has it")),
                };
            }
        }
        Err(self.malformed("a number of more than 32 bits"))
    }

    /// Bytes that were stored.
    pub(super) fn stored(&mut self, most: usize) -> Result<&'a [u8]> {
        let bytes = self.number(most)?;
        self.take(bytes)
    }

    /// Appends a stream to `stream`, which then has `most` bytes at most.
    pub(super) fn bytes(&mut self, stream: &mut Vec<u8>, most: usize) -> Result<()> {
        let begins = stream.len();
        let bytes = self.number(most.saturating_sub(begins))?;
        if bytes == 0 {
            return Ok(());
        }
        let length = self.number(bytes)?;
        if length == 0 {
            stream.extend_from_slice(self.take(bytes)?);
            return Ok(());
        }
        let coded = self.take(length)?;
        stream.resize(begins + bytes, 0);
        match self.context.context.decompress(&mut stream[begins..], coded) {
            Ok(restored) if restored == bytes => Ok(()),
            _ => Err(self.malformed("a stream that zstd did not write, before this")),
        }
    }

    /// Appends numbers below 16 to `stream`, which then has `most` at most.
    pub(super) fn nibbles(&mut self, stream: &mut Vec<u8>, most: usize) -> Result<()> {
        let odd = self.number(1)?;
        let left = most.saturating_sub(stream.len());
        let mut pairs = std::mem::take(&mut self.context.pairs);
        pairs.clear();
        let read = self.bytes(&mut pairs, left.div_ceil(2));
        let begins = stream.len();
        stream.resize(begins + 2 * pairs.len(), 0);
        for (two, pair) in stream[begins..].as_chunks_mut::<2>().0.iter_mut().zip(&pairs) {
            *two = [pair & 0xF, pair >> 4];
        }
        let is_sound = odd <= pairs.len() && (odd == 0 || stream.pop() == Some(0));
        self.context.pairs = pairs;
        read?;
        if is_sound { Ok(()) } else { Err(self.malformed("half a byte, before this")) }
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<()> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(self.malformed("bytes behind a coded image")),
        }
    }
}
