//! The geometry beside Microsoft's library, on the calibration of a real camera: every depth mode
//! with every color resolution. The bounds are those of `docs/geometry.md`; what was measured is
//! printed with `--nocapture`.

#[path = "support/judges.rs"]
mod judges;

use genlock::geometry::{Pinhole, Rays, Registration, Undistortion, project, unproject};
use genlock_formats::k4a::Resolution::P720;
use genlock_formats::k4a::{
    Calibration, Camera, ColorFormat, ColorMode, DepthMode, Recording, Resolution, Rigid,
};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Pixels by which a projection may differ; of a ray, where it leads.
const PIXELS_MAX: f32 = 0.01;

/// Millimetres by which a coordinate of a cloud may differ. The library rounds to whole ones.
const CLOUD_MM_MAX: f32 = 0.6;

/// The part of the pixels of registered depth that must be equal to a millimetre.
const DEPTH_SAME_MIN: f64 = 0.9999;

/// The part of the pixels of registered color that must be equal to two grey levels.
const COLOR_SAME_MIN: f64 = 0.9999;

/// One image of depth, and modes in which two cameras took it.
struct Scene<'a> {
    camera: &'a RealCamera,
    name: &'static str,
    depth_mode: DepthMode,
    color_mode: ColorMode,
    depth: Vec<u16>,
    color: Vec<[u8; 4]>,
}

impl<'a> Scene<'a> {
    fn made_up(camera: &'a RealCamera, depth_mode: DepthMode, resolution: Resolution) -> Self {
        let color_mode = ColorMode { format: ColorFormat::Mjpg, resolution };
        let (depth, color) = (slope_and_steps(depth_mode), texture(color_mode));
        Self { camera, name: "slope and steps", depth_mode, color_mode, depth, color }
    }

    fn real(camera: &'a RealCamera, resolution: Resolution) -> Self {
        let made_up = Self::made_up(camera, DepthMode::NfovUnbinned, resolution);
        assert_eq!(made_up.depth.len(), camera.depth.len());
        Self { name: "a real image", depth: camera.depth.clone(), ..made_up }
    }

    fn calibration(&self) -> Calibration {
        let modes = (Some(self.color_mode), Some(self.depth_mode));
        Calibration::of(&self.camera.calibration, modes.0, modes.1).expect("a calibration")
    }

    /// Has the judge look at the files of a folder.
    fn transformed_in(&self, folder: &Path) -> Option<Value> {
        let file = folder.join("calibration.json");
        fs::write(&file, &self.camera.calibration).expect("a file for the judge");
        judges::official_transformation(&file, self.modes(), folder, 1)
    }

    /// Their numbers in Microsoft's enumerations, in which 0 is off.
    fn modes(&self) -> [usize; 2] {
        let depth = DepthMode::ALL.iter().position(|mode| *mode == self.depth_mode);
        let resolution = self.color_mode.resolution;
        let color = Resolution::ALL.iter().position(|mode| *mode == resolution);
        [depth, color].map(|at| at.expect("a mode") + 1)
    }
}

/// What the real recording holds of its camera.
struct RealCamera {
    calibration: Vec<u8>,
    /// NFOV unbinned.
    depth: Vec<u16>,
}

fn real_camera() -> Option<RealCamera> {
    let file = fs::read(judges::real_recording()?).expect("the recording");
    let recording = Recording::open(&file).expect("a recording");
    let calibration = recording.calibration().expect("a calibration").to_vec();
    let captures: Vec<_> = recording.captures().map(|capture| capture.expect("one")).collect();
    let image = captures.iter().find_map(|capture| capture.depth.as_ref()).expect("depth");
    let pixels = image.pixels_le();
    let depth = pixels.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
    Some(RealCamera { calibration, depth })
}

/// A slanted floor with waves, a box before it that hides some of it, and holes.
fn slope_and_steps(mode: DepthMode) -> Vec<u16> {
    let (width, height) = mode.size();
    let place = |at: u32, size: u32| at as f32 / size as f32;
    let depth = |x: f32, y: f32, noise: u32| {
        if noise.is_multiple_of(41) || (0.2..0.25).contains(&x) && (0.6..0.7).contains(&y) {
            return 0.0;
        }
        let before = (0.35..0.65).contains(&x) && (0.3..0.6).contains(&y);
        let wave = (x * 60.0).sin() * 15.0 + (noise % 5) as f32;
        if before { 600.0 + 80.0 * x } else { 1200.0 + 1500.0 * x + 900.0 * y + wave }
    };
    let noise = |x: u32, y: u32| (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) >> 3;
    let row = |y| (0..width).map(move |x| (x, y));
    let pixels = (0..height).flat_map(row);
    pixels.map(|(x, y)| depth(place(x, width), place(y, height), noise(x, y)) as u16).collect()
}

/// Soft color with hard edges, and black.
fn texture(mode: ColorMode) -> Vec<[u8; 4]> {
    let (width, height) = mode.size();
    let pixel = |x: u32, y: u32| {
        let check = (x / 37 + y / 29) % 2 * 90;
        let dark = (x / 64).is_multiple_of(7);
        if dark { [0; 4] } else { [x % 160, y % 160, check, 255].map(|value| value as u8) }
    };
    (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y))).collect()
}

fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| to(*value)).collect()
}

/// `N` floats each, out of a file.
fn floats<const N: usize>(folder: &Path, name: &str) -> Vec<[f32; N]> {
    let file = fs::read(folder.join(name)).expect("what the judge wrote");
    let all: Vec<f32> = file.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    all.as_chunks().0.to_vec()
}

fn write_floats<const N: usize>(folder: &Path, name: &str, values: &[[f32; N]]) {
    let flat: Vec<f32> = values.iter().flatten().copied().collect();
    fs::write(folder.join(name), bytes(&flat, f32::to_le_bytes)).expect("a file for the judge");
}

/// Points before the depth camera and behind it, farther to the side than it sees.
fn points() -> Vec<[f32; 3]> {
    let steps = || (-20..=20).map(|step| step as f32 * 0.1);
    let rays = steps().flat_map(|x| steps().map(move |y| [x, y]));
    rays.flat_map(|[x, y]| [500.0, 3000.0, 0.0, -700.0].map(|z| [x * z, y * z, z])).collect()
}

/// Pixels over a camera's image and beside it, at a metre, with those of no depth.
fn pixels(camera: &Camera) -> Vec<[f32; 3]> {
    let at = |step: u32, size: u32| (step as f32 / 38.0 - 0.03) * size as f32;
    let places = (0..41).flat_map(|y| (0..41).map(move |x| (x, y)));
    places.map(|(x, y)| [at(x, camera.width), at(y, camera.height), 1000.0]).collect()
}

/// The largest of differences, none of which may be NaN.
fn most(differences: impl Iterator<Item = f32>) -> f32 {
    differences.fold(0.0, |most, difference| {
        assert!(!difference.is_nan(), "a result that is no number");
        most.max(difference.abs())
    })
}

/// Pixels by which a camera's projections differ from what the judge saw: x, y, valid.
fn projections_apart(camera: &Camera, points: &[[f32; 3]], theirs: &[[f32; 3]]) -> f32 {
    assert_eq!(points.len(), theirs.len());
    let seen = theirs.iter().filter(|theirs| theirs[2] != 0.0).count();
    assert!(seen > 500, "{seen} points are seen");
    most(points.iter().zip(theirs).flat_map(|(point, [x, y, valid])| {
        let ours = project(camera, *point);
        assert_eq!(ours.is_some(), *valid != 0.0, "{point:?} is seen by one of us");
        ours.map(|ours| [ours[0] - x, ours[1] - y]).unwrap_or_default()
    }))
}

/// Pixels by which a camera's rays lead beside those of the judge (x, y, z, valid), and how many
/// rays the judge has lost: those must lead to their pixels.
fn rays_apart(camera: &Camera, pixels: &[[f32; 3]], theirs: &[[f32; 4]]) -> (f32, usize) {
    assert_eq!(pixels.len(), theirs.len());
    let focal = camera.fx.max(camera.fy);
    let mut lost = 0;
    let apart = most(pixels.iter().zip(theirs).flat_map(|([u, v, _], [x, y, z, valid])| {
        match (unproject(camera, [*u, *v]), *valid != 0.0) {
            (Some(ours), true) => [(ours[0] - x / z) * focal, (ours[1] - y / z) * focal],
            (Some([x, y]), false) => {
                lost += 1;
                let seen = project(camera, [x, y, 1.0]).expect("a pixel");
                [seen[0] - u, seen[1] - v]
            }
            (None, false) => [0.0; 2],
            (None, true) => panic!("no ray for {u}, {v}"),
        }
    }));
    (apart, lost)
}

fn same_camera(camera: &Camera, theirs: &Value) {
    let k = |at: usize| (["k1", "k2", "k3", "k4", "k5", "k6"][at], camera.k[at]);
    let fields = [
        ("cx", camera.cx),
        ("cy", camera.cy),
        ("fx", camera.fx),
        ("fy", camera.fy),
        ("codx", camera.codx),
        ("cody", camera.cody),
        ("p1", camera.p[0]),
        ("p2", camera.p[1]),
        ("metric_radius", camera.metric_radius),
        ("width", camera.width as f32),
        ("height", camera.height as f32),
    ];
    for (name, ours) in fields.into_iter().chain((0..6).map(k)) {
        assert_eq!(ours, theirs[name].as_f64().expect("a number") as f32, "{name}");
    }
}

fn same_pose(ours: &Rigid, theirs: &Value) {
    let numbers = |name: &str| -> Vec<f32> {
        let list = theirs[name].as_array().expect("a list").iter();
        list.map(|value| value.as_f64().expect("a number") as f32).collect()
    };
    let apart = |ours: &[f32], name| most(ours.iter().zip(numbers(name)).map(|(a, b)| a - b));
    assert!(apart(&ours.rotation, "rotation") < 1e-6);
    assert!(apart(&ours.translation_mm, "translation_mm") < 1e-4);
}

/// What the judge was given, and what it made of it.
struct Judged {
    folder: tempfile::TempDir,
    said: Value,
    points: Vec<[f32; 3]>,
}

fn judge(scene: &Scene<'_>, depth: &Camera, color: &Camera) -> Option<Judged> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let points = points();
    write_floats(path, "points.f32", &points);
    write_floats(path, "pixels.f32", &pixels(depth));
    write_floats(path, "color_pixels.f32", &pixels(color));
    fs::write(path.join("depth.u16"), bytes(&scene.depth, u16::to_le_bytes)).expect("a file");
    fs::write(path.join("color.bgra"), scene.color.as_flattened()).expect("a file");
    let said = scene.transformed_in(path)?;
    Some(Judged { folder, said, points })
}

impl Judged {
    fn floats<const N: usize>(&self, name: &str) -> Vec<[f32; N]> {
        floats(self.folder.path(), name)
    }

    fn u16s(&self, name: &str) -> Vec<u16> {
        let file = fs::read(self.folder.path().join(name)).expect("what the judge wrote");
        file.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    /// Millimetres by which a cloud differs from the judge's, and how many points the judge has
    /// lost.
    fn cloud_apart(&self, name: &str, ours: &[[f32; 3]]) -> (f32, usize) {
        let theirs = self.u16s(name);
        assert_eq!(theirs.len(), 3 * ours.len());
        let pairs = || ours.iter().zip(theirs.as_chunks::<3>().0);
        let is_lost = |(ours, theirs): &(&[f32; 3], &[u16; 3])| **theirs == [0; 3] && ours[2] > 0.0;
        let apart = pairs().filter(|pair| !is_lost(pair)).flat_map(|(ours, theirs)| {
            let theirs = theirs.map(|mm| f32::from(mm.cast_signed()));
            [ours[0] - theirs[0], ours[1] - theirs[1], ours[2] - theirs[2]]
        });
        (most(apart), pairs().filter(is_lost).count())
    }

    /// The part of the pixels that one of us has at least, in which both are within a millimetre.
    fn depth_same(&self, ours: &[u16]) -> f64 {
        let theirs = self.u16s("depth_in_color.u16");
        assert_eq!(ours.len(), theirs.len());
        let pairs = || ours.iter().zip(&theirs).filter(|(a, b)| **a != 0 || **b != 0);
        let same = |(a, b): &(&u16, &u16)| **a != 0 && **b != 0 && a.abs_diff(**b) <= 1;
        assert!(pairs().count() > 10_000, "{} pixels", pairs().count());
        pairs().filter(same).count() as f64 / pairs().count() as f64
    }

    /// The same of color: both have it, and each byte within two levels.
    fn color_same(&self, ours: &[[u8; 4]]) -> f64 {
        let file = fs::read(self.folder.path().join("color_in_depth.bgra")).expect("a file");
        let theirs = file.as_chunks::<4>().0;
        assert_eq!(ours.len(), theirs.len());
        let pairs = || ours.iter().zip(theirs).filter(|(a, b)| **a != [0; 4] || **b != [0; 4]);
        let near = |a: &[u8; 4], b: &[u8; 4]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 2);
        let same = |(a, b): &(&[u8; 4], &[u8; 4])| (**a == [0; 4]) == (**b == [0; 4]) && near(a, b);
        assert!(pairs().count() > 10_000, "{} pixels", pairs().count());
        pairs().filter(same).count() as f64 / pairs().count() as f64
    }
}

/// Compares everything; false if the judge is not here.
fn compare(scene: &Scene<'_>) -> bool {
    let calibration = scene.calibration();
    let (depth, color) = (calibration.depth.as_ref(), calibration.color.as_ref());
    let (depth, color) = (depth.expect("a depth camera"), color.expect("a color camera"));
    let Some(judged) = judge(scene, depth, color) else { return false };
    same_camera(depth, &judged.said["depth"]);
    same_camera(color, &judged.said["color"]);
    same_pose(&calibration.color_from_depth, &judged.said["color_from_depth"]);
    same_pose(&calibration.depth_from_color, &judged.said["depth_from_color"]);

    let in_color: Vec<_> =
        judged.points.iter().map(|point| calibration.color_from_depth.apply(*point)).collect();
    let projections = [
        projections_apart(depth, &judged.points, &judged.floats("projected.f32")),
        projections_apart(color, &in_color, &judged.floats("color_projected.f32")),
    ];
    let rays = [
        rays_apart(depth, &pixels(depth), &judged.floats("rays.f32")),
        rays_apart(color, &pixels(color), &judged.floats("color_rays.f32")),
    ];

    let mut registration = Registration::of(&calibration).expect("both cameras");
    let (mut cloud, mut color_cloud) = (Vec::new(), Vec::new());
    let (mut in_color, mut in_depth) = (Vec::new(), Vec::new());
    registration.depth_rays().cloud(&scene.depth, &mut cloud).expect("a cloud");
    registration.depth_into_color(&scene.depth, &mut in_color).expect("depth");
    registration.color_into_depth(&scene.depth, &scene.color, &mut in_depth).expect("color");
    // Their depth, so that the clouds can be compared whatever ours is.
    let theirs = judged.u16s("depth_in_color.u16");
    Rays::of(color).cloud(&theirs, &mut color_cloud).expect("a cloud");
    let clouds = [
        judged.cloud_apart("cloud.i16", &cloud),
        judged.cloud_apart("color_cloud.i16", &color_cloud),
    ];
    let same = (judged.depth_same(&in_color), judged.color_same(&in_depth));

    let modes = format!("{}, {} {}", scene.name, scene.depth_mode, scene.color_mode.resolution);
    println!(
        "{modes}: projections within {:.5} px, rays {:.5} px, clouds {:.3} mm; depth same in \
         {:.4} %, color in {:.4} %; the judge lost {} rays of {} and {} points of {}",
        projections[0].max(projections[1]),
        rays[0].0.max(rays[1].0),
        clouds[0].0.max(clouds[1].0),
        same.0 * 100.0,
        same.1 * 100.0,
        rays[1].1,
        pixels(color).len(),
        clouds[1].1,
        theirs.iter().filter(|depth| **depth > 0).count(),
    );
    assert!(projections.iter().all(|apart| *apart <= PIXELS_MAX), "{modes}");
    assert!(rays.iter().all(|(apart, _)| *apart <= PIXELS_MAX), "{modes}");
    assert!(clouds.iter().all(|(apart, _)| *apart <= CLOUD_MM_MAX), "{modes}");
    assert!(same.0 >= DEPTH_SAME_MIN && same.1 >= COLOR_SAME_MIN, "{modes}");
    // It loses rays of the color camera alone, whose images are large.
    assert_eq!((rays[0].1, clouds[0].1), (0, 0), "{modes}");
    true
}

/// Every depth mode and every color resolution at least once; with `GENLOCK_MODES=all` each with
/// each other, which takes a minute.
#[test]
fn every_mode_is_as_microsofts_library_has_it() {
    let Some(camera) = real_camera() else { return };
    let all = std::env::var_os("GENLOCK_MODES").is_some();
    let resolutions = Resolution::ALL.into_iter().enumerate();
    for (place, depth_mode) in DepthMode::ALL.into_iter().enumerate() {
        // Passive IR is the camera of WFOV unbinned: once is enough.
        let own = |(at, _): &(usize, Resolution)| match depth_mode.has_depth() {
            true => all || at % 4 == place,
            false => *at == 0,
        };
        for (_, resolution) in resolutions.clone().filter(own) {
            if !compare(&Scene::made_up(&camera, depth_mode, resolution)) {
                return;
            }
        }
    }
}

#[test]
fn a_real_image_of_depth_is_as_microsofts_library_has_it() {
    let Some(camera) = real_camera() else { return };
    for resolution in [P720, Resolution::P1536] {
        if !compare(&Scene::real(&camera, resolution)) {
            return;
        }
    }
}

#[test]
fn undistortion_looks_where_microsofts_library_sees_the_rays_of_a_pinhole() {
    let Some(camera) = real_camera() else { return };
    let scene = Scene::made_up(&camera, DepthMode::WfovUnbinned, P720);
    let camera = scene.calibration().depth.expect("a depth camera");
    let ideal = Pinhole::of(&camera);
    let places = Undistortion::of(&camera, ideal);
    let at: Vec<_> = (0..places.places().len()).step_by(173).collect();
    let ray = |at: &usize| {
        let (x, y) = (at % ideal.width as usize, at / ideal.width as usize);
        [(x as f32 - ideal.cx) / ideal.fx, (y as f32 - ideal.cy) / ideal.fy, 1.0]
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rays: Vec<_> = at.iter().map(ray).collect();
    write_floats(folder.path(), "points.f32", &rays);
    for name in ["pixels.f32", "color_pixels.f32"] {
        write_floats::<3>(folder.path(), name, &[]);
    }
    if scene.transformed_in(folder.path()).is_none() {
        return;
    }
    let theirs = floats::<3>(folder.path(), "projected.f32");
    let apart = most(at.iter().zip(&theirs).flat_map(|(at, [x, y, valid])| {
        let ours = places.places()[*at];
        assert_eq!(ours[0].is_nan(), *valid == 0.0);
        if ours[0].is_nan() { [0.0; 2] } else { [ours[0] - x, ours[1] - y] }
    }));
    println!("undistortion: places within {apart:.5} px");
    assert!(apart <= PIXELS_MAX, "{apart} pixels");
}
