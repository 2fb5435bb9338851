//! Images that are coded come back bit for bit, whatever they show; and what is no coded image is
//! refused.

use genlock_formats::depth::{Decoder, Encoder, Level, Size};
use std::fs;
use std::path::Path;

const LEVELS: [Level; 2] = [Level::Fast, Level::Default];

/// Numbers from a seed (Knuth's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        ((self.0 >> 33) as usize) % limit
    }

    fn number(&mut self) -> u16 {
        self.below(1 << 16) as u16
    }
}

type Paint = fn(usize, usize, &mut Random) -> u16;

/// What images show, and what codecs stumble over.
const SUBJECTS: [(&str, Paint); 14] = [
    ("nothing", |_, _, _| 0),
    ("all of the largest", |_, _, _| u16::MAX),
    ("noise", |_, _, random| random.number()),
    ("quiet noise", |_, _, random| 3000 + random.below(9) as u16),
    ("noise about 0", |_, _, random| random.below(3) as u16),
    ("ramps that wrap", |x, y, _| (x * 4099 + y * 257) as u16),
    ("a plane", |x, y, _| (500 + 2 * x + 3 * y) as u16),
    ("edges everywhere", |x, y, _| ((x ^ y) & 1) as u16 * u16::MAX),
    ("rows in turn", |_, y, _| (y & 1) as u16 * 900),
    ("columns in turn", |x, _, _| (x & 1) as u16 * 900),
    ("dust", |_, _, random| if random.below(40) == 0 { random.number() } else { 0 }),
    ("holes", |x, y, random| if random.below(9) == 0 { 0 } else { (800 + x + y) as u16 }),
    ("a disc", |x, y, random| {
        let (x, y) = (x as i64 - 40, y as i64 - 20);
        if x * x + y * y < 400 { 1000 + random.below(5) as u16 } else { 0 }
    }),
    ("quiet and loud", |x, _, random| random.number() >> (x / 16 % 16)),
];

const SIZES: [(usize, usize); 14] = [
    (1, 1),
    (1, 50),
    (50, 1),
    (2, 2),
    (15, 9),
    (16, 16),
    (17, 3),
    (31, 7),
    (32, 1),
    (33, 40),
    (64, 64),
    (80, 45),
    (127, 5),
    (640, 12),
];

fn coded(encoder: &mut Encoder, size: Size, pixels: &[u16]) -> Vec<u8> {
    let mut coded = vec![7; 3];
    encoder.encode(size, pixels, &mut coded);
    assert_eq!(coded[..3], [7; 3], "what was there stays");
    coded.split_off(3)
}

fn images() -> impl Iterator<Item = (String, Size, Vec<u16>)> {
    let mut random = Random(1);
    let all = SIZES.iter().flat_map(|size| SUBJECTS.iter().map(move |subject| (*size, *subject)));
    all.map(move |((width, height), (name, paint))| {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| paint(x, y, &mut random)).collect();
        (format!("{name}, {width}x{height}"), Size { width, height }, pixels)
    })
}

/// One encoder for all of them: nothing of an image stays for the next.
#[test]
fn whatever_they_show_images_come_back() {
    let mut encoders = LEVELS.map(|level| (level, Encoder::new(level), Encoder::portable(level)));
    let mut decoders = [Decoder::default(), Decoder::portable()];
    for (name, size, pixels) in images() {
        for (level, encoder, portable) in &mut encoders {
            let bytes = coded(encoder, size, &pixels);
            assert!(bytes.len() <= Encoder::bytes_max(size), "{name}: {level:?}");
            assert_eq!(bytes, coded(portable, size, &pixels), "{name}: {level:?}: every processor");
            for decoder in &mut decoders {
                let mut restored = vec![0xAAAA; size.pixels()];
                let done = decoder.decode(size, &bytes, &mut restored);
                done.unwrap_or_else(|e| panic!("{name}: {level:?}: {e}"));
                assert!(restored == pixels, "{name}: {level:?}");
            }
        }
    }
}

#[test]
fn images_of_the_camera_come_back_and_are_small() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/zdepth-vectors");
    let Ok(files) = fs::read_dir(folder) else {
        assert!(std::env::var_os("CI").is_none(), "the real frames are missing");
        println!("SKIPPED: the real frames are missing");
        return;
    };
    let size = Size { width: 320, height: 288 };
    let raw = |path: &Path| path.extension().is_some_and(|extension| extension == "raw");
    let paths = files.map(|file| file.expect("a file").path()).filter(|path| raw(path));
    let (mut decoder, mut count) = (Decoder::default(), 0);
    for path in paths {
        let bytes = fs::read(path).expect("a file");
        let pixels = bytes.as_chunks::<2>().0.iter().map(|pixel| u16::from_le_bytes(*pixel));
        let pixels: Vec<_> = pixels.collect();
        for (level, ratio) in LEVELS.into_iter().zip([3, 5]) {
            let coded = coded(&mut Encoder::new(level), size, &pixels);
            assert!(coded.len() * ratio < bytes.len(), "{level:?}: {} bytes", coded.len());
            let mut restored = vec![0; size.pixels()];
            decoder.decode(size, &coded, &mut restored).expect("it is ours");
            assert!(restored == pixels, "{level:?}");
        }
        count += 1;
    }
    assert!(count > 1);
}

/// A size that is not the image's, a cut, a changed byte: an error, or another image; no panic, and
/// no more memory than the image's.
#[test]
fn what_is_no_coded_image_is_refused() {
    let mut decoder = Decoder::default();
    let mut random = Random(2);
    let mut refused = 0;
    for (name, size, pixels) in images().filter(|(_, size, _)| size.pixels() > 60) {
        for level in LEVELS {
            let whole = coded(&mut Encoder::new(level), size, &pixels);
            let mut restored = vec![0; size.pixels()];
            for cut in (0..whole.len()).step_by(1 + whole.len() / 50) {
                let done = decoder.decode(size, &whole[..cut], &mut restored);
                let error = done.expect_err("it is cut");
                assert!(error.at as usize <= cut, "{name}: {error}");
            }
            let longer = [&whole[..], &[0]].concat();
            decoder.decode(size, &longer, &mut restored).expect_err("bytes behind it");
            for _ in 0..60 {
                let mut changed = whole.clone();
                changed[random.below(whole.len())] ^= 1 << random.below(8);
                let wide = Size { width: size.width + 1, ..size };
                let mut image = vec![0; wide.pixels()];
                refused += u32::from(decoder.decode(size, &changed, &mut restored).is_err());
                refused += u32::from(decoder.decode(wide, &changed, &mut image).is_err());
            }
            // What it refused leaves nothing behind.
            decoder.decode(size, &whole, &mut restored).expect("it is ours");
            assert!(restored == pixels, "{name}: {level:?}");
        }
    }
    assert!(refused > 8_000, "{refused}");
}
