//! The value of an image between its pixels.

use std::array::from_fn;

/// A value of a pixel: 8 bits of color, 16 of infrared.
pub trait Channel: Copy + Default + Into<f32> + PartialEq {
    /// The nearest value.
    fn nearest(value: f32) -> Self;
}

impl Channel for u8 {
    fn nearest(value: f32) -> Self {
        (value + 0.5) as Self
    }
}

impl Channel for u16 {
    fn nearest(value: f32) -> Self {
        (value + 0.5) as Self
    }
}

/// The four pixels around a place, and how much the right and the lower ones count. `None` if one
/// of them is outside of the image, of which `width` pixels are a row.
#[inline(always)]
pub(super) fn around<T: Copy>(
    image: &[T],
    (width, height): (u32, u32),
    [x, y]: [f32; 2],
) -> Option<([T; 4], [f32; 2])> {
    let inside = |at: f32, pixels: u32| at >= 0.0 && at < (pixels as f32) - 1.0;
    if !inside(x, width) || !inside(y, height) {
        return None;
    }
    // Not `floor`, which is a call: these are no less than 0.
    let [left, top] = [x as u32, y as u32];
    let first = top as usize * width as usize + left as usize;
    let upper = image.get(first..first + 2)?;
    let lower = image.get(first + width as usize..)?.get(..2)?;
    Some(([upper[0], upper[1], lower[0], lower[1]], [x - left as f32, y - top as f32]))
}

/// The pixel at a place between four.
#[inline(always)]
pub(super) fn pixel_at<T: Channel, const C: usize>(
    image: &[[T; C]],
    size: (u32, u32),
    place: [f32; 2],
) -> Option<[T; C]> {
    let (pixels, [right, down]) = around(image, size, place)?;
    // Channels side by side, which the compiler does at once.
    let [a, b, c, d] = pixels.map(|pixel| pixel.map(Into::<f32>::into));
    let upper: [f32; C] = from_fn(|at| (1.0 - right) * a[at] + right * b[at]);
    let lower: [f32; C] = from_fn(|at| (1.0 - right) * c[at] + right * d[at]);
    Some(from_fn(|at| T::nearest((1.0 - down) * upper[at] + down * lower[at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_between_pixels_has_a_value_between_theirs() {
        let image = [[0_u8], [100], [200], [100], [200], [255]];
        let at = |x, y| pixel_at(&image, (3, 2), [x, y]);
        assert_eq!(at(0.0, 0.0), Some([0]));
        assert_eq!(at(0.5, 0.5), Some([100]));
        assert_eq!(at(1.75, 0.0), Some([175]));
        for (x, y) in [(2.0, 0.0), (0.0, 1.0), (-0.1, 0.0), (0.0, f32::NAN), (1e30, 0.0)] {
            assert_eq!(at(x, y), None, "{x}, {y}");
        }
    }
}
