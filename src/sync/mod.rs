//! The arithmetic of time, without a clock of its own: which trigger a frame answers, which
//! triggers a take spans, how clocks run against each other, and whether a rig is in step. Pure.

mod beat;
mod clock_fit;
mod lag;
mod line;
mod numbering;
mod phase;
mod review;
mod span;
mod verdict;
mod watch;

pub use beat::{Beat, Pulse};
pub use clock_fit::{ClockFit, LowerHull};
pub use lag::LagWatch;
pub use numbering::{Admission, Numbering, Origin};
pub use phase::{Pair, Phase, pairs, quantile};
pub use review::{Reviewed, review};
pub use span::{Lead, Reference, Span};
pub use verdict::{ClockLine, Master, Series, Standing, judge};
pub use watch::{Change, OUT_OF_STEP, Watch};
