//! A certificate authority of a lab: certificates for its coordinators and hosts.
