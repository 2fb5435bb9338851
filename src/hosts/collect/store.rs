//! A store that recordings move to. A file goes there in parts, and becomes an object when all of
//! its bytes were sent and are those of the manifest; then it is read back, as no two stores have a
//! checksum in common that the manifest could be held against.

use super::connection::{Answer, Connection};
use super::listing::Wanted;
use super::notes::{Notebook, Sent, State};
use super::{Fetched, Halt, READ_BYTES_MAX, Step, Transfer};
use crate::error::{Error, Result};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Bytes of a part, and parts of an object: S3 wants 5 MiB at least, and 10,000 parts at most.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 10_000;

/// Bytes of a text at most.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// For what takes no time that would be worth a stop.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What has a prefix in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Store {
    connection: Arc<Connection>,
    prefix: Path,
    notes: PathBuf,
}

/// Bytes of each part of a file but the last: parts are all of one size, as some stores want.
fn part_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20).max(PART_BYTES)
}

impl Store {
    pub fn new(connection: Arc<Connection>, prefix: Path, notes: PathBuf) -> Self {
        Self { connection, prefix, notes }
    }

    pub fn below(&self, name: &str) -> Self {
        Self { prefix: self.key(name), ..self.clone() }
    }

    pub fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.notes)
            .map_err(|cause| Error::disk("cannot create", &self.notes, &cause))
    }

    fn key(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn url(&self, key: &Path) -> String {
        format!("s3://{}/{key}", self.connection.bucket)
    }

    fn failed(&self, what: &str, key: &Path, cause: &object_store::Error) -> Error {
        self.connection.failed(what, &self.url(key), cause)
    }

    fn other_bytes(&self, key: &Path) -> Error {
        let url = self.url(key);
        Error::Disk(format!("{url} exists with other bytes and is not overwritten: move it away"))
    }

    fn notebook(&self, key: &Path, file: &Wanted) -> Notebook {
        let object = format!("{} {}", self.connection.endpoint, self.url(key));
        Notebook::of(&self.notes, object, file)
    }

    /// What is known of an object; nothing where it is not there.
    fn head(&self, key: &Path, stop: &AtomicBool) -> Step<Option<ObjectMeta>> {
        match self.connection.ask(stop, self.connection.s3.head(key))? {
            Ok(object) => Ok(Some(object)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(self.failed("look for", key, &cause).into()),
        }
    }

    /// Whether the file is there already, with its bytes.
    pub fn holds(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<bool> {
        let key = self.key(&file.name);
        let Some(object) = self.head(&key, transfer.stop)? else { return Ok(false) };
        if object.size != file.bytes {
            return Err(self.other_bytes(&key).into());
        }
        let notebook = self.notebook(&key, file);
        let was_verified = match notebook.read(file) {
            Some(State::Verified(tag)) => object.e_tag.as_ref() == Some(&tag),
            _ => false,
        };
        if !was_verified {
            if self.hash(&key, file, transfer)? != file.crc32 {
                return Err(self.other_bytes(&key).into());
            }
            notebook.write(file, State::Verified(object.e_tag.unwrap_or_default()))?;
        }
        (transfer.told)(file.bytes);
        Ok(true)
    }

    /// Fetches what is missing of the file, and makes it an object.
    pub fn fetch(&self, file: &Wanted, transfer: &mut Transfer<'_>) -> Step<Fetched> {
        let key = self.key(&file.name);
        let notebook = self.notebook(&key, file);
        if let Some(State::Sending(sent)) = notebook.read(file) {
            let fits = sent.part_bytes == part_bytes(file.bytes)
                && sent.parts.len() as u64 <= file.bytes.div_ceil(sent.part_bytes);
            if fits && let Some(fetched) = self.send(&key, &notebook, file, sent, transfer)? {
                return Ok(fetched);
            }
            // Else the store knows the upload no more: many drop those that nobody went on with.
        }
        let begun = self.connection.s3.create_multipart(&key);
        let upload = self.connection.ask(transfer.stop, begun)?;
        let upload = upload.map_err(|cause| self.failed("write", &key, &cause))?;
        let part_bytes = part_bytes(file.bytes);
        let sent = Sent { upload, part_bytes, parts: Vec::new(), crc32: 0 };
        notebook.write(file, State::Sending(sent.clone()))?;
        let fetched = self.send(&key, &notebook, file, sent, transfer)?;
        fetched.ok_or_else(|| {
            let url = self.url(&key);
            let text = format!("the store lost the upload of {url}: try again, it begins anew");
            Halt::Failed(Error::Disk(text))
        })
    }

    /// Sends what is missing of an upload; nothing where the store knows it no more.
    fn send(
        &self,
        key: &Path,
        notebook: &Notebook,
        file: &Wanted,
        mut sent: Sent,
        transfer: &mut Transfer<'_>,
    ) -> Step<Option<Fetched>> {
        let s3 = &self.connection.s3;
        let mut offset = (sent.parts.len() as u64 * sent.part_bytes).min(file.bytes);
        (transfer.told)(offset);
        let mut ahead = Vec::new();
        while offset < file.bytes {
            let part = part(file, offset, sent.part_bytes, &mut ahead, transfer)?;
            let bytes = part.len() as u64;
            let mut hasher = crc32fast::Hasher::new_with_initial_len(sent.crc32, offset);
            hasher.update(&part);
            let put = s3.put_part(key, &sent.upload, sent.parts.len(), PutPayload::from(part));
            let Some(id) = self.known(key, self.connection.ask(transfer.stop, put)?)? else {
                return Ok(None);
            };
            offset += bytes;
            sent.crc32 = hasher.finalize();
            sent.parts.push(id.content_id);
            notebook.write(file, State::Sending(sent.clone()))?;
        }
        if sent.crc32 != file.crc32 {
            self.abort(key, &sent, notebook);
            return Ok(Some(Fetched::wrong(file, sent.crc32, "of what came")));
        }
        if self.head(key, transfer.stop)?.is_some() {
            // It came while we sent, and is somebody's.
            self.abort(key, &sent, notebook);
            return Err(self.other_bytes(key).into());
        }
        let parts = sent.parts.iter().map(|id| PartId { content_id: id.clone() }).collect();
        let completed = s3.complete_multipart(key, &sent.upload, parts);
        let completed = self.connection.ask(transfer.stop, completed)?;
        let Some(object) = self.known(key, completed)? else { return Ok(None) };
        let given_back = self.hash(key, file, transfer)?;
        if given_back != file.crc32 {
            let deleted = self.connection.ask(&NEVER, s3.delete(key))?;
            deleted.map_err(|cause| self.failed("remove", key, &cause))?;
            notebook.forget();
            return Ok(Some(Fetched::wrong(file, given_back, "of what the store gives back")));
        }
        notebook.write(file, State::Verified(object.e_tag.unwrap_or_default()))?;
        Ok(Some(Fetched::Verified))
    }

    /// An answer about an upload; nothing where the store does not know it.
    fn known<T>(&self, key: &Path, answer: Answer<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(self.failed("write", key, &cause)),
        }
    }

    /// Gives up an upload. One that the store keeps in spite of it costs room there, and no more.
    fn abort(&self, key: &Path, sent: &Sent, notebook: &Notebook) {
        let aborted = self.connection.s3.abort_multipart(key, &sent.upload);
        let _ = self.connection.ask(&NEVER, aborted);
        notebook.forget();
    }

    /// The checksum of an object's bytes, as the store gives them back. They come in by the pace.
    fn hash(&self, key: &Path, file: &Wanted, transfer: &Transfer<'_>) -> Step<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut at = 0;
        while at < file.bytes {
            transfer.wait()?;
            let range = at..file.bytes.min(at + PART_BYTES);
            let expected = range.end - at;
            let bytes = self.connection.s3.get_range(key, range);
            let bytes = self.connection.ask(transfer.stop, bytes)?;
            let bytes = bytes.map_err(|cause| self.failed("read back", key, &cause))?;
            transfer.pace.note(bytes.len() as u64);
            hasher.update(&bytes);
            if bytes.len() as u64 != expected {
                // Another object than there was: its checksum tells.
                break;
            }
            at += expected;
        }
        Ok(hasher.finalize())
    }

    /// Writes a whole text. One that is there is left alone, or replaced.
    pub fn put(&self, name: &str, text: &str, replace: bool) -> Result<()> {
        let key = self.key(name);
        let mode = if replace { PutMode::Overwrite } else { PutMode::Create };
        let payload = PutPayload::from(text.as_bytes().to_vec());
        let put = self.connection.s3.put_opts(&key, payload, PutOptions::from(mode));
        match self.unstopped(put)? {
            Ok(_) => Ok(()),
            // A request that was made again may meet what it did itself.
            Err(object_store::Error::AlreadyExists { .. }) => match self.get(name)? {
                Some(there) if there == text => Ok(()),
                _ => Err(self.other_bytes(&key)),
            },
            Err(cause) => Err(self.failed("write", &key, &cause)),
        }
    }

    /// A text; nothing where it is not there.
    pub fn get(&self, name: &str) -> Result<Option<String>> {
        let key = self.key(name);
        let s3 = &self.connection.s3;
        let bytes = self.unstopped(async {
            let object = s3.get(&key).await?;
            if object.meta.size > TEXT_BYTES_MAX {
                return Ok(None);
            }
            object.bytes().await.map(Some)
        })?;
        let none = || Error::Disk(format!("{} is no text of a take", self.url(&key)));
        match bytes {
            Ok(Some(bytes)) => String::from_utf8(bytes.into()).map(Some).map_err(|_| none()),
            Ok(None) => Err(none()),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(self.failed("read", &key, &cause)),
        }
    }

    fn unstopped<T>(&self, question: impl Future<Output = Answer<T>>) -> Result<Answer<T>> {
        match self.connection.ask(&NEVER, question) {
            Ok(answer) => Ok(answer),
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Stopped) => Err(Error::Device("stopped".to_owned())),
        }
    }
}

/// Fetches the part of a file that begins at `from` and with `ahead`. What comes beyond its end is
/// `ahead` of the next one.
fn part(
    file: &Wanted,
    from: u64,
    part_bytes: u64,
    ahead: &mut Vec<u8>,
    transfer: &mut Transfer<'_>,
) -> Step<Vec<u8>> {
    let bytes = usize::try_from(part_bytes.min(file.bytes - from)).unwrap_or(usize::MAX);
    let mut part = Vec::with_capacity(bytes.saturating_add(READ_BYTES_MAX));
    part.append(ahead);
    while part.len() < bytes {
        let read = transfer.read(file, from + part.len() as u64)?;
        part.extend_from_slice(read);
    }
    *ahead = part.split_off(bytes);
    Ok(part)
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_file_are_few_enough() {
        assert_eq!(part_bytes(0), 8 << 20);
        assert_eq!(part_bytes(80_000 << 20), 8 << 20);
        assert_eq!(part_bytes((80_000 << 20) + 1), 9 << 20);
        for bytes in [1, 100 << 30, 1 << 40, 5 << 40] {
            let part = part_bytes(bytes);
            assert!(bytes.div_ceil(part) <= PARTS_MAX && part <= 5 << 30, "{bytes}");
        }
    }
}
