//! In place of `spanning`, where genlock was built without the feature `hosts`.

use super::Verdict;
use crate::config::{Asked, Plan, Rig};
use crate::error::{Error, Result};
use crate::rig::Finding;
use crate::rig::list::Listed;
use std::path::Path;

fn refused<T>() -> Result<T> {
    Err(Error::Usage(
        "the rig spans several hosts, and this genlock was built without them: build it with \
         `cargo build --release --features hosts`"
            .to_owned(),
    ))
}

/// Refuses.
pub fn record(_: &Asked, _: &Plan, _: bool, _: bool) -> Result<Verdict> {
    refused()
}

/// Refuses.
pub fn check(_: &Asked, _: &Plan) -> Result<Vec<Finding>> {
    refused()
}

/// Refuses.
pub fn list(_: &Path, _: &Rig) -> Result<(Vec<Listed>, Verdict)> {
    refused()
}
