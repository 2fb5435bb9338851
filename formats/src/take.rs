//! `take.toml`: what a take is, in words that a person can read.
