//! The command transport of both microcontrollers (usb-protocol.md 2): a request packet in, then
//! data and a response packet out.

use std::collections::VecDeque;

const REQUEST: u32 = 0x0602_2009;
const RESPONSE: u32 = 0x0A6F_E000;
const REQUEST_BYTES: usize = 20;
const ARGUMENTS_MAX: usize = 128;

/// How a command ended (usb-protocol.md 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Success = 0,
    InvalidParameter = 0x03,
    NotImplemented = 0x08,
    BadTag = 0x0D,
    InvalidPayloadSize = 0x12,
    WrongCommandState = 0x101,
    WrongDeviceState = 0x102,
}

/// A request, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    transaction: u32,
    /// Bytes of the data phase: those that the host can take, or those that it will send.
    pub data_bytes: usize,
    pub code: u32,
    pub arguments: &'a [u8],
}

impl<'a> Request<'a> {
    /// None where a device would not recognise a request.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, arguments) = bytes.split_at_checked(REQUEST_BYTES)?;
        let word = |at: usize| {
            head[at..at + 4].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
        };
        let sound = word(0) == REQUEST && arguments.len() <= ARGUMENTS_MAX;
        sound.then(|| Self {
            transaction: word(4),
            data_bytes: word(8) as usize,
            code: word(12),
            arguments,
        })
    }

    /// The only argument of a command that has one number.
    pub fn number(&self) -> Result<u32, Status> {
        let bytes = self.arguments.try_into().map_err(|_| Status::InvalidPayloadSize)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// What the host will read from the command endpoint, transfer by transfer.
#[derive(Debug, Default)]
pub(crate) struct Replies(VecDeque<Vec<u8>>);

impl Replies {
    /// Answers a request. A command that reads has a data phase, also when it fails: the host waits
    /// for it.
    pub fn answer(&mut self, request: &Request<'_>, reads: bool, done: Result<Vec<u8>, Status>) {
        let status = done.as_ref().err().copied().unwrap_or(Status::Success);
        if reads {
            let mut data = done.unwrap_or_default();
            data.truncate(request.data_bytes);
            self.0.push_back(data);
        }
        let words = [RESPONSE, request.transaction, status as u32, 0];
        self.0.push_back(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    }

    /// The next transfer.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }

    /// Whether there is one.
    pub fn is_ready(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_read_as_in_the_worked_example() {
        // usb-protocol.md 2.5.
        let mut bytes = vec![0x09, 0x20, 0x02, 0x06, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0x15, 1, 0, 0];
        bytes.extend([0; 4]);
        let request = Request::read(&bytes).expect("a request");
        assert_eq!((request.code, request.data_bytes), (0x115, 255));
        let mut replies = Replies::default();
        replies.answer(&request, true, Ok(b"000123456789".to_vec()));
        assert_eq!(replies.next().as_deref(), Some(&b"000123456789"[..]));
        let response = [0, 0xE0, 0x6F, 0x0A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(replies.next().as_deref(), Some(&response[..]));
        assert!(!replies.is_ready());
    }

    #[test]
    fn a_failing_read_still_has_its_data_phase() {
        let bytes = [0x09, 0x20, 0x02, 0x06, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let request = Request::read(&bytes).expect("a request");
        let mut replies = Replies::default();
        replies.answer(&request, true, Err(Status::BadTag));
        assert_eq!(replies.next().map(|data| data.len()), Some(0));
        assert_eq!(
            replies.next().map(|response| response[4..12].to_vec()),
            Some(vec![7, 0, 0, 0, 0xD, 0, 0, 0])
        );
    }
}
