//! One camera on the wire: two functions, each with at most one host.

use crate::error::{Error, Result};
use crate::pipe::{Pipe, WireFault};
use crate::session::{End, Session};
use crate::socket::Socket;
use crate::vhci;
use genlock_emulator::{Exposure, Function, Kinect, Received, Setup};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often a device that has left the bus by itself looks whether it is back.
const BACK: Duration = Duration::from_millis(20);

/// Orders that may wait at once.
const ORDERS_MAX: usize = 1000;

/// One camera on the wire.
#[derive(Debug)]
pub struct Camera {
    serial: String,
    place: usize,
    kinect: Mutex<Kinect>,
    orders: Mutex<Vec<(Pipe, WireFault)>>,
    plug: Mutex<Plug>,
    zero: Instant,
}

/// How the camera is connected.
#[derive(Debug, Default)]
struct Plug {
    is_in: bool,
    /// How often it was pulled out.
    pulled: u32,
    /// The hosts' sockets, by function.
    hosts: [Option<Arc<Socket>>; 2],
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot(function: Function) -> usize {
    usize::from(function == Function::Color)
}

/// The name of a function, for people.
pub(crate) fn name(function: Function) -> &'static str {
    match function {
        Function::Depth => "depth",
        Function::Color => "color",
    }
}

impl Camera {
    /// The camera at `place` of a rig, counted from 0, not plugged in. Host time began at `zero`.
    pub(crate) fn new(setup: Setup, place: usize, zero: Instant) -> Self {
        Self {
            serial: setup.serial.clone(),
            place,
            kinect: Mutex::new(Kinect::new(setup)),
            orders: Mutex::default(),
            plug: Mutex::default(),
            zero,
        }
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The exposures as they truly were, in nanoseconds since the rig's zero; up to
    /// [`Setup::exposures_max`].
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        self.kinect().exposures().to_vec()
    }

    /// Every command and control write that it received.
    #[must_use]
    pub fn journal(&self) -> Vec<Received> {
        self.kinect().journal().to_vec()
    }

    /// Orders a fault. Orders for one pipe are carried out in turn.
    pub fn order(&self, pipe: Pipe, fault: WireFault) {
        let mut orders = lock(&self.orders);
        if orders.len() < ORDERS_MAX {
            orders.push((pipe, fault));
        }
    }

    /// Takes the oldest order for a pipe, if it is `wanted`.
    pub(crate) fn take_order(
        &self,
        pipe: Pipe,
        wanted: impl Fn(WireFault) -> bool,
    ) -> Option<WireFault> {
        let mut orders = lock(&self.orders);
        let place = orders.iter().position(|(of, _)| *of == pipe)?;
        let (_, fault) = orders[place];
        wanted(fault).then(|| orders.remove(place).1)
    }

    pub(crate) fn kinect(&self) -> MutexGuard<'_, Kinect> {
        lock(&self.kinect)
    }

    pub(crate) fn now_ns(&self) -> u64 {
        // 584 years fit into 64 bits of nanoseconds.
        self.zero.elapsed().as_nanos() as u64
    }

    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Which time of being plugged in this is; none while it is not on the bus.
    pub(crate) fn plugged_in(&self) -> Option<(u32, u32)> {
        let pulled = {
            let plug = lock(&self.plug);
            plug.is_in.then_some(plug.pulled)?
        };
        let now_ns = self.now_ns();
        let mut kinect = self.kinect();
        kinect.is_there(now_ns).then(|| (pulled, kinect.plugged_in(now_ns)))
    }

    /// Puts it on a bus of no kernel, for hosts that come by themselves.
    pub fn put_in(&self) {
        lock(&self.plug).is_in = true;
    }

    /// Plugs it into this machine's kernel.
    ///
    /// # Errors
    /// `Attach` when the kernel does not take it, with the reason and what to do.
    pub fn plug(self: &Arc<Self>) -> Result<()> {
        self.put_in();
        // In this order, as the ports of the hub in a real one: color 1, depth 2.
        for function in [Function::Color, Function::Depth] {
            if lock(&self.plug).hosts[slot(function)].is_none() {
                let socket = self.attach(function)?;
                self.spawn(function, socket, true)?;
            }
        }
        Ok(())
    }

    /// Connects a function to a host that speaks USB/IP at the other end of the socket that this
    /// gives: what [`Camera::plug`] does, without a kernel.
    ///
    /// # Errors
    /// `Busy` when the function has a host, `Listen` when the machine has no socket or thread left.
    pub fn connect(self: &Arc<Self>, function: Function) -> Result<UnixStream> {
        let pair = UnixStream::pair();
        let (ours, theirs) =
            pair.map_err(|cause| Error::Listen(format!("cannot make a pair of sockets: {cause}")))?;
        self.put_in();
        let socket = self.claim(function, ours.into())?;
        self.spawn(function, socket, false)?;
        Ok(theirs)
    }

    /// Serves the host at the other end of `socket` until it goes or the camera does.
    ///
    /// # Errors
    /// `Busy` when the function has a host or the camera is not plugged in, `Wire` when what the
    /// host sends is no USB/IP.
    pub fn serve(&self, function: Function, socket: OwnedFd) -> Result<End> {
        let socket = self.claim(function, socket)?;
        self.host(function, &socket)
    }

    fn host(&self, function: Function, socket: &Arc<Socket>) -> Result<End> {
        let end = Session::new(self, function, socket).run();
        self.release(function, socket);
        end.map_err(|error| Error::Wire(format!("{} {}: {error}", self.serial, name(function))))
    }

    /// `socket` is no longer the host of a function.
    fn release(&self, function: Function, socket: &Arc<Socket>) {
        socket.shut_down();
        let mut plug = lock(&self.plug);
        let host = &mut plug.hosts[slot(function)];
        if host.as_ref().is_some_and(|host| Arc::ptr_eq(host, socket)) {
            *host = None;
        }
    }

    /// Makes `socket` the host of a function.
    pub(crate) fn claim(&self, function: Function, socket: OwnedFd) -> Result<Arc<Socket>> {
        let mut plug = lock(&self.plug);
        let busy = |why: &str| Error::Busy(format!("{} {}: {why}", self.serial, name(function)));
        if !plug.is_in {
            return Err(busy("not plugged in"));
        }
        let host = &mut plug.hosts[slot(function)];
        if host.is_some() {
            return Err(busy("attached already"));
        }
        let socket = Arc::new(Socket::new(socket));
        *host = Some(Arc::clone(&socket));
        Ok(socket)
    }

    /// Attaches a function to this machine's kernel; gives our end.
    fn attach(&self, function: Function) -> Result<Arc<Socket>> {
        // Bus and device number, as any: the kernel has numbers of its own.
        let id = (self.place as u32 + 1) << 16 | (slot(function) as u32 + 1);
        let ours = vhci::attach(id).map_err(|error| {
            Error::Attach(format!("{} {}: {error}", self.serial, name(function)))
        })?;
        self.claim(function, ours.into())
    }

    /// Serves a host in a thread of its own.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        function: Function,
        socket: Arc<Socket>,
        of_kernel: bool,
    ) -> Result<()> {
        let camera = Arc::clone(self);
        let pulled = lock(&self.plug).pulled;
        let (served, unserved) = (Arc::clone(&socket), socket);
        let serve = move || camera.tend(function, served, pulled, of_kernel);
        let thread = Builder::new().name(format!("{} {}", self.serial, name(function)));
        let thread = thread.spawn(serve).map_err(|cause| {
            self.release(function, &unserved);
            Error::Listen(format!("{}: cannot start a thread: {cause}", self.serial))
        })?;
        let mut plug = lock(&self.plug);
        plug.threads.retain(|thread| !thread.is_finished());
        plug.threads.push(thread);
        Ok(())
    }

    /// Serves a host; a device that leaves the bus by itself and comes back is attached again.
    fn tend(&self, function: Function, mut socket: Arc<Socket>, pulled: u32, of_kernel: bool) {
        loop {
            match self.host(function, &socket) {
                Ok(End::Gone) if of_kernel => {}
                Ok(_) => return,
                Err(error) => return eprintln!("kinect-emulator: {error}"),
            }
            loop {
                let plug = lock(&self.plug);
                if !plug.is_in || plug.pulled != pulled {
                    return;
                }
                drop(plug);
                if self.plugged_in().is_some() {
                    break;
                }
                std::thread::park_timeout(BACK);
            }
            match self.attach(function) {
                Ok(again) => socket = again,
                Err(error) => return eprintln!("kinect-emulator: {error}"),
            }
        }
    }

    /// Pulls it out: its hosts lose it at once, and orders are forgotten. It comes back as just
    /// plugged in.
    ///
    /// A kernel that has put a function to sleep, as uvcvideo does after two idle seconds, notices
    /// three seconds late; `usbcore.autosuspend=-1` keeps it awake.
    pub fn unplug(&self) {
        let threads = {
            let mut plug = lock(&self.plug);
            plug.is_in = false;
            plug.pulled += 1;
            plug.hosts.iter().flatten().for_each(|host| host.shut_down());
            std::mem::take(&mut plug.threads)
        };
        for thread in threads {
            thread.thread().unpark();
            // One that panicked has said so.
            let _ = thread.join();
        }
        let now_ns = self.now_ns();
        self.kinect().power_cycle(now_ns);
        lock(&self.orders).clear();
    }
}
