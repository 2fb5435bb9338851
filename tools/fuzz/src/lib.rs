//! Fuzzing as an ordinary program: changed input for everything that reads what others wrote.
//!
//! A [`Target`] reads input and tells what came of it as an [`Outcome`]. [`run::fuzz`] makes inputs
//! of a target's seeds and corpus, and holds every run against the rules: no panic, an end, memory
//! within bounds, and the same outcome for the same input.

pub mod measure;
pub mod mutate;
pub mod outcome;
pub mod random;
pub mod run;
pub mod script;
pub mod seeds;
pub mod targets;

pub use outcome::Outcome;
pub use targets::Target;
