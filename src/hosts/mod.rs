//! Rigs that span machines: an agent on each host owns its devices and its disk, a coordinator
//! makes them begin and end as one, and what they recorded becomes one take.
//!
//! Nothing of this is in the capture path: an agent runs `genlock part`, a process of its own, for
//! each take, and that goes on recording whatever becomes of the network, of the coordinator, and
//! of the agent. docs/hosts.md tells how it is used.

pub mod agent;
pub mod ceremony;
pub mod certs;
pub mod clocks;
pub mod collect;
pub mod control;
pub mod gather;
pub mod link;
pub mod merge;
pub mod messages;
pub mod name;
pub mod order;
pub mod part;
pub mod pending;
pub mod poll;
pub mod record;
pub mod recorder;
pub mod rig;
pub mod shelf;
