//! The depth engine: a plugin that turns raw depth frames into images (usb-protocol.md 5.3 to 5.5).
//! The one place of the recorder with foreign code behind C pointers.

use crate::error::{Error, Result};
use genlock_emulator::plugin::{
    CameraCalibration, Context, OutputInfo, Plugin, REGISTER, Register, result,
};
use genlock_formats::k4a::DepthMode;
use std::ffi::c_int;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// The name under which the loader finds Microsoft's engine.
const LIBRARY: &str = "libdepthengine.so.2.0";

/// Output type: distance along the optical axis, as libk4a always asks for.
const Z_DEPTH: c_int = 0;

/// A loaded plugin. Clones are the same plugin.
#[derive(Debug, Clone)]
pub struct EngineLibrary {
    plugin: Plugin,
    /// Kept loaded for good: an engine may leave threads and thread-local state behind.
    _library: Option<Arc<libloading::Library>>,
}

impl EngineLibrary {
    /// The emulator's engine, which decodes the emulator's frames.
    ///
    /// # Errors
    /// Never in practice: the emulator fills its whole table.
    pub fn emulated() -> Result<Self> {
        Self::register(genlock_emulator::engine::k4a_register_plugin, None)
    }

    /// Loads the engine at `path`, or the one that the loader finds.
    ///
    /// # Errors
    /// `Usage` with what to do when there is none, or it is not a depth engine.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let name = path.unwrap_or(Path::new(LIBRARY));
        let refused = |cause: libloading::Error| {
            // What the loader says is behind what libloading says, and names the library.
            let cause = match std::error::Error::source(&cause) {
                Some(loader) => loader.to_string(),
                None => format!("{}: {cause}", name.display()),
            };
            Error::Usage(format!(
                "cannot load the depth engine: {cause}; install Microsoft's libk4a, which \
                 brings it, name it with --depth-engine PATH, or record color and IMU with \
                 --depth-mode OFF"
            ))
        };
        // SAFETY: loading runs the library's initialisers. The user named this library, or
        // installed it under Microsoft's name, to be run.
        let library = unsafe { libloading::Library::new(name) }.map_err(refused)?;
        // SAFETY: every version of the plugin interface exports this name with this type.
        let register = unsafe { library.get::<Register>(REGISTER.as_bytes()) }.map_err(refused)?;
        let register = *register;
        // Never unloaded: see `_library`.
        let library = Arc::new(library);
        std::mem::forget(Arc::clone(&library));
        Self::register(register, Some(library))
    }

    fn register(register: Register, library: Option<Arc<libloading::Library>>) -> Result<Self> {
        let mut plugin = Plugin::default();
        // SAFETY: the table is ours to be written, and lives through the call.
        let registered = unsafe { register(&raw mut plugin) };
        let complete = plugin.depth_create.is_some()
            && plugin.depth_process.is_some()
            && plugin.depth_output_bytes.is_some()
            && plugin.depth_destroy.is_some();
        if !registered || !complete {
            return Err(Error::Usage(
                "the depth engine did not fill its table: it is not the one for this version"
                    .to_owned(),
            ));
        }
        Ok(Self { plugin, _library: library })
    }
}

/// A depth engine at work. It stays on the thread that created it: real engines are bound to their
/// GL context.
pub struct Engine {
    plugin: Plugin,
    context: *mut Context,
    mode: DepthMode,
    output_bytes: usize,
}

/// What a frame came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Processed {
    /// Images, exposed at this device time in 90 kHz ticks.
    Images {
        /// Centre of exposure.
        exposure_ticks: u64,
    },
    /// No images; the engine goes on.
    Dropped,
}

/// What is needed to create an engine.
#[derive(Debug, Clone)]
pub struct EngineParts {
    /// Where it comes from.
    pub library: EngineLibrary,
    /// The mode of its images.
    pub mode: DepthMode,
    /// The camera's depth calibration blob.
    pub blob: Vec<u8>,
    /// The depth camera.
    pub camera: CameraCalibration,
}

// SAFETY: the context is created by the stage that owns it, on the thread that the stage runs on
// and never leaves; only a stage that has no engine yet is sent to a thread. The table holds
// function pointers.
unsafe impl Send for Engine {}

impl Engine {
    /// Creates an engine on this thread.
    ///
    /// # Errors
    /// `Device` with the engine's result and its usual cause.
    pub fn create(parts: &EngineParts) -> Result<Self> {
        let (mode, input_type) = match parts.mode {
            DepthMode::Nfov2x2Binned => (2, 3),
            DepthMode::NfovUnbinned => (4, 3),
            DepthMode::Wfov2x2Binned => (7, 3),
            DepthMode::WfovUnbinned => (5, 4),
            DepthMode::PassiveIr => (3, 3),
        };
        let (Some(create), Some(output_bytes)) =
            (parts.library.plugin.depth_create, parts.library.plugin.depth_output_bytes)
        else {
            return Err(failed(result::INIT_FAILED));
        };
        let mut context = ptr::null_mut();
        let (mut blob, mut camera) = (parts.blob.clone(), parts.camera);
        // SAFETY: every pointer is to memory of ours that lives through the call, with the sizes
        // given; copies, because the interface does not promise to leave them alone.
        let created = unsafe {
            create(
                &raw mut context,
                blob.len(),
                blob.as_mut_ptr().cast(),
                mode,
                input_type,
                (&raw mut camera).cast(),
                None,
                ptr::null_mut(),
            )
        };
        if created != result::OK || context.is_null() {
            return Err(failed(created));
        }
        // SAFETY: `context` is what the engine just created.
        let bytes = unsafe { output_bytes(context) };
        let engine =
            Self { plugin: parts.library.plugin, context, mode: parts.mode, output_bytes: bytes };
        let images = if parts.mode.has_depth() { 2 } else { 1 };
        if bytes < images * parts.mode.image_bytes() {
            return Err(failed(result::OUTPUT_SIZE));
        }
        Ok(engine)
    }

    /// Bytes that [`Engine::process`] needs for its images.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// Turns a raw frame into images: depth, then IR; of passive IR, IR alone.
    ///
    /// # Errors
    /// `Device` when the engine cannot go on.
    pub fn process(&mut self, raw: &mut [u8], images: &mut [u8]) -> Result<Processed> {
        let Some(process) = self.plugin.depth_process else {
            return Err(failed(result::NULL_ENGINE));
        };
        let mut info = OutputInfo::default();
        // SAFETY: `context` is a live engine of this plugin, used by this thread alone; the
        // pointers are to memory of ours with the sizes given.
        let processed = unsafe {
            process(
                self.context,
                raw.as_mut_ptr().cast(),
                raw.len(),
                Z_DEPTH,
                images.as_mut_ptr().cast(),
                images.len(),
                &raw mut info,
                ptr::null_mut(),
            )
        };
        let size = (u32::from(info.width), u32::from(info.height));
        match processed {
            result::OK if size == self.mode.size() => {
                Ok(Processed::Images { exposure_ticks: info.exposure_ticks })
            }
            // A frame that is no frame costs itself alone: what comes next is judged anew.
            result::OK | result::CAPTURE_SEQUENCE | result::WAIT_COMPLETE | result::GPU_TIMEOUT => {
                Ok(Processed::Dropped)
            }
            other => Err(failed(other)),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(destroy) = self.plugin.depth_destroy {
            // SAFETY: `context` is a live engine of this plugin, and nobody uses it after this.
            unsafe { destroy(&raw mut self.context) };
        }
    }
}

fn failed(code: c_int) -> Error {
    failed_on(code, std::env::var("DISPLAY").ok().as_deref())
}

/// What a result means, on a machine with this DISPLAY (usb-protocol.md 5.4).
fn failed_on(code: c_int, display: Option<&str>) -> Error {
    let (why, fix) = match code {
        result::CALIBRATION => (
            "the device's depth calibration is not one of this engine's devices".to_owned(),
            "use the engine of the SDK that the device is made for",
        ),
        result::OUTPUT_SIZE => (
            "its images do not have the mode's size".to_owned(),
            "use libdepthengine.so.2.0 of Microsoft's SDK",
        ),
        201..=208 => {
            let what = match code {
                201 => "the graphics memory is full",
                206 => "a shader does not compile",
                207 => "there is no OpenGL context",
                208 => "the graphics processor took too long",
                _ => "the graphics interface failed",
            };
            let display = match display {
                None | Some("") => "DISPLAY is not set".to_owned(),
                Some(display) => format!("DISPLAY is {display}"),
            };
            (
                format!("it has no OpenGL 4.4 that works: {what}, {display}"),
                "run it in a session with a display, or start a headless X server (Xorg with its \
                 dummy driver, or Xvfb) and set DISPLAY=:0; color and IMU record with \
                 --depth-mode OFF",
            )
        }
        _ => (
            "a failure inside of the engine".to_owned(),
            "see Microsoft's k4aplugin.h for what the number means",
        ),
    };
    Error::Device(format!("the depth engine failed with result {code}: {why}; {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::calibration::Calibration;
    use genlock_emulator::calibration::{blob, synthetic};

    fn parts(mode: DepthMode) -> EngineParts {
        let calibration = Calibration::read(&synthetic(1, "1")).expect("a calibration");
        EngineParts {
            library: EngineLibrary::emulated().expect("the emulator's engine"),
            mode,
            blob: blob(1),
            camera: calibration.depth_camera,
        }
    }

    #[test]
    fn an_engine_says_how_much_room_its_images_need() {
        for mode in DepthMode::ALL {
            let engine = Engine::create(&parts(mode)).expect("an engine");
            let images = if mode.has_depth() { 2 } else { 1 };
            assert_eq!(engine.output_bytes(), images * mode.image_bytes());
        }
    }

    #[test]
    fn frames_that_are_none_are_dropped_and_wrong_sizes_are_errors() {
        let mut engine = Engine::create(&parts(DepthMode::Nfov2x2Binned)).expect("an engine");
        let mut images = vec![0; engine.output_bytes()];
        let dropped = engine.process(&mut vec![0; 5_310_760], &mut images);
        assert_eq!(dropped, Ok(Processed::Dropped));
        assert!(engine.process(&mut [0; 40], &mut images).is_err());
    }

    #[test]
    fn a_foreign_blob_and_a_missing_library_say_what_to_do() {
        let foreign = EngineParts { blob: vec![1; 100], ..parts(DepthMode::PassiveIr) };
        let text = Engine::create(&foreign).err().expect("refused").to_string();
        assert!(text.contains("103"), "{text}");
        assert!(text.contains("calibration"), "{text}");
        let missing = EngineLibrary::load(Some(Path::new("/nowhere/engine.so")));
        let text = missing.expect_err("nothing there").to_string();
        assert!(text.contains("/nowhere/engine.so: cannot open"), "{text}");
        assert!(text.contains("--depth-engine") && text.contains("--depth-mode OFF"), "{text}");
        assert!(text.contains("No such file"), "{text}");
        let none = EngineLibrary::load(Some(Path::new("libc.so.6")));
        let text = none.expect_err("no engine").to_string();
        assert!(text.contains("undefined symbol"), "{text}");
    }

    #[test]
    fn an_engine_without_graphics_names_the_display() {
        for code in 201..=208 {
            let text = failed_on(code, None).to_string();
            assert!(text.contains("OpenGL") && text.contains("DISPLAY is not set"), "{text}");
            assert!(text.contains("DISPLAY=:0") && text.contains("--depth-mode OFF"), "{text}");
        }
        assert!(failed_on(204, Some(":7")).to_string().contains("DISPLAY is :7"));
        assert!(!failed_on(102, None).to_string().contains("DISPLAY"));
    }
}
