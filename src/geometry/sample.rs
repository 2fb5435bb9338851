//! The value of an image between its pixels.

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
#[inline]
pub(super) fn around<T: Copy>(
    image: &[T],
    (width, height): (u32, u32),
    [x, y]: [f32; 2],
) -> Option<([T; 4], [f32; 2])> {
    let inside = |at: f32, pixels: u32| at >= 0.0 && at < (pixels as f32) - 1.0;
    if !inside(x, width) || !inside(y, height) {
        return None;
    }
    let first = y as usize * width as usize + x as usize;
    let upper = image.get(first..first + 2)?;
    let lower = image.get(first + width as usize..)?.get(..2)?;
    Some(([upper[0], upper[1], lower[0], lower[1]], [x - x.floor(), y - y.floor()]))
}

/// Between four values, two above and two below.
#[inline]
pub(super) fn between(values: [f32; 4], [right, down]: [f32; 2]) -> f32 {
    let upper = (1.0 - right) * values[0] + right * values[1];
    let lower = (1.0 - right) * values[2] + right * values[3];
    (1.0 - down) * upper + down * lower
}

/// The pixel at a place between four.
#[inline]
pub(super) fn pixel_at<T: Channel, const C: usize>(
    image: &[[T; C]],
    size: (u32, u32),
    place: [f32; 2],
) -> Option<[T; C]> {
    let (pixels, share) = around(image, size, place)?;
    let mut pixel = [T::default(); C];
    for (channel, value) in pixel.iter_mut().enumerate() {
        *value = T::nearest(between(pixels.map(|pixel| pixel[channel].into()), share));
    }
    Some(pixel)
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
