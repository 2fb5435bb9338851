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

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 4;

    fn assembly(kind: TransferKind, bufs: usize, buf_bytes: usize) -> Assembly {
        Assembly { kind, pool: Pool::new(bufs, buf_bytes), state: State::Between, starved: 0 }
    }

    fn bulk(data: &[u8]) -> Completed<'_> {
        let is_short = data.len() < PIECE;
        Completed { status: Ok(()), arrived_ns: 7, data, packets: Packets::default(), is_short }
    }

    /// What pieces come to: bytes of the transfers, or why they are lost.
    fn assembled(assembly: &mut Assembly, pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, Fault>> {
        let taken = pieces.iter().filter_map(|piece| assembly.bulk(&bulk(piece)));
        taken.map(|transfer| transfer.status.map(|()| transfer.buf.to_vec())).collect()
    }

    #[test]
    fn a_short_piece_ends_a_transfer() {
        let mut assembly = assembly(TransferKind::Bulk, 2, 12);
        let pieces: [&[u8]; 5] = [&[1; 4], &[2; 4], &[3; 2], &[4; 1], &[5; 4]];
        let whole = vec![1, 1, 1, 1, 2, 2, 2, 2, 3, 3];
        assert_eq!(assembled(&mut assembly, &pieces), [Ok(whole), Ok(vec![4])]);
        // One that ends with a piece has an empty one behind it.
        assert_eq!(assembled(&mut assembly, &[&[]]), [Ok(vec![5; 4])]);
    }

    #[test]
    fn a_full_buffer_ends_a_transfer_and_an_empty_piece_behind_it_is_none() {
        let mut assembly = assembly(TransferKind::Bulk, 2, 8);
        let pieces: [&[u8]; 4] = [&[1; 4], &[2; 4], &[], &[3; 1]];
        let whole = vec![1, 1, 1, 1, 2, 2, 2, 2];
        assert_eq!(assembled(&mut assembly, &pieces), [Ok(whole), Ok(vec![3])]);
    }

    #[test]
    fn what_is_longer_than_its_buffer_is_lost_alone() {
        let mut assembly = assembly(TransferKind::Bulk, 1, 6);
        let pieces: [&[u8]; 4] = [&[1; 4], &[2; 4], &[3; 1], &[4; 2]];
        let expected = [Err(Fault::Overflow), Ok(vec![4, 4])];
        assert_eq!(assembled(&mut assembly, &pieces), expected);
    }

    #[test]
    fn without_a_buffer_a_whole_transfer_is_lost_and_counted_once() {
        let mut assembly = assembly(TransferKind::Bulk, 1, 12);
        let held = assembly.pool.lend().expect("the one buffer");
        assert_eq!(assembled(&mut assembly, &[&[1; 4], &[1; 4]]), []);
        drop(held);
        assert_eq!(assembled(&mut assembly, &[&[1; 1], &[2; 1]]), [Ok(vec![2])]);
        assert_eq!(assembly.starved, 1);
    }

    #[test]
    fn a_fault_takes_what_had_come_with_it() {
        let mut assembly = assembly(TransferKind::Bulk, 1, 12);
        assert_eq!(assembled(&mut assembly, &[&[1; 4]]), []);
        let failing = Completed { status: Err(Fault::Overflow), ..bulk(&[9; 4]) };
        let Err((fault, arrived_ns)) = assembly.take(&failing) else { panic!("it failed") };
        assert_eq!((fault, arrived_ns), (Fault::Overflow, 7));
        let told = assembly.failed(fault, arrived_ns).map(|transfer| transfer.status);
        assert_eq!(told, Some(Err(Fault::Overflow)));
        assert_eq!(assembled(&mut assembly, &[&[2; 1]]), [Ok(vec![2])]);
    }

    #[test]
    fn packets_lie_where_they_lay() {
        let mut assembly = assembly(TransferKind::Isochronous { packet_bytes: PIECE }, 1, 16);
        let mut packets = Packets::new(PIECE);
        for len in [Some(2), Some(0), None, Some(4)] {
            assert!(packets.push(len));
        }
        let data = [1, 1, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 4, 4, 4, 4];
        let transfer = assembly.isochronous(&Completed { packets, ..bulk(&data) });
        let transfer = transfer.expect("packets with data");
        let payloads: Vec<_> = transfer.payloads().collect();
        let expected: [Option<&[u8]>; 4] = [Some(&[1, 1]), Some(&[]), None, Some(&[4; 4])];
        assert_eq!(payloads, expected);
        let mut empty = Packets::new(PIECE);
        assert!(empty.push(Some(0)));
        assert!(assembly.isochronous(&Completed { packets: empty, ..bulk(&[]) }).is_none());
        assert_eq!(assembly.starved, 0);
    }
}
