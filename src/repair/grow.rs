//! A new file that is made durable while it grows.

use crate::error::{Error, Result};
use crate::record::{Disk, PartFile};
use genlock_formats::mkv::Finish;
use std::io::IoSlice;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// How much is written before the disk is told to make it durable, beside the writing of more.
const SYNC_EVERY_BYTES: u64 = 64 << 20;

/// What appends to a file.
pub type Append<'a> = &'a mut dyn FnMut(&mut [IoSlice<'_>]) -> Result<()>;

/// Writes a new file, which will be `output`: what `write` appends, and then what it says closes
/// it. Whole and durable, it still has to get its name. Gives what else `write` has to say.
///
/// # Errors
/// `Disk` when it cannot be written, and those of `write`.
pub fn grow<T>(
    file: &mut PartFile,
    output: &Path,
    write: impl FnOnce(Append<'_>) -> Result<(Finish, T)>,
) -> Result<T> {
    let beside = file.beside()?;
    // The disk is to work while we write, and not to wait for the last byte.
    let (grown, heard) = sync_channel(1);
    let (finish, said) = std::thread::scope(|scope| {
        let syncing = scope.spawn(move || heard.into_iter().try_for_each(|()| beside.sync_data()));
        let mut unsynced = 0;
        let wrote = write(&mut |pieces| {
            unsynced += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            file.append(pieces)?;
            // A thread that is busy hears of it later.
            if unsynced >= SYNC_EVERY_BYTES && grown.try_send(()).is_ok() {
                unsynced = 0;
            }
            Ok(())
        });
        drop(grown);
        // The system tells of a write that failed once, and it may have told that thread.
        let synced = syncing.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        let wrote = wrote?;
        synced.map_err(|cause| Error::disk("cannot make durable", output, &cause))?;
        Ok(wrote)
    })?;
    file.append(&mut [IoSlice::new(&finish.append)])?;
    file.sync()?;
    finish.patches.iter().try_for_each(|patch| file.patch(patch.at, &patch.bytes))?;
    file.sync()?;
    Ok(said)
}

/// Gives a file that is whole its name, and leaves nothing of one that is not.
///
/// # Errors
/// `Disk` when the name is taken meanwhile, and the one that there was.
pub fn publish<T>(mut file: PartFile, done: Result<T>) -> Result<T> {
    let named = done.and_then(|said| file.publish().map(|()| said));
    if named.is_err() {
        file.discard();
    }
    named
}
