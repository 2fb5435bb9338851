//! After start the capture path allocates nothing.

#[path = "../benches/counting/mod.rs"]
mod counting;

#[test]
fn a_running_take_allocates_nothing() {
    assert_eq!(counting::allocations_in_mid_take(), 0);
}
