//! Images as files have them: PNG written, JPEG read, raw color turned into RGB.

use genlock_formats::k4a::{ColorFormat, Image};
use png::{BitDepth, ColorType, Compression, Encoder, EncodingError};
use std::borrow::Cow;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Width and height of an image.
pub fn size(image: &Image<'_>) -> (u32, u32) {
    let side = |pixels: u64| u32::try_from(pixels).unwrap_or(0);
    (side(image.width), side(image.height))
}

/// Width and height in pixels.
pub type Size = (u32, u32);

/// A gray PNG of 16-bit pixels that are little-endian here.
///
/// # Errors
/// What is wrong with the image, in words.
pub fn gray16_png(size: Size, pixels_le: Cow<'_, [u8]>) -> Result<Vec<u8>, String> {
    let mut pixels = pixels_le.into_owned();
    // PNG is big-endian.
    pixels.as_chunks_mut::<2>().0.iter_mut().for_each(|pixel| pixel.swap(0, 1));
    png(size, ColorType::Grayscale, BitDepth::Sixteen, &pixels)
}

/// A PNG of 8-bit red, green and blue.
///
/// # Errors
/// What is wrong with the image, in words.
pub fn rgb_png(size: Size, rgb: &[u8]) -> Result<Vec<u8>, String> {
    png(size, ColorType::Rgb, BitDepth::Eight, rgb)
}

fn png(size: Size, color: ColorType, depth: BitDepth, pixels: &[u8]) -> Result<Vec<u8>, String> {
    let words = |cause: EncodingError| format!("cannot become a PNG: {cause}");
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().map_err(words)?;
    writer.write_image_data(pixels).map_err(words)?;
    writer.finish().map_err(words)?;
    Ok(bytes)
}

/// A color image as 8-bit red, green and blue.
///
/// # Errors
/// Why it cannot be decoded, in words.
pub fn rgb(size: Size, format: ColorFormat, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let pixels = size.0 as usize * size.1 as usize;
    let expected = match format {
        ColorFormat::Mjpg => return jpeg_rgb(size, bytes),
        ColorFormat::Nv12 => pixels + pixels / 2,
        ColorFormat::Yuy2 => pixels * 2,
        ColorFormat::Bgra => pixels * 4,
    };
    let even =
        size.0.is_multiple_of(2) && (format != ColorFormat::Nv12 || size.1.is_multiple_of(2));
    if bytes.len() != expected || !even && format != ColorFormat::Bgra {
        let (width, height) = size;
        let found = bytes.len();
        return Err(format!("{found} bytes are no {format} image of {width} x {height}"));
    }
    Ok(match format {
        ColorFormat::Bgra => {
            bytes.as_chunks::<4>().0.iter().flat_map(|p| [p[2], p[1], p[0]]).collect()
        }
        ColorFormat::Yuy2 => {
            let pairs = bytes.as_chunks::<4>().0.iter();
            pairs
                .flat_map(|[a, u, b, v]| [of_yuv(*a, *u, *v), of_yuv(*b, *u, *v)])
                .flatten()
                .collect()
        }
        _ => nv12_rgb(size.0 as usize, bytes, pixels),
    })
}

fn nv12_rgb(width: usize, bytes: &[u8], pixels: usize) -> Vec<u8> {
    let (luma, chroma) = bytes.split_at(pixels);
    let mut rgb = Vec::with_capacity(pixels * 3);
    for (y, row) in luma.chunks_exact(width).enumerate() {
        let chroma = &chroma[y / 2 * width..][..width];
        for (pair, uv) in row.as_chunks::<2>().0.iter().zip(chroma.as_chunks::<2>().0) {
            rgb.extend(pair.iter().flat_map(|luma| of_yuv(*luma, uv[0], uv[1])));
        }
    }
    rgb
}

/// BT.601, with luma from 16 to 235: as Microsoft's library turns these formats into BGRA.
fn of_yuv(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (298 * (i32::from(y) - 16), i32::from(u) - 128, i32::from(v) - 128);
    let red = y + 409 * v;
    let green = y - 100 * u - 208 * v;
    let blue = y + 516 * u;
    [red, green, blue].map(|sum| ((sum + 128) >> 8).clamp(0, 255) as u8)
}

fn jpeg_rgb(size: Size, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|cause| format!("no JPEG: {cause:?}"))?;
    // Memory is asked for by what the recording says, not by what one image claims.
    let found = decoder.dimensions().map(|(width, height)| (width as u32, height as u32));
    if found != Some(size) {
        let (width, height) = size;
        return Err(format!("a JPEG that is not of {width} x {height}"));
    }
    decoder.decode().map_err(|cause| format!("the JPEG cannot be decoded: {cause:?}"))
}

/// Whether a color image is a JPEG, from its begin to its end: written as it is, it must open.
pub fn is_whole_jpeg(bytes: &[u8]) -> bool {
    // Some cameras fill the buffer up with zeros behind the end.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.starts_with(&[0xFF, 0xD8]) && bytes[..end].ends_with(&[0xFF, 0xD9])
}

/// A color image as a file: its extension and bytes. A JPEG stays what it is.
///
/// # Errors
/// Why it cannot be written, in words.
pub fn color_file(
    size: Size,
    format: ColorFormat,
    bytes: &[u8],
) -> Result<(&'static str, Cow<'_, [u8]>), String> {
    if format != ColorFormat::Mjpg {
        let png = rgb(size, format, bytes).and_then(|rgb| rgb_png(size, &rgb))?;
        return Ok(("png", Cow::Owned(png)));
    }
    match is_whole_jpeg(bytes) {
        true => Ok(("jpg", Cow::Borrowed(bytes))),
        false => Err("no whole JPEG".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuv_becomes_the_colors_that_bt_601_says() {
        assert_eq!(of_yuv(16, 128, 128), [0, 0, 0]);
        assert_eq!(of_yuv(235, 128, 128), [255, 255, 255]);
        // Pure red, green and blue (ITU-R BT.601 tables).
        assert_eq!(of_yuv(81, 90, 240).map(|c| c / 8), [31, 0, 0]);
        assert_eq!(of_yuv(145, 54, 34).map(|c| c / 8), [0, 31, 0]);
        assert_eq!(of_yuv(41, 240, 110).map(|c| c / 8), [0, 0, 31]);
        let yuy2 = rgb((2, 1), ColorFormat::Yuy2, &[16, 128, 235, 128]);
        assert_eq!(yuy2.as_deref(), Ok(&[0, 0, 0, 255, 255, 255][..]));
        let nv12 = rgb((2, 2), ColorFormat::Nv12, &[16, 235, 235, 16, 128, 128]);
        assert_eq!(nv12.as_deref(), Ok(&[0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0][..]));
        assert_eq!(rgb((1, 1), ColorFormat::Bgra, &[1, 2, 3, 4]).as_deref(), Ok(&[3, 2, 1][..]));
    }

    #[test]
    fn images_of_another_size_are_refused() {
        assert!(rgb((2, 2), ColorFormat::Nv12, &[0; 5]).is_err());
        assert!(rgb((3, 1), ColorFormat::Yuy2, &[0; 6]).is_err());
        assert!(rgb((2, 2), ColorFormat::Mjpg, &[0xFF, 0xD8, 0xFF, 0xD9]).is_err());
        assert!(gray16_png((2, 2), Cow::Borrowed(&[0; 6])).is_err());
        assert!(color_file((2, 2), ColorFormat::Mjpg, &[0xFF, 0xD8, 1]).is_err());
    }
}
