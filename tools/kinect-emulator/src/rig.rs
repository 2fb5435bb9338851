//! The cameras of a rig.

use crate::camera::Camera;
use crate::error::Result;
use crate::listen;
use genlock_emulator::Setup;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Cameras that share one clock. They are unplugged when it is dropped.
#[derive(Debug)]
pub struct Rig {
    cameras: Vec<Arc<Camera>>,
    /// Whether hosts come over TCP.
    listens: AtomicBool,
}

impl Rig {
    /// A camera for each setup (see [`crate::chain`]), none plugged in. Host time began at `zero`.
    #[must_use]
    pub fn new(setups: Vec<Setup>, zero: Instant) -> Self {
        let camera = |(place, setup)| Arc::new(Camera::new(setup, place, zero));
        let cameras = setups.into_iter().enumerate().map(camera).collect();
        Self { cameras, listens: AtomicBool::new(false) }
    }

    /// The cameras, in the order of the setups.
    #[must_use]
    pub fn cameras(&self) -> &[Arc<Camera>] {
        &self.cameras
    }

    /// The camera with a serial number.
    #[must_use]
    pub fn camera(&self, serial: &str) -> Option<&Arc<Camera>> {
        self.cameras.iter().find(|camera| camera.serial() == serial)
    }

    /// Plugs all cameras into this machine's kernel.
    ///
    /// # Errors
    /// `Attach` when the kernel does not take one; those before it are plugged in.
    pub fn attach(&self) -> Result<()> {
        self.cameras.iter().try_for_each(Camera::plug)
    }

    /// Plugs a camera in where this rig's cameras are: for hosts on TCP, or this machine's kernel.
    ///
    /// # Errors
    /// `Attach` when the kernel does not take it.
    pub fn plug(&self, camera: &Arc<Camera>) -> Result<()> {
        if self.listens.load(Ordering::Acquire) {
            camera.put_in();
            return Ok(());
        }
        camera.plug()
    }

    /// Serves hosts that come over TCP (`usbip attach -r HOST -b BUSID`) until the process ends.
    ///
    /// # Errors
    /// `Listen` when nobody can connect any more.
    pub fn listen(&self, listener: &TcpListener) -> Result<()> {
        self.listens.store(true, Ordering::Release);
        self.cameras.iter().for_each(|camera| camera.put_in());
        listen::serve(listener, &self.cameras)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cameras.iter().for_each(|camera| camera.unplug());
    }
}
