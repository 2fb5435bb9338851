//! One ray through a lens, and back: Brown-Conrady distortion with six radial terms, as libk4a
//! has it.

use genlock_formats::k4a::{Camera, LensModel};

/// The most steps towards the ray of a pixel.
const STEPS_MAX: usize = 20;

/// How far, in pixels, the pixel of a ray may be from the pixel that was asked for.
const MISS_MAX: f32 = 1e-3;

/// The pixel at which a camera sees a point of its own frame, in millimetres: (x, y), fractions
/// included, outside of the image too. `None` where it sees nothing: behind it, or beyond the
/// radius for which its lens is known.
#[must_use]
#[inline]
pub fn project(camera: &Camera, [x, y, z]: [f32; 3]) -> Option<[f32; 2]> {
    // Not `z <= 0`: it would let pass what is no number.
    if z > 0.0 { bend(camera, [x / z, y / z]) } else { None }
}

/// The ray of a pixel, as (x/z, y/z); fractions of pixels have theirs too. `None` where no ray
/// comes from: the corners of a wide field of view.
#[must_use]
pub fn unproject(camera: &Camera, pixel: [f32; 2]) -> Option<[f32; 2]> {
    let mut ray = first_guess(camera, pixel);
    let (mut best, mut best_miss) = ([0.0; 2], f32::MAX);
    for step in 1..=STEPS_MAX {
        let seen = bend(camera, ray)?;
        let error = [pixel[0] - seen[0], pixel[1] - seen[1]];
        let miss = error[0] * error[0] + error[1] * error[1];
        if miss >= best_miss {
            break;
        }
        (best, best_miss) = (ray, miss);
        if step == STEPS_MAX || miss < 1e-22 {
            break;
        }
        let [a, b, c, d] = slopes(camera, ray);
        let scale = 1.0 / (a * d - b * c);
        ray[0] += scale * d * error[0] - scale * b * error[1];
        ray[1] += scale * a * error[1] - scale * c * error[0];
    }
    (best_miss <= MISS_MAX * MISS_MAX).then_some(best)
}

/// Numerator and denominator of the radial distortion at the square of a radius.
#[inline]
fn radial(k: &[f32; 6], r2: f32) -> (f32, f32) {
    let (r4, r6) = (r2 * r2, r2 * r2 * r2);
    (1.0 + k[0] * r2 + k[1] * r4 + k[2] * r6, 1.0 + k[3] * r2 + k[4] * r4 + k[5] * r6)
}

#[inline]
fn one_over(value: f32) -> f32 {
    if value == 0.0 { 1.0 } else { 1.0 / value }
}

/// How often the mixed terms of tangential distortion count.
#[inline]
fn mixed(camera: &Camera) -> f32 {
    if camera.model == LensModel::Rational6Kt { 1.0 } else { 2.0 }
}

/// The pixel of a ray.
#[inline]
fn bend(camera: &Camera, ray: [f32; 2]) -> Option<[f32; 2]> {
    let (x, y) = (ray[0] - camera.codx, ray[1] - camera.cody);
    let (xx, yy, xy) = (x * x, y * y, x * y);
    let r2 = xx + yy;
    if r2 > camera.metric_radius * camera.metric_radius {
        return None;
    }
    let (a, b) = radial(&camera.k, r2);
    let (d, m, [p1, p2]) = (a * one_over(b), mixed(camera), camera.p);
    let bent_x = x * d + ((r2 + 2.0 * xx) * p2 + m * xy * p1) + camera.codx;
    let bent_y = y * d + ((r2 + 2.0 * yy) * p1 + m * xy * p2) + camera.cody;
    let pixel = [bent_x * camera.fx + camera.cx, bent_y * camera.fy + camera.cy];
    (pixel[0].is_finite() && pixel[1].is_finite()).then_some(pixel)
}

/// How the pixel moves with the ray: du/dx, du/dy, dv/dx, dv/dy.
fn slopes(camera: &Camera, ray: [f32; 2]) -> [f32; 4] {
    let (x, y) = (ray[0] - camera.codx, ray[1] - camera.cody);
    let r2 = x * x + y * y;
    let (k, m, [p1, p2]) = (&camera.k, mixed(camera), camera.p);
    let (a, b) = radial(k, r2);
    let over_b = one_over(b);
    let d = a * over_b;
    let slope_a = k[0] + 2.0 * k[1] * r2 + 3.0 * k[2] * r2 * r2;
    let slope_b = k[3] + 2.0 * k[4] * r2 + 3.0 * k[5] * r2 * r2;
    let slope_d = 2.0 * (slope_a * b - a * slope_b) * over_b * over_b;
    [
        camera.fx * (d + x * x * slope_d + 6.0 * x * p2 + m * y * p1),
        camera.fx * (x * y * slope_d + 2.0 * y * p2 + m * x * p1),
        camera.fy * (x * y * slope_d + 2.0 * x * p1 + m * y * p2),
        camera.fy * (d + y * y * slope_d + 6.0 * y * p1 + m * x * p2),
    ]
}

/// The ray of a pixel if distortion there were what it is at the pixel's own radius.
fn first_guess(camera: &Camera, pixel: [f32; 2]) -> [f32; 2] {
    let x = (pixel[0] - camera.cx) / camera.fx - camera.codx;
    let y = (pixel[1] - camera.cy) / camera.fy - camera.cody;
    let (a, b) = radial(&camera.k, x * x + y * y);
    let undo = one_over(a) * b;
    let (x, y, [p1, p2]) = (x * undo, y * undo, camera.p);
    let (xx, yy, xy) = (x * x, y * y, 2.0 * x * y);
    [
        x - ((yy + 3.0 * xx) * p2 + xy * p1) + camera.codx,
        y - ((xx + 3.0 * yy) * p1 + xy * p2) + camera.cody,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::k4a::{Calibration, DepthMode};

    fn wide() -> Camera {
        let json = genlock_emulator::calibration::synthetic(1, "1");
        let calibration = Calibration::of(&json, None, Some(DepthMode::WfovUnbinned));
        calibration.expect("a calibration").depth.expect("a depth camera")
    }

    #[test]
    fn a_ray_goes_there_and_back() {
        let camera = wide();
        for pixel in [[512.0, 512.0], [100.0, 512.0], [512.5, 900.25], [300.0, 250.0]] {
            let [x, y] = unproject(&camera, pixel).expect("a ray");
            let [u, v] = project(&camera, [x * 700.0, y * 700.0, 700.0]).expect("a pixel");
            assert!((u - pixel[0]).abs() < 2e-3 && (v - pixel[1]).abs() < 2e-3, "{u}, {v}");
        }
    }

    #[test]
    fn where_nothing_is_seen_there_is_no_pixel_and_no_ray() {
        let camera = wide();
        assert_eq!(unproject(&camera, [0.0, 0.0]), None, "the corner of a wide field of view");
        assert_eq!(project(&camera, [0.0, 0.0, 0.0]), None);
        assert_eq!(project(&camera, [0.0, 0.0, -5.0]), None);
        assert_eq!(project(&camera, [f32::NAN, 0.0, 1.0]), None);
        assert_eq!(project(&camera, [0.0, 0.0, f32::NAN]), None);
        assert_eq!(project(&camera, [1800.0, 0.0, 1000.0]), None, "beyond the radius");
        assert_eq!(unproject(&camera, [f32::INFINITY, 0.0]), None);
        assert_eq!(unproject(&camera, [f32::NAN, 0.0]), None);
    }

    #[test]
    fn a_lens_of_huge_terms_has_no_pixels_that_are_no_numbers() {
        let camera = Camera { k: [3e38; 6], p: [3e38; 2], ..wide() };
        assert_eq!(project(&camera, [1.0, 1.0, 1.0]), None);
        assert_eq!(unproject(&camera, [0.0, 0.0]), None);
    }
}
