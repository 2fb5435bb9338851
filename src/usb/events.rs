//! The thread on which libusb completes the transfers of one opened device.

use crate::usb::{Answer, Fault};
use rusb::{Context, UsbContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the thread sleeps at most; it is woken when it has to end.
const WAIT: Duration = Duration::from_secs(1);

/// Handles a context's events until it is dropped.
pub(super) struct Events {
    context: Context,
    quit: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Fault::Memory`] when the system gives no thread.
    pub fn start(context: &Context, name: &str) -> Answer<Self> {
        let quit = Arc::<AtomicBool>::default();
        let (handled, quits) = (context.clone(), Arc::clone(&quit));
        let handle_events = move || {
            while !quits.load(Ordering::Acquire) {
                // What fails for one device comes back in its transfers; a signal ends a wait.
                let _ = handled.handle_events(Some(WAIT));
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(handle_events);
        let thread = Some(thread.map_err(|_| Fault::Memory)?);
        Ok(Self { context: context.clone(), quit, thread })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Release);
        self.context.interrupt_handle_events();
        if let Some(thread) = self.thread.take() {
            // A panic there has nothing left to harm.
            let _ = thread.join();
        }
    }
}
