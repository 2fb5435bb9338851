//! Sixteen values side by side: the unit in which images are coded.

/// Values in a group.
pub(super) const GROUP: usize = 16;

/// Sixteen values.
pub(super) type Group = [u16; GROUP];

/// Bits that the largest of the values needs.
#[inline(always)]
pub(super) fn width_of(values: &Group) -> u32 {
    let mut all = 0;
    for value in values {
        all |= value;
    }
    u16::BITS - all.leading_zeros()
}

/// Puts the low `width` bits of each value after another, the first into the lowest bits:
/// `2 * width` bytes at the start of `out`, whose other bytes it may change.
#[inline(always)]
pub(super) fn pack(values: &Group, width: u32, out: &mut [u8; 2 * GROUP]) {
    let mut words = [0_u64; 4];
    for (word, four) in words.iter_mut().zip(values.as_chunks::<4>().0) {
        let [a, b, c, d] = *four;
        let lanes = u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48;
        let pairs =
            (lanes & 0x0000_FFFF_0000_FFFF) | (lanes >> 16 & 0x0000_FFFF_0000_FFFF) << width;
        *word = (pairs & 0xFFFF_FFFF) | (pairs >> 32) << (2 * width);
    }
    if width <= 8 {
        let [low, high] = [words[0] | words[1] << (4 * width), words[2] | words[3] << (4 * width)];
        let at = width as usize;
        out[..8].copy_from_slice(&low.to_le_bytes());
        out[at..at + 8].copy_from_slice(&high.to_le_bytes());
    } else {
        let wide = |a: u64, b: u64| u128::from(a) | u128::from(b) << (4 * width);
        let at = width as usize;
        out[..16].copy_from_slice(&wide(words[0], words[1]).to_le_bytes());
        out[at..at + 16].copy_from_slice(&wide(words[2], words[3]).to_le_bytes());
    }
}

/// Reads what [`pack`] wrote.
#[inline(always)]
pub(super) fn unpack(bytes: &[u8; 2 * GROUP], width: u32) -> Group {
    let at = width as usize;
    let words = if width <= 8 {
        let read = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let (low, high) = (read(0), read(at));
        // Of a width of 8 all 64 bits are taken, and of one of 0 none is.
        let shift = (4 * width) & 63;
        [low, low >> shift, high, high >> shift]
    } else {
        let read = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u128::from_le_bytes(*b));
        let (low, high) = (read(0), read(at));
        [low as u64, (low >> (4 * width)) as u64, high as u64, (high >> (4 * width)) as u64]
    };
    let one = (1_u64 << width) - 1;
    let (pair, every) = ((1_u64 << (2 * width)) - 1, one | one << 32);
    let mut values = [0; GROUP];
    for (four, word) in values.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        let pairs = (word & pair) | (word >> (2 * width) & pair) << 32;
        let lanes = (pairs & every) | (pairs >> width & every) << 16;
        *four = [lanes as u16, (lanes >> 16) as u16, (lanes >> 32) as u16, (lanes >> 48) as u16];
    }
    values
}

/// Small numbers for small differences of either sign, modulo 2^16.
#[inline(always)]
pub(super) fn zigzag(difference: u16) -> u16 {
    (difference << 1) ^ ((difference as i16 >> 15) as u16)
}

/// The difference of which a number is the zigzag.
#[inline(always)]
pub(super) fn unzigzag(number: u16) -> u16 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_width_come_back() {
        for width in 0..=16_u32 {
            let most = ((1_u32 << width) - 1) as u16;
            let mut values: Group = std::array::from_fn(|i| (i as u16).wrapping_mul(0x9E37) & most);
            values[5] = most;
            assert_eq!(width_of(&values), width);
            let mut bytes = [0xFF; 2 * GROUP];
            pack(&values, width, &mut bytes);
            bytes[2 * width as usize..].fill(0xFF);
            assert_eq!(unpack(&bytes, width), values, "{width}");
        }
    }

    #[test]
    fn the_first_value_is_in_the_lowest_bits() {
        let mut bytes = [0; 2 * GROUP];
        let values = std::array::from_fn(|i| i as u16 % 4);
        pack(&values, 3, &mut bytes);
        assert_eq!(bytes[..6], [0x88, 0x86, 0x68, 0x88, 0x86, 0x68]);
    }

    #[test]
    fn small_differences_have_small_numbers() {
        let numbers = [0, u16::MAX, 1, u16::MAX - 1, 2, 0x8000].map(zigzag);
        assert_eq!(numbers, [0, 1, 2, 3, 4, u16::MAX]);
        assert!((0..=u16::MAX).all(|number| zigzag(unzigzag(number)) == number));
    }
}
