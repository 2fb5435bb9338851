//! Messages out of a stream of bytes.

use crate::error::{Error, Result};
use crate::socket::{Received, Socket};
use crate::wire::{Command, HEADER_BYTES};
use std::time::Duration;

/// Room that an inbox begins with. It grows for a large transfer, up to the limits of
/// [`Command::read`].
const ROOM_BYTES: usize = 64 << 10;

/// What a host has sent and nobody has read.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    until: usize,
    /// Where in all that was sent `from` is.
    at: u64,
}

impl Inbox {
    pub fn new() -> Self {
        Self { bytes: vec![0; ROOM_BYTES], from: 0, until: 0, at: 0 }
    }

    /// Reads what is there. Says false when the host has closed the connection.
    pub fn fill(&mut self, socket: &Socket, wait: Duration) -> Result<bool> {
        if self.from > 0 {
            self.bytes.copy_within(self.from..self.until, 0);
            (self.from, self.until) = (0, self.until - self.from);
        }
        let wanted = self.wanted_bytes()?;
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted, 0);
        }
        match socket.receive(&mut self.bytes[self.until..], wait)? {
            Received::Bytes(bytes) => self.until += bytes,
            Received::Nothing => {}
            Received::Closed if self.until > 0 => {
                let (at, bytes) = (self.at, self.until);
                return Err(Error::Wire(format!(
                    "the host closed in the middle of a message: {bytes} bytes of the one at byte \
                     {at}"
                )));
            }
            Received::Closed => return Ok(false),
        }
        Ok(true)
    }

    /// Bytes of the message that is being read, or of its header while that is not here.
    fn wanted_bytes(&self) -> Result<usize> {
        let header = self.bytes[self.from..self.until].first_chunk::<HEADER_BYTES>();
        Ok(HEADER_BYTES
            + header.map(|header| self.read(header)).transpose()?.map_or(0, |c| c.rest_bytes()))
    }

    fn read(&self, header: &[u8; HEADER_BYTES]) -> Result<Command> {
        let at = self.at;
        Command::read(header).map_err(|error| Error::Wire(format!("byte {at}: {error}")))
    }

    /// The next message, once it is whole: its command, and what follows the header.
    pub fn next(&mut self) -> Result<Option<(Command, &[u8])>> {
        let here = &self.bytes[self.from..self.until];
        let Some(header) = here.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let command = self.read(header)?;
        let bytes = HEADER_BYTES + command.rest_bytes();
        if here.len() < bytes {
            return Ok(None);
        }
        let from = self.from + HEADER_BYTES;
        self.from += bytes;
        self.at += bytes as u64;
        Ok(Some((command, &self.bytes[from..self.from])))
    }
}
