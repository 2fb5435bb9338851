//! The depth engine's plugin interface, as Microsoft's library and its engine speak it
//! (usb-protocol.md 5.4; x86-64 and aarch64 Linux). The emulator offers an engine through it, and
//! the recorder loads engines by it.

use std::ffi::{c_int, c_void};

/// An engine, seen from outside.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    _private: [u8; 0],
}

/// Called when an asynchronous engine is done; nobody uses it.
pub type Complete = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, *mut c_void);

/// What a plugin fills in. All functions must be there; they are optional here because a table is
/// empty until a plugin has filled it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Plugin {
    /// Major, minor, patch.
    pub version: [u32; 3],
    /// Creates a depth engine.
    pub depth_create: Option<DepthCreate>,
    /// Turns a raw frame into images.
    pub depth_process: Option<DepthProcess>,
    /// Bytes of those images.
    pub depth_output_bytes: Option<unsafe extern "C" fn(*mut Context) -> usize>,
    /// Destroys a depth engine.
    pub depth_destroy: Option<unsafe extern "C" fn(*mut *mut Context)>,
    /// Creates a transform engine.
    pub transform_create: Option<TransformCreate>,
    /// Transforms images between cameras.
    pub transform_process: Option<TransformProcess>,
    /// Bytes of a transformed image.
    pub transform_output_bytes: Option<unsafe extern "C" fn(*mut Context, c_int) -> usize>,
    /// Destroys a transform engine.
    pub transform_destroy: Option<unsafe extern "C" fn(*mut *mut Context)>,
}

/// Engine out, calibration blob and its size, engine mode, input type, camera calibration, callback
/// and its context.
pub type DepthCreate = unsafe extern "C" fn(
    *mut *mut Context,
    usize,
    *mut c_void,
    c_int,
    c_int,
    *mut c_void,
    Option<Complete>,
    *mut c_void,
) -> c_int;

/// Engine, raw frame and its size, output type, images and their size, what the frame said, input
/// info.
pub type DepthProcess = unsafe extern "C" fn(
    *mut Context,
    *mut c_void,
    usize,
    c_int,
    *mut c_void,
    usize,
    *mut OutputInfo,
    *mut c_void,
) -> c_int;

/// Engine out, calibration, callback and its context.
pub type TransformCreate =
    unsafe extern "C" fn(*mut *mut Context, *mut c_void, Option<Complete>, *mut c_void) -> c_int;

/// Engine, type, interpolation, invalid value, then four images with their sizes.
pub type TransformProcess = unsafe extern "C" fn(
    *mut Context,
    c_int,
    c_int,
    u32,
    *const c_void,
    usize,
    *const c_void,
    usize,
    *mut c_void,
    usize,
    *mut c_void,
    usize,
) -> c_int;

/// The function that a plugin exports.
pub type Register = unsafe extern "C" fn(*mut Plugin) -> bool;

/// Name of the exported function.
pub const REGISTER: &str = "k4a_register_plugin";

/// What the engine found in a raw frame.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OutputInfo {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Sensor temperature in °C.
    pub sensor_c: f32,
    /// Laser temperatures in °C.
    pub laser_c: [f32; 2],
    /// Centre of exposure in 90 kHz ticks.
    pub exposure_ticks: u64,
    /// USB start of frame in 90 kHz ticks.
    pub sof_ticks: u64,
}

/// The depth camera's calibration as the engine gets it: normalised, 1024x1024.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraCalibration {
    /// Rotation, row-major.
    pub rotation: [f32; 9],
    /// Translation in millimetres.
    pub translation_mm: [f32; 3],
    /// Lens model: 4 is Brown-Conrady.
    pub model: u32,
    /// Lens parameters that count.
    pub parameter_count: u32,
    /// cx, cy, fx, fy, k1 to k6, codx, cody, p2, p1, metric radius.
    pub parameters: [f32; 15],
    /// Pixels in a row.
    pub width: i32,
    /// Rows.
    pub height: i32,
    /// Metric radius.
    pub metric_radius: f32,
}

const _: () = assert!(size_of::<Plugin>() == 80);
const _: () = assert!(size_of::<OutputInfo>() == 32);
const _: () = assert!(size_of::<CameraCalibration>() == 128);

/// Results of the engine's functions.
pub mod result {
    use std::ffi::c_int;

    /// Done.
    pub const OK: c_int = 0;
    /// The raw frame does not have the mode's size.
    pub const INPUT_SIZE: c_int = 1;
    /// The room for images does not have their size.
    pub const OUTPUT_SIZE: c_int = 2;
    /// The raw frame is not one of a sequence.
    pub const CAPTURE_SEQUENCE: c_int = 3;
    /// No raw frame.
    pub const NULL_INPUT: c_int = 4;
    /// No room for images.
    pub const NULL_OUTPUT: c_int = 5;
    /// No engine.
    pub const NULL_ENGINE: c_int = 101;
    /// The engine could not be created.
    pub const INIT_FAILED: c_int = 102;
    /// The calibration blob is not one of this engine's devices.
    pub const CALIBRATION: c_int = 103;
    /// Waiting for the GPU failed: the frame is lost, the engine goes on.
    pub const WAIT_COMPLETE: c_int = 106;
    /// The GPU took too long: the frame is lost, the engine goes on.
    pub const GPU_TIMEOUT: c_int = 208;
}
