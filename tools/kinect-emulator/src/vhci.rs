//! The kernel's virtual host controller: what is attached to it are USB devices of this machine.

use crate::error::{Error, Result};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";

/// SuperSpeed, as the kernel numbers it.
const SUPER: u32 = 5;

/// The state of a port that nothing is attached to.
const FREE: u32 = 4;

/// Controllers that the kernel can have.
const CONTROLLERS_MAX: usize = 128;

/// One device is attached at a time: two would find the same port free.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Attaches a device of SuperSpeed; gives our end of the connection, where the kernel then speaks
/// USB/IP. Closing it detaches the device.
///
/// # Errors
/// `Attach` when there is no such controller, no right to it, or no free port.
pub(crate) fn attach(id: u32) -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()
        .map_err(|cause| Error::Attach(format!("cannot make a pair of sockets: {cause}")))?;
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for port in free_ports(&statuses()?) {
        text.clear();
        // Writing to a string cannot fail.
        let _ = write!(text, "{port} {} {id} {SUPER}", theirs.as_raw_fd());
        match fs::write(Path::new(CONTROLLER).join("attach"), &text) {
            Ok(()) => return Ok(ours),
            // Another program was faster.
            Err(cause) if cause.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {}
            Err(cause) => return Err(explained("attach", &cause)),
        }
    }
    Err(Error::Attach(format!(
        "{CONTROLLER}: no SuperSpeed port is free; detach other devices (`usbip port`), or load \
         vhci_hcd with more controllers"
    )))
}

/// The ports of all controllers, as the kernel lists them.
fn statuses() -> Result<String> {
    let mut all = String::new();
    for i in 0..CONTROLLERS_MAX {
        let name = if i == 0 { "status".to_owned() } else { format!("status.{i}") };
        match fs::read_to_string(Path::new(CONTROLLER).join(&name)) {
            Ok(text) => all.push_str(&text),
            Err(cause) if i > 0 && cause.kind() == ErrorKind::NotFound => break,
            Err(cause) => return Err(explained(&name, &cause)),
        }
    }
    Ok(all)
}

fn explained(file: &str, cause: &io::Error) -> Error {
    Error::Attach(match cause.kind() {
        ErrorKind::NotFound => {
            "this kernel has no virtual USB controller yet; load it with `modprobe vhci_hcd`"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("{CONTROLLER}/{file}: only root may attach devices; run it with sudo")
        }
        _ => format!("{CONTROLLER}/{file}: {cause}"),
    })
}

/// Numbers of free SuperSpeed ports. Lines are `hub port state speed device socket busid`.
fn free_ports(status: &str) -> impl Iterator<Item = u32> {
    status.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        let is_free = hub == "ss" && state.parse() == Ok(FREE);
        port.parse().ok().filter(|_| is_free)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_those_of_superspeed_that_nothing_is_attached_to() {
        let status = "hub port sta spd dev      sockfd local_busid\n\
                      hs  0000 004 000 00000000 000000 0-0\n\
                      ss  0008 006 005 00010001 000003 2-1\n\
                      ss  0009 004 000 00000000 000000 0-0\n\
                      ss  0010 004 000 00000000 000000 0-0\n";
        assert_eq!(free_ports(status).collect::<Vec<_>>(), [9, 10]);
    }

    #[test]
    fn what_is_missing_is_told_with_what_helps() {
        let missing = explained("status", &ErrorKind::NotFound.into()).to_string();
        assert!(missing.contains("modprobe vhci_hcd"), "{missing}");
        let denied = explained("attach", &ErrorKind::PermissionDenied.into()).to_string();
        assert!(denied.contains("root"), "{denied}");
    }
}
