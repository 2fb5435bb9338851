//! The lossless codec of depth and infrared beside others: ratio, and MB of pixels coded and
//! restored a second on one core. `cargo bench --bench depth`; half a minute.
//!
//! Every codec restores every frame bit for bit, or the bench stops. Frames are the real ones in
//! `../shared/data`, where they are, and the emulator's scene.

use genlock_emulator::Scene;
use genlock_formats::depth::{Decoder, Encoder, Level, Size};
use genlock_formats::k4a::{DepthMode, Recording};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Rounds of all codecs in turn: a machine that is busy for a while is busy for all of them.
const ROUNDS: usize = 25;

/// How often a codec does all frames in a round: but for the first time its memory is warm, as that
/// of an encoder is which codes one frame after another.
const TIMES: usize = 5;

/// Frames of one kind.
struct Frames {
    name: &'static str,
    size: Size,
    frames: Vec<Vec<u16>>,
}

fn pixels(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|pixel| u16::from_le_bytes(*pixel)).collect()
}

/// The frames in `../shared/data`.
fn real() -> Vec<Frames> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let mut all = Vec::new();
    if let Ok(bytes) = fs::read(data.join("pyk4a-recording/recording.mkv")) {
        let recording = Recording::open(&bytes).expect("a recording");
        let capture = recording.captures().next().expect("a capture").expect("it reads");
        let images = [("real NFOV depth", capture.depth), ("real NFOV IR", capture.ir)];
        all.extend(images.into_iter().map(|(name, image)| {
            let image = image.expect("it has both");
            let size = Size { width: image.width as usize, height: image.height as usize };
            Frames { name, size, frames: vec![pixels(&image.pixels_le())] }
        }));
    }
    let mut paths: Vec<_> = fs::read_dir(data.join("zdepth-vectors"))
        .map(|folder| folder.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "raw"));
    paths.sort();
    if !paths.is_empty() {
        let frames = paths.iter().map(|path| pixels(&fs::read(path).expect("a file"))).collect();
        let size = Size { width: 320, height: 288 };
        all.push(Frames { name: "real 2x2 depth", size, frames });
    }
    if all.len() < 3 {
        println!("SKIPPED: real frames are missing");
    }
    all
}

/// The emulator's frames.
fn emulated() -> Vec<Frames> {
    let scene = Scene::new(1);
    let mode = DepthMode::NfovUnbinned;
    let (width, height) = mode.size();
    let size = Size { width: width as usize, height: height as usize };
    let images = (0..2).map(|number| scene.depth_and_ir(mode, number, 2));
    let (depth, ir) = images.map(|(depth, ir)| (pixels(&depth), pixels(&ir))).unzip();
    vec![
        Frames { name: "emulated NFOV depth", size, frames: depth },
        Frames { name: "emulated NFOV IR", size, frames: ir },
    ]
}

type Encode = dyn FnMut(Size, &[u16], &mut Vec<u8>);
type Decode = dyn FnMut(Size, &[u8], &mut [u16]);

/// One way to code frames.
struct Codec {
    name: String,
    encode: Box<Encode>,
    decode: Box<Decode>,
}

fn ours(name: &str, mut encoder: Encoder, mut decoder: Decoder) -> Codec {
    Codec {
        name: name.to_owned(),
        encode: Box::new(move |size, pixels, coded| encoder.encode(size, pixels, coded)),
        decode: Box::new(move |size, coded, pixels| {
            decoder.decode(size, coded, pixels).expect("it is ours");
        }),
    }
}

fn bytes(pixels: &[u16]) -> Vec<u8> {
    pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect()
}

fn put(bytes: &[u8], pixels: &mut [u16]) {
    for (pixel, bytes) in pixels.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *pixel = u16::from_le_bytes(*bytes);
    }
}

/// zstd on the pixels as they are.
fn zstd(level: i32) -> Codec {
    let mut coder = zstd::bulk::Compressor::new(level).expect("a level of zstd's");
    let mut decoder = zstd::bulk::Decompressor::new().expect("memory");
    Codec {
        name: format!("zstd {level}"),
        encode: Box::new(move |_, pixels, coded| {
            coded.extend(coder.compress(&bytes(pixels)).expect("it takes all bytes"));
        }),
        decode: Box::new(move |size, coded, pixels| {
            let restored = decoder.decompress(coded, size.pixels() * 2);
            put(&restored.expect("it is zstd's"), pixels);
        }),
    }
}

/// PNG with 16 bits, as fast as its crate can.
fn png() -> Codec {
    Codec {
        name: "16-bit PNG".to_owned(),
        encode: Box::new(|size, pixels, coded| {
            let mut encoder = png::Encoder::new(coded, size.width as u32, size.height as u32);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.set_depth(png::BitDepth::Sixteen);
            encoder.set_compression(png::Compression::Fast);
            let mut writer = encoder.write_header().expect("it goes to memory");
            let bytes: Vec<_> = pixels.iter().flat_map(|pixel| pixel.to_be_bytes()).collect();
            writer.write_image_data(&bytes).expect("it goes to memory");
        }),
        decode: Box::new(|size, coded, pixels| {
            let decoder = png::Decoder::new(std::io::Cursor::new(coded));
            let mut reader = decoder.read_info().expect("a PNG");
            let mut bytes = vec![0; size.pixels() * 2];
            reader.next_frame(&mut bytes).expect("a PNG");
            for (pixel, bytes) in pixels.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *pixel = u16::from_be_bytes(*bytes);
            }
        }),
    }
}

/// RVL (Wilson 2017): runs of zeros and of values in turn, differences in digits of three bits, the
/// highest bit of each nibble saying that more follow.
mod rvl {
    struct Nibbles<'a> {
        out: &'a mut Vec<u8>,
        word: u32,
        count: u32,
    }

    impl Nibbles<'_> {
        #[inline(always)]
        fn put(&mut self, mut value: u32) {
            loop {
                let more = u32::from(value > 7) << 3;
                self.word = self.word << 4 | value & 7 | more;
                self.count += 1;
                if self.count == 8 {
                    self.out.extend(self.word.to_le_bytes());
                    (self.word, self.count) = (0, 0);
                }
                value >>= 3;
                if more == 0 {
                    return;
                }
            }
        }
    }

    pub fn encode(pixels: &[u16], out: &mut Vec<u8>) {
        let mut nibbles = Nibbles { out, word: 0, count: 0 };
        let (mut at, mut last) = (0, 0_i32);
        while at < pixels.len() {
            let zeros = pixels[at..].iter().take_while(|pixel| **pixel == 0).count();
            at += zeros;
            nibbles.put(zeros as u32);
            let values = pixels[at..].iter().take_while(|pixel| **pixel != 0).count();
            nibbles.put(values as u32);
            for pixel in &pixels[at..at + values] {
                let step = i32::from(*pixel) - last;
                last = i32::from(*pixel);
                nibbles.put((step << 1 ^ step >> 31) as u32);
            }
            at += values;
        }
        if nibbles.count > 0 {
            nibbles.word <<= 4 * (8 - nibbles.count);
            nibbles.out.extend(nibbles.word.to_le_bytes());
        }
    }

    pub fn decode(coded: &[u8], pixels: &mut [u16]) {
        let mut words = coded.as_chunks::<4>().0.iter();
        let (mut word, mut count) = (0_u32, 0);
        let mut get = || {
            let (mut value, mut shift) = (0, 0);
            loop {
                if count == 0 {
                    word = words.next().map_or(0, |word| u32::from_le_bytes(*word));
                    count = 8;
                }
                let nibble = word >> 28;
                word <<= 4;
                count -= 1;
                value |= (nibble & 7) << shift;
                shift += 3;
                if nibble & 8 == 0 {
                    return value;
                }
            }
        };
        let (mut at, mut last) = (0, 0_i32);
        while at < pixels.len() {
            let zeros = get() as usize;
            pixels[at..at + zeros].fill(0);
            at += zeros;
            let values = get() as usize;
            for pixel in &mut pixels[at..at + values] {
                let number = get();
                last += (number >> 1) as i32 ^ -((number & 1) as i32);
                *pixel = last as u16;
            }
            at += values;
        }
    }
}

fn rvl() -> Codec {
    Codec {
        name: "RVL".to_owned(),
        encode: Box::new(|_, pixels, coded| rvl::encode(pixels, coded)),
        decode: Box::new(|_, coded, pixels| rvl::decode(coded, pixels)),
    }
}

/// Codes all frames; gives the seconds that it took.
fn encode(codec: &mut Codec, frames: &Frames, coded: &mut [Vec<u8>]) -> f64 {
    let begun = Instant::now();
    for (frame, coded) in frames.frames.iter().zip(coded) {
        coded.clear();
        (codec.encode)(frames.size, frame, coded);
    }
    begun.elapsed().as_secs_f64()
}

/// Restores all frames; gives the seconds that it took.
fn decode(codec: &mut Codec, frames: &Frames, coded: &[Vec<u8>]) -> f64 {
    let mut pixels = vec![0; frames.size.pixels()];
    let mut took = 0.0;
    for (frame, coded) in frames.frames.iter().zip(coded) {
        let begun = Instant::now();
        (codec.decode)(frames.size, coded, &mut pixels);
        took += begun.elapsed().as_secs_f64();
        assert!(&pixels == frame, "{} changed a frame", codec.name);
    }
    took
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let mut codecs = [
        ours("fast", Encoder::new(Level::Fast), Decoder::default()),
        ours("default", Encoder::new(Level::Default), Decoder::default()),
        ours("fast, portable", Encoder::portable(Level::Fast), Decoder::portable()),
        ours("default, portable", Encoder::portable(Level::Default), Decoder::portable()),
        rvl(),
        zstd(-1),
        zstd(1),
        zstd(3),
        png(),
    ];
    for frames in real().iter().chain(&emulated()) {
        let raw = (frames.frames.len() * frames.size.pixels() * 2) as f64;
        let mut coded = codecs.each_ref().map(|_| vec![Vec::new(); frames.frames.len()]);
        let mut times = codecs.each_ref().map(|_| [Vec::new(), Vec::new()]);
        for _ in 0..ROUNDS {
            for ((codec, coded), times) in codecs.iter_mut().zip(&mut coded).zip(&mut times) {
                times[0].extend((0..TIMES).map(|_| encode(codec, frames, coded)));
                times[1].extend((0..TIMES).map(|_| decode(codec, frames, coded)));
            }
        }
        println!("{}: ratio, MB/s encoded / decoded", frames.name);
        for ((codec, coded), times) in codecs.iter().zip(&coded).zip(&mut times) {
            let bytes: usize = coded.iter().map(Vec::len).sum();
            let [encode, decode] = times.each_mut().map(|times| raw / median(times) / 1e6);
            println!("  {:<18} {:5.2} {encode:6.0} / {decode:.0}", codec.name, raw / bytes as f64);
        }
    }
}
