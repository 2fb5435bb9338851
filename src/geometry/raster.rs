//! A surface of depth drawn into the image of another camera.

/// A pixel of the depth image, where the other camera sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vertex {
    /// Pixel in the other camera's image; NaN if it sees nothing there.
    pub(super) x: f32,
    /// Likewise.
    pub(super) y: f32,
    /// Distance from the other camera's plane in millimetres.
    pub(super) z: f32,
}

/// Beyond this part of its depth, what lies between two neighbours is an edge and no surface. A
/// surface 85 degrees from facing a camera of 120 degrees over 512 pixels comes up to it.
pub(super) const EDGE: f32 = 0.046_934_42;

/// Pixels over which four neighbours are drawn at most, in each direction. Those of real cameras
/// come up to that from 25 mm on, nearer than any depth is measured; a made-up lens could ask for
/// the whole image, a million times.
const SPAN_MAX: usize = 128;

impl Vertex {
    fn is_unseen(&self) -> bool {
        self.x.is_nan()
    }

    fn middle(a: &Self, b: &Self) -> Self {
        Self { x: (a.x + b.x) * 0.5, y: (a.y + b.y) * 0.5, z: (a.z + b.z) * 0.5 }
    }

    /// Twice the area of the triangle of two vertices and a pixel, negative on the one side.
    #[inline]
    fn area(&self, other: &Self, x: f32, y: f32) -> f32 {
        (y - self.y) * (other.x - self.x) - (x - self.x) * (other.y - self.y)
    }
}

/// An image of depth in millimetres, 0 where there is none.
pub(super) struct Canvas<'a> {
    pub(super) pixels: &'a mut [u16],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Canvas<'_> {
    /// Draws what lies between four neighbours, clockwise from the top left; the nearest surface
    /// hides those behind. Of three it draws the triangle, of less nothing, nor across an edge.
    pub(super) fn draw(&mut self, corners: [Vertex; 4]) {
        let Some(corners) = whole(corners) else { return };
        let range = |of: fn(&Vertex) -> f32| {
            let values = corners.each_ref().map(of);
            let least = values[0].min(values[1]).min(values[2].min(values[3]));
            (least, values[0].max(values[1]).max(values[2].max(values[3])))
        };
        let (near, far) = range(|vertex| vertex.z);
        if far - near > EDGE * near {
            return;
        }
        // Whole pixels from the first on and before the last.
        let span = |(least, most): (f32, f32), end| whole_from(least, end)..whole_from(most, end);
        let across = span(range(|vertex| vertex.x), self.width);
        let down = span(range(|vertex| vertex.y), self.height);
        if across.len() > SPAN_MAX || down.len() > SPAN_MAX {
            return;
        }
        for row in down {
            let pixels = &mut self.pixels[row * self.width..][across.clone()];
            for (at, pixel) in across.clone().zip(pixels) {
                let Some(depth) = inside(&corners, at as f32, row as f32) else { continue };
                let depth = (depth + 0.5) as u16;
                if *pixel == 0 || depth < *pixel {
                    *pixel = depth;
                }
            }
        }
    }
}

/// The first whole number that is no less, from 0 to `end`. Not `ceil`, which is a call.
#[inline]
fn whole_from(at: f32, end: usize) -> usize {
    let at = at.clamp(0.0, end as f32);
    let whole = at as u32;
    whole as usize + usize::from((whole as f32) < at)
}

/// Four corners of which all are seen. Where one is not, the other three are laid as a rectangle
/// with the same outline.
fn whole(corners: [Vertex; 4]) -> Option<[Vertex; 4]> {
    let [top_left, top_right, bottom_right, bottom_left] = corners;
    let between = Vertex::middle;
    match corners.each_ref().map(Vertex::is_unseen) {
        [false, false, false, false] => Some(corners),
        [true, false, false, false] => {
            Some([between(&top_right, &bottom_left), top_right, bottom_right, bottom_left])
        }
        [false, true, false, false] => {
            Some([top_left, bottom_right, between(&bottom_right, &bottom_left), bottom_left])
        }
        [false, false, true, false] => {
            Some([top_left, top_right, between(&top_right, &bottom_left), bottom_left])
        }
        [false, false, false, true] => {
            Some([top_left, top_right, between(&top_right, &bottom_right), bottom_right])
        }
        _ => None,
    }
}

/// The depth at a pixel inside of four corners: they are two triangles, parted from the top left
/// to the bottom right. Left and upper edges belong to them, right and lower ones do not.
#[inline]
fn inside(corners: &[Vertex; 4], x: f32, y: f32) -> Option<f32> {
    let [top_left, top_right, bottom_right, bottom_left] = corners;
    let across = top_left.area(bottom_right, x, y);
    let (third, sign) = if across >= 0.0 { (bottom_left, 1.0) } else { (top_right, -1.0) };
    let at_bottom_right = sign * third.area(top_left, x, y);
    let at_top_left = sign * bottom_right.area(third, x, y);
    let at_third = sign * across;
    if at_bottom_right >= 0.0 && at_top_left > 0.0 {
        let sum = at_bottom_right + at_third + at_top_left;
        let depth =
            at_bottom_right * bottom_right.z + at_third * third.z + at_top_left * top_left.z;
        return Some(depth * (1.0 / sum));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32, z: f32) -> Vertex {
        Vertex { x, y, z }
    }

    fn drawn(surfaces: &[[Vertex; 4]]) -> Vec<u16> {
        let mut pixels = vec![0; 16];
        let mut canvas = Canvas { pixels: &mut pixels, width: 4, height: 4 };
        surfaces.iter().for_each(|corners| canvas.draw(*corners));
        pixels
    }

    fn square(z: f32) -> [Vertex; 4] {
        [at(0.0, 0.0, z), at(2.0, 0.0, z), at(2.0, 2.0, z), at(0.0, 2.0, z)]
    }

    #[test]
    fn a_square_covers_its_pixels_and_the_nearest_surface_stays() {
        let wanted = [5, 5, 0, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(drawn(&[square(5.0)]), wanted);
        assert_eq!(drawn(&[square(5.0), square(9.0)]), wanted, "behind");
        assert_eq!(drawn(&[square(9.0), square(5.0)]), wanted, "before");
    }

    #[test]
    fn three_corners_are_a_triangle_and_two_are_nothing() {
        let mut corners = square(5.0);
        corners[2] = at(f32::NAN, 0.0, 5.0);
        let covered = drawn(&[corners]).iter().filter(|depth| **depth == 5).count();
        assert!((1..4).contains(&covered), "{covered} pixels");
        corners[0] = at(f32::NAN, 0.0, 5.0);
        assert_eq!(drawn(&[corners]), [0; 16]);
    }

    #[test]
    fn no_surface_reaches_across_an_edge_of_depth() {
        let mut corners = square(100.0);
        corners[1].z = 105.0;
        assert_eq!(drawn(&[corners]), [0; 16]);
        corners[1].z = 104.0;
        assert_ne!(drawn(&[corners]), [0; 16]);
    }

    #[test]
    fn what_is_beside_the_image_is_not_drawn() {
        for (across, down) in [(9.0, 0.0), (0.0, 9.0), (-9.0, 0.0), (0.0, -9.0)] {
            let beside = square(5.0).map(|corner| at(corner.x + across, corner.y + down, 5.0));
            assert_eq!(drawn(&[beside]), [0; 16], "{across}, {down}");
        }
        let half_in = square(5.0).map(|corner| at(corner.x + 3.0, corner.y - 1.0, 5.0));
        assert_eq!(drawn(&[half_in])[..4], [0, 0, 0, 5]);
    }

    #[test]
    fn what_a_made_up_lens_asks_for_is_not_drawn() {
        let far = 1e30;
        let wild = [at(-far, -far, 5.0), at(far, 0.0, 5.0), at(far, far, 5.0), at(0.0, far, 5.0)];
        drawn(&[wild]);
        let mut pixels = vec![0; 300 * 300];
        let mut canvas = Canvas { pixels: &mut pixels, width: 300, height: 300 };
        canvas.draw(square(5.0).map(|corner| at(corner.x * 200.0, corner.y * 200.0, 5.0)));
        assert!(pixels.iter().all(|pixel| *pixel == 0));
    }
}
