//! The ray of every pixel of a camera, and the points where depth says they end.

use super::{check, unproject};
use crate::Result;
use genlock_formats::k4a::Camera;

/// The table of a camera's rays. Making one is much slower than using it: keep it.
#[derive(Debug, Clone)]
pub struct Rays {
    width: u32,
    height: u32,
    /// x/z and y/z, row by row; NaN where there is none.
    table: Vec<[f32; 2]>,
}

impl Rays {
    /// The rays of a camera.
    #[must_use]
    pub fn of(camera: &Camera) -> Self {
        let (width, height) = (camera.width, camera.height);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| [x as f32, y as f32]));
        let none = [f32::NAN; 2];
        let table = pixels.map(|pixel| unproject(camera, pixel).unwrap_or(none)).collect();
        Self { width, height, table }
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The ray of a pixel, as (x/z, y/z).
    #[must_use]
    pub fn at(&self, x: u32, y: u32) -> Option<[f32; 2]> {
        let inside = x < self.width && y < self.height;
        let ray = self.table.get(y as usize * self.width as usize + x as usize);
        ray.copied().filter(|ray| inside && !ray[0].is_nan())
    }

    /// All rays, row by row; NaN where a pixel has none.
    #[must_use]
    pub fn table(&self) -> &[[f32; 2]] {
        &self.table
    }

    /// A point for each pixel of a depth image, row by row: (x, y, z) in millimetres, in the frame
    /// of the camera that the rays are of. (0, 0, 0) where there is no depth, or no ray.
    ///
    /// Depth seen from the color camera makes a cloud in its frame, with the rays of that camera.
    ///
    /// # Errors
    /// The image has another number of pixels than the camera.
    pub fn cloud(&self, depth_mm: &[u16], out: &mut Vec<[f32; 3]>) -> Result<()> {
        check("depth", depth_mm.len(), self.width, self.height)?;
        out.clear();
        out.extend(depth_mm.iter().zip(&self.table).map(|(&z, &[x, y])| {
            let z = f32::from(z);
            if x.is_nan() { [0.0; 3] } else { [x * z, y * z, z] }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::k4a::{Calibration, DepthMode};

    #[test]
    fn a_cloud_has_a_point_for_each_pixel() {
        let json = genlock_emulator::calibration::synthetic(1, "1");
        let calibration = Calibration::of(&json, None, Some(DepthMode::Wfov2x2Binned));
        let rays = Rays::of(&calibration.expect("a calibration").depth.expect("depth"));
        let mut depth = vec![1000; 512 * 512];
        depth[300] = 0;
        let mut cloud = vec![[7.0; 3]];
        rays.cloud(&depth, &mut cloud).expect("a cloud");
        assert_eq!(cloud.len(), depth.len());
        let [x, y] = rays.at(100, 256).expect("a ray");
        assert_eq!(cloud[256 * 512 + 100], [x * 1000.0, y * 1000.0, 1000.0]);
        assert_eq!(cloud[300], [0.0; 3], "no depth");
        assert_eq!((rays.at(0, 0), cloud[0]), (None, [0.0; 3]), "no ray");
        assert_eq!(rays.at(512, 0), None, "no pixel");
        let refusal = rays.cloud(&depth[1..], &mut cloud).expect_err("a pixel is missing");
        assert!(refusal.to_string().contains("262143 pixels, and its camera 512x512"));
    }
}
