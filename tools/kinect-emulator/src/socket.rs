//! A connected stream socket of any kind: whole writes, and reads that wait no longer than told.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Our end of a connection.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What reading comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// None in the time given.
    Nothing,
    /// The other end has closed.
    Closed,
}

fn broken(what: &str, cause: Errno) -> Error {
    Error::Wire(format!("{what} the host: {cause}"))
}

/// Whether the other end is gone, rather than that something went wrong.
fn is_end(errno: Errno) -> bool {
    [Errno::PIPE, Errno::CONNRESET, Errno::NOTCONN].contains(&errno)
}

impl Socket {
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Ends the connection; whoever reads or writes it notices.
    pub fn shut_down(&self) {
        // One that has ended already cannot be ended again.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// Writes all of `parts`. Says false when the other end has closed.
    pub fn send(&self, parts: &[&[u8]]) -> Result<bool> {
        let mut slices = [IoSlice::new(&[]); 3];
        assert!(parts.len() <= slices.len(), "a message has no more parts");
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut left = &mut slices[..parts.len()];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let mut none = SendAncillaryBuffer::default();
            match sendmsg(&self.0, left, &mut none, SendFlags::NOSIGNAL) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(Errno::INTR) => {}
                Err(errno) if is_end(errno) => return Ok(false),
                Err(errno) => return Err(broken("cannot write to", errno)),
            }
        }
        Ok(true)
    }

    /// Reads what is there into `into`, waiting no longer than `wait` for the first byte.
    pub fn receive(&self, into: &mut [u8], wait: Duration) -> Result<Received> {
        let wait = Timespec::try_from(wait).unwrap_or_default();
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(Received::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(broken("cannot wait for", errno)),
        }
        match recv(&self.0, into, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(Received::Closed),
            Ok((bytes, _)) => Ok(Received::Bytes(bytes)),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Received::Nothing),
            Err(errno) if is_end(errno) => Ok(Received::Closed),
            Err(errno) => Err(broken("cannot read from", errno)),
        }
    }
}
