//! How the clock of a host stands to the coordinator's.
