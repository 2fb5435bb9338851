//! The images of one camera, seen from the other.

use super::lens::project_or_nan;
use super::raster::{Canvas, Vertex};
use super::sample::pixel_at;
use super::{Rays, check, clear};
use crate::{Error, Result};
use genlock_formats::k4a::{Calibration, Camera, Rigid};

/// Depth into the color camera and color into the depth camera. It holds the tables and the memory
/// for both: make one for a recording, and use it for every frame.
#[derive(Debug, Clone)]
pub struct Registration {
    rays: Rays,
    color: Camera,
    color_from_depth: Rigid,
    /// A row of the depth image and the row above it.
    rows: [Vec<Vertex>; 2],
}

impl Registration {
    /// For two cameras that are on.
    ///
    /// # Errors
    /// One of them is off.
    pub fn of(calibration: &Calibration) -> Result<Self> {
        let (Some(depth), Some(color)) = (&calibration.depth, &calibration.color) else {
            let off = if calibration.depth.is_none() { "depth" } else { "color" };
            return Err(Error::File(format!(
                "the {off} camera is off: images of depth and color take both cameras"
            )));
        };
        Ok(Self {
            rays: Rays::of(depth),
            color: color.clone(),
            color_from_depth: calibration.color_from_depth,
            rows: [const { Vec::new() }; 2],
        })
    }

    /// The rays of the depth camera.
    #[must_use]
    pub fn depth_rays(&self) -> &Rays {
        &self.rays
    }

    /// The depth image as the color camera would take it: millimetres from its plane, 0 where there
    /// is none, in the color image's size. Four neighbours are a surface, unless an edge of depth
    /// is between them; of surfaces behind each other the nearest is seen.
    ///
    /// # Errors
    /// The image has another number of pixels than the depth camera.
    pub fn depth_into_color(&mut self, depth_mm: &[u16], out: &mut Vec<u16>) -> Result<()> {
        let (width, height) = self.rays.size();
        check("depth", depth_mm.len(), width, height)?;
        let size = [self.color.width, self.color.height].map(|pixels| pixels as usize);
        clear(out, size[0] * size[1]);
        let mut canvas = Canvas { pixels: out, width: size[0], height: size[1] };
        let width = width as usize;
        let [mut above, mut row] = std::mem::take(&mut self.rows);
        row.clear();
        for (depths, rays) in depth_mm.chunks(width).zip(self.rays.table().chunks(width)) {
            std::mem::swap(&mut above, &mut row);
            self.see(depths, rays, &mut row);
            for (upper, lower) in above.windows(2).zip(row.windows(2)) {
                canvas.draw([upper[0], upper[1], lower[1], lower[0]]);
            }
        }
        self.rows = [above, row];
        Ok(())
    }

    /// The color of each pixel of a depth image, in the depth image's size; `C` bytes a pixel, in
    /// the order of the color image (BGRA, or RGB). All 0 where there is none: no depth, or the
    /// color camera does not see it. Something black has 1 in its first byte if all others are 0.
    ///
    /// What the color camera does not see because something is before it has the color of that,
    /// as with libk4a.
    ///
    /// # Errors
    /// An image has another number of pixels than its camera.
    pub fn color_into_depth<const C: usize>(
        &mut self,
        depth_mm: &[u16],
        color: &[[u8; C]],
        out: &mut Vec<[u8; C]>,
    ) -> Result<()> {
        let (width, height) = self.rays.size();
        check("depth", depth_mm.len(), width, height)?;
        let size = (self.color.width, self.color.height);
        check("color", color.len(), size.0, size.1)?;
        out.clear();
        let width = width as usize;
        let mut row = std::mem::take(&mut self.rows[0]);
        for (depths, rays) in depth_mm.chunks(width).zip(self.rays.table().chunks(width)) {
            self.see(depths, rays, &mut row);
            let pixel = |at: &Vertex| pixel_at(color, size, [at.x, at.y]).map_or([0; C], seen);
            out.extend(row.iter().map(pixel));
        }
        self.rows[0] = row;
        Ok(())
    }

    /// Where the color camera sees a row of the depth image. A row at once, since the compiler then
    /// does several pixels at once.
    fn see(&self, depths: &[u16], rays: &[[f32; 2]], row: &mut Vec<Vertex>) {
        row.clear();
        row.extend(depths.iter().zip(rays).map(|(depth, ray)| self.vertex(*depth, *ray)));
    }

    /// Where the color camera sees what a ray of the depth camera ends at.
    #[inline(always)]
    fn vertex(&self, depth: u16, [x, y]: [f32; 2]) -> Vertex {
        // Without depth the point is where the depth camera is, and z says that it is not seen.
        let z = f32::from(depth);
        let point = self.color_from_depth.apply([x * z, y * z, z]);
        let z = if depth == 0 { 0.0 } else { point[2] };
        let [x, y] = project_or_nan(&self.color, [point[0], point[1], z]);
        Vertex { x, y, z }
    }
}

/// A pixel that is seen: never all 0, which stands for none.
fn seen<const C: usize>(mut pixel: [u8; C]) -> [u8; C] {
    if let (true, Some(first)) = (pixel == [0; C], pixel.first_mut()) {
        *first = 1;
    }
    pixel
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::k4a::{ColorMode, DepthMode};

    fn registration() -> Registration {
        let json = genlock_emulator::calibration::synthetic(1, "1");
        let color: ColorMode = "720p".parse().expect("a mode");
        let calibration = Calibration::of(&json, Some(color), Some(DepthMode::Nfov2x2Binned));
        Registration::of(&calibration.expect("a calibration")).expect("both cameras")
    }

    #[test]
    fn a_wall_is_seen_by_both_cameras() {
        let mut registration = registration();
        let wall = vec![2000; 320 * 288];
        let mut seen = Vec::new();
        registration.depth_into_color(&wall, &mut seen).expect("depth");
        let middle = seen[360 * 1280 + 640];
        // Six degrees down, it is nearer to the color camera's plane below and farther above.
        assert!((1900..2100).contains(&middle), "{middle}");
        let covered = seen.iter().filter(|depth| **depth > 0).count();
        assert!(covered > seen.len() / 3, "{covered} pixels");
        // The memory of a frame is that of the next, and nothing of it is left.
        let memory = seen.as_ptr();
        registration.depth_into_color(&vec![0; 320 * 288], &mut seen).expect("depth");
        assert!(seen.iter().all(|depth| *depth == 0) && seen.as_ptr() == memory);
    }

    #[test]
    fn color_comes_where_depth_is_and_black_is_not_nothing() {
        let mut registration = registration();
        let mut depth = vec![2000; 320 * 288];
        depth[144 * 320 + 100] = 0;
        let mut out = Vec::new();
        let mut at = |color: [u8; 3]| {
            let image = vec![color; 1280 * 720];
            registration.color_into_depth(&depth, &image, &mut out).expect("color");
            (out[144 * 320 + 160], out[144 * 320 + 100])
        };
        assert_eq!(at([30, 20, 10]), ([30, 20, 10], [0; 3]));
        assert_eq!(at([0; 3]), ([1, 0, 0], [0; 3]));
    }

    /// Lenses and poses that `Calibration` lets pass and no camera has, with images of any depth.
    #[test]
    fn wild_lenses_give_images_and_no_panic() {
        let sound = registration();
        let depth: Vec<_> = (0..320 * 288_u32).map(|at| ((at * 40_503) >> 7) as u16).collect();
        let color = vec![[9; 4]; 1280 * 720];
        for (focal, bend, shift) in [(1e5, 0.0, 0.0), (1.0, 3e38, 1e4), (600.0, -50.0, 9e3)] {
            let mut wild = sound.clone();
            (wild.color.fx, wild.color.fy, wild.color.cx) = (focal, focal, -focal);
            (wild.color.k, wild.color.p) = ([bend; 6], [bend; 2]);
            wild.color_from_depth.translation_mm = [shift, -shift, shift];
            let (mut in_color, mut in_depth) = (Vec::new(), Vec::new());
            wild.depth_into_color(&depth, &mut in_color).expect("an image");
            wild.color_into_depth(&depth, &color, &mut in_depth).expect("an image");
            assert_eq!((in_color.len(), in_depth.len()), (color.len(), depth.len()));
        }
    }

    #[test]
    fn images_of_other_modes_and_cameras_that_are_off_are_refused() {
        let mut registration = registration();
        let refusal = registration.depth_into_color(&[0; 4], &mut Vec::new());
        assert!(refusal.expect_err("four pixels").to_string().contains("320x288"));
        let wall = vec![2000; 320 * 288];
        let refusal = registration.color_into_depth(&wall, &[[0; 4]; 9], &mut Vec::new());
        assert!(refusal.expect_err("nine pixels").to_string().contains("color image has 9 pixels"));
        let json = genlock_emulator::calibration::synthetic(1, "1");
        let calibration = Calibration::of(&json, None, Some(DepthMode::NfovUnbinned));
        let refusal = Registration::of(&calibration.expect("a calibration")).expect_err("no color");
        assert!(refusal.to_string().starts_with("the color camera is off"));
    }
}
