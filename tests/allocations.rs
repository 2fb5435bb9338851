//! After start the capture path allocates nothing.

#[path = "../benches/counting/mod.rs"]
mod counting;

use genlock_formats::take::Profile;

/// One test: what is counted is the whole process.
#[test]
fn a_running_take_allocates_nothing() {
    for profile in [Profile::K4a, Profile::Compact] {
        assert_eq!(counting::allocations_in_mid_take(profile), 0, "{profile}");
    }
}
