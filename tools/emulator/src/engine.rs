//! The emulator's own depth engine behind the plugin interface: it takes the images out of the
//! emulator's raw frames. The one place of this crate with `unsafe`: the interface is made of C
//! pointers.

use crate::calibration::is_ours;
use crate::plugin::{Complete, Context, OutputInfo, Plugin, result};
use crate::raw::{Frame, SensorMode};
use genlock_formats::k4a::DepthMode;
use std::ffi::{c_int, c_void};
use std::slice;

struct Engine {
    mode: DepthMode,
}

/// The depth mode that an engine mode makes, and the input type that goes with it (usb-protocol.md
/// 3.6).
fn depth_mode(mode: c_int, input_type: c_int) -> Option<DepthMode> {
    let (depth, expected) = match mode {
        2 => (DepthMode::Nfov2x2Binned, 3),
        3 => (DepthMode::PassiveIr, 3),
        4 => (DepthMode::NfovUnbinned, 3),
        5 => (DepthMode::WfovUnbinned, 4),
        7 => (DepthMode::Wfov2x2Binned, 3),
        _ => return None,
    };
    (input_type == expected).then_some(depth)
}

fn output_bytes(mode: DepthMode) -> usize {
    mode.image_bytes() * if mode.has_depth() { 2 } else { 1 }
}

/// Fills `plugin` with the emulator's engine.
///
/// # Safety
/// `plugin` is null or points to a table that may be written.
pub unsafe extern "C" fn k4a_register_plugin(plugin: *mut Plugin) -> bool {
    // SAFETY: by the contract above, a pointer that is not null may be written through.
    let Some(plugin) = (unsafe { plugin.as_mut() }) else {
        return false;
    };
    *plugin = Plugin {
        version: [2, 0, 0],
        depth_create: Some(depth_create),
        depth_process: Some(depth_process),
        depth_output_bytes: Some(depth_output_bytes),
        depth_destroy: Some(destroy),
        transform_create: Some(transform_create),
        transform_process: Some(transform_process),
        transform_output_bytes: Some(transform_output_bytes),
        transform_destroy: Some(destroy),
    };
    true
}

unsafe extern "C" fn depth_create(
    engine: *mut *mut Context,
    blob_bytes: usize,
    blob: *mut c_void,
    mode: c_int,
    input_type: c_int,
    _camera: *mut c_void,
    _complete: Option<Complete>,
    _complete_context: *mut c_void,
) -> c_int {
    // SAFETY: the caller gives null or a place for one pointer.
    let Some(place) = (unsafe { engine.as_mut() }) else {
        return result::NULL_ENGINE;
    };
    if blob.is_null() {
        return result::CALIBRATION;
    }
    // SAFETY: not null, and the caller says that `blob_bytes` bytes are there.
    let blob = unsafe { slice::from_raw_parts(blob.cast::<u8>(), blob_bytes) };
    if !is_ours(blob) {
        return result::CALIBRATION;
    }
    let Some(mode) = depth_mode(mode, input_type) else {
        return result::INIT_FAILED;
    };
    *place = Box::into_raw(Box::new(Engine { mode })).cast();
    result::OK
}

unsafe extern "C" fn depth_process(
    engine: *mut Context,
    input: *mut c_void,
    input_bytes: usize,
    _output_type: c_int,
    output: *mut c_void,
    room: usize,
    info: *mut OutputInfo,
    _input_info: *mut c_void,
) -> c_int {
    // SAFETY: the caller gives null or what `depth_create` made and `destroy` has not seen.
    let Some(engine) = (unsafe { engine.cast::<Engine>().as_ref() }) else {
        return result::NULL_ENGINE;
    };
    if input.is_null() {
        return result::NULL_INPUT;
    }
    if output.is_null() {
        return result::NULL_OUTPUT;
    }
    if input_bytes != SensorMode::of(engine.mode).frame_bytes() {
        return result::INPUT_SIZE;
    }
    if room < output_bytes(engine.mode) {
        return result::OUTPUT_SIZE;
    }
    // SAFETY: not null, and the caller says that `input_bytes` bytes are there.
    let input = unsafe { slice::from_raw_parts(input.cast::<u8>(), input_bytes) };
    // SAFETY: not null, the caller says that `room` bytes may be written, and lends them to us
    // alone.
    let output = unsafe { slice::from_raw_parts_mut(output.cast::<u8>(), room) };
    let Some(frame) = Frame::read(input) else {
        return result::CAPTURE_SEQUENCE;
    };
    if !frame.unpack(engine.mode, output) {
        return result::CAPTURE_SEQUENCE;
    }
    // SAFETY: the caller gives null or a place for one info.
    if let Some(info) = unsafe { info.as_mut() } {
        let (width, height) = engine.mode.size();
        *info = OutputInfo {
            width: width as u16,
            height: height as u16,
            sensor_c: frame.trailer.sensor_c,
            laser_c: frame.trailer.laser_c,
            exposure_ticks: frame.trailer.exposure_ticks,
            sof_ticks: frame.trailer.sof_ticks,
        };
    }
    result::OK
}

unsafe extern "C" fn depth_output_bytes(engine: *mut Context) -> usize {
    // SAFETY: the caller gives null or what `depth_create` made and `destroy` has not seen.
    let engine = unsafe { engine.cast::<Engine>().as_ref() };
    engine.map_or(0, |engine| output_bytes(engine.mode))
}

unsafe extern "C" fn destroy(engine: *mut *mut Context) {
    // SAFETY: the caller gives null or the place of a pointer.
    let Some(place) = (unsafe { engine.as_mut() }) else {
        return;
    };
    let engine = std::mem::replace(place, std::ptr::null_mut()).cast::<Engine>();
    if !engine.is_null() {
        // SAFETY: `depth_create` made it with `Box::into_raw`, and its place was cleared above, so
        // that it is freed once.
        drop(unsafe { Box::from_raw(engine) });
    }
}

unsafe extern "C" fn transform_create(
    _engine: *mut *mut Context,
    _calibration: *mut c_void,
    _complete: Option<Complete>,
    _complete_context: *mut c_void,
) -> c_int {
    result::INIT_FAILED
}

unsafe extern "C" fn transform_process(
    _engine: *mut Context,
    _kind: c_int,
    _interpolation: c_int,
    _invalid: u32,
    _depth: *const c_void,
    _depth_bytes: usize,
    _frame: *const c_void,
    _frame_bytes: usize,
    _output: *mut c_void,
    _output_bytes: usize,
    _output_2: *mut c_void,
    _output_2_bytes: usize,
) -> c_int {
    result::NULL_ENGINE
}

unsafe extern "C" fn transform_output_bytes(_engine: *mut Context, _kind: c_int) -> usize {
    0
}
