//! A host that has attached one function of a camera: its transfers, until it goes or the camera
//! does.

use crate::control;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault::Pipe;
use crate::inbox::Inbox;
use crate::pipe::{Endpoint, Step, Waiting};
use crate::socket::Socket;
use crate::wire::{self, Command, Ended, Packet, Submit, status};
use genlock_emulator::Function;
use std::time::Duration;

/// How often a waiting transfer is looked at while its device cannot say when it will have data: a
/// subordinate does not know when its master starts.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often a device with nothing to do looks whether it is still on the bus.
const IDLE: Duration = Duration::from_millis(50);

/// Transfers that may wait at once.
const WAITING_MAX: usize = 4096;

/// Transfers of an endpoint that end before the host is listened to again.
const ENDED_AT_ONCE: usize = 16;

/// The largest answer to a control request.
const CONTROL_BYTES: usize = 1 << 16;

/// Depth commands that begin and end the stream: what was not sent is dropped.
const STREAM_COMMANDS: [u32; 2] = [0xF1, 0xF2];

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The host has closed the connection.
    Closed,
    /// The device has left the bus.
    Gone,
}

/// One attached function.
pub(crate) struct Session<'c> {
    device: &'c Device,
    function: Function,
    socket: &'c Socket,
    inbox: Inbox,
    endpoints: Vec<Endpoint>,
    /// Answer to a control request.
    answer: Vec<u8>,
    /// Lists of packets for transfers to come.
    spare: Vec<Vec<Packet>>,
    /// Bytes of data that the last command asked for.
    asked: usize,
}

/// What ends a session in the middle of something.
enum Break {
    Error(Error),
    End(End),
}

impl From<Error> for Break {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Going<T> = std::result::Result<T, Break>;

impl<'c> Session<'c> {
    pub fn new(device: &'c Device, function: Function, socket: &'c Socket) -> Self {
        let pipes = Pipe::ALL.into_iter().filter(|pipe| pipe.function() == function);
        Self {
            device,
            function,
            socket,
            inbox: Inbox::new(),
            endpoints: pipes.map(Endpoint::new).collect(),
            answer: vec![0; CONTROL_BYTES],
            spare: Vec::new(),
            asked: 0,
        }
    }

    /// Serves the host.
    pub fn run(mut self) -> Result<End> {
        let plugged_in = self.device.plugged_in();
        loop {
            if plugged_in.is_none() || self.device.plugged_in() != plugged_in {
                return Ok(End::Gone);
            }
            match self.turn() {
                Ok(()) => {}
                Err(Break::End(end)) => return Ok(end),
                Err(Break::Error(error)) => return Err(error),
            }
        }
    }

    /// Ends what can end, waits for what comes next, and does what the host wants.
    fn turn(&mut self) -> Going<()> {
        let mut wait = IDLE;
        for i in 0..self.endpoints.len() {
            wait = wait.min(self.serve(i)?);
        }
        if !self.inbox.fill(self.socket, wait)? {
            return Err(Break::End(End::Closed));
        }
        while self.obey()? {}
        Ok(())
    }

    /// Ends waiting transfers of endpoint `i` while it has data; says how long to wait for more.
    fn serve(&mut self, i: usize) -> Going<Duration> {
        for _ in 0..ENDED_AT_ONCE {
            let endpoint = &mut self.endpoints[i];
            if endpoint.waiting.is_empty() {
                return Ok(IDLE);
            }
            let (status, data) = match endpoint.step(self.device, self.asked) {
                Step::Waits(None) => return Ok(LOOK_AGAIN),
                Step::Waits(Some(at_ns)) => {
                    let left_ns = at_ns.saturating_sub(self.device.now_ns());
                    return Ok(Duration::from_nanos(left_ns));
                }
                Step::Ends(status, data) => (status, data),
                Step::Gone => return Err(Break::End(End::Gone)),
            };
            if let Some(first) = endpoint.waiting.pop_front() {
                let header = wire::submitted(first.seqnum, endpoint.ended(status, &data));
                self.spare.push(first.packets);
                let [data, packets] = self.endpoints[i].parts(data);
                self.send(&[&header, data, packets])?;
            }
        }
        Ok(Duration::ZERO)
    }

    fn send(&self, parts: &[&[u8]]) -> Going<()> {
        if self.socket.send(parts)? { Ok(()) } else { Err(Break::End(End::Closed)) }
    }

    /// Does what the next message wants; says false when there is none.
    fn obey(&mut self) -> Going<bool> {
        let Some((command, rest)) = self.inbox.next()? else {
            return Ok(false);
        };
        match command {
            Command::Unlink { seqnum, unlinked } => {
                let was_there = self.take_back(unlinked);
                self.send(&[&wire::unlinked(seqnum, was_there)])?;
            }
            Command::Submit(submit) if submit.is_in() && submit.endpoint != 0x80 => {
                let mut packets = self.spare.pop().unwrap_or_default();
                Packet::read_all(&submit, rest, &mut packets)?;
                self.enqueue(&submit, packets)?;
            }
            Command::Submit(submit) => {
                let data = &rest[..submit.data_bytes()];
                let (status, bytes) = match submit.endpoint & 0x0F {
                    0 => control::answer(
                        self.device,
                        self.function,
                        &mut self.endpoints,
                        &submit,
                        data,
                        &mut self.answer,
                    ),
                    _ => {
                        let now_ns = self.device.now_ns();
                        let mut kinect = self.device.kinect();
                        let (function, endpoint) = (self.function, submit.endpoint);
                        match kinect.bulk_out(function, endpoint, data, now_ns) {
                            Ok(()) => (status::DONE, data.len()),
                            Err(_) => (status::STALL, 0),
                        }
                    }
                };
                if submit.endpoint & 0x0F != 0 && status == status::DONE {
                    note(data, &mut self.asked, &mut self.endpoints);
                }
                let ended = Ended { status, bytes, ..Ended::default() };
                let header = wire::submitted(submit.seqnum, ended);
                let answered = if submit.is_in() { bytes } else { 0 };
                self.send(&[&header, &self.answer[..answered]])?;
            }
        }
        Ok(true)
    }

    /// A transfer waits for its endpoint.
    fn enqueue(&mut self, submit: &Submit, packets: Vec<Packet>) -> Going<()> {
        let Submit { seqnum, endpoint: address, bytes, .. } = *submit;
        let waiting: usize = self.endpoints.iter().map(|endpoint| endpoint.waiting.len()).sum();
        if waiting >= WAITING_MAX {
            let why = format!("transfer {seqnum}: {WAITING_MAX} others wait already");
            return Err(Break::Error(Error::Wire(why)));
        }
        let mut endpoints = self.endpoints.iter_mut();
        match endpoints.find(|endpoint| endpoint.pipe.address() == address) {
            Some(endpoint) => {
                endpoint.waiting.push_back(Waiting { seqnum, bytes, packets });
                Ok(())
            }
            None => {
                let ended = Ended { status: status::STALL, ..Ended::default() };
                self.send(&[&wire::submitted(seqnum, ended)])
            }
        }
    }

    /// Takes a waiting transfer away; says false when it has ended already.
    fn take_back(&mut self, seqnum: u32) -> bool {
        self.endpoints.iter_mut().any(|endpoint| {
            let place = endpoint.waiting.iter().position(|waiting| waiting.seqnum == seqnum);
            let taken = place.and_then(|place| endpoint.waiting.remove(place));
            taken.is_some()
        })
    }
}

/// Notes what a command asks for, and that one begins or ends a stream.
fn note(data: &[u8], asked: &mut usize, endpoints: &mut [Endpoint]) {
    let ([_, _, bytes, code, ..], _) = data.as_chunks::<4>() else {
        return;
    };
    *asked = u32::from_le_bytes(*bytes) as usize;
    if STREAM_COMMANDS.contains(&u32::from_le_bytes(*code)) {
        let depth = endpoints.iter_mut().filter(|endpoint| endpoint.pipe == Pipe::Depth);
        depth.for_each(Endpoint::drop_unsent);
    }
}
