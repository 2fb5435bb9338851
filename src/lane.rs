//! Bounded lanes between stages. Sending never waits and takes no lock: the USB side never waits
//! for anybody. A full lane gives the value back, and the sender counts a loss.
//!
//! A lock-free queue carries the values; a receiver with nothing to do parks its thread, and a
//! sender that sees it parked wakes it.

use crossbeam::queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Shared<T> {
    queue: ArrayQueue<T>,
    senders: AtomicUsize,
    receiver_gone: AtomicBool,
    parked: AtomicBool,
    receiver: OnceLock<Thread>,
}

impl<T> Shared<T> {
    /// Wakes the receiver if it sleeps. The fence pairs with the one in [`Receiver::park`]: either
    /// the receiver sees what was sent, or we see that it is parked.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.parked.swap(false, Ordering::AcqRel)
            && let Some(receiver) = self.receiver.get()
        {
            receiver.unpark();
        }
    }
}

/// A lane that holds at most `capacity` values. It has any number of senders and one receiver,
/// which must stay on one thread once it has waited.
#[must_use]
pub fn lane<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity.max(1)),
        senders: AtomicUsize::new(1),
        receiver_gone: AtomicBool::new(false),
        parked: AtomicBool::new(false),
        receiver: OnceLock::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The sending end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Puts `value` on the lane.
    ///
    /// # Errors
    /// Gives the value back when the lane is full or the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), T> {
        if self.0.receiver_gone.load(Ordering::Acquire) {
            return Err(value);
        }
        self.0.queue.push(value)?;
        self.0.wake();
        Ok(())
    }

    /// Whether nobody will ever receive.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.receiver_gone.load(Ordering::Acquire)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.fetch_sub(1, Ordering::Release);
        self.0.wake();
    }
}

/// What waiting on a lane came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The oldest value on the lane.
    Value(T),
    /// Nothing came within the wait.
    Nothing,
    /// The lane is empty and every sender is gone.
    Closed,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Takes the oldest value, waiting for one no longer than `wait`. A zero wait never parks.
    pub fn receive(&self, wait: Duration) -> Received<T> {
        if let Some(value) = self.0.queue.pop() {
            return Received::Value(value);
        }
        if !wait.is_zero() {
            self.park(wait);
        }
        // Looked at before the queue: the last sender may have sent and left since.
        let closed = self.0.senders.load(Ordering::Acquire) == 0;
        match self.0.queue.pop() {
            Some(value) => Received::Value(value),
            None if closed => Received::Closed,
            None => Received::Nothing,
        }
    }

    fn park(&self, wait: Duration) {
        self.0.receiver.get_or_init(std::thread::current);
        let until = Instant::now() + wait;
        loop {
            self.0.parked.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            let left = until.saturating_duration_since(Instant::now());
            let closed = self.0.senders.load(Ordering::Acquire) == 0;
            if closed || left.is_zero() || !self.0.queue.is_empty() {
                break;
            }
            std::thread::park_timeout(left);
        }
        self.0.parked.store(false, Ordering::Release);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::Release);
        // What is on the lane goes home now and not with the last sender.
        while self.0.queue.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_full_lane_gives_the_value_back() {
        let (sender, receiver) = lane(1);
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(sender.send(2), Err(2));
        assert_eq!(receiver.receive(Duration::ZERO), Received::Value(1));
        assert_eq!(receiver.receive(Duration::ZERO), Received::Nothing);
        drop(sender);
        assert_eq!(receiver.receive(LONG), Received::Closed);
    }

    #[test]
    fn a_parked_receiver_gets_every_value_in_order_from_another_thread() {
        let (sender, receiver) = lane(4);
        let thread = std::thread::spawn(move || {
            for value in 0..10_000_u32 {
                let mut back = sender.send(value);
                while let Err(value) = back {
                    std::thread::yield_now();
                    back = sender.send(value);
                }
            }
        });
        let mut expected = 0;
        loop {
            match receiver.receive(LONG) {
                Received::Value(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                Received::Nothing => panic!("a minute without a value"),
                Received::Closed => break,
            }
        }
        thread.join().expect("the sender does not panic");
        assert_eq!(expected, 10_000);
    }

    #[test]
    fn a_sender_sees_that_nobody_receives() {
        let (sender, receiver) = lane(4);
        sender.send(1).expect("room for four");
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(2), Err(2));
    }
}
