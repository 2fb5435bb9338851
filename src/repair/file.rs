//! One file: copied with what is left of it, or finished where it lies.

use super::grow::{grow, publish};
use super::own_name;
use super::report::{Report, Tally};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::record::{PartFile, give_name, is_taken};
use genlock_formats::k4a::Recording;
use genlock_formats::mkv::{Finish, Header, Muxer, Patch, Salvaged, Step};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes what is left of the recording at `path` into the new file `output`: with a valid front,
/// exact sizes and an index. A sound file is left as it is, and nothing is written.
///
/// # Errors
/// `Usage` when `output` is taken, `File` when nothing can be repaired, `Disk` when it cannot be
/// written; nothing is left then.
pub fn into_new_file(path: &Path, output: &Path) -> Result<Report> {
    let map = Map::open(path)?;
    refuse_growing(path)?;
    let recording = open(path, &map)?;
    if own_name(path).is_none()
        && let Some(report) = sound(path, &map, &recording)?
    {
        return Ok(report);
    }
    refuse_taken(output)?;
    copy(path, &map, &recording, output)
}

/// Finishes the recording at `path`, which is one of our own, where it lies, and gives it its name.
///
/// # Errors
/// `Usage` for files of other recorders, or when the name is taken; `File` when it cannot be
/// repaired so; `Disk` when it cannot be written: it is no worse then.
pub fn where_it_lies(path: &Path) -> Result<Report> {
    let name = own_name(path);
    name.as_deref().map_or(Ok(()), refuse_taken)?;
    let map = Map::open(path)?;
    refuse_growing(path)?;
    let recording = open(path, &map)?;
    if let (None, Some(report)) = (&name, sound(path, &map, &recording)?) {
        return Ok(report);
    }
    if !recording.demuxer().is_ours() {
        return Err(Error::Usage(format!(
            "{} was not recorded by genlock, and such files are not written over: leave --in-place \
             out",
            path.display()
        )));
    }
    let mut tally = Tally::new(&recording, map.len());
    let plan = recording.demuxer().finish_in_place(&mut |piece| tally.piece(piece));
    let plan = plan.map_err(|cause| {
        let advice = format!("{cause}; without --in-place what is left is copied");
        Error::file(path, &advice)
    })?;
    // What is mapped must not be cut.
    drop(recording);
    drop(map);
    apply(path, &plan.steps)?;
    if let Some(name) = &name {
        give_name(path, name)?;
    }
    Ok(Report { output: name.or(Some(path.to_owned())), ..tally.report })
}

fn apply(path: &Path, steps: &[Step]) -> Result<()> {
    let failed = |cause: &std::io::Error| Error::disk("cannot write", path, cause);
    let file = OpenOptions::new().write(true).open(path).map_err(|cause| failed(&cause))?;
    for step in steps {
        let done = match step {
            Step::Cut(bytes) => file.set_len(*bytes),
            Step::Write(Patch { at, bytes }) => file.write_all_at(bytes, *at),
            Step::Sync => file.sync_data(),
        };
        done.map_err(|cause| failed(&cause))?;
    }
    // A killed recorder leaves blocks beyond the end, which nobody sees and nobody else can use.
    let bytes = file.metadata().map(|data| data.len());
    bytes.and_then(|bytes| file.set_len(bytes)).map_err(|cause| failed(&cause))
}

fn open<'m>(path: &Path, map: &'m Map) -> Result<Recording<'m>> {
    Recording::open(map).map_err(|cause| Error::file(path, &format!("{cause}: cannot be repaired")))
}

/// What there is to say of a file that was finished and is sound. One whose bytes have changed and
/// that is well-formed all the same is beyond repair.
fn sound(path: &Path, map: &Map, recording: &Recording<'_>) -> Result<Option<Report>> {
    if !recording.demuxer().is_sound_around_clusters() || recording.rebuilt().is_needed {
        return Ok(None);
    }
    let mut tally = Tally::new(recording, map.len());
    recording.demuxer().salvage().for_each(|piece| tally.piece(&piece));
    let report = tally.report;
    if report.lost.iter().any(|lost| !lost.kept) {
        return Ok(None);
    }
    match report.lost.first() {
        None => Ok(Some(report)),
        Some(part) => Err(Error::file(
            path,
            &format!(
                "was finished, and bytes of it have changed since; what they were nobody knows, \
                 and nothing can be repaired: {} (at byte {})",
                part.what, part.from_byte
            ),
        )),
    }
}

/// Lays out anew what is left of a recording of `bytes` bytes: `append` gets the bytes of the new
/// file, in order. Gives what closes that file, if there is a whole frame to go into it, and what
/// there is to say.
///
/// # Errors
/// Those of `append`.
pub fn lay_out_anew(
    recording: &Recording<'_>,
    bytes: usize,
    append: &mut dyn FnMut(&mut [IoSlice<'_>]) -> Result<()>,
) -> Result<(Option<Finish>, Report)> {
    let rebuilt = recording.rebuilt();
    let demuxer = recording.demuxer();
    let header = header(recording, "repair");
    let (mut muxer, front) = Muxer::with_parts(&header, &demuxer.parts_with(&rebuilt.tags));
    let mut tally = Tally::new(recording, bytes);
    tally.report.rebuilt = rebuilt.rebuilt;
    tally.report.unknown = rebuilt.unknown;
    let mut front = Some(front);
    for piece in demuxer.salvage() {
        tally.piece(&piece);
        if let Salvaged::Kept(kept) = &piece {
            // The front goes with the first cluster: alone it is no recording.
            let front = front.take();
            let pieces = front.iter().map(Vec::as_slice).chain(kept.pieces());
            append(&mut pieces.map(IoSlice::new).collect::<Vec<_>>())?;
            muxer.kept(kept);
        }
    }
    let finish = front.is_none().then(|| muxer.finish());
    Ok((finish, tally.report))
}

/// The front of a file that `what` lays out anew. It says who wrote it where nothing does.
#[must_use]
pub fn header(recording: &Recording<'_>, what: &str) -> Header {
    let mut header = recording.demuxer().header().clone();
    if !recording.demuxer().has_info() {
        let version = env!("CARGO_PKG_VERSION");
        header.info.muxing_app = format!("genlock-{version}");
        header.info.writing_app = format!("genlock-{what}-{version}");
        header.info.title = "Azure Kinect".to_owned();
    }
    header
}

/// Copies what is left.
pub(super) fn copy(
    path: &Path,
    map: &Map,
    recording: &Recording<'_>,
    output: &Path,
) -> Result<Report> {
    // Not `.part`: that may be the name of what is repaired.
    let growing = output.with_added_extension("repairing");
    if is_taken(&growing) {
        return Err(Error::Usage(format!(
            "{} is there, from a repair that was interrupted or still goes on: remove it when \
             none does",
            growing.display()
        )));
    }
    let mut file = PartFile::create_under(growing, output)?;
    let write = |append: &mut dyn FnMut(&mut [IoSlice<'_>]) -> Result<()>| {
        let (finish, report) = lay_out_anew(recording, map.len(), append)?;
        let nothing = || Error::file(path, &"holds no whole frame: cannot be repaired");
        Ok((finish.ok_or_else(nothing)?, report))
    };
    let done = grow(&mut file, output, write);
    let report = publish(file, done)?;
    Ok(Report { output: Some(output.to_owned()), ..report })
}

/// That nothing is overwritten.
///
/// # Errors
/// `Usage` when something has this name.
pub fn refuse_taken(path: &Path) -> Result<()> {
    match is_taken(path) {
        true => Err(Error::Usage(format!("{} exists and is not overwritten", path.display()))),
        false => Ok(()),
    }
}

/// That nobody records what is to be read: a recorder holds a lock on it.
///
/// # Errors
/// `Usage` when somebody does.
pub fn refuse_growing(path: &Path) -> Result<()> {
    let locked = File::open(path).map(|file| file.try_lock_shared());
    match locked {
        Ok(Err(TryLockError::WouldBlock)) => {
            Err(Error::Usage(format!("{} is still being recorded", path.display())))
        }
        // What cannot be opened is told of where it is read.
        _ => Ok(()),
    }
}
