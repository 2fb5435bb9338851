//! One file, stored in another profile.

use super::blocks::{Damaged, Forms, Reader, Turned, Turner};
use super::content::Content;
use super::{How, Watch};
use crate::deal::{cores, in_order};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{PartFile, is_taken};
use crate::repair::{
    Append, CONVERTING, LISTED_MAX, LostPart, Tally, grow, header, publish, refuse_growing,
    refuse_taken,
};
use genlock_formats::k4a::{Packing, Rebuilt, Recording, packed_track, unpacked_track};
use genlock_formats::mkv::{Demuxer, Finish, Kept, Muxer, Salvaged, Track};
use genlock_formats::take::Profile;
use serde::Serialize;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

/// What came of storing one file in another profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Converted {
    /// Bytes of the source.
    pub bytes_before: u64,
    /// Bytes of the output.
    pub bytes_after: u64,
    /// CRC-32 of the output, in hexadecimal digits.
    pub crc32: String,
    /// SHA-256 of what was read of the source: of its front, and of every block, unpacked, with
    /// its time.
    pub content_before: String,
    /// The same of the output, as it was read back from the disk.
    pub content_after: String,
    /// What a source that was not finished did not say and the output now does.
    pub rebuilt: Vec<String>,
    /// What nobody can know any more.
    pub unknown: Vec<String>,
    /// What of the source could not be read, or has changed since it was written.
    pub lost: Vec<LostPart>,
}

/// Stores the recording at `source` in another profile, in the new file `output`.
///
/// # Errors
/// `Usage` when it is stored so already, is still being recorded, or `output` is taken; `File` when
/// it cannot be read, or what was written does not hold the same; `Disk` when it cannot be written.
/// Nothing is left then.
pub fn file(source: &Path, output: &Path, how: How, watch: &mut Watch<'_>) -> Result<Converted> {
    let map = Map::open(source)?;
    refuse_growing(source)?;
    let recording = Recording::open(&map).map_err(|cause| Error::file(source, &cause))?;
    let forms = forms(source, &recording)?;
    if !forms.change_in(how.profile) {
        let (path, profile) = (source.display(), how.profile);
        return Err(Error::Usage(match recording.profile() {
            Some(_) => format!("{path} is of profile {profile} already: nothing is to be done"),
            None => format!("{path} has no track that is stored otherwise in profile {profile}"),
        }));
    }
    refuse_taken(output)?;
    store((source, &map, &recording), output, how, watch)
}

fn forms(path: &Path, recording: &Recording<'_>) -> Result<Forms> {
    Forms::of(recording.demuxer().header()).map_err(|cause| Error::file(path, &cause))
}

/// Stores a file, also where nothing changes in it.
pub(super) fn store(
    (source, map, recording): (&Path, &Map, &Recording<'_>),
    output: &Path,
    how: How,
    watch: &mut Watch<'_>,
) -> Result<Converted> {
    let growing = growing(output);
    if is_taken(&growing) {
        return Err(Error::Usage(format!(
            "{} is there, from a conversion that was interrupted or still goes on: remove it when \
             none does",
            growing.display()
        )));
    }
    let forms = forms(source, recording)?;
    let mut file = PartFile::create_under(growing, output)?;
    let conversion = Conversion { source, map, recording, forms, output, how };
    let done = grow(&mut file, output, |append| conversion.write(append, watch));
    let checked = done.and_then(|converted| conversion.check(converted, watch));
    publish(file, checked)
}

/// What a new file is called while it grows.
fn growing(output: &Path) -> PathBuf {
    output.with_added_extension(CONVERTING)
}

struct Conversion<'c> {
    source: &'c Path,
    map: &'c Map,
    recording: &'c Recording<'c>,
    forms: Forms,
    output: &'c Path,
    how: How,
}

/// A piece of a file that was turned: where it ends, and what came of it.
type Piece = (u64, Turned);

impl Conversion<'_> {
    /// Writes the output; gives what closes it, and what there is to say so far.
    fn write(&self, append: Append<'_>, watch: &mut Watch<'_>) -> Result<(Finish, Converted)> {
        let failed = |cause| Error::file(self.source, &cause);
        let demuxer = self.recording.demuxer();
        let profile = self.how.profile;
        // Once it is finished nothing tells that it was not, and repair would leave it as it is.
        let rebuilt = match demuxer.is_finished() {
            true => Rebuilt::default(),
            false => self.recording.rebuilt(),
        };
        let parts = demuxer.parts_recast(&rebuilt.tags, &|track| turned(track, profile));
        let parts = parts.map_err(failed)?;
        let mut content = Content::of_front(demuxer, &parts).map_err(failed)?;
        let (mut muxer, front) = Muxer::with_parts(&header(self.recording, "convert"), &parts);
        let mut front = Some(front);
        let mut tally = Tally::new(self.recording, self.map.len());
        let (mut damaged, mut at) = (Vec::new(), 0);
        let pieces = kept(demuxer, &self.forms, |piece| tally.piece(piece));
        let turner = || {
            let mut turner = Turner::new(&self.forms, self.how);
            move |kept: Kept<'_>| (kept.end(), turner.turn(&kept, profile))
        };
        in_order(cores(), pieces, turner, |(end, turned): Piece| {
            content.blocks(&turned.hashes);
            let room = LISTED_MAX.saturating_sub(damaged.len());
            damaged.extend(turned.damaged.into_iter().take(room));
            if !turned.cluster.is_empty() {
                // The front goes with the first cluster: alone it is no recording.
                let front = front.take();
                let pieces = front.iter().map(Vec::as_slice).chain(turned.cluster.pieces());
                append(&mut pieces.map(IoSlice::new).collect::<Vec<_>>())?;
                muxer.recast(&turned.cluster);
            }
            let more = end.saturating_sub(at);
            at = end;
            watch.done(more, self.output)
        })?;
        if front.is_some() {
            return Err(Error::file(self.source, &"holds no whole frame: cannot be converted"));
        }
        let finish = muxer.finish();
        let crc32 = finish.crc32.map(|crc32| format!("{crc32:08x}")).unwrap_or_default();
        let converted = Converted {
            bytes_before: self.map.len() as u64,
            bytes_after: 0,
            crc32,
            content_before: content.finish(),
            content_after: String::new(),
            rebuilt: rebuilt.rebuilt,
            unknown: rebuilt.unknown,
            lost: self.lost(tally, damaged),
        };
        Ok((finish, converted))
    }

    /// What of the source is lost, in its order.
    fn lost(&self, tally: Tally, damaged: Vec<Damaged>) -> Vec<LostPart> {
        let offset_us = self.recording.configuration().start_offset_ns / 1000;
        let mut lost = tally.report.lost;
        lost.extend(damaged.into_iter().map(|block| {
            let time_us = offset_us.saturating_add_signed(block.time_ns / 1000);
            LostPart {
                from_byte: block.what.at,
                to_byte: block.to_byte,
                what: block.what.to_string(),
                kept: false,
                after_us: Some(time_us),
                before_us: Some(time_us),
            }
        }));
        lost.sort_by_key(|part| part.from_byte);
        lost
    }

    /// Reads back what was written, and holds it against what was read of the source.
    fn check(&self, converted: Converted, watch: &mut Watch<'_>) -> Result<Converted> {
        let written = growing(self.output);
        let map = Map::open(&written)?;
        let failed = |cause: genlock_formats::Error| Error::file(&written, &cause);
        let demuxer = Demuxer::open(&map).map_err(failed)?;
        let forms = Forms::of(demuxer.header()).map_err(failed)?;
        let parts = demuxer.parts_with(&[]);
        let mut content = Content::of_front(&demuxer, &parts).map_err(failed)?;
        let pieces = kept(&demuxer, &forms, |_| {});
        let reader = || {
            let mut reader = Reader::new(&forms);
            move |kept: Kept<'_>| (kept.end(), reader.hashes(&kept))
        };
        let (of, whole) = (map.len() as u64, self.map.len() as u64);
        let mut told = 0;
        in_order(cores(), pieces, reader, |(end, hashes)| {
            content.blocks(&hashes);
            // Told as bytes of the source.
            let reached = (u128::from(whole) * u128::from(end) / u128::from(of.max(1))) as u64;
            let more = reached.saturating_sub(told);
            told = reached;
            watch.done(more, self.output)
        })?;
        let content_after = content.finish();
        if content_after != converted.content_before {
            return Err(Error::File(format!(
                "{}: what was written does not hold the same ({content_after} instead of {}): \
                 nothing is left of it; please report it",
                self.output.display(),
                converted.content_before
            )));
        }
        Ok(Converted { bytes_after: of, content_after, ..converted })
    }
}

/// The track in a file of this profile, where it is another there.
fn turned(track: &Track, profile: Profile) -> genlock_formats::Result<Option<Track>> {
    match profile {
        Profile::Compact => Ok(Packing::of(track).map(|_| packed_track(track))),
        Profile::K4a => unpacked_track(track),
    }
}

/// The clusters that can be kept of a file, each with the bytes that it takes in memory. `tell`
/// hears of every piece.
fn kept<'a>(
    demuxer: &Demuxer<'a>,
    forms: &Forms,
    mut tell: impl FnMut(&Salvaged<'a>),
) -> impl Iterator<Item = (Kept<'a>, usize)> {
    demuxer.salvage().inspect(move |piece| tell(piece)).filter_map(|piece| match piece {
        Salvaged::Kept(kept) => {
            let bytes = forms.bytes(&kept);
            Some((kept, bytes))
        }
        Salvaged::Lost(_) => None,
    })
}
