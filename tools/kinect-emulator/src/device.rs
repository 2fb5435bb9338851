//! A camera as its hosts' sessions see it: the state machine, the time, orders, and whether it is
//! on the bus.

use crate::fault::{Pipe, WireFault};
use genlock_emulator::{Kinect, Setup};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Orders that may wait at once.
const ORDERS_MAX: usize = 1000;

/// A camera, whoever it is connected to.
#[derive(Debug)]
pub(crate) struct Device {
    kinect: Mutex<Kinect>,
    orders: Mutex<Vec<(Pipe, WireFault)>>,
    /// Counts being plugged in and pulled out: odd while it is in.
    moves: AtomicU32,
    zero: Instant,
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Not plugged in. Host time began at `zero`.
    pub fn new(setup: Setup, zero: Instant) -> Self {
        Self {
            kinect: Mutex::new(Kinect::new(setup)),
            orders: Mutex::default(),
            moves: AtomicU32::new(0),
            zero,
        }
    }

    pub fn kinect(&self) -> MutexGuard<'_, Kinect> {
        lock(&self.kinect)
    }

    /// Host time.
    pub fn now_ns(&self) -> u64 {
        // 584 years fit into 64 bits of nanoseconds.
        self.zero.elapsed().as_nanos() as u64
    }

    /// Orders a fault; those beyond the thousandth that wait are forgotten.
    pub fn order(&self, pipe: Pipe, fault: WireFault) {
        let mut orders = lock(&self.orders);
        if orders.len() < ORDERS_MAX {
            orders.push((pipe, fault));
        }
    }

    /// Takes the oldest order for a pipe, if it is `wanted`.
    pub fn take_order(&self, pipe: Pipe, wanted: impl Fn(WireFault) -> bool) -> Option<WireFault> {
        let mut orders = lock(&self.orders);
        let place = orders.iter().position(|(of, _)| *of == pipe)?;
        let (_, fault) = orders[place];
        wanted(fault).then(|| orders.remove(place).1)
    }

    /// Puts it on a bus, if it is on none.
    pub fn put_in(&self) {
        self.moves.fetch_or(1, Ordering::AcqRel);
    }

    /// Takes it off its bus.
    pub fn pull_out(&self) {
        // Only the owner of the plug moves it.
        if self.pulled().is_some() {
            self.moves.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often it was moved until it was put in as it is; none while it is out.
    pub fn pulled(&self) -> Option<u32> {
        Some(self.moves.load(Ordering::Acquire)).filter(|moves| moves % 2 == 1)
    }

    /// Which time of being on the bus this is; none while it is not there, be it pulled out or gone
    /// by itself.
    pub fn plugged_in(&self) -> Option<(u32, u32)> {
        let pulled = self.pulled()?;
        let now_ns = self.now_ns();
        let mut kinect = self.kinect();
        kinect.is_there(now_ns).then(|| (pulled, kinect.plugged_in(now_ns)))
    }

    /// As just plugged in, with no order left.
    pub fn power_cycle(&self) {
        let now_ns = self.now_ns();
        self.kinect().power_cycle(now_ns);
        lock(&self.orders).clear();
    }
}
