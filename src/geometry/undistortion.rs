//! Images as a camera without a lens would take them.

use super::raster::EDGE;
use super::sample::{around, pixel_at};
use super::{Channel, check, project};
use crate::Result;
use genlock_formats::k4a::Camera;

/// A camera whose lens bends nothing: `x = cx + fx * X/Z`, in pixels from the centre of the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pinhole {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Where the optical axis meets the image.
    pub cx: f32,
    /// Likewise.
    pub cy: f32,
    /// Focal length in widths of a pixel.
    pub fx: f32,
    /// Focal length in heights of a pixel.
    pub fy: f32,
}

impl Pinhole {
    /// The size, the centre and the focal length of a real camera.
    #[must_use]
    pub fn of(camera: &Camera) -> Self {
        let Camera { width, height, cx, cy, fx, fy, .. } = *camera;
        Self { width, height, cx, cy, fx, fy }
    }
}

/// For each pixel of a camera without a lens, the place in the real camera's image that shows the
/// same. Make one for a recording, and use it for every frame.
#[derive(Debug, Clone)]
pub struct Undistortion {
    ideal: Pinhole,
    source: (u32, u32),
    /// Row by row; NaN where the real camera sees nothing.
    places: Vec<[f32; 2]>,
}

impl Undistortion {
    /// From the images of `camera` to those of `ideal`, which stands where it does.
    #[must_use]
    pub fn of(camera: &Camera, ideal: Pinhole) -> Self {
        let none = [f32::NAN; 2];
        let place = |x: u32, y: u32| {
            let ray = [(x as f32 - ideal.cx) / ideal.fx, (y as f32 - ideal.cy) / ideal.fy, 1.0];
            project(camera, ray).unwrap_or(none)
        };
        let rows = (0..ideal.height).flat_map(|y| (0..ideal.width).map(move |x| (x, y)));
        let places = rows.map(|(x, y)| place(x, y)).collect();
        Self { ideal, source: (camera.width, camera.height), places }
    }

    /// The camera without a lens.
    #[must_use]
    pub fn ideal(&self) -> &Pinhole {
        &self.ideal
    }

    /// The table: for each pixel, row by row, its place in the real image, in pixels and fractions;
    /// outside of the image too, and NaN where the real camera sees nothing.
    #[must_use]
    pub fn places(&self) -> &[[f32; 2]] {
        &self.places
    }

    /// The nearest pixel of the real image for each, nothing where it has none: for what must not
    /// be mixed.
    ///
    /// # Errors
    /// The image has another number of pixels than the camera.
    pub fn nearest<T: Copy + Default>(&self, image: &[T], out: &mut Vec<T>) -> Result<()> {
        self.fill(image, out, |place| nearest(image, self.source, place))
    }

    /// What is between the four nearest pixels of the real image for each, nothing where one of
    /// them is outside: for color (`C` is 3 or 4) and infrared (`C` is 1, of 16 bits).
    ///
    /// # Errors
    /// The image has another number of pixels than the camera.
    pub fn bilinear<T: Channel, const C: usize>(
        &self,
        image: &[[T; C]],
        out: &mut Vec<[T; C]>,
    ) -> Result<()>
    where
        [T; C]: Default,
    {
        self.fill(image, out, |place| pixel_at(image, self.source, place))
    }

    /// Depth: what is between the four nearest pixels where they are one surface, the nearest
    /// where an edge of depth is between them or one has none. Depth along the axis is the same
    /// with and without a lens.
    ///
    /// # Errors
    /// The image has another number of pixels than the camera.
    pub fn depth(&self, depth_mm: &[u16], out: &mut Vec<u16>) -> Result<()> {
        self.fill(depth_mm, out, |place| {
            let (pixels, _) = around(depth_mm, self.source, place)?;
            let values = pixels.map(f32::from);
            let near = values.into_iter().fold(f32::MAX, f32::min);
            let far = values.into_iter().fold(0.0, f32::max);
            if near > 0.0 && far - near <= EDGE * near {
                let between = pixel_at(depth_mm.as_chunks().0, self.source, place);
                return between.map(|[depth]| depth);
            }
            nearest(depth_mm, self.source, place)
        })
    }

    fn fill<T: Copy + Default>(
        &self,
        image: &[T],
        out: &mut Vec<T>,
        pixel: impl Fn([f32; 2]) -> Option<T>,
    ) -> Result<()> {
        check("distorted", image.len(), self.source.0, self.source.1)?;
        out.clear();
        out.extend(self.places.iter().map(|place| pixel(*place).unwrap_or_default()));
        Ok(())
    }
}

fn nearest<T: Copy>(image: &[T], (width, height): (u32, u32), [x, y]: [f32; 2]) -> Option<T> {
    let inside = |at: f32, pixels: u32| at >= -0.5 && at < pixels as f32 - 0.5;
    if !inside(x, width) || !inside(y, height) {
        return None;
    }
    let [x, y] = [x, y].map(|at| (at + 0.5) as usize);
    image.get(y * width as usize + x).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::unproject;
    use genlock_formats::k4a::{Calibration, DepthMode};

    fn camera() -> Camera {
        let json = genlock_emulator::calibration::synthetic(1, "1");
        let calibration = Calibration::of(&json, None, Some(DepthMode::Nfov2x2Binned));
        calibration.expect("a calibration").depth.expect("a depth camera")
    }

    /// An image that says where it was seen: the ray's direction across, in thousandths.
    fn across(camera: &Camera) -> Vec<u16> {
        let ray = |at: u32| unproject(camera, [(at % 320) as f32, (at / 320) as f32]);
        let value = |at| ray(at).map_or(0, |[x, _]| u16::nearest((x + 2.0) * 10_000.0));
        (0..320 * 288).map(value).collect()
    }

    #[test]
    fn an_undistorted_image_shows_what_the_ideal_camera_would_see() {
        let camera = camera();
        let undistortion = Undistortion::of(&camera, Pinhole::of(&camera));
        let Pinhole { cx, fx, .. } = *undistortion.ideal();
        let image = across(&camera);
        let (mut bilinear, mut nearest, mut depth) = (Vec::new(), Vec::new(), Vec::new());
        undistortion.bilinear(image.as_chunks::<1>().0, &mut bilinear).expect("an image");
        undistortion.nearest(&image, &mut nearest).expect("an image");
        undistortion.depth(&image, &mut depth).expect("an image");
        let mut seen = 0;
        for at in 0..320 * 288 {
            let wanted = ((at % 320) as f32 - cx) / fx * 10_000.0 + 20_000.0;
            let off = |value: u16| (f32::from(value) - wanted).abs();
            if bilinear[at][0] != 0 {
                seen += 1;
                assert!(off(bilinear[at][0]) < 2.0, "{at}: {} for {wanted}", bilinear[at][0]);
                // Half a pixel, which sees up to twice as much in the corners.
                assert!(off(nearest[at]) < 10_000.0 / fx, "{at}");
                assert_eq!(depth[at], bilinear[at][0], "one surface");
            }
        }
        assert!(seen > 320 * 288 / 2, "{seen} pixels");
    }

    #[test]
    fn depth_is_not_mixed_across_an_edge() {
        let camera = camera();
        let undistortion = Undistortion::of(&camera, Pinhole::of(&camera));
        let step: Vec<_> = (0..320 * 288).map(|at| if at % 320 < 150 { 800 } else { 0 }).collect();
        let mut out = Vec::new();
        undistortion.depth(&step, &mut out).expect("an image");
        assert!(out.contains(&800) && out.iter().all(|depth| [0, 800].contains(depth)));
        assert!(undistortion.depth(&step[1..], &mut out).is_err());
    }
}
