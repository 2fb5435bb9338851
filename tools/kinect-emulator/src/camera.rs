//! One camera on the wire: two functions, each with at most one host.

use crate::device::{Device, lock};
use crate::error::{Error, Result};
use crate::fault::{Pipe, WireFault};
use crate::session::{End, Session};
use crate::socket::Socket;
use crate::vhci;
use genlock_emulator::{Exposure, Function, Received, Setup};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often a device that has left the bus by itself looks whether it is back.
const BACK: Duration = Duration::from_millis(20);

/// One camera on the wire.
#[derive(Debug)]
pub struct Camera {
    serial: String,
    place: usize,
    device: Device,
    plug: Mutex<Plug>,
}

/// How the camera is connected.
#[derive(Debug, Default)]
struct Plug {
    /// The hosts' sockets, by function.
    hosts: [Option<Arc<Socket>>; 2],
    threads: Vec<JoinHandle<()>>,
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
            device: Device::new(setup, zero),
            plug: Mutex::default(),
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
        self.device.kinect().exposures().to_vec()
    }

    /// Every command and control write that it received.
    #[must_use]
    pub fn journal(&self) -> Vec<Received> {
        self.device.kinect().journal().to_vec()
    }

    /// Orders a fault. Orders for one pipe are carried out in turn.
    pub fn order(&self, pipe: Pipe, fault: WireFault) {
        self.device.order(pipe, fault);
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Puts it on a bus of no kernel, for hosts that come by themselves.
    pub fn put_in(&self) {
        self.device.put_in();
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
        let end = Session::new(&self.device, function, socket).run();
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
        if self.device.pulled().is_none() {
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
        let pulled = self.device.pulled();
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
    fn tend(
        &self,
        function: Function,
        mut socket: Arc<Socket>,
        pulled: Option<u32>,
        of_kernel: bool,
    ) {
        loop {
            match self.host(function, &socket) {
                Ok(End::Gone) if of_kernel => {}
                Ok(_) => return,
                Err(error) => return eprintln!("kinect-emulator: {error}"),
            }
            loop {
                if pulled.is_none() || self.device.pulled() != pulled {
                    return;
                }
                if self.device.plugged_in().is_some() {
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
            self.device.pull_out();
            plug.hosts.iter().flatten().for_each(|host| host.shut_down());
            std::mem::take(&mut plug.threads)
        };
        for thread in threads {
            thread.thread().unpark();
            // One that panicked has said so.
            let _ = thread.join();
        }
        self.device.power_cycle();
    }
}
