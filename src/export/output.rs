//! What is collected of an export, in order: shards, an MCAP file, and the journal.

use super::container::{Chunk, Container};
use super::place::{Folder, Noted, Place, create, rename};
use super::sink::Shape;
use super::tar;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// The one file of a format that has one.
pub const ONE: &str = "take.mcap";

/// What was made of a trigger.
pub struct Piece {
    /// What there is to note.
    pub noted: Noted,
    /// What is to be written.
    pub packed: Packed,
}

/// The part of it that is not written yet.
pub enum Packed {
    /// Nothing.
    Written,
    /// A part of a shard.
    Tar(Vec<u8>),
    /// A part of an MCAP file.
    Chunk(Chunk),
}

/// What is collected, and how far it is.
pub struct Output {
    shape: Shape,
    done: u64,
    count: u64,
    file: Option<(PathBuf, File)>,
    container: Container,
    /// Triggers whose file is not whole yet.
    waiting: Vec<Noted>,
}

impl Output {
    /// Begins where it was left: so many triggers are done, of so many.
    ///
    /// # Errors
    /// `Disk` when the file cannot be created.
    pub fn begin(
        shape: Shape,
        (done, count): (u64, u64),
        front: Option<(Container, Vec<u8>)>,
        folder: &Folder,
    ) -> Result<Self> {
        let (file, container, waiting) = (None, Container::default(), Vec::new());
        let mut output = Self { shape, done, count, file, container, waiting };
        if let Some((container, bytes)) = front {
            let path = folder.path(ONE);
            output.container = container;
            output.file = Some((path.clone(), create(&path)?));
            output.append(&bytes)?;
        }
        Ok(output)
    }

    /// Takes the next trigger.
    ///
    /// # Errors
    /// `Disk` when it cannot be written.
    pub fn take(&mut self, place: &mut Place, piece: Piece) -> Result<()> {
        self.waiting.push(piece.noted);
        let is_last = self.done + 1 >= self.count;
        let is_whole = match piece.packed {
            Packed::Written => true,
            Packed::Tar(bytes) => self.sample(&bytes, is_last, &place.folder)?,
            Packed::Chunk(chunk) => {
                let bytes = self.container.chunk(chunk)?;
                self.append(&bytes)?;
                if is_last {
                    let end = std::mem::take(&mut self.container).finish()?;
                    self.append(&end)?;
                }
                is_last
            }
        };
        self.done += 1;
        if !is_whole {
            return Ok(());
        }
        if let Some((path, file)) = self.file.take() {
            drop(file);
            rename(&path)?;
        }
        place.note(&std::mem::take(&mut self.waiting))
    }

    /// Puts a sample into its shard; says whether that is whole then.
    fn sample(&mut self, bytes: &[u8], is_last: bool, folder: &Folder) -> Result<bool> {
        let Shape::Shards(triggers) = self.shape else { return Ok(true) };
        if self.file.is_none() {
            let path = folder.path(&format!("{:06}.tar", self.done / triggers));
            self.file = Some((path.clone(), create(&path)?));
        }
        self.append(bytes)?;
        let is_full = (self.done + 1).is_multiple_of(triggers) || is_last;
        if is_full {
            self.append(&tar::END)?;
        }
        Ok(is_full)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|cause| Error::disk("cannot write", path, &cause))
    }
}
