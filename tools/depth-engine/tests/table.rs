//! The built library as Microsoft's library loads it.

use genlock_emulator::plugin::{Plugin, REGISTER, Register, result};
use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr;

fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    test.with_file_name("libdepthengine.so")
}

#[test]
fn the_library_fills_in_all_functions_and_refuses_a_foreign_calibration() {
    // SAFETY: it is our own library, which does nothing when it is loaded.
    let library = unsafe { libloading::Library::new(library()) }.expect("it was built");
    // SAFETY: the function has this type, by the interface that both sides share.
    let register = unsafe { library.get::<Register>(REGISTER) }.expect("it is exported");
    let mut plugin = Plugin::default();
    // SAFETY: there is room for a table.
    assert!(unsafe { register(&raw mut plugin) });
    assert!(plugin.depth_process.is_some() && plugin.depth_output_bytes.is_some());
    assert!(plugin.depth_destroy.is_some() && plugin.transform_create.is_some());
    assert!(plugin.transform_process.is_some() && plugin.transform_output_bytes.is_some());
    assert!(plugin.transform_destroy.is_some());
    let create = plugin.depth_create.expect("it is filled in");
    let mut engine = ptr::null_mut();
    let mut blob = *b"of another maker";
    let (place, none) = (blob.as_mut_ptr().cast::<c_void>(), ptr::null_mut());
    // SAFETY: there is a place for the engine, and the blob is as long as it is said to be.
    let refused = unsafe { create(&raw mut engine, blob.len(), place, 4, 3, none, None, none) };
    assert_eq!((refused, engine.is_null()), (result::CALIBRATION, true));
}
