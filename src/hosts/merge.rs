//! The parts of a take become one take, with a ledger of what is missing.
