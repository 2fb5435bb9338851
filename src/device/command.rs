//! Commands to a camera's microcontrollers (usb-protocol.md 2): a request out, data in, a response
//! in.

use crate::error::{Error, Result};
use crate::usb::{Answer, Fault, Port};

const REQUEST: u32 = 0x0602_2009;
const RESPONSE: u32 = 0x0A6F_E000;
const RESPONSE_BYTES: usize = 16;

/// Responses of an earlier session that may still wait in a device, and reads that it may end
/// without data (usb-protocol.md 2.4).
const STALE_MAX: usize = 3;
const EMPTY_MAX: usize = 16;

/// One microcontroller.
pub struct Mcu {
    serial: String,
    port: Box<dyn Port>,
    endpoints: Endpoints,
    transaction: u32,
}

/// Where a microcontroller takes commands.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// Requests go out here.
    pub command_out: u8,
    /// Data and responses come in here.
    pub command_in: u8,
}

impl Mcu {
    /// The microcontroller behind `port`.
    #[must_use]
    pub fn new(port: Box<dyn Port>, endpoints: Endpoints) -> Self {
        Self { serial: "an Azure Kinect".to_owned(), port, endpoints, transaction: 0 }
    }

    /// From here on, errors name the device.
    pub fn set_serial(&mut self, serial: &str) {
        serial.clone_into(&mut self.serial);
    }

    /// The USB device under it.
    pub fn port(&mut self) -> &mut dyn Port {
        self.port.as_mut()
    }

    /// A command without data.
    ///
    /// # Errors
    /// `Device` when the device does not answer, or refuses.
    pub fn write(&mut self, code: u32, arguments: &[u8]) -> Result<()> {
        let done = self.transact(code, arguments, None);
        self.judge(code, done).map(|_| ())
    }

    /// A command that is sent in case it is needed; what comes of it does not matter.
    pub fn write_blindly(&mut self, code: u32) {
        let _ = self.transact(code, &[], None);
    }

    /// A command that reads at most `into.len()` bytes; gives how many came.
    ///
    /// # Errors
    /// `Device` when the device does not answer, or refuses.
    pub fn read(&mut self, code: u32, arguments: &[u8], into: &mut [u8]) -> Result<usize> {
        let done = self.transact(code, arguments, Some(into));
        self.judge(code, done)
    }

    fn judge(&self, code: u32, done: Answer<(usize, u32)>) -> Result<usize> {
        let serial = &self.serial;
        match done {
            Ok((bytes, 0)) => Ok(bytes),
            Ok((_, status)) => Err(Error::Device(format!(
                "{serial}: refused command {code:#x} with status {status:#x}; unplug it, wait, \
                 and plug it in again"
            ))),
            Err(fault) => Err(unanswered(serial, &format!("command {code:#x}"), fault)),
        }
    }

    fn transact(
        &mut self,
        code: u32,
        arguments: &[u8],
        into: Option<&mut [u8]>,
    ) -> Answer<(usize, u32)> {
        let transaction = self.transaction;
        self.transaction = transaction.wrapping_add(1);
        let room = into.as_ref().map_or(0, |into| into.len());
        let words = [REQUEST, transaction, room as u32, code, 0];
        let mut request: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        request.extend_from_slice(arguments);
        self.port.bulk_out(self.endpoints.command_out, &request)?;
        let bytes = match into {
            Some(into) => self.read_data(into)?,
            None => 0,
        };
        let status = self.read_response(transaction)?;
        Ok((bytes, status))
    }

    /// The data phase. A response of an earlier session in its place is passed over.
    fn read_data(&mut self, into: &mut [u8]) -> Answer<usize> {
        for _ in 0..STALE_MAX {
            let bytes = self.port.bulk_in(self.endpoints.command_in, into)?;
            let stale = bytes == RESPONSE_BYTES && into[..4] == RESPONSE.to_le_bytes();
            if !stale {
                return Ok(bytes);
            }
        }
        Err(Fault::Io)
    }

    fn read_response(&mut self, transaction: u32) -> Answer<u32> {
        let (mut stale, mut empty) = (0, 0);
        while stale < STALE_MAX && empty < EMPTY_MAX {
            let mut response = [0; RESPONSE_BYTES];
            let bytes = self.port.bulk_in(self.endpoints.command_in, &mut response)?;
            let word = |at: usize| {
                response[at..at + 4]
                    .iter()
                    .rev()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte))
            };
            match bytes {
                0 => empty += 1,
                RESPONSE_BYTES if word(0) == RESPONSE && word(4) == transaction => {
                    return Ok(word(8));
                }
                _ => stale += 1,
            }
        }
        Err(Fault::Io)
    }
}

/// That a device did not do what it was asked for, and what to do.
pub(super) fn unanswered(serial: &str, what: &str, fault: Fault) -> Error {
    let (why, fix) = match fault {
        Fault::Stall => ("it refused", "unplug it, wait, and plug it in again"),
        Fault::Timeout => ("no answer within 2 s", "check its power, and plug it in again"),
        Fault::Gone => ("it left the bus", "check its cable and power"),
        Fault::Overflow => ("it sent more than fits", "plug it in again"),
        Fault::Busy => ("another program has it", "close that program"),
        Fault::Memory => (
            "the kernel has no memory for its transfers",
            "raise usbfs_memory_mb; `genlock check` says to what, and how",
        ),
        Fault::Io => ("the transfer failed", "check its cable, and plug it in again"),
    };
    Error::Device(format!("{serial}: {what}: {why}; {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::usb::{Request, Stream, StreamEndpoint};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// A port that plays back replies and keeps what was sent.
    struct Scripted {
        replies: VecDeque<Vec<u8>>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Port for Scripted {
        fn configuration(&self) -> &[u8] {
            &[]
        }
        fn claim(&mut self, _: u8) -> Answer<()> {
            Ok(())
        }
        fn set_alternate(&mut self, _: u8, _: u8) -> Answer<()> {
            Ok(())
        }
        fn control_in(&mut self, _: Request, _: &mut [u8]) -> Answer<usize> {
            Err(Fault::Stall)
        }
        fn control_out(&mut self, _: Request, _: &[u8]) -> Answer<()> {
            Err(Fault::Stall)
        }
        fn bulk_out(&mut self, _: u8, data: &[u8]) -> Answer<()> {
            self.sent.lock().expect("one thread").push(data.to_vec());
            Ok(())
        }
        fn bulk_in(&mut self, _: u8, into: &mut [u8]) -> Answer<usize> {
            let reply = self.replies.pop_front().ok_or(Fault::Timeout)?;
            into.get_mut(..reply.len()).ok_or(Fault::Overflow)?.copy_from_slice(&reply);
            Ok(reply.len())
        }
        fn stream(&mut self, _: StreamEndpoint, _: Pool) -> Answer<Box<dyn Stream>> {
            Err(Fault::Io)
        }
    }

    type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

    fn mcu(replies: &[&[u8]]) -> (Mcu, Sent) {
        let sent = Sent::default();
        let replies = replies.iter().map(|reply| reply.to_vec()).collect();
        let port = Box::new(Scripted { replies, sent: Arc::clone(&sent) });
        (Mcu::new(port, Endpoints { command_out: 2, command_in: 0x81 }), sent)
    }

    fn response(transaction: u8, status: u8) -> [u8; 16] {
        [0, 0xE0, 0x6F, 0x0A, transaction, 0, 0, 0, status, 0, 0, 0, 0, 0, 0, 0]
    }

    #[test]
    fn a_serial_is_read_as_in_the_worked_example() {
        // usb-protocol.md 2.5.
        let (mut mcu, sent) = mcu(&[b"000123456789", &response(0, 0)]);
        let mut into = [0; 255];
        assert_eq!(mcu.read(0x115, &[], &mut into), Ok(12));
        assert_eq!(&into[..12], b"000123456789");
        let request = [9, 0x20, 2, 6, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0x15, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(sent.lock().expect("one thread")[0], request);
    }

    #[test]
    fn responses_of_an_earlier_session_are_passed_over() {
        let (mut mcu, _) = mcu(&[&response(9, 0), b"data", &[], &response(8, 0), &response(0, 0)]);
        let mut into = [0; 64];
        assert_eq!(mcu.read(0x111, &[], &mut into), Ok(4));
    }

    #[test]
    fn refusals_and_silence_name_the_device_and_what_to_do() {
        let (mut refusing, _) = mcu(&[&response(0, 3)]);
        refusing.set_serial("000123");
        let text = refusing.write(0xE1, &[4, 0, 0, 0]).expect_err("refused").to_string();
        assert!(text.contains("000123") && text.contains("0xe1") && text.contains("0x3"), "{text}");
        let (mut silent, _) = mcu(&[]);
        let text = silent.write(0x09, &[]).expect_err("silent").to_string();
        assert!(text.contains("no answer") && text.contains("power"), "{text}");
    }
}
