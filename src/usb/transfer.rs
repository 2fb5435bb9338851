//! Asynchronous transfers over libusb, which `rusb` does not wrap: a ring of them keeps an
//! endpoint busy. With the memory map and the depth engine, one of the few places with `unsafe`.
//!
//! A transfer is either [`Idle`], and its memory ours, or with libusb, and then nobody owns it:
//! [`Idle::submit`] gives it away, and the completion gives it back. No memory of a [`Pool`] ever
//! is with the kernel, so a frame that outlives its device is an ordinary buffer.
//!
//! [`Pool`]: crate::pool::Pool

use crate::clock::Clock;
use crate::lane::{Received, Receiver, Sender, lane};
use crate::usb::{Answer, Fault, Packets, StreamEndpoint, TransferKind};
use rusb::constants::{
    LIBUSB_TRANSFER_COMPLETED, LIBUSB_TRANSFER_NO_DEVICE, LIBUSB_TRANSFER_OVERFLOW,
    LIBUSB_TRANSFER_STALL, LIBUSB_TRANSFER_TIMED_OUT, LIBUSB_TRANSFER_TYPE_BULK,
    LIBUSB_TRANSFER_TYPE_ISOCHRONOUS,
};
use rusb::{Context, DeviceHandle, ffi};
use std::ffi::{c_int, c_uchar, c_uint};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An opened device, shared by everything that it must outlive.
pub(super) type Handle = Arc<DeviceHandle<Context>>;

/// How long cancelled transfers may take to come back; they take milliseconds.
const DRAIN: Duration = Duration::from_secs(5);

unsafe extern "system" {
    /// Maps memory of the kernel that transfers of this device need no copy for; null where there
    /// is none (libusb 1.0.21; not among the declarations of `libusb1-sys`).
    fn libusb_dev_mem_alloc(handle: *mut ffi::libusb_device_handle, bytes: usize) -> *mut c_uchar;
    /// Gives it back.
    fn libusb_dev_mem_free(
        handle: *mut ffi::libusb_device_handle,
        memory: *mut c_uchar,
        bytes: usize,
    ) -> c_int;
}

/// The memory of a transfer.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    /// The device whose kernel memory it is; none where it is our own.
    lender: Option<Handle>,
}

impl Memory {
    /// The kernel's where it gives any: data then arrive in it without a copy. On other machines
    /// than x86-64 such memory may be uncached, and reading it slower than the copy.
    fn new(handle: &Handle, bytes: usize) -> Self {
        if cfg!(target_arch = "x86_64") {
            // SAFETY: the handle is open for as long as `handle` lives, and any length may be
            // asked for.
            let lent = unsafe { libusb_dev_mem_alloc(handle.as_raw(), bytes) };
            if let Some(start) = NonNull::new(lent) {
                return Self { start, bytes, lender: Some(Arc::clone(handle)) };
            }
        }
        let own = Box::leak(vec![0_u8; bytes].into_boxed_slice());
        Self { start: NonNull::from(own).cast(), bytes, lender: None }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let start = self.start.as_ptr();
        if let Some(handle) = &self.lender {
            // SAFETY: it was lent with this length by this handle, which is still open, and is
            // given back once, here.
            unsafe { libusb_dev_mem_free(handle.as_raw(), start, self.bytes) };
        } else {
            let own = std::ptr::slice_from_raw_parts_mut(start, self.bytes);
            // SAFETY: it was leaked from a box of this length, and is taken back once, here.
            drop(unsafe { Box::from_raw(own) });
        }
    }
}

/// A transfer that is not with libusb: its memory is ours.
struct Idle(Box<Parts>);

struct Parts {
    raw: NonNull<ffi::libusb_transfer>,
    memory: Memory,
    /// Where it goes when it is done.
    done: Sender<Finished>,
    clock: Clock,
    /// Keeps the device open for as long as the transfer is there.
    _handle: Handle,
}

// SAFETY: the pointers are to memory that `Parts` alone owns (or, while submitted, libusb, which
// takes locks of its own); nothing in it is bound to a thread.
unsafe impl Send for Parts {}

/// A transfer that came back.
struct Finished {
    transfer: Idle,
    arrived_ns: u64,
}

/// What is seen of a transfer that came back, until it is submitted again.
pub(super) struct Completed<'a> {
    /// How it ended.
    pub status: Answer<()>,
    /// When it did, by our clock.
    pub arrived_ns: u64,
    /// Of bulk, the bytes that came; of isochronous, the room of all packets.
    pub data: &'a [u8],
    /// The isochronous packets; none of bulk.
    pub packets: Packets,
    /// Whether less came than was asked for: in bulk, the end of what the device sends as one.
    pub is_short: bool,
}

impl Idle {
    fn new(
        handle: &Handle,
        endpoint: StreamEndpoint,
        bytes: usize,
        done: &Sender<Finished>,
        clock: &Clock,
    ) -> Answer<Self> {
        let (kind, packet_bytes) = match endpoint.kind {
            TransferKind::Bulk => (LIBUSB_TRANSFER_TYPE_BULK, bytes),
            TransferKind::Isochronous { packet_bytes } => {
                (LIBUSB_TRANSFER_TYPE_ISOCHRONOUS, packet_bytes)
            }
        };
        let packets = match endpoint.kind {
            TransferKind::Bulk => 0,
            TransferKind::Isochronous { .. } => (bytes / packet_bytes) as c_int,
        };
        // SAFETY: any number of packets may be asked for; null is looked for below.
        let raw = unsafe { ffi::libusb_alloc_transfer(packets) };
        let mut raw = NonNull::new(raw).ok_or(Fault::Memory)?;
        let memory = Memory::new(handle, bytes);
        // SAFETY: libusb has just allocated it, zeroed, and nobody else knows it.
        let fields = unsafe { raw.as_mut() };
        fields.dev_handle = handle.as_raw();
        fields.endpoint = endpoint.address;
        fields.transfer_type = kind;
        fields.buffer = memory.start.as_ptr();
        fields.length = bytes as c_int;
        fields.num_iso_packets = packets;
        fields.callback = finished;
        let (done, clock, handle) = (done.clone(), clock.clone(), Arc::clone(handle));
        let mut parts = Box::new(Parts { raw, memory, done, clock, _handle: handle });
        for packet in parts.packets_mut() {
            packet.length = packet_bytes as c_uint;
        }
        Ok(Self(parts))
    }

    /// Gives the transfer to libusb; [`finished`] gets it back, once. Given back at once where it
    /// is refused.
    fn submit(self) -> Result<(), (Self, Fault)> {
        let raw = self.0.raw;
        let parts = Box::into_raw(self.0);
        // SAFETY: the transfer is alive, and no completion runs before it is submitted.
        unsafe { (*raw.as_ptr()).user_data = parts.cast() };
        // SAFETY: device, memory and callback are set, and live until the completion: `Parts` owns
        // or shares them, and is freed by nobody before it.
        let refused = unsafe { ffi::libusb_submit_transfer(raw.as_ptr()) };
        if refused == 0 {
            return Ok(());
        }
        let fault = why_refused(refused);
        // SAFETY: libusb refused it, so no completion will take the box that we have just let go.
        let parts = unsafe { Box::from_raw(parts) };
        Err((Self(parts), fault))
    }
}

/// libusb's completion, on the thread that handles its events: stamps the time, takes the transfer
/// back, hands it on. Takes no lock and never waits.
extern "system" fn finished(raw: *mut ffi::libusb_transfer) {
    // SAFETY: libusb calls with the transfer that was submitted, which is alive.
    let parts = unsafe { (*raw).user_data }.cast::<Parts>();
    // SAFETY: `Idle::submit` made the pointer from a box, and this is the one completion of that
    // submission.
    let parts = unsafe { Box::from_raw(parts) };
    let (arrived_ns, done) = (parts.clock.now_ns(), parts.done.clone());
    // The lane has room for every transfer of the ring. Where the ring is gone, this frees it.
    let _ = done.send(Finished { transfer: Idle(parts), arrived_ns });
}

impl Parts {
    fn fields(&self) -> &ffi::libusb_transfer {
        // SAFETY: the transfer is alive for as long as its `Parts`, and not with libusb while we
        // have them.
        unsafe { self.raw.as_ref() }
    }

    /// Where the isochronous packets are described, and how many there are.
    fn packet_room(&self) -> (*mut ffi::libusb_iso_packet_descriptor, usize) {
        let count = self.fields().num_iso_packets as usize;
        // SAFETY: the field is the empty array at the end of a transfer that is alive; no
        // reference is made.
        let first = unsafe { &raw mut (*self.raw.as_ptr()).iso_packet_desc };
        (first.cast(), count)
    }

    fn packets_mut(&mut self) -> &mut [ffi::libusb_iso_packet_descriptor] {
        let (first, count) = self.packet_room();
        // SAFETY: libusb allocated so many behind the transfer, and we have it alone.
        unsafe { slice::from_raw_parts_mut(first, count) }
    }

    fn packets(&self) -> &[ffi::libusb_iso_packet_descriptor] {
        let (first, count) = self.packet_room();
        // SAFETY: as above; shared for as long as `self` is.
        unsafe { slice::from_raw_parts(first, count) }
    }

    /// The first `bytes` of its memory.
    fn data(&self, bytes: usize) -> &[u8] {
        // SAFETY: the memory is ours while the transfer is not with libusb, was zeroed when it was
        // made, and is at least that long.
        unsafe { slice::from_raw_parts(self.memory.start.as_ptr(), bytes.min(self.memory.bytes)) }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // SAFETY: it is not with libusb while `Parts` is ours, and is freed once, here.
        unsafe { ffi::libusb_free_transfer(self.raw.as_ptr()) };
    }
}

impl Finished {
    fn view(&self) -> Completed<'_> {
        let parts = &*self.transfer.0;
        let fields = parts.fields();
        let mut packets = Packets::default();
        let described = parts.packets();
        if let [first, ..] = described {
            packets = Packets::new(first.length as usize);
            for packet in described {
                let whole = packet.status == LIBUSB_TRANSFER_COMPLETED
                    && packet.actual_length <= packet.length;
                if !packets.push(whole.then_some(packet.actual_length)) {
                    break;
                }
            }
        }
        let bytes = match described {
            [] => fields.actual_length as usize,
            _ => fields.length as usize,
        };
        Completed {
            status: status(fields.status),
            arrived_ns: self.arrived_ns,
            data: parts.data(bytes),
            packets,
            is_short: fields.actual_length < fields.length,
        }
    }
}

fn status(code: c_int) -> Answer<()> {
    match code {
        LIBUSB_TRANSFER_COMPLETED => Ok(()),
        LIBUSB_TRANSFER_TIMED_OUT => Err(Fault::Timeout),
        LIBUSB_TRANSFER_STALL => Err(Fault::Stall),
        LIBUSB_TRANSFER_NO_DEVICE => Err(Fault::Gone),
        LIBUSB_TRANSFER_OVERFLOW => Err(Fault::Overflow),
        _ => Err(Fault::Io),
    }
}

/// What libusb's error means.
pub(super) fn fault(cause: rusb::Error) -> Fault {
    match cause {
        rusb::Error::Pipe => Fault::Stall,
        rusb::Error::Timeout => Fault::Timeout,
        rusb::Error::NoDevice | rusb::Error::NotFound => Fault::Gone,
        rusb::Error::Overflow => Fault::Overflow,
        rusb::Error::Busy => Fault::Busy,
        rusb::Error::NoMem => Fault::Memory,
        _ => Fault::Io,
    }
}

/// What libusb's refusal of a transfer means.
fn why_refused(code: c_int) -> Fault {
    use rusb::constants::{LIBUSB_ERROR_NO_DEVICE, LIBUSB_ERROR_NO_MEM};
    // Of isochronous transfers libusb says no more than that they failed; the system call that it
    // made last says why.
    let out_of_memory = || io::Error::last_os_error().kind() == io::ErrorKind::OutOfMemory;
    match code {
        LIBUSB_ERROR_NO_DEVICE => Fault::Gone,
        LIBUSB_ERROR_NO_MEM => Fault::Memory,
        _ if out_of_memory() => Fault::Memory,
        _ => Fault::Io,
    }
}

/// The transfers of one endpoint, in flight all the time. Somebody must handle the events of the
/// handle's context, or none comes back.
pub(super) struct Ring {
    handle: Handle,
    address: u8,
    /// Every transfer of the ring; none is freed before the ring is dropped.
    all: Vec<NonNull<ffi::libusb_transfer>>,
    resting: Vec<Idle>,
    in_flight: usize,
    done: Receiver<Finished>,
}

// SAFETY: `all` is used for cancelling alone, for which libusb takes its own locks.
unsafe impl Send for Ring {}

impl Ring {
    /// Submits up to `count` transfers of `bytes` each. Where the kernel has no memory for all of
    /// them, a quarter will do.
    ///
    /// # Errors
    /// [`Fault::Memory`] where there is not even that; what else the device answers.
    pub fn start(
        handle: &Handle,
        endpoint: StreamEndpoint,
        (count, bytes): (usize, usize),
        clock: &Clock,
    ) -> Answer<Self> {
        let (sender, done) = lane(count);
        let mut ring = Self {
            handle: Arc::clone(handle),
            address: endpoint.address,
            all: Vec::with_capacity(count),
            resting: Vec::with_capacity(count),
            in_flight: 0,
            done,
        };
        for _ in 0..count {
            let transfer = Idle::new(handle, endpoint, bytes, &sender, clock)?;
            let raw = transfer.0.raw;
            match transfer.submit() {
                Ok(()) => {
                    ring.all.push(raw);
                    ring.in_flight += 1;
                }
                Err((_, Fault::Memory)) if ring.in_flight >= count.div_ceil(4) => break,
                Err((_, fault)) => return Err(fault),
            }
        }
        Ok(ring)
    }

    /// Waits no longer than `wait` for the oldest transfer to come back, shows it to `look`, and
    /// submits it again. None where none came back.
    ///
    /// # Errors
    /// Why no transfer can be submitted any more.
    pub fn next<T>(
        &mut self,
        wait: Duration,
        look: impl FnOnce(&Completed<'_>) -> T,
    ) -> Answer<Option<T>> {
        if self.in_flight < self.all.len() {
            self.submit_resting()?;
        }
        let Received::Value(finished) = self.done.receive(wait) else {
            return Ok(None);
        };
        self.in_flight -= 1;
        let seen = look(&finished.view());
        self.resting.push(finished.transfer);
        // What fails is tried again, and told of when nothing is in flight.
        let _ = self.submit_resting();
        Ok(Some(seen))
    }

    /// Submits what rests; fails where nothing is in flight then.
    fn submit_resting(&mut self) -> Answer<()> {
        while let Some(transfer) = self.resting.pop() {
            match transfer.submit() {
                Ok(()) => self.in_flight += 1,
                Err((transfer, fault)) => {
                    self.resting.push(transfer);
                    return if self.in_flight == 0 { Err(fault) } else { Ok(()) };
                }
            }
        }
        Ok(())
    }

    /// After a stall: takes all transfers back, which a halted endpoint needs, ends the halt, and
    /// submits them again.
    ///
    /// # Errors
    /// What the device answers.
    pub fn restart(&mut self) -> Answer<()> {
        self.drain();
        self.handle.clear_halt(self.address).map_err(fault)?;
        self.submit_resting()
    }

    /// Cancels what is in flight and waits until it is back.
    fn drain(&mut self) {
        for raw in &self.all {
            // SAFETY: the transfers of the ring are freed with it and not before; one that is not
            // in flight is refused.
            unsafe { ffi::libusb_cancel_transfer(raw.as_ptr()) };
        }
        let until = Instant::now() + DRAIN;
        while self.in_flight > 0 && Instant::now() < until {
            if let Received::Value(finished) = self.done.receive(Duration::from_millis(50)) {
                self.in_flight -= 1;
                self.resting.push(finished.transfer);
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What does not come back stays libusb's: its completion frees it, if there ever is one.
        self.drain();
    }
}
