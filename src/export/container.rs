//! MCAP, as far as a file of it is written: <https://mcap.dev/spec>. Chunks are made on any core
//! and laid one behind the other.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"\x89MCAP0\r\n";

/// zstd's level: depth in a chunk gains little from a higher one, JPEGs nothing from any.
const LEVEL: i32 = 1;

/// Kinds of records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Header = 0x01,
    Footer = 0x02,
    Schema = 0x03,
    Channel = 0x04,
    Message = 0x05,
    Chunk = 0x06,
    MessageIndex = 0x07,
    ChunkIndex = 0x08,
    Attachment = 0x09,
    AttachmentIndex = 0x0A,
    Statistics = 0x0B,
    SummaryOffset = 0x0E,
    DataEnd = 0x0F,
}

/// Content of a record.
#[derive(Default)]
struct Content(Vec<u8>);

impl Content {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(mut self, value: usize) -> Result<Self> {
        let value = u32::try_from(value).map_err(|_| too_large())?;
        self.0.extend(value.to_le_bytes());
        Ok(self)
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Result<Self> {
        Ok(self.u32(text.len())?.raw(text.as_bytes()))
    }

    /// A map from channels to numbers.
    fn map(self, map: impl ExactSizeIterator<Item = (u16, u64)>) -> Result<Self> {
        let start = self.u32(map.len() * 10)?;
        Ok(map.fold(start, |content, (key, value)| content.u16(key).u64(value)))
    }

    /// The whole record.
    fn record(self, op: Op) -> Vec<u8> {
        let mut record = vec![op as u8];
        record.extend((self.0.len() as u64).to_le_bytes());
        record.extend(self.0);
        record
    }
}

fn too_large() -> Error {
    Error::File("an MCAP record has no room for 4 GiB".to_owned())
}

/// A message of a chunk.
pub struct Entry {
    /// Index of its channel.
    pub channel: u16,
    /// Its number within the channel.
    pub sequence: u32,
    /// When it was, in nanoseconds.
    pub time_ns: u64,
    /// What it says.
    pub data: Vec<u8>,
}

/// A chunk with its indexes, ready to be laid into the file.
#[derive(Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Length of the chunk itself; behind it are its indexes.
    len: u64,
    times: (u64, u64),
    compressed: u64,
    uncompressed: u64,
    /// Where the index of each channel begins, behind the chunk, and how many messages it has.
    indexes: BTreeMap<u16, (u64, u64)>,
}

impl Chunk {
    /// Packs messages.
    ///
    /// # Errors
    /// `File` when they are too large for the format.
    pub fn of(entries: &[Entry]) -> Result<Self> {
        let mut records = Vec::new();
        let mut indexes: BTreeMap<u16, Vec<(u64, u64)>> = BTreeMap::new();
        for entry in entries {
            let index = indexes.entry(entry.channel).or_default();
            index.push((entry.time_ns, records.len() as u64));
            let head = Content::default().u16(entry.channel).u32(entry.sequence as usize)?;
            let message = head.u64(entry.time_ns).u64(entry.time_ns).raw(&entry.data);
            records.extend(message.record(Op::Message));
        }
        let times = entries.iter().map(|entry| entry.time_ns);
        let times = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
        let packed = zstd::bulk::compress(&records, LEVEL);
        let packed =
            packed.map_err(|cause| Error::File(format!("cannot pack a chunk: {cause}")))?;
        let mut chunk = Self {
            times,
            compressed: packed.len() as u64,
            uncompressed: records.len() as u64,
            ..Self::default()
        };
        let head = Content::default().u64(times.0).u64(times.1).u64(chunk.uncompressed);
        let head = head.u32(crc32fast::hash(&records) as usize)?.text("zstd")?;
        chunk.bytes = head.u64(chunk.compressed).raw(&packed).record(Op::Chunk);
        chunk.len = chunk.bytes.len() as u64;
        for (channel, mut index) in indexes {
            index.sort_unstable();
            let at = chunk.bytes.len() as u64;
            chunk.indexes.insert(channel, (at, index.len() as u64));
            let content = Content::default().u16(channel).u32(index.len() * 16)?;
            let content = index.iter().fold(content, |all, (time, at)| all.u64(*time).u64(*at));
            chunk.bytes.extend(content.record(Op::MessageIndex));
        }
        Ok(chunk)
    }
}

/// A channel: a topic, and the schema of its messages.
pub struct Channel {
    /// Its topic.
    pub topic: String,
    /// Full name of its messages.
    pub schema: &'static str,
}

/// What an MCAP file gets behind its chunks, gathered while they are laid down.
#[derive(Default)]
pub struct Container {
    at: u64,
    /// Schemas and channels, which the file has at both ends.
    schemas: Vec<Vec<u8>>,
    channels: Vec<Vec<u8>>,
    chunk_indexes: Vec<Vec<u8>>,
    attachment_indexes: Vec<Vec<u8>>,
    counts: BTreeMap<u16, u64>,
    times: Option<(u64, u64)>,
}

impl Container {
    /// Begins a file with these channels, whose index in the list is their number; gives its first
    /// bytes. `descriptor` makes the description of a schema.
    ///
    /// # Errors
    /// `File` when they are too large for the format.
    pub fn begin(channels: &[Channel], descriptor: fn(&str) -> Vec<u8>) -> Result<(Self, Vec<u8>)> {
        let mut container = Self::default();
        let mut names: Vec<&str> = Vec::new();
        for (number, channel) in (0_u16..).zip(channels) {
            let known = names.iter().position(|name| *name == channel.schema);
            // Schema 0 stands for none.
            let schema = known.unwrap_or(names.len()) as u16 + 1;
            if known.is_none() {
                names.push(channel.schema);
                let data = descriptor(channel.schema);
                let content = Content::default().u16(schema).text(channel.schema)?;
                let content = content.text("protobuf")?.u32(data.len())?.raw(&data);
                container.schemas.push(content.record(Op::Schema));
            }
            let content = Content::default().u16(number).u16(schema).text(&channel.topic)?;
            let content = content.text("protobuf")?.u32(0)?;
            container.channels.push(content.record(Op::Channel));
        }
        let library = concat!("genlock ", env!("CARGO_PKG_VERSION"));
        let header = Content::default().text("")?.text(library)?.record(Op::Header);
        let mut front = [MAGIC, &header].concat();
        front.extend(container.schemas.concat());
        front.extend(container.channels.concat());
        container.at = front.len() as u64;
        Ok((container, front))
    }

    /// A file within the file; gives its bytes.
    ///
    /// # Errors
    /// `File` when it is too large for the format.
    pub fn attachment(&mut self, name: &str, media_type: &str, data: &[u8]) -> Result<Vec<u8>> {
        let content = Content::default().u64(0).u64(0).text(name)?.text(media_type)?;
        let content = content.u64(data.len() as u64).raw(data);
        let crc32 = crc32fast::hash(&content.0) as usize;
        let record = content.u32(crc32)?.record(Op::Attachment);
        let index = Content::default().u64(self.at).u64(record.len() as u64).u64(0).u64(0);
        let index = index.u64(data.len() as u64).text(name)?.text(media_type)?;
        self.attachment_indexes.push(index.record(Op::AttachmentIndex));
        self.at += record.len() as u64;
        Ok(record)
    }

    /// Lays a chunk down; gives its bytes.
    ///
    /// # Errors
    /// `File` when there are too many for the format.
    pub fn chunk(&mut self, chunk: Chunk) -> Result<Vec<u8>> {
        if chunk.indexes.is_empty() {
            return Ok(Vec::new());
        }
        let (first, last) = self.times.unwrap_or(chunk.times);
        self.times = Some((first.min(chunk.times.0), last.max(chunk.times.1)));
        let offsets = chunk.indexes.iter().map(|(channel, (at, _))| (*channel, self.at + at));
        let index = Content::default().u64(chunk.times.0).u64(chunk.times.1);
        let index = index.u64(self.at).u64(chunk.len).map(offsets)?;
        let index = index.u64(chunk.bytes.len() as u64 - chunk.len).text("zstd")?;
        let index = index.u64(chunk.compressed).u64(chunk.uncompressed);
        self.chunk_indexes.push(index.record(Op::ChunkIndex));
        for (channel, (_, count)) in chunk.indexes {
            *self.counts.entry(channel).or_default() += count;
        }
        self.at += chunk.bytes.len() as u64;
        Ok(chunk.bytes)
    }

    /// What closes the file.
    ///
    /// # Errors
    /// `File` when there is too much for the format.
    pub fn finish(self) -> Result<Vec<u8>> {
        // A checksum of 0 says that there is none: every chunk has its own.
        let mut end = Content::default().u32(0)?.record(Op::DataEnd);
        let summary_at = self.at + end.len() as u64;
        let (first, last) = self.times.unwrap_or((0, 0));
        let statistics = Content::default().u64(self.counts.values().sum());
        let statistics = statistics.u16(self.schemas.len() as u16).u32(self.channels.len())?;
        let statistics = statistics.u32(self.attachment_indexes.len())?.u32(0)?;
        let statistics = statistics.u32(self.chunk_indexes.len())?.u64(first).u64(last);
        let counts = self.counts.iter().map(|(channel, count)| (*channel, *count));
        let statistics = statistics.map(counts)?.record(Op::Statistics);
        let groups = [
            (Op::Schema, self.schemas.concat()),
            (Op::Channel, self.channels.concat()),
            (Op::Statistics, statistics),
            (Op::ChunkIndex, self.chunk_indexes.concat()),
            (Op::AttachmentIndex, self.attachment_indexes.concat()),
        ];
        let (mut summary, mut offsets) = (Vec::new(), Vec::new());
        for (op, group) in groups.iter().filter(|(_, group)| !group.is_empty()) {
            let at = summary_at + summary.len() as u64;
            let offset = Content::default().raw(&[*op as u8]).u64(at).u64(group.len() as u64);
            offsets.extend(offset.record(Op::SummaryOffset));
            summary.extend(group);
        }
        let offsets_at = summary_at + summary.len() as u64;
        summary.extend(offsets);
        // The checksum covers the footer up to itself.
        let footer = Content::default().u64(summary_at).u64(offsets_at);
        let whole = footer.raw(&[0; 4]).record(Op::Footer);
        summary.extend(&whole[..whole.len() - 4]);
        let crc32 = crc32fast::hash(&summary);
        summary.extend(crc32.to_le_bytes());
        end.extend(summary);
        end.extend(MAGIC);
        Ok(end)
    }
}
