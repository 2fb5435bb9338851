//! Blocks of every kind, packed and restored; and packed blocks that are not what they were.

use genlock_formats::depth::Level;
use genlock_formats::k4a::{Packer, Packing, Unpacker, packed_track};
use genlock_formats::mkv::{Track, TrackKind};

/// Numbers that look random and are the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn track(fourcc: &[u8; 4], width: u64, height: u64) -> Track {
    let mut codec_private = vec![0; 40];
    codec_private[16..20].copy_from_slice(fourcc);
    Track {
        number: 1,
        uid: 1,
        kind: TrackKind::Video { width, height },
        codec_id: "V_MS/VFW/FOURCC".to_owned(),
        name: "DEPTH".to_owned(),
        codec_private,
        default_duration_ns: None,
    }
}

/// A block of so many bytes: noise, one value, the ends of the range, a ramp that wraps, or a few
/// edges.
fn block(random: &mut Random, bytes: usize) -> Vec<u8> {
    let kind = random.below(6);
    let value = random.next() as u8;
    let step = random.below(1000) as usize;
    let mut edge = value;
    let byte = |place: usize| match kind {
        0 => random.next() as u8,
        1 => value,
        2 => 0,
        3 => 255,
        4 => (place * step / 64) as u8,
        _ => {
            if random.below(100) == 0 {
                edge = random.next() as u8;
            }
            edge
        }
    };
    (0..bytes).map(byte).collect()
}

/// A track of an even size, and its packing.
fn packing(random: &mut Random) -> (Track, Packing) {
    let fourcc = [b"b16g", b"NV12", b"YUY2"][random.below(3) as usize];
    let [width, height] = [0; 2].map(|_| 2 * (1 + random.below(40)));
    let track = track(fourcc, width, height);
    let packing = Packing::of(&track).expect("it is packed");
    (track, packing)
}

const LEVELS: [Level; 2] = [Level::Fast, Level::Default];

#[test]
fn every_block_comes_back_whatever_is_in_it() {
    let mut random = Random(1);
    for round in 0..600 {
        let (track, packing) = packing(&mut random);
        let known = Packing::of_packed(&packed_track(&track)).expect("it is ours");
        assert_eq!(known, Some(packing));
        let mut packer = Packer::new(packing, LEVELS[round % 3]);
        let mut unpacker = Unpacker::new(packing);
        let (mut packed, mut restored) = (vec![7; 3], vec![7; 3]);
        // Memory that is used again must not be seen.
        for _ in 0..3 {
            let whole = packing.block_bytes();
            let odd = random.below(2 * whole as u64) as usize;
            let block = block(&mut random, if round % 4 == 0 { odd } else { whole });
            packed.truncate(3);
            packer.pack(&block, &mut packed);
            assert!(packed.len() <= 3 + packer.bytes_max(block.len()), "round {round}");
            assert!(packed.len() <= 3 + 5 + block.len(), "packed and larger: round {round}");
            assert_eq!(Unpacker::unpacked_bytes(packing, &packed[3..]), block.len());
            unpacker.unpack(&packed[3..], &mut restored).expect("it is ours");
            assert!(restored == block, "round {round}");
        }
    }
}

#[test]
fn a_packed_block_that_was_changed_is_refused_or_gives_the_same() {
    let mut random = Random(2);
    for round in 0..300 {
        let (_, packing) = packing(&mut random);
        let block = block(&mut random, packing.block_bytes());
        let mut packed = Vec::new();
        Packer::new(packing, LEVELS[round % 3]).pack(&block, &mut packed);
        let mut unpacker = Unpacker::new(packing);
        let mut restored = Vec::new();
        for _ in 0..20 {
            let mut changed = packed.clone();
            match random.below(4) {
                0 => changed.truncate(random.below(packed.len() as u64) as usize),
                1 => changed.push(random.next() as u8),
                _ => {
                    let place = random.below(packed.len() as u64) as usize;
                    changed[place] ^= 1 << random.below(8);
                }
            }
            match unpacker.unpack(&changed, &mut restored) {
                Ok(()) => assert!(restored == block, "round {round}: another block"),
                Err(error) => assert!(error.at <= changed.len() as u64, "{error}"),
            }
        }
    }
}
