//! The emulator's depth engine as `libdepthengine.so.2.0`, for Microsoft's libk4a.
