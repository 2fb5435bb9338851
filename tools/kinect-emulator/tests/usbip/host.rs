//! A USB/IP host as small as one can be, for one attached function.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::Duration;

/// Whatever the device does, no test waits longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Host<S> {
    pub stream: S,
    seqnum: u32,
    transaction: u32,
    /// Transfers that are out: whether data come back.
    out: HashMap<u32, bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub command: u32,
    pub seqnum: u32,
    pub status: i32,
    pub data: Vec<u8>,
    /// Bytes and status of isochronous packets.
    pub packets: Vec<(u32, i32)>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A header of 48 bytes whose words begin so.
pub fn header(words: &[u32], setup: [u8; 8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.resize(40, 0);
    bytes.extend(setup);
    bytes
}

impl<S: Read + Write> Host<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, seqnum: 0, transaction: 0, out: HashMap::new() }
    }

    pub fn next_seqnum(&mut self) -> u32 {
        self.seqnum += 1;
        self.seqnum
    }

    /// Submits a transfer; `room` is for data that come back.
    pub fn submit(&mut self, endpoint: u8, room: usize, data: &[u8], setup: [u8; 8]) -> u32 {
        let seqnum = self.next_seqnum();
        let is_in = endpoint & 0x80 != 0;
        let bytes = if is_in { room } else { data.len() } as u32;
        let number = u32::from(endpoint & 0x0F);
        let words = [1, seqnum, 0x0001_0001, u32::from(is_in), number, 0, bytes, 0, 0, 0];
        let message = [header(&words, setup), data.to_vec()].concat();
        self.stream.write_all(&message).expect("the device listens");
        self.out.insert(seqnum, is_in);
        seqnum
    }

    pub fn submit_packets(&mut self, endpoint: u8, count: u32, each: u32) -> u32 {
        let seqnum = self.next_seqnum();
        let number = u32::from(endpoint & 0x0F);
        let words = [1, seqnum, 1, 1, number, 2, count * each, 0, count, 1];
        let mut message = header(&words, [0; 8]);
        for i in 0..count {
            [i * each, each, 0, 0].iter().for_each(|word| message.extend(word.to_be_bytes()));
        }
        self.stream.write_all(&message).expect("the device listens");
        self.out.insert(seqnum, true);
        seqnum
    }

    pub fn unlink(&mut self, unlinked: u32) -> u32 {
        let seqnum = self.next_seqnum();
        let message = header(&[2, seqnum, 0x0001_0001, 0, 0, unlinked], [0; 8]);
        self.stream.write_all(&message).expect("the device listens");
        seqnum
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.stream.read_exact(&mut data).expect("the device answers");
        data
    }

    /// The next message of the device.
    pub fn reply(&mut self) -> Reply {
        let header = self.read(48);
        let (command, seqnum) = (word(&header, 0), word(&header, 4));
        let status = word(&header, 20) as i32;
        let mut reply = Reply { command, seqnum, status, data: Vec::new(), packets: Vec::new() };
        if command == 3 {
            let is_in = self.out.remove(&seqnum).expect("a transfer that is out");
            if is_in {
                reply.data = self.read(word(&header, 24) as usize);
            }
            let packets = self.read(16 * word(&header, 32) as usize);
            let (packets, _) = packets.as_chunks::<16>();
            reply.packets = packets.iter().map(|p| (word(p, 8), word(p, 12) as i32)).collect();
        } else if status != 0 {
            let unlinked = self.out.len();
            assert!(unlinked > 0, "something was out");
        }
        reply
    }

    /// A transfer, and what comes of it.
    pub fn transfer(&mut self, endpoint: u8, room: usize, data: &[u8]) -> Reply {
        let seqnum = self.submit(endpoint, room, data, [0; 8]);
        let reply = self.reply();
        assert_eq!((reply.command, reply.seqnum), (3, seqnum));
        reply
    }

    pub fn control_in(
        &mut self,
        kind: u8,
        request: u8,
        value: u16,
        index: u16,
        room: u16,
    ) -> Reply {
        let setup = setup(kind, request, value, index, room);
        let seqnum = self.submit(0x80, room.into(), &[], setup);
        let reply = self.reply();
        assert_eq!(reply.seqnum, seqnum);
        reply
    }

    pub fn control_out(
        &mut self,
        kind: u8,
        request: u8,
        value: u16,
        index: u16,
        data: &[u8],
    ) -> i32 {
        let setup = setup(kind, request, value, index, data.len() as u16);
        let seqnum = self.submit(0, 0, data, setup);
        let reply = self.reply();
        assert_eq!(reply.seqnum, seqnum);
        reply.status
    }

    /// A command to a microcontroller: its status, and the data of one that reads.
    pub fn command(
        &mut self,
        out: u8,
        replies: u8,
        code: u32,
        room: usize,
        args: &[u8],
    ) -> Vec<u8> {
        let words = [0x0602_2009, self.transaction, room as u32, code, 0];
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(self.transfer(out, 0, &[&head, args].concat()).status, 0);
        let data = if room > 0 { self.transfer(replies, room, &[]).data } else { Vec::new() };
        let response = self.transfer(replies, 16, &[]).data;
        let expected = [0x0A6F_E000, self.transaction, 0, 0];
        let expected: Vec<u8> = expected.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(response, expected, "response to {code:#x}");
        self.transaction += 1;
        data
    }
}

fn setup(kind: u8, request: u8, value: u16, index: u16, bytes: u16) -> [u8; 8] {
    let [v0, v1] = value.to_le_bytes();
    let [i0, i1] = index.to_le_bytes();
    let [l0, l1] = bytes.to_le_bytes();
    [kind, request, v0, v1, i0, i1, l0, l1]
}
