//! The blocks of a file on their way from one profile to the other.

use super::How;
use super::content::{BlockHash, of_block};
use genlock_formats::k4a::{Packer, Packing, Unpacker};
use genlock_formats::mkv::{Fate, Header, Kept, ReadBlock, Recast};
use genlock_formats::take::Profile;
use genlock_formats::{Error, Result};

/// The tracks of a file whose blocks the profiles store in different ways.
#[derive(Debug, Clone)]
pub(super) struct Forms(Vec<Form>);

#[derive(Debug, Clone, Copy)]
struct Form {
    track: u64,
    packing: Packing,
    is_packed: bool,
}

impl Forms {
    /// Those of a file.
    ///
    /// # Errors
    /// When a track is packed in a way that is not known.
    pub fn of(header: &Header) -> Result<Self> {
        let mut forms = Vec::new();
        for track in &header.tracks {
            let packed = Packing::of_packed(track)?.map(|packing| (packing, true));
            let form = packed.or_else(|| Packing::of(track).map(|packing| (packing, false)));
            forms.extend(form.map(|(packing, is_packed)| Form {
                track: track.number,
                packing,
                is_packed,
            }));
        }
        Ok(Self(forms))
    }

    /// Whether a file with these is stored otherwise in this profile.
    pub fn change_in(&self, profile: Profile) -> bool {
        self.0.iter().any(|form| form.is_packed != (profile == Profile::Compact))
    }

    /// Bytes that the blocks of a cluster take in memory, packed and unpacked.
    pub fn bytes(&self, kept: &Kept<'_>) -> usize {
        let unpacked = |block: ReadBlock<'_>| {
            let form = self.0.iter().find(|form| form.track == block.track && form.is_packed)?;
            let packed = block.frames.clone().next()?;
            Some(Unpacker::unpacked_bytes(form.packing, packed))
        };
        kept.len() as usize + kept.blocks().filter_map(unpacked).sum::<usize>()
    }
}

/// A block that cannot be unpacked.
#[derive(Debug)]
pub(super) struct Damaged {
    /// Byte offset behind the block.
    pub to_byte: u64,
    pub time_ns: i64,
    /// Why, and where it is.
    pub what: Error,
}

/// Reads the blocks of a file, unpacked. It keeps its memory from one to the next.
pub(super) struct Reader {
    unpackers: Vec<(u64, Unpacker)>,
    image: Vec<u8>,
}

impl Reader {
    pub fn new(forms: &Forms) -> Self {
        let packed = forms.0.iter().filter(|form| form.is_packed);
        let unpackers = packed.map(|form| (form.track, Unpacker::new(form.packing)));
        Self { unpackers: unpackers.collect(), image: Vec::new() }
    }

    /// The image that a packed block unpacks to; none of one that is not packed.
    fn image(&mut self, block: &ReadBlock<'_>) -> Result<Option<&[u8]>> {
        let unpacker = self.unpackers.iter_mut().find(|(track, _)| *track == block.track);
        // A block with laces, which no recorder makes of images, is never packed.
        let Some((_, unpacker)) = unpacker.filter(|_| !block.frames.is_laced()) else {
            return Ok(None);
        };
        let packed = block.frames.clone().next().unwrap_or_default();
        unpacker.unpack(packed, &mut self.image)?;
        Ok(Some(&self.image))
    }

    /// The hashes of the blocks of a cluster.
    pub fn hashes(&mut self, kept: &Kept<'_>) -> Vec<BlockHash> {
        let hash = |block: ReadBlock<'_>| Some(of_block(&block, self.image(&block).ok()?));
        kept.blocks().filter_map(hash).collect()
    }
}

/// What came of a cluster.
pub(super) struct Turned {
    pub cluster: Recast,
    pub hashes: Vec<BlockHash>,
    pub damaged: Vec<Damaged>,
}

/// Turns the clusters of a file into those of another profile.
pub(super) struct Turner {
    reader: Reader,
    packers: Vec<(u64, Packer)>,
}

impl Turner {
    pub fn new(forms: &Forms, how: How) -> Self {
        let unpacked = forms.0.iter().filter(|form| !form.is_packed);
        let packers = unpacked.map(|form| (form.track, Packer::new(form.packing, how.level)));
        let packers = match how.profile {
            Profile::Compact => packers.collect(),
            Profile::K4a => Vec::new(),
        };
        // What is packed already stays so in a file that is to be packed.
        Self { reader: Reader::new(forms), packers }
    }

    pub fn turn(&mut self, kept: &Kept<'_>, profile: Profile) -> Turned {
        let (mut hashes, mut damaged) = (Vec::new(), Vec::new());
        let cluster = kept.recast(&mut |block, other| {
            let image = match self.reader.image(block) {
                Ok(image) => image,
                Err(what) => {
                    let what = Error::new(what.kind, block.at);
                    let (to_byte, time_ns) = (block.end, block.time_ns);
                    damaged.push(Damaged { to_byte, time_ns, what });
                    return Fate::Gone;
                }
            };
            hashes.push(of_block(block, image));
            if let Some(image) = image.filter(|_| profile == Profile::K4a) {
                other.extend_from_slice(image);
                return Fate::Other;
            }
            let packer = self.packers.iter_mut().find(|(track, _)| *track == block.track);
            match (packer, block.frames.clone().next()) {
                (Some((_, packer)), Some(frame)) if !block.frames.is_laced() => {
                    packer.pack(frame, other);
                    Fate::Other
                }
                _ => Fate::Same,
            }
        });
        Turned { cluster, hashes, damaged }
    }
}
