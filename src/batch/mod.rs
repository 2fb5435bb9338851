//! Sessions: takes made one after the other from a plan, for days and with nobody there.
//!
//! A take is a process of its own, so that nothing of one, not even a crash, reaches the next.
//! What becomes of them is in `session.toml` before and after each: a session that was cut off
//! goes on where it was.

mod attempt;
mod forecast;
mod join;
mod name;
mod plan;
mod process;
mod run;
mod settings;
mod store;

pub use forecast::{Forecast, forecasts};
pub use join::{is_gone, join, refuse_strangers};
pub use plan::{Plan, Planned};
pub use process::{OURSELVES, Stop, pass_on, words};
pub use run::{Batch, Done, Event, run};
pub use settings::Sound;
pub use store::{SESSION, look, read_session};
