//! Rigs that span machines: three hosts in network namespaces with eight emulated devices, and what
//! becomes of a take whatever happens to the hosts and to the network between them.
#![cfg(feature = "hosts")]

#[path = "../support/agents.rs"]
mod agents;
#[path = "../support/network.rs"]
mod network;
#[allow(dead_code, reason = "other tests ask more of it")]
#[path = "../support/small_disk.rs"]
mod small_disk;

mod failures;
mod ledger;
mod network_itself;
mod takes;
