//! One ray through a lens, and back: Brown-Conrady distortion with six radial terms, as libk4a
//! has it.

use genlock_formats::k4a::{Camera, LensModel};
use std::ops::{Add, Div, Mul, Sub};

/// The most steps towards the ray of a pixel.
const STEPS_MAX: usize = 20;

/// How far, in pixels, the pixel of a ray may be from the pixel that was asked for.
const MISS_MAX: f64 = 1e-3;

/// A float: points are projected in 32 bits, as libk4a does it; the ray of a pixel is sought in 64.
/// In 32 bits the search comes no nearer to pixels beyond the thousandth than some thousandths, and
/// libk4a loses 3 % of the rays of a 3072p image to that.
trait Real: Copy + PartialOrd + From<f32> + Add<Output = Self> + Sub<Output = Self>
where
    Self: Mul<Output = Self> + Div<Output = Self>,
{
}

impl Real for f32 {}
impl Real for f64 {}

/// The pixel at which a camera sees a point of its own frame, in millimetres: (x, y), fractions
/// included, outside of the image too. `None` where it sees nothing: behind it, or beyond the
/// radius for which its lens is known.
#[must_use]
#[inline]
pub fn project(camera: &Camera, [x, y, z]: [f32; 3]) -> Option<[f32; 2]> {
    // Not `z <= 0`: it would let pass what is no number.
    if z > 0.0 { bend(camera, [x / z, y / z]) } else { None }
}

/// As [`project`], with NaN for what is not seen.
#[inline(always)]
pub(super) fn project_or_nan(camera: &Camera, [x, y, z]: [f32; 3]) -> [f32; 2] {
    let (pixel, seen) = bent(camera, [x / z, y / z]);
    if seen & (z > 0.0) { pixel } else { [f32::NAN; 2] }
}

/// The ray of a pixel, as (x/z, y/z); fractions of pixels have theirs too. `None` where no ray
/// comes from: the corners of a wide field of view.
#[must_use]
pub fn unproject(camera: &Camera, pixel: [f32; 2]) -> Option<[f32; 2]> {
    let pixel = pixel.map(f64::from);
    let mut ray = first_guess(camera, pixel);
    let (mut best, mut best_miss) = ([0.0; 2], f64::MAX);
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
        ray[0] += scale * (d * error[0] - b * error[1]);
        ray[1] += scale * (a * error[1] - c * error[0]);
    }
    (best_miss <= MISS_MAX * MISS_MAX).then_some(best.map(|at| at as f32))
}

/// Numerator and denominator of the radial distortion at the square of a radius.
#[inline(always)]
fn radial<T: Real>(k: &[f32; 6], r2: T) -> (T, T) {
    let (r4, r6) = (r2 * r2, r2 * r2 * r2);
    let terms = |at: usize| {
        T::from(1.0) + T::from(k[at]) * r2 + T::from(k[at + 1]) * r4 + T::from(k[at + 2]) * r6
    };
    (terms(0), terms(3))
}

#[inline(always)]
fn one_over<T: Real>(value: T) -> T {
    let one = T::from(1.0);
    if value == T::from(0.0) { one } else { one / value }
}

/// How often the mixed terms of tangential distortion count.
#[inline(always)]
fn mixed(camera: &Camera) -> f32 {
    if camera.model == LensModel::Rational6Kt { 1.0 } else { 2.0 }
}

/// The pixel of a ray.
#[inline]
fn bend<T: Real>(camera: &Camera, ray: [T; 2]) -> Option<[T; 2]> {
    let (pixel, seen) = bent(camera, ray);
    seen.then_some(pixel)
}

/// The pixel of a ray, and whether the camera sees it: without a branch, so that the compiler can
/// do several rays at once.
#[inline(always)]
fn bent<T: Real>(camera: &Camera, ray: [T; 2]) -> ([T; 2], bool) {
    let [codx, cody] = [camera.codx, camera.cody].map(T::from);
    let (x, y) = (ray[0] - codx, ray[1] - cody);
    let (xx, yy, xy) = (x * x, y * y, x * y);
    let r2 = xx + yy;
    let (a, b) = radial(&camera.k, r2);
    let ([p1, p2], [two, m]) = (camera.p.map(T::from), [2.0, mixed(camera)].map(T::from));
    let d = a * one_over(b);
    let bent_x = x * d + ((r2 + two * xx) * p2 + m * xy * p1) + codx;
    let bent_y = y * d + ((r2 + two * yy) * p1 + m * xy * p2) + cody;
    let [cx, cy, fx, fy] = [camera.cx, camera.cy, camera.fx, camera.fy].map(T::from);
    let pixel = [bent_x * fx + cx, bent_y * fy + cy];
    // Nothing times what is not finite is not nothing.
    let (radius, zero) = (T::from(camera.metric_radius), T::from(0.0));
    let finite = pixel[0] * zero + pixel[1] * zero == zero;
    (pixel, finite & (r2 <= radius * radius))
}

/// How the pixel moves with the ray: du/dx, du/dy, dv/dx, dv/dy.
fn slopes(camera: &Camera, ray: [f64; 2]) -> [f64; 4] {
    let (x, y) = (ray[0] - f64::from(camera.codx), ray[1] - f64::from(camera.cody));
    let r2 = x * x + y * y;
    let (a, b) = radial(&camera.k, r2);
    let over_b = one_over(b);
    let d = a * over_b;
    let k = camera.k.map(f64::from);
    let slope_a = k[0] + 2.0 * k[1] * r2 + 3.0 * k[2] * r2 * r2;
    let slope_b = k[3] + 2.0 * k[4] * r2 + 3.0 * k[5] * r2 * r2;
    let slope_d = 2.0 * (slope_a * b - a * slope_b) * over_b * over_b;
    let ([p1, p2], m) = (camera.p.map(f64::from), f64::from(mixed(camera)));
    let [fx, fy] = [camera.fx, camera.fy].map(f64::from);
    [
        fx * (d + x * x * slope_d + 6.0 * x * p2 + m * y * p1),
        fx * (x * y * slope_d + 2.0 * y * p2 + m * x * p1),
        fy * (x * y * slope_d + 2.0 * x * p1 + m * y * p2),
        fy * (d + y * y * slope_d + 6.0 * y * p1 + m * x * p2),
    ]
}

/// The ray of a pixel if distortion there were what it is at the pixel's own radius.
fn first_guess(camera: &Camera, pixel: [f64; 2]) -> [f64; 2] {
    let [cx, cy, fx, fy] = [camera.cx, camera.cy, camera.fx, camera.fy].map(f64::from);
    let ([codx, cody], [p1, p2]) =
        ([camera.codx, camera.cody].map(f64::from), camera.p.map(f64::from));
    let (x, y) = ((pixel[0] - cx) / fx - codx, (pixel[1] - cy) / fy - cody);
    let (a, b) = radial(&camera.k, x * x + y * y);
    let undo = one_over(a) * b;
    let (x, y) = (x * undo, y * undo);
    let (xx, yy, xy) = (x * x, y * y, 2.0 * x * y);
    [x - ((yy + 3.0 * xx) * p2 + xy * p1) + codx, y - ((xx + 3.0 * yy) * p1 + xy * p2) + cody]
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
        let ray = unproject(&camera, [0.0, 0.0]);
        assert!(ray.is_none_or(|ray| ray.iter().all(|at| at.is_finite())), "{ray:?}");
    }
}
