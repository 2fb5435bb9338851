//! A room with somebody moving in it: depth, IR and color from a seed, the same on every machine.
//!
//! All arithmetic is on integers. The statistics are those of real frames (spec/depth-codec.md 1):
//! connected invalid regions, depth noise that grows with range, shot noise in IR, nothing outside
//! the lens circle.

use crate::noise::{Noise, hash};
use genlock_formats::k4a::{ColorFormat, ColorMode, DepthMode};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Half the width of the field of view in the scene's units.
const HALF: i32 = 1024;

/// The quality that gives a 1080p frame of about 300 KB.
const JPEG_QUALITY: u8 = 91;

/// A room as one camera sees it.
#[derive(Debug, Clone)]
pub struct Scene {
    seed: u64,
    noise: Noise,
}

/// One moment: where the body stands.
#[derive(Debug, Clone, Copy)]
struct Moment {
    body_u: i32,
    body_v: i32,
    noise: u64,
}

/// What a ray hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Outside,
    Shadow,
    /// Depth in millimetres and reflectance in 1/256.
    Surface(i32, i32),
}

impl Scene {
    /// The room of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, noise: Noise::new(seed) }
    }

    /// The moment of frame `number` in a cycle of `cycle` frames: the body goes to and fro.
    fn moment(&self, number: usize, cycle: usize, what: u64) -> Moment {
        let there = (2 * number % (2 * cycle)) as i32;
        let swing = (there - cycle as i32).abs() * 600 / cycle as i32;
        Moment {
            body_u: swing - 300 + (self.seed % 200) as i32 - 100,
            body_v: 120 + swing / 6,
            noise: hash(&[self.seed, what, number as u64]),
        }
    }

    /// What lies at (u, v), each from -1024 to 1023.
    fn hit(u: i32, v: i32, moment: &Moment) -> Hit {
        if u.abs() + v.abs() > 1440 {
            return Hit::Outside;
        }
        let (du, dv) = (u - moment.body_u, v - moment.body_v);
        // The body: an ellipse 260 wide and 560 high, nearer in its middle.
        let round = du * du * 100 / (260 * 260) + dv * dv * 100 / (560 * 560);
        if round <= 100 {
            return Hit::Surface(1500 + round * 2, 150);
        }
        // What the body hides from the laser, which sits beside the camera.
        if dv.abs() < 540 && (-420..0).contains(&du) {
            return Hit::Shadow;
        }
        if (560..900).contains(&u) && (-530..-240).contains(&v) {
            return Hit::Shadow; // A black screen on the wall.
        }
        let wall = 2600 + u / 4;
        let floor = if v > 350 { 2600 * 350 / v + 250 } else { i32::MAX };
        Hit::Surface(wall.min(floor), if floor < wall { 90 } else { 200 })
    }

    /// Depth and IR of frame `number`, 16-bit little-endian; of passive IR, no depth.
    #[must_use]
    pub fn depth_and_ir(&self, mode: DepthMode, number: usize, cycle: usize) -> (Vec<u8>, Vec<u8>) {
        let (width, height) = mode.size();
        let moment = self.moment(number, cycle, mode as u64);
        let mut depth = Vec::with_capacity(mode.image_bytes());
        let mut ir = Vec::with_capacity(mode.image_bytes());
        for y in 0..height as i32 {
            let v = y * 2 * HALF / height as i32 - HALF;
            let row = hash(&[moment.noise, y as u64]);
            let noise = self.noise.from(row).zip(self.noise.from(row >> 20));
            for (x, (depth_noise, ir_noise)) in (0..width as i32).zip(noise) {
                let u = x * 2 * HALF / width as i32 - HALF;
                let (mm, light) = Self::measure(Self::hit(u, v, &moment), depth_noise, ir_noise);
                depth.extend(mm.to_le_bytes());
                ir.extend(light.to_le_bytes());
            }
        }
        if !mode.has_depth() {
            depth.clear();
        }
        (depth, ir)
    }

    fn measure(hit: Hit, depth_noise: i32, ir_noise: i32) -> (u16, u16) {
        let (mm, reflectance) = match hit {
            Hit::Outside => return (0, 0),
            Hit::Shadow => (0, 6),
            Hit::Surface(mm, reflectance) => (mm, reflectance),
        };
        // Half a millimetre at one metre, with the square of the range.
        let sigma_256 = mm * mm / 8000;
        let noisy = mm + depth_noise * sigma_256 / (Noise::SIGMA * 256);
        let range = if mm == 0 { 2600 } else { mm };
        let light = (reflectance * 28_000 / (range / 10) / (range / 100)).clamp(60, 4000);
        let shot = light + ir_noise * 9 * light.isqrt() / (10 * Noise::SIGMA);
        (noisy.clamp(0, 65_535) as u16, shot.clamp(1, 65_535) as u16)
    }

    /// The color image of frame `number`.
    #[must_use]
    pub fn color(&self, mode: ColorMode, number: usize, cycle: usize) -> Vec<u8> {
        let (width, height) = mode.size();
        let moment = self.moment(number, cycle, 100 + mode.resolution as u64);
        let rgb = self.rgb(width as usize, height as usize, &moment);
        match mode.format {
            ColorFormat::Mjpg | ColorFormat::Bgra => jpeg(&rgb, width as u16, height as u16),
            ColorFormat::Nv12 => nv12(&rgb, width as usize),
            ColorFormat::Yuy2 => yuy2(&rgb),
        }
    }

    fn rgb(&self, width: usize, height: usize, moment: &Moment) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(width * height * 3);
        let tint = (self.seed % 64) as i32;
        for y in 0..height {
            let v = (y * 2 * HALF as usize / height) as i32 - HALF;
            let grain = self.noise.from(hash(&[moment.noise, y as u64]));
            for (x, grain) in (0..width).zip(grain) {
                let u = (x * 2 * HALF as usize / width) as i32 - HALF;
                let (du, dv) = (u - moment.body_u, v - moment.body_v);
                let body = du * du * 100 / (260 * 260) + dv * dv * 100 / (560 * 560) <= 100;
                let stripes = ((u >> 5) ^ (v >> 6)) & 7;
                let [r, g, b] = if body {
                    [150 + dv / 16, 110 - dv / 20, 90 + tint]
                } else {
                    [110 + u / 16 + stripes * 3, 120 + v / 14, 130 + tint - stripes * 2]
                };
                let grain = grain * 3 / Noise::SIGMA;
                rgb.extend([r, g, b].map(|c| (c + grain).clamp(0, 255) as u8));
            }
        }
        rgb
    }
}

fn jpeg(rgb: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // Writing to memory cannot fail, and the image has the size that is said.
    encoder.encode(rgb, width, height, ColorType::Rgb).expect("a picture in memory");
    bytes
}

/// BT.601, full range (usb-protocol.md 6.1).
fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(i32::from);
    ((77 * r + 150 * g + 29 * b + 128) >> 8) as u8
}

fn chroma(rgb: &[u8]) -> [u8; 2] {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(i32::from);
    let u = (-43 * r - 85 * g + 128 * b + 32_896) >> 8;
    let v = (128 * r - 107 * g - 21 * b + 32_896) >> 8;
    [u.clamp(0, 255) as u8, v.clamp(0, 255) as u8]
}

fn nv12(rgb: &[u8], width: usize) -> Vec<u8> {
    let mut bytes: Vec<_> = rgb.chunks_exact(3).map(luma).collect();
    for row in rgb.chunks_exact(width * 3).step_by(2) {
        bytes.extend(row.chunks_exact(6).flat_map(chroma));
    }
    bytes
}

fn yuy2(rgb: &[u8]) -> Vec<u8> {
    let pair = |pair: &[u8]| {
        let [u, v] = chroma(pair);
        [luma(pair), u, luma(&pair[3..]), v]
    };
    rgb.chunks_exact(6).flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(bytes: &[u8]) -> Vec<i64> {
        bytes.chunks_exact(2).map(|p| i64::from(u16::from_le_bytes([p[0], p[1]]))).collect()
    }

    #[test]
    fn a_scene_has_the_statistics_of_real_frames() {
        let (depth, ir) = Scene::new(1).depth_and_ir(DepthMode::NfovUnbinned, 0, 8);
        let (depth, ir) = (pixels(&depth), pixels(&ir));
        let share = |count: usize| count as f64 / depth.len() as f64;
        let invalid = share(depth.iter().filter(|mm| **mm == 0).count());
        assert!((0.23..0.30).contains(&invalid), "{invalid} invalid");
        let dark = share(ir.iter().filter(|light| **light == 0).count());
        assert!((0.16..0.19).contains(&dark), "{dark} dark");
        let plane = |y: usize, x: usize| depth[y * 640 + x];
        let gradient = |y: usize, x: usize| {
            let near = [plane(y, x), plane(y, x - 1), plane(y - 1, x), plane(y - 1, x - 1)];
            let valid = near.iter().all(|mm| *mm > 0);
            valid.then(|| (near[0] - near[1] - near[2] + near[3]).abs())
        };
        let all = (1..576).flat_map(|y| (1..640).filter_map(move |x| gradient(y, x)));
        let mut residuals: Vec<_> = all.collect();
        residuals.sort_unstable();
        let percentile = |p: usize| residuals[residuals.len() * p / 100];
        assert!((1..=2).contains(&percentile(50)), "median {}", percentile(50));
        assert!((2..=8).contains(&percentile(90)), "p90 {}", percentile(90));
    }

    #[test]
    fn a_seed_is_a_scene_and_it_moves() {
        let frame =
            |seed, number| Scene::new(seed).depth_and_ir(DepthMode::Wfov2x2Binned, number, 8);
        assert!(frame(1, 0) == frame(1, 0));
        assert!(frame(1, 0) != frame(2, 0));
        assert!(frame(1, 0) != frame(1, 1));
    }

    #[test]
    fn color_images_are_what_their_format_says() {
        let scene = Scene::new(5);
        let mode = |name: &str| name.parse::<ColorMode>().expect("a mode");
        let jpeg = scene.color(mode("1080p"), 0, 8);
        assert!((200_000..400_000).contains(&jpeg.len()), "{} bytes", jpeg.len());
        let mut decoder = zune_jpeg::JpegDecoder::new(std::io::Cursor::new(&jpeg));
        decoder.decode().expect("a sound JPEG");
        assert_eq!(decoder.dimensions(), Some((1920, 1080)));
        for name in ["720p_NV12", "720p_YUY2"] {
            let mode = mode(name);
            assert_eq!(scene.color(mode, 0, 8).len(), mode.image_bytes_max());
        }
    }
}
