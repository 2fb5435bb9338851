//! Rigs that span machines: three hosts in network namespaces with eight emulated devices, and what
//! becomes of a take whatever happens to the hosts and to the network between them.
#![cfg(feature = "hosts")]

#[path = "../support/network.rs"]
mod network;
mod network_itself;
