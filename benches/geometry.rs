//! Frames a second of clouds and registered images on one core, beside libk4a on the processor.
//! `cargo bench --bench geometry`; a minute.
//!
//! The frame is the real one in `../shared/data`, NFOV unbinned. Each figure is the fastest of
//! many frames: the machine may be busy.

#[path = "../tests/support/judges.rs"]
mod judges;

use genlock::geometry::{Pinhole, Registration, Undistortion};
use genlock_formats::k4a::{Calibration, ColorFormat, ColorMode, DepthMode, Recording, Resolution};
use std::fs;
use std::time::Instant;

/// Frames for one figure.
const TIMES: u32 = 20;

/// Frames a second, by the fastest.
fn rate(mut frame: impl FnMut()) -> f64 {
    let seconds = (0..TIMES).map(|_| {
        let begun = Instant::now();
        frame();
        begun.elapsed().as_secs_f64()
    });
    1.0 / seconds.fold(f64::MAX, f64::min)
}

fn main() {
    let Some(file) = judges::real_recording() else { return };
    let file = fs::read(file).expect("the recording");
    let recording = Recording::open(&file).expect("a recording");
    let calibration = recording.calibration().expect("a calibration");
    let capture = recording.captures().next().expect("a capture").expect("it reads");
    let bytes = capture.depth.expect("depth").pixels_le().into_owned();
    let depth: Vec<_> =
        bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
    println!("frames/s: genlock, libk4a, ratio");
    for (number, resolution) in (1..).zip(Resolution::ALL) {
        let color_mode = ColorMode { format: ColorFormat::Bgra, resolution };
        let (width, height) = color_mode.size();
        let color: Vec<_> = (0..width * height).map(|at| at.to_le_bytes()).collect();

        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["points.f32", "pixels.f32", "color_pixels.f32"] {
            fs::write(path(name), []).expect("a file for the judge");
        }
        fs::write(path("calibration.json"), calibration).expect("a file for the judge");
        fs::write(path("depth.u16"), &bytes).expect("a file for the judge");
        fs::write(path("color.bgra"), color.as_flattened()).expect("a file for the judge");
        let (file, modes) = (path("calibration.json"), [2, number]);
        let Some(theirs) = judges::official_transformation(&file, modes, folder.path(), TIMES)
        else {
            return;
        };

        let modes = (Some(color_mode), Some(DepthMode::NfovUnbinned));
        let cameras = Calibration::of(calibration, modes.0, modes.1).expect("a calibration");
        let mut registration = Registration::of(&cameras).expect("both cameras");
        let (mut cloud, mut in_color, mut in_depth) = (Vec::new(), Vec::new(), Vec::new());
        let ours = [
            ("cloud", rate(|| registration.depth_rays().cloud(&depth, &mut cloud).expect("one"))),
            (
                "depth_into_color",
                rate(|| registration.depth_into_color(&depth, &mut in_color).expect("one")),
            ),
            (
                "color_into_depth",
                rate(|| registration.color_into_depth(&depth, &color, &mut in_depth).expect("one")),
            ),
        ];
        for (name, ours) in ours {
            let theirs = 1e3 / theirs["took_ms"][name].as_f64().expect("a number");
            println!("{resolution} {name}: {ours:.0}, {theirs:.0}, {:.2}", ours / theirs);
        }
        let camera = cameras.color.expect("a color camera");
        let undistortion = Undistortion::of(&camera, Pinhole::of(&camera));
        let mut flat = Vec::new();
        let ours = rate(|| undistortion.bilinear(&color, &mut flat).expect("one"));
        println!("{resolution} color undistorted: {ours:.0}");
    }
}
