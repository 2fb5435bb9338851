//! The cable that carries pulses from camera to camera.

use crate::timing::Pulses;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// What brings pulses from one end of a cable to the others. Times are those of the host that asks.
pub trait Carrier: Debug + Send + Sync {
    /// What the cable carries.
    fn pulses(&self) -> Option<Pulses>;

    /// Takes what a master gives. Says false where it cannot.
    fn carry(&self, pulses: Pulses) -> bool;
}

/// A sync cable, or a chain of them: a subordinate's sync-out repeats what its sync-in gets. Clones
/// are ends of the same cable. By default it lies within this process.
#[derive(Debug, Clone)]
pub struct Cable(Arc<dyn Carrier>);

impl Cable {
    /// A cable whose pulses are brought by `carrier`.
    #[must_use]
    pub fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self(carrier)
    }

    /// What the cable carries.
    #[must_use]
    pub fn pulses(&self) -> Option<Pulses> {
        self.0.pulses()
    }

    pub(crate) fn carry(&self, pulses: Pulses) -> bool {
        self.0.carry(pulses)
    }
}

impl Default for Cable {
    fn default() -> Self {
        Self(Arc::new(Within::default()))
    }
}

/// A cable within this process.
#[derive(Debug, Default)]
struct Within(Mutex<Option<Pulses>>);

impl Carrier for Within {
    fn pulses(&self) -> Option<Pulses> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(&self, pulses: Pulses) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pulses);
        true
    }
}
