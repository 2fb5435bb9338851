//! Finished files move to one place, and are released there.
