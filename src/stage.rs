//! A stage of the chain: one method, one unit of work. In production each stage is a thread; in
//! simulation each is a turn.

use crate::error::{Error, Result};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A unit of work was done; there may be more.
    Worked,
    /// Nothing to do within the wait.
    Idle,
    /// Nothing will ever be to do again.
    Done,
}

/// One worker of the chain.
pub trait Stage: Send {
    /// Name of the stage, for threads and messages: device and track, e.g. `000123201312 color`.
    fn name(&self) -> &str;

    /// Does at most one unit of work, waiting for it no longer than `wait`. A zero wait must not
    /// block.
    ///
    /// # Errors
    /// When the stage cannot go on; it is not stepped again, and dropping it closes its lanes.
    fn step(&mut self, wait: Duration) -> Result<Step>;
}

/// How long a stage's thread waits at most before it looks around: bounds the reaction to a stop.
const WAIT: Duration = Duration::from_millis(50);

/// Runs a stage on a thread of its own until it is done or fails. A panic in the stage drops it,
/// which closes its lanes, so that the stages behind it finish their work.
///
/// # Errors
/// `Device` when the system gives no thread.
pub fn spawn(mut stage: Box<dyn Stage>) -> Result<JoinHandle<Result<()>>> {
    let name = stage.name().to_owned();
    Builder::new()
        .name(name.clone())
        .spawn(move || while_working(stage.as_mut()))
        .map_err(|cause| Error::Device(format!("cannot start a thread for {name}: {cause}")))
}

fn while_working(stage: &mut dyn Stage) -> Result<()> {
    while stage.step(WAIT)? != Step::Done {}
    Ok(())
}

/// Waits for a stage's thread; a panic becomes an error that names the stage.
///
/// # Errors
/// What the stage failed with.
pub fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    let name = thread.thread().name().unwrap_or("a stage").to_owned();
    thread.join().unwrap_or_else(|_| {
        Err(Error::Device(format!("{name}: stopped by a fault in genlock; please report it")))
    })
}
