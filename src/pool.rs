//! Buffers lent and returned: the capture path allocates nothing after start.

use crossbeam::queue::ArrayQueue;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A fixed number of equal buffers. Clones lend from the same stock. Lending and returning take no
/// lock.
#[derive(Clone, Debug)]
pub struct Pool {
    free: Arc<ArrayQueue<Box<[u8]>>>,
    buf_bytes: usize,
}

impl Pool {
    /// A pool of `count` zeroed buffers of `buf_bytes` bytes.
    #[must_use]
    pub fn new(count: usize, buf_bytes: usize) -> Self {
        let free = ArrayQueue::new(count.max(1));
        for _ in 0..count {
            let fresh = vec![0; buf_bytes].into_boxed_slice();
            free.push(fresh).expect("the queue was made for this many buffers");
        }
        Self { free: Arc::new(free), buf_bytes }
    }

    /// A buffer with the length of the pool's buffers, or none when all are out. Its bytes are
    /// whatever the last borrower left.
    #[must_use]
    pub fn lend(&self) -> Option<Buf> {
        let bytes = self.free.pop()?;
        Some(Buf { len: bytes.len(), bytes, home: Arc::clone(&self.free) })
    }

    /// Buffers at home now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Buffers in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.free.capacity()
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buf_bytes(&self) -> usize {
        self.buf_bytes
    }
}

/// A buffer on loan; goes home when dropped. Reads as a slice of its current length.
#[derive(Debug)]
pub struct Buf {
    bytes: Box<[u8]>,
    len: usize,
    home: Arc<ArrayQueue<Box<[u8]>>>,
}

impl Buf {
    /// Makes the first `len` bytes the buffer's content.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.bytes.len(), "{len} bytes in a buffer of {}", self.bytes.len());
        self.len = len;
    }

    /// The most bytes that the buffer can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Appends `more`, or changes nothing and says false where it does not fit.
    #[must_use]
    pub fn append(&mut self, more: &[u8]) -> bool {
        let end = self.len + more.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(more);
            self.len = end;
            return true;
        }
        false
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // An empty box owns no memory, so nothing is allocated here. The queue has room for every
        // buffer that came out of it, so nothing is freed either.
        let bytes = std::mem::take(&mut self.bytes);
        let returned = self.home.push(bytes);
        debug_assert!(returned.is_ok(), "a buffer came home twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_buffer_comes_home_when_dropped() {
        let pool = Pool::new(2, 16);
        let first = pool.lend().expect("one of two");
        let second = pool.lend().expect("two of two");
        assert!(pool.lend().is_none());
        drop(first);
        assert_eq!(pool.free(), 1);
        drop(second);
        assert_eq!((pool.free(), pool.count()), (2, 2));
    }

    #[test]
    fn append_stops_at_the_capacity() {
        let pool = Pool::new(1, 4);
        let mut buf = pool.lend().expect("a buffer");
        buf.set_len(0);
        assert!(buf.append(&[1, 2, 3]));
        assert!(!buf.append(&[4, 5]));
        assert_eq!(*buf, [1, 2, 3]);
    }
}
