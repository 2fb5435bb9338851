//! The emulator's depth engine as a shared library: as `libdepthengine.so.2.0` beside Microsoft's
//! libk4a it gives that library depth and infrared of emulated cameras (usb-protocol.md 5.3).

use genlock_emulator::engine;
use genlock_emulator::plugin::Plugin;

/// Fills in the table of the emulator's engine.
///
/// # Safety
/// `plugin` is null or points to room for a [`Plugin`].
// SAFETY: nothing else in the library has this name, which libk4a looks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn k4a_register_plugin(plugin: *mut Plugin) -> bool {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { engine::k4a_register_plugin(plugin) }
}
