//! An endpoint of a real device as a stream: pieces of bulk data become the device's transfers
//! again, isochronous packets come as they are.

use crate::clock::Clock;
use crate::pool::{Buf, Pool};
use crate::usb::events::Events;
use crate::usb::transfer::{Completed, Handle, Ring};
use crate::usb::{
    Answer, Fault, Packets, Stream, StreamEndpoint, Transfer, TransferKind, in_flight,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A stream of a real device.
pub(super) struct Flow {
    ring: Ring,
    assembly: Assembly,
    clock: Clock,
    /// Handles the completions of `ring`, for which it must outlive it.
    _events: Arc<Events>,
}

impl Flow {
    /// Starts to read `endpoint` into buffers of `pool`.
    ///
    /// # Errors
    /// [`Fault::Memory`] where the kernel has none for the transfers; [`Fault::Gone`].
    pub fn start(
        handle: &Handle,
        events: Arc<Events>,
        endpoint: StreamEndpoint,
        pool: Pool,
        clock: &Clock,
    ) -> Answer<Self> {
        let plan = in_flight(endpoint.kind, pool.buf_bytes());
        let ring = Ring::start(handle, endpoint, (plan.count, plan.bytes), clock)?;
        let assembly = Assembly { kind: endpoint.kind, pool, state: State::Between, starved: 0 };
        Ok(Self { ring, assembly, clock: clock.clone(), _events: events })
    }
}

impl Stream for Flow {
    fn next(&mut self, wait: Duration) -> Option<Transfer> {
        let until = Instant::now() + wait;
        let starved = self.assembly.starved;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let assembly = &mut self.assembly;
            let seen = self.ring.next(left, |piece| assembly.take(piece));
            let done = match seen {
                Ok(None) => return None,
                Ok(Some(Err((fault, arrived_ns)))) => {
                    let restarted =
                        if fault == Fault::Stall { self.ring.restart() } else { Ok(()) };
                    self.assembly.failed(restarted.err().unwrap_or(fault), arrived_ns)
                }
                Ok(Some(Ok(done))) => done,
                Err(fault) => self.assembly.failed(fault, self.clock.now_ns()),
            };
            if done.is_some() || self.assembly.starved > starved {
                return done;
            }
        }
    }

    fn starved(&self) -> u64 {
        self.assembly.starved
    }
}

/// Makes the device's transfers from what the ring brings.
struct Assembly {
    kind: TransferKind,
    pool: Pool,
    state: State,
    starved: u64,
}

/// Where in a bulk transfer of the device the next piece belongs.
enum State {
    /// Between two of them.
    Between,
    /// In the middle of one.
    Within(Buf),
    /// In the middle of one that is longer than its buffer.
    TooLong(Buf),
    /// In the middle of one for which there was no buffer.
    Starved,
}

/// What a piece came to: a transfer, nothing yet, or a fault with its time.
type Taken = Result<Option<Transfer>, (Fault, u64)>;

impl Assembly {
    fn take(&mut self, piece: &Completed<'_>) -> Taken {
        match (piece.status, self.kind) {
            (Err(fault), _) => Err((fault, piece.arrived_ns)),
            (Ok(()), TransferKind::Bulk) => Ok(self.bulk(piece)),
            (Ok(()), TransferKind::Isochronous { .. }) => Ok(self.isochronous(piece)),
        }
    }

    fn bulk(&mut self, piece: &Completed<'_>) -> Option<Transfer> {
        let state = match std::mem::replace(&mut self.state, State::Between) {
            // The end of a transfer that filled its buffer: it was handed over already.
            State::Between if piece.data.is_empty() => return None,
            State::Between => self.lend().map_or(State::Starved, State::Within),
            state => state,
        };
        let state = match state {
            State::Within(mut buf) => match buf.append(piece.data) {
                true => State::Within(buf),
                false => State::TooLong(buf),
            },
            state => state,
        };
        let full = matches!(&state, State::Within(buf) if buf.len() == buf.capacity());
        if !piece.is_short && !full {
            self.state = state;
            return None;
        }
        let (buf, status) = match state {
            State::Within(buf) => (buf, Ok(())),
            State::TooLong(mut buf) => {
                buf.set_len(0);
                (buf, Err(Fault::Overflow))
            }
            State::Starved | State::Between => {
                self.starved += 1;
                return None;
            }
        };
        Some(Transfer { buf, packets: Packets::default(), status, arrived_ns: piece.arrived_ns })
    }

    /// The packets, each where it lies in the transfer; what is between them is not copied.
    fn isochronous(&mut self, piece: &Completed<'_>) -> Option<Transfer> {
        let packets = piece.packets;
        if packets.lens().iter().all(|len| *len == Some(0)) {
            return None;
        }
        let Some(mut buf) = self.lend() else {
            self.starved += 1;
            return None;
        };
        buf.set_len((packets.lens().len() * packets.stride).min(buf.capacity()));
        for (i, len) in packets.lens().iter().enumerate() {
            let start = i * packets.stride;
            let place = start..start + len.unwrap_or(0) as usize;
            if let (Some(to), Some(from)) = (buf.get_mut(place.clone()), piece.data.get(place)) {
                to.copy_from_slice(from);
            }
        }
        Some(Transfer { buf, packets, status: Ok(()), arrived_ns: piece.arrived_ns })
    }

    /// A fault: what had come of the transfer in its middle is lost with it.
    fn failed(&mut self, fault: Fault, arrived_ns: u64) -> Option<Transfer> {
        let begun = match std::mem::replace(&mut self.state, State::Between) {
            State::Within(buf) | State::TooLong(buf) => Some(buf),
            State::Between | State::Starved => self.lend(),
        };
        let Some(mut buf) = begun else {
            self.starved += 1;
            return None;
        };
        buf.set_len(0);
        Some(Transfer { buf, packets: Packets::default(), status: Err(fault), arrived_ns })
    }

    /// A buffer with nothing in it.
    fn lend(&self) -> Option<Buf> {
        let mut buf = self.pool.lend()?;
        buf.set_len(0);
        Some(buf)
    }
}
