//! Emulated devices behind the same door as real ones.
//!
//! The lock around each device stands for the hardware: a real device serves its endpoints by
//! itself. It is held while the device fills a buffer and no longer, and belongs to no path that
//! real devices take.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::usb::{
    Answer, Bus, Fault, PACKETS_MAX, Packets, Port, Request, Stream, StreamEndpoint, Transfer,
    TransferKind, UsbDevice,
};
use genlock_emulator::{
    Cable, Exposure, Faults, Film, Function, Kinect, Playback, Read, Received,
    Request as EmulatedRequest, chain, chain_of_films, chain_part,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a stream looks again while its device cannot say when it will have data: a subordinate
/// does not know when its master starts.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

type Shared = Arc<Mutex<Kinect>>;

/// A bus with emulated cameras.
pub struct EmulatedBus {
    kinects: Vec<Shared>,
    clock: Clock,
    streams: Arc<Mutex<Vec<(Shared, Function, u8)>>>,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmulatedBus {
    /// A bus with these cameras.
    #[must_use]
    pub fn new(kinects: Vec<Kinect>, clock: Clock) -> Self {
        let kinects = kinects.into_iter().map(|kinect| Arc::new(Mutex::new(kinect))).collect();
        Self { kinects, clock, streams: Arc::default() }
    }

    /// A rig of cameras in a chain of sync cables, one for each entry of `faults`, the first being
    /// the master; one alone has no cable. They see a scene each, or all of them the recording,
    /// whose serial the first then has.
    #[must_use]
    pub fn rig(faults: &[Faults], recording: Option<&Arc<Playback>>, clock: Clock) -> Self {
        Self::new(chain(faults, recording).into_iter().map(Kinect::new).collect(), clock)
    }

    /// Of such a rig the cameras at the places `here` of the chain, counted from 0; the others are
    /// on other hosts, and all hang on `cable`. Without one they hang on each other alone.
    #[must_use]
    pub fn part(
        faults: &[Faults],
        here: &[usize],
        cable: Option<Cable>,
        recording: Option<&Arc<Playback>>,
        clock: Clock,
    ) -> Self {
        let cable = cable.unwrap_or_default();
        let setups = chain_part(faults, here, &cable, recording);
        Self::new(setups.into_iter().map(Kinect::new).collect(), clock)
    }

    /// The same rig, where each camera has a serial and a film of its own.
    #[must_use]
    pub fn of_films(faults: &[Faults], films: &[(String, Arc<dyn Film>)], clock: Clock) -> Self {
        Self::new(chain_of_films(faults, films).into_iter().map(Kinect::new).collect(), clock)
    }

    /// When an open stream will next have data; none while none knows.
    #[must_use]
    pub fn next_event_ns(&self) -> Option<u64> {
        let now_ns = self.clock.now_ns();
        let streams = lock(&self.streams);
        let ready = |(kinect, function, endpoint): &(Shared, Function, u8)| {
            lock(kinect).ready_at(*function, *endpoint, now_ns)
        };
        streams.iter().filter_map(ready).min()
    }

    /// The exposures of the camera with `serial` as they truly were.
    #[must_use]
    pub fn exposures(&self, serial: &str) -> Vec<Exposure> {
        self.with(serial, |kinect| kinect.exposures().to_vec())
    }

    /// Every command and control write that the camera with `serial` received.
    #[must_use]
    pub fn journal(&self, serial: &str) -> Vec<Received> {
        self.with(serial, |kinect| kinect.journal().to_vec())
    }

    fn with<T: Default>(&self, serial: &str, look: impl Fn(&Kinect) -> T) -> T {
        let found = self.kinects.iter().find_map(|kinect| {
            let kinect = lock(kinect);
            (kinect.descriptors(Function::Depth).strings[2] == serial).then(|| look(&kinect))
        });
        found.unwrap_or_default()
    }
}

impl Bus for EmulatedBus {
    fn devices(&self) -> Result<Vec<UsbDevice>> {
        let device = |(i, kinect): (usize, &Shared), function: Function| UsbDevice {
            product: function.product(),
            serial: lock(kinect).descriptors(function).strings[2].clone(),
            bus: i as u8 + 1,
            address: if function == Function::Depth { 2 } else { 3 },
            ports: vec![1, if function == Function::Depth { 2 } else { 1 }],
            superspeed: true,
        };
        let now_ns = self.clock.now_ns();
        let kinects = self.kinects.iter().enumerate();
        Ok(kinects
            .filter(|(_, kinect)| lock(kinect).is_there(now_ns))
            .flat_map(|k| [Function::Depth, Function::Color].map(|function| device(k, function)))
            .collect())
    }

    fn open(&self, device: &UsbDevice) -> Result<Box<dyn Port>> {
        let kinect = usize::from(device.bus).checked_sub(1).and_then(|i| self.kinects.get(i));
        let functions = [Function::Depth, Function::Color];
        let function = functions.into_iter().find(|f| f.product() == device.product);
        let (Some(kinect), Some(function)) = (kinect, function) else {
            return Err(Error::Device(format!("{}: not on the emulated bus", device.serial)));
        };
        let plugged_in = lock(kinect).plugged_in(self.clock.now_ns());
        let configuration = lock(kinect).descriptors(function).configuration.clone();
        Ok(Box::new(EmulatedPort {
            plugged_in,
            configuration,
            kinect: Arc::clone(kinect),
            function,
            clock: self.clock.clone(),
            streams: Arc::clone(&self.streams),
        }))
    }
}

struct EmulatedPort {
    kinect: Shared,
    /// How often the device had been plugged in when it was opened.
    plugged_in: u32,
    function: Function,
    configuration: Vec<u8>,
    clock: Clock,
    streams: Arc<Mutex<Vec<(Shared, Function, u8)>>>,
}

fn emulated(request: Request) -> EmulatedRequest {
    let Request { kind, request, value, index } = request;
    EmulatedRequest { kind, request, value, index }
}

impl EmulatedPort {
    /// The device, and the time; gone when it has left the bus since it was opened.
    fn kinect(&self) -> Answer<(MutexGuard<'_, Kinect>, u64)> {
        same_kinect(&self.kinect, self.plugged_in, self.clock.now_ns())
    }
}

fn same_kinect(
    kinect: &Shared,
    plugged_in: u32,
    now_ns: u64,
) -> Answer<(MutexGuard<'_, Kinect>, u64)> {
    let mut kinect = lock(kinect);
    let same = kinect.is_there(now_ns) && kinect.plugged_in(now_ns) == plugged_in;
    if same { Ok((kinect, now_ns)) } else { Err(Fault::Gone) }
}

impl Port for EmulatedPort {
    fn configuration(&self) -> &[u8] {
        &self.configuration
    }

    fn claim(&mut self, _interface: u8) -> Answer<()> {
        Ok(())
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Answer<()> {
        let (value, index) = (u16::from(alternate), u16::from(interface));
        self.control_out(Request { kind: 0x01, request: 11, value, index }, &[])
    }

    fn control_in(&mut self, request: Request, into: &mut [u8]) -> Answer<usize> {
        let (mut kinect, now_ns) = self.kinect()?;
        let answer = kinect.control_in(self.function, emulated(request), into, now_ns);
        answer.map_err(|_| Fault::Stall)
    }

    fn control_out(&mut self, request: Request, data: &[u8]) -> Answer<()> {
        let (mut kinect, now_ns) = self.kinect()?;
        let answer = kinect.control_out(self.function, emulated(request), data, now_ns);
        answer.map_err(|_| Fault::Stall)
    }

    fn bulk_out(&mut self, endpoint: u8, data: &[u8]) -> Answer<()> {
        let (mut kinect, now_ns) = self.kinect()?;
        kinect.bulk_out(self.function, endpoint, data, now_ns).map_err(|_| Fault::Stall)
    }

    fn bulk_in(&mut self, endpoint: u8, into: &mut [u8]) -> Answer<usize> {
        let (mut kinect, now_ns) = self.kinect()?;
        // An emulated device answers commands at once, so what is not there will not come.
        match kinect.bulk_in(self.function, endpoint, into, now_ns) {
            Read::Done(bytes) => Ok(bytes),
            Read::Pending => Err(Fault::Timeout),
            Read::Stall => Err(Fault::Stall),
            Read::Overflow => Err(Fault::Overflow),
            Read::Gone => Err(Fault::Gone),
        }
    }

    fn stream(&mut self, endpoint: StreamEndpoint, pool: Pool) -> Answer<Box<dyn Stream>> {
        let key = (Arc::clone(&self.kinect), self.function, endpoint.address);
        lock(&self.streams).push(key);
        Ok(Box::new(EmulatedStream {
            kinect: Arc::clone(&self.kinect),
            plugged_in: self.plugged_in,
            function: self.function,
            endpoint,
            discard: vec![0; pool.buf_bytes()],
            pool,
            clock: self.clock.clone(),
            streams: Arc::clone(&self.streams),
            starved: 0,
        }))
    }
}

struct EmulatedStream {
    kinect: Shared,
    plugged_in: u32,
    function: Function,
    endpoint: StreamEndpoint,
    pool: Pool,
    /// Where data go when the pool is empty: the device's are gone all the same.
    discard: Vec<u8>,
    clock: Clock,
    streams: Arc<Mutex<Vec<(Shared, Function, u8)>>>,
    starved: u64,
}

impl EmulatedStream {
    /// Reads once into `into`; gives the transfer's packets and what came of it.
    fn read(&self, into: &mut [u8]) -> (Packets, Read) {
        let (now_ns, address) = (self.clock.now_ns(), self.endpoint.address);
        let Ok((mut kinect, _)) = same_kinect(&self.kinect, self.plugged_in, now_ns) else {
            return (Packets::default(), Read::Gone);
        };
        match self.endpoint.kind {
            TransferKind::Bulk => {
                (Packets::default(), kinect.bulk_in(self.function, address, into, now_ns))
            }
            TransferKind::Isochronous { packet_bytes } => {
                let mut lens = [None; PACKETS_MAX];
                let read = kinect.isochronous_in(
                    self.function,
                    address,
                    into,
                    packet_bytes,
                    &mut lens,
                    now_ns,
                );
                let mut packets = Packets::new(packet_bytes);
                if let Read::Done(count) = read {
                    for len in &lens[..count] {
                        assert!(packets.push(*len), "no more lengths than packets");
                    }
                }
                (packets, read)
            }
        }
    }

    fn wait(&self, wait: Duration) {
        let now_ns = self.clock.now_ns();
        let ready = lock(&self.kinect).ready_at(self.function, self.endpoint.address, now_ns);
        match ready {
            Some(at_ns) => self.clock.wait_until(at_ns, wait),
            None => self.clock.wait_until(u64::MAX, wait.min(LOOK_AGAIN)),
        }
    }
}

impl Stream for EmulatedStream {
    fn next(&mut self, wait: Duration) -> Option<Transfer> {
        let mut buf = self.pool.lend();
        let mut waited = wait.is_zero();
        loop {
            let mut discard = std::mem::take(&mut self.discard);
            let (packets, read) = self.read(buf.as_deref_mut().unwrap_or(&mut discard));
            self.discard = discard;
            let status = match read {
                Read::Pending if waited => return None,
                Read::Pending => {
                    self.wait(wait);
                    waited = true;
                    continue;
                }
                Read::Done(_) => Ok(()),
                Read::Stall => Err(Fault::Stall),
                Read::Overflow => Err(Fault::Overflow),
                Read::Gone => Err(Fault::Gone),
            };
            let Some(mut buf) = buf else {
                self.starved += 1;
                return None;
            };
            buf.set_len(match read {
                Read::Done(count) if packets.stride > 0 => count * packets.stride,
                Read::Done(bytes) => bytes,
                _ => 0,
            });
            return Some(Transfer { buf, packets, status, arrived_ns: self.clock.now_ns() });
        }
    }

    fn starved(&self) -> u64 {
        self.starved
    }
}

impl Drop for EmulatedStream {
    fn drop(&mut self) {
        lock(&self.streams).retain(|(kinect, function, endpoint)| {
            let same = Arc::ptr_eq(kinect, &self.kinect) && *function == self.function;
            !(same && *endpoint == self.endpoint.address)
        });
    }
}
