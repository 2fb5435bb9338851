//! Packed blocks, as every reader of compact recordings unpacks them.

use super::Target;
use crate::Outcome;
use crate::mutate::Form;
use genlock_formats::depth::Level;
use genlock_formats::k4a::{Packer, Packing, Unpacker};
use genlock_formats::mkv::{Track, TrackKind};

pub(super) const PACKED: Target = Target {
    name: "packed",
    about: "blocks of packed tracks: how pixels lie, half of width and height, then the block",
    form: Form::Bytes,
    len_max: 4 << 10,
    // Images of up to 510x510 pixels, twice, and what the coder works with.
    memory: (16 << 20, 64),
    seeds,
    run: packed,
};

const LAYOUTS: [&[u8; 4]; 3] = [b"b16g", b"NV12", b"YUY2"];

/// Bytes of an input before the block.
const HEAD_BYTES: usize = 3;

fn packing(head: [u8; HEAD_BYTES]) -> Option<Packing> {
    let mut codec_private = vec![0; 40];
    codec_private[16..20].copy_from_slice(LAYOUTS[usize::from(head[0]) % LAYOUTS.len()]);
    let [width, height] = [head[1], head[2]].map(|half| 2 * u64::from(half));
    Packing::of(&Track {
        number: 1,
        uid: 1,
        kind: TrackKind::Video { width, height },
        codec_id: "V_MS/VFW/FOURCC".to_owned(),
        name: "DEPTH".to_owned(),
        codec_private,
        default_duration_ns: None,
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for layout in 0..3 {
        for (level, size) in
            [(Level::Fast, 4), (Level::Default, 7), (Level::Fast, 24), (Level::Default, 40)]
        {
            let head = [layout, size, size];
            let Some(packing) = packing(head) else { continue };
            let bytes = packing.block_bytes();
            // A slope, with edges in it, and holes.
            let byte = |place: usize| match place / 40 % 5 {
                0 => 0,
                _ => (place / 9 + place % 2 * 3 + place / 100 * 40) as u8,
            };
            let block: Vec<u8> = (0..bytes).map(byte).collect();
            for block in [&block[..], &block[..bytes / 2]] {
                let mut seed = head.to_vec();
                Packer::new(packing, level).pack(block, &mut seed);
                seeds.push(seed);
            }
        }
    }
    seeds
}

fn packed(input: &[u8], outcome: &mut Outcome) {
    let Some((head, packed)) = input.split_first_chunk::<HEAD_BYTES>() else {
        return outcome.kind("short");
    };
    let Some(packing) = packing(*head) else {
        return outcome.kind("no image");
    };
    outcome.size(packing.block_bytes() as u64);
    let mut unpacker = Unpacker::new(packing);
    let mut block = Vec::new();
    match unpacker.unpack(packed, &mut block) {
        Err(error) => outcome.error(&error, packed.len()),
        Ok(()) => {
            assert_eq!(block.len(), Unpacker::unpacked_bytes(packing, packed));
            outcome.size(block.len() as u64);
            let (mut again, mut restored) = (Vec::new(), Vec::new());
            Packer::new(packing, Level::Fast).pack(&block, &mut again);
            unpacker.unpack(&again, &mut restored).expect("it was just packed");
            assert!(restored == block, "another block");
            outcome.detail(block);
        }
    }
}
