//! Arithmetic on the sixteen pixels of a group at once: in portable code, and in that of processors
//! with AVX2, which gives the same.

use super::group::{self, GROUP, Group};

/// Sixteen numbers at once, modulo 2^16.
pub(super) trait Lanes: Copy {
    /// Sixteen numbers.
    type Numbers: Copy;

    fn load(self, group: &Group) -> Self::Numbers;
    fn store(self, numbers: Self::Numbers) -> Group;
    /// The same number sixteen times.
    fn splat(self, number: u16) -> Self::Numbers;
    fn add(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    fn subtract(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    fn least(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    /// Half the sum, rounded up.
    fn mean(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    fn zigzag(self, a: Self::Numbers) -> Self::Numbers;
    fn unzigzag(self, a: Self::Numbers) -> Self::Numbers;
    /// A bit for each pair of equal numbers, the first the lowest.
    fn equal(self, a: Self::Numbers, b: Self::Numbers) -> u16;
    /// The numbers whose bit is set in `mask` from `a`, the others from `b`.
    fn select(self, mask: u16, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    /// `a`, and in place of 0 what `b` has there.
    fn or_else(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    /// `a`, and 0 where `b` is.
    fn where_some(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    /// The last of `before`, and all of `a` but its last.
    fn follow(self, before: Self::Numbers, a: Self::Numbers) -> Self::Numbers;
    /// To each number the sum of all before it, and the last of `before`.
    fn running_sum(self, before: Self::Numbers, a: Self::Numbers) -> Self::Numbers;
    /// The same, from 0 on behind each number without its bit in `mask`, which is 0.
    fn running_sums(self, before: Self::Numbers, a: Self::Numbers, mask: u16) -> Self::Numbers;
    fn sum(self, a: Self::Numbers) -> u32;
    /// Bits that the largest needs.
    fn width(self, a: Self::Numbers) -> u32;
    /// As bytes; of numbers below 256.
    fn to_bytes(self, a: Self::Numbers) -> [u8; GROUP];
    fn of_bytes(self, bytes: &[u8; GROUP]) -> Self::Numbers;
    /// The bytes, one after another, where there is a bit in `mask`, and 0 elsewhere.
    fn spread(self, bytes: &[u8; GROUP], mask: u16) -> Self::Numbers;
    /// As [`group::pack`].
    fn pack(self, a: Self::Numbers, width: u32, out: &mut [u8; 2 * GROUP]);
    /// As [`group::unpack`].
    fn unpack(self, bytes: &[u8; 2 * GROUP], width: u32) -> Self::Numbers;
}

/// Work that is compiled for both kinds of lanes. All that it calls has to be inlined into it: the
/// compiler uses the instructions of a kind in nothing else.
pub(super) trait Work {
    /// What it gives.
    type Output;

    fn on<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Does `work` on the best lanes that this processor has, or on those that all have.
pub(super) fn on_lanes<W: Work>(is_portable: bool, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let (false, Some(lanes)) = (is_portable, pulp::x86::V3::try_new()) {
        return lanes.vectorize(avx2::On { lanes, work });
    }
    let _ = is_portable;
    work.on(Portable)
}

/// For every processor.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn each(a: Group, b: Group, with: impl Fn(u16, u16) -> u16) -> Group {
    let mut all = a;
    for i in 0..GROUP {
        all[i] = with(a[i], b[i]);
    }
    all
}

impl Lanes for Portable {
    type Numbers = Group;

    #[inline(always)]
    fn load(self, group: &Group) -> Group {
        *group
    }

    #[inline(always)]
    fn store(self, numbers: Group) -> Group {
        numbers
    }

    #[inline(always)]
    fn splat(self, number: u16) -> Group {
        [number; GROUP]
    }

    #[inline(always)]
    fn add(self, a: Group, b: Group) -> Group {
        each(a, b, u16::wrapping_add)
    }

    #[inline(always)]
    fn subtract(self, a: Group, b: Group) -> Group {
        each(a, b, u16::wrapping_sub)
    }

    #[inline(always)]
    fn least(self, a: Group, b: Group) -> Group {
        each(a, b, u16::min)
    }

    #[inline(always)]
    fn mean(self, a: Group, b: Group) -> Group {
        each(a, b, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16)
    }

    #[inline(always)]
    fn zigzag(self, a: Group) -> Group {
        each(a, a, |a, _| group::zigzag(a))
    }

    #[inline(always)]
    fn unzigzag(self, a: Group) -> Group {
        each(a, a, |a, _| group::unzigzag(a))
    }

    #[inline(always)]
    fn equal(self, a: Group, b: Group) -> u16 {
        let mut flags = [0; GROUP];
        for i in 0..GROUP {
            flags[i] = u8::from(a[i] == b[i]);
        }
        let (halves, _) = flags.as_chunks::<8>();
        // The product's highest byte gathers the lowest bits of all eight.
        let gather = |half| u64::from_le_bytes(half).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        (gather(halves[0]) | gather(halves[1]) << 8) as u16
    }

    #[inline(always)]
    fn select(self, mask: u16, a: Group, b: Group) -> Group {
        let mut all = b;
        for i in 0..GROUP {
            all[i] = if mask >> i & 1 == 1 { a[i] } else { b[i] };
        }
        all
    }

    #[inline(always)]
    fn or_else(self, a: Group, b: Group) -> Group {
        each(a, b, |a, b| if a == 0 { b } else { a })
    }

    #[inline(always)]
    fn where_some(self, a: Group, b: Group) -> Group {
        each(a, b, |a, b| if b == 0 { 0 } else { a })
    }

    #[inline(always)]
    fn follow(self, before: Group, a: Group) -> Group {
        let mut all = [before[GROUP - 1]; GROUP];
        all[1..].copy_from_slice(&a[..GROUP - 1]);
        all
    }

    #[inline(always)]
    fn running_sum(self, before: Group, a: Group) -> Group {
        let (mut all, mut sum) = (a, before[GROUP - 1]);
        for number in &mut all {
            sum = sum.wrapping_add(*number);
            *number = sum;
        }
        all
    }

    #[inline(always)]
    fn running_sums(self, before: Group, a: Group, mask: u16) -> Group {
        let (mut all, mut sum) = (a, before[GROUP - 1]);
        for (i, number) in all.iter_mut().enumerate() {
            sum = sum.wrapping_add(*number) & (mask >> i & 1).wrapping_neg();
            *number = sum;
        }
        all
    }

    #[inline(always)]
    fn sum(self, a: Group) -> u32 {
        a.iter().map(|number| u32::from(*number)).sum()
    }

    #[inline(always)]
    fn width(self, a: Group) -> u32 {
        group::width_of(&a)
    }

    #[inline(always)]
    fn to_bytes(self, a: Group) -> [u8; GROUP] {
        let mut bytes = [0; GROUP];
        for i in 0..GROUP {
            bytes[i] = a[i] as u8;
        }
        bytes
    }

    #[inline(always)]
    fn of_bytes(self, bytes: &[u8; GROUP]) -> Group {
        let mut all = [0; GROUP];
        for i in 0..GROUP {
            all[i] = u16::from(bytes[i]);
        }
        all
    }

    #[inline(always)]
    fn spread(self, bytes: &[u8; GROUP], mask: u16) -> Group {
        let (mut all, mut next) = ([0; GROUP], 0_usize);
        for (i, number) in all.iter_mut().enumerate() {
            let is_there = mask >> i & 1;
            *number = u16::from(bytes[next & 15]) & is_there.wrapping_neg();
            next = next.wrapping_add(usize::from(is_there));
        }
        all
    }

    #[inline(always)]
    fn pack(self, a: Group, width: u32, out: &mut [u8; 2 * GROUP]) {
        group::pack(&a, width, out);
    }

    #[inline(always)]
    fn unpack(self, bytes: &[u8; 2 * GROUP], width: u32) -> Group {
        group::unpack(bytes, width)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{GROUP, Group, Lanes, Work, group};
    use pulp::NullaryFnOnce;
    use pulp::cast;
    use pulp::x86::V3;
    use std::arch::x86_64::__m256i;

    /// Work on these lanes.
    pub(super) struct On<W> {
        pub(super) lanes: V3,
        pub(super) work: W,
    }

    impl<W: Work> NullaryFnOnce for On<W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.work.on(self.lanes)
        }
    }

    /// The bit of each number in a mask.
    const BITS: Group = bits();

    const fn bits() -> Group {
        let (mut bits, mut i) = ([0; GROUP], 0);
        while i < GROUP {
            bits[i] = 1 << i;
            i += 1;
        }
        bits
    }

    /// For each width up to 8: which two bytes hold each number, and by what to multiply these so
    /// that the number's bits are the highest.
    const WINDOWS: [([u8; 2 * GROUP], Group); 9] = windows();

    const fn windows() -> [([u8; 2 * GROUP], Group); 9] {
        let mut all = [([0x80; 2 * GROUP], [0; GROUP]); 9];
        let mut width = 1;
        while width <= 8 {
            let mut i = 0;
            while i < GROUP {
                let (byte, bit) = (i * width / 8, i * width % 8);
                all[width].0[2 * i] = byte as u8;
                if byte + 1 < GROUP {
                    all[width].0[2 * i + 1] = byte as u8 + 1;
                }
                all[width].1[i] = 1 << (16 - width - bit);
                i += 1;
            }
            width += 1;
        }
        all
    }

    /// All bits of the numbers with a bit in `mask`.
    #[inline(always)]
    fn wide(lanes: V3, mask: u16) -> __m256i {
        let bits = cast!(BITS);
        lanes.avx2._mm256_cmpeq_epi16(lanes.avx2._mm256_and_si256(lanes.splat(mask), bits), bits)
    }

    /// All of `a` further on by 16 bytes without `BYTES`, behind zeros.
    #[inline(always)]
    fn shifted<const BYTES: i32>(lanes: V3, a: __m256i) -> __m256i {
        let middle = lanes.avx2._mm256_permute2x128_si256::<0x08>(a, a);
        lanes.avx2._mm256_alignr_epi8::<BYTES>(a, middle)
    }

    impl Lanes for V3 {
        type Numbers = __m256i;

        #[inline(always)]
        fn load(self, group: &Group) -> __m256i {
            cast!(*group)
        }

        #[inline(always)]
        fn store(self, numbers: __m256i) -> Group {
            cast!(numbers)
        }

        #[inline(always)]
        fn splat(self, number: u16) -> __m256i {
            self.avx._mm256_set1_epi16(number as i16)
        }

        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_add_epi16(a, b)
        }

        #[inline(always)]
        fn subtract(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_sub_epi16(a, b)
        }

        #[inline(always)]
        fn least(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_min_epu16(a, b)
        }

        #[inline(always)]
        fn mean(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_avg_epu16(a, b)
        }

        #[inline(always)]
        fn zigzag(self, a: __m256i) -> __m256i {
            let sign = self.avx2._mm256_srai_epi16::<15>(a);
            self.avx2._mm256_xor_si256(self.avx2._mm256_add_epi16(a, a), sign)
        }

        #[inline(always)]
        fn unzigzag(self, a: __m256i) -> __m256i {
            let one = self.avx2._mm256_and_si256(a, self.splat(1));
            let sign = self.avx2._mm256_sub_epi16(self.splat(0), one);
            self.avx2._mm256_xor_si256(self.avx2._mm256_srli_epi16::<1>(a), sign)
        }

        #[inline(always)]
        fn equal(self, a: __m256i, b: __m256i) -> u16 {
            let equal = self.avx2._mm256_cmpeq_epi16(a, b);
            let low = self.avx._mm256_castsi256_si128(equal);
            let high = self.avx2._mm256_extracti128_si256::<1>(equal);
            let bytes = self.sse2._mm_packs_epi16(low, high);
            self.sse2._mm_movemask_epi8(bytes) as u16
        }

        #[inline(always)]
        fn select(self, mask: u16, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_blendv_epi8(b, a, wide(self, mask))
        }

        #[inline(always)]
        fn or_else(self, a: __m256i, b: __m256i) -> __m256i {
            let none = self.avx2._mm256_cmpeq_epi16(a, self.splat(0));
            self.avx2._mm256_or_si256(a, self.avx2._mm256_and_si256(b, none))
        }

        #[inline(always)]
        fn where_some(self, a: __m256i, b: __m256i) -> __m256i {
            let none = self.avx2._mm256_cmpeq_epi16(b, self.splat(0));
            self.avx2._mm256_andnot_si256(none, a)
        }

        #[inline(always)]
        fn follow(self, before: __m256i, a: __m256i) -> __m256i {
            let middle = self.avx2._mm256_permute2x128_si256::<0x21>(before, a);
            self.avx2._mm256_alignr_epi8::<14>(a, middle)
        }

        #[inline(always)]
        fn running_sum(self, before: __m256i, a: __m256i) -> __m256i {
            let a = self.add(a, self.avx2._mm256_bslli_epi128::<2>(a));
            let a = self.add(a, self.avx2._mm256_bslli_epi128::<4>(a));
            let a = self.add(a, self.avx2._mm256_bslli_epi128::<8>(a));
            let last: __m256i = cast!([[14_u8, 15]; GROUP]);
            // The last of the lower half, in the upper; and the last of all before.
            let lower = self.avx2._mm256_permute2x128_si256::<0x08>(a, a);
            let a = self.add(a, self.avx2._mm256_shuffle_epi8(lower, last));
            let upper = self.avx2._mm256_permute2x128_si256::<0x11>(before, before);
            self.add(a, self.avx2._mm256_shuffle_epi8(upper, last))
        }

        #[inline(always)]
        fn running_sums(self, before: __m256i, a: __m256i, mask: u16) -> __m256i {
            let none = self.splat(0);
            let mut ended = self.avx2._mm256_cmpeq_epi16(wide(self, mask), none);
            let mut sums = a;
            // Each number is the sum of one, two, four, eight and in the end all before it, up to
            // where a sum ended.
            macro_rules! step {
                ($bytes:literal) => {
                    let before = shifted::<$bytes>(self, sums);
                    sums = self.add(sums, self.avx2._mm256_andnot_si256(ended, before));
                    ended = self.avx2._mm256_or_si256(ended, shifted::<$bytes>(self, ended));
                };
            }
            step!(14);
            step!(12);
            step!(8);
            let before_half = self.avx2._mm256_permute2x128_si256::<0x08>(sums, sums);
            sums = self.add(sums, self.avx2._mm256_andnot_si256(ended, before_half));
            let ended_half = self.avx2._mm256_permute2x128_si256::<0x08>(ended, ended);
            ended = self.avx2._mm256_or_si256(ended, ended_half);
            let upper = self.avx2._mm256_permute2x128_si256::<0x11>(before, before);
            let last = self.avx2._mm256_shuffle_epi8(upper, cast!([[14_u8, 15]; GROUP]));
            self.add(sums, self.avx2._mm256_andnot_si256(ended, last))
        }

        #[inline(always)]
        fn sum(self, a: __m256i) -> u32 {
            let (zero, byte) = (self.splat(0), self.splat(0xFF));
            let low = self.avx2._mm256_sad_epu8(self.avx2._mm256_and_si256(a, byte), zero);
            let high = self.avx2._mm256_sad_epu8(self.avx2._mm256_srli_epi16::<8>(a), zero);
            let (low, high): ([u32; 8], [u32; 8]) = (cast!(low), cast!(high));
            let sum = |parts: [u32; 8]| {
                parts[0].wrapping_add(parts[2]).wrapping_add(parts[4].wrapping_add(parts[6]))
            };
            sum(low).wrapping_add(sum(high) << 8)
        }

        #[inline(always)]
        fn width(self, a: __m256i) -> u32 {
            let [a, b, c, d]: [u64; 4] = cast!(a);
            let all = (a | b) | (c | d);
            let all = all | all >> 32;
            let all = (all | all >> 16) as u16;
            u16::BITS - all.leading_zeros()
        }

        #[inline(always)]
        fn to_bytes(self, a: __m256i) -> [u8; GROUP] {
            let low = self.avx._mm256_castsi256_si128(a);
            let high = self.avx2._mm256_extracti128_si256::<1>(a);
            cast!(self.sse2._mm_packus_epi16(low, high))
        }

        #[inline(always)]
        fn of_bytes(self, bytes: &[u8; GROUP]) -> __m256i {
            self.avx2._mm256_cvtepu8_epi16(cast!(*bytes))
        }

        #[inline(always)]
        fn spread(self, bytes: &[u8; GROUP], mask: u16) -> __m256i {
            let ones = self.avx2._mm256_and_si256(wide(self, mask), self.splat(1));
            let (none, one) = (self.splat(0), self.splat(1));
            let there = self.avx2._mm256_cmpeq_epi16(ones, one);
            let places = self.subtract(self.running_sum(none, ones), one);
            let spread = self.ssse3._mm_shuffle_epi8(cast!(*bytes), cast!(self.to_bytes(places)));
            self.avx2._mm256_and_si256(self.avx2._mm256_cvtepu8_epi16(spread), there)
        }

        #[inline(always)]
        fn pack(self, a: __m256i, width: u32, out: &mut [u8; 2 * GROUP]) {
            if width > 8 {
                return group::pack(&cast!(a), width, out);
            }
            let count = |bits: u32| self.sse2._mm_cvtsi32_si128(bits as i32);
            let factors = self.avx._mm256_set1_epi32(1 | 1 << (16 + width));
            let pairs = self.avx2._mm256_madd_epi16(a, factors);
            let odd = self.avx2._mm256_srli_epi64::<32>(pairs);
            let even = self.avx2._mm256_and_si256(pairs, self.avx._mm256_set1_epi64x(0xFFFF_FFFF));
            let fours = self.avx2._mm256_sll_epi64(odd, count(2 * width));
            let fours = self.avx2._mm256_or_si256(even, fours);
            let odd = self.avx2._mm256_bsrli_epi128::<8>(fours);
            let eights = self.avx2._mm256_sll_epi64(odd, count(4 * width));
            let [low, _, high, _]: [[u8; 8]; 4] = cast!(self.avx2._mm256_or_si256(fours, eights));
            if let Some(out) = out.first_chunk_mut() {
                *out = low;
            }
            if let Some(out) = out[width as usize..].first_chunk_mut() {
                *out = high;
            }
        }

        #[inline(always)]
        fn unpack(self, bytes: &[u8; 2 * GROUP], width: u32) -> __m256i {
            let Some((bytes_of, factors)) = WINDOWS.get(width as usize) else {
                return cast!(group::unpack(bytes, width));
            };
            let (low, _) = bytes.as_chunks::<GROUP>();
            let both = cast!([low[0], low[0]]);
            let windows = self.avx2._mm256_shuffle_epi8(both, cast!(*bytes_of));
            let highest = self.avx2._mm256_mullo_epi16(windows, cast!(*factors));
            self.avx2._mm256_srl_epi16(highest, self.sse2._mm_cvtsi32_si128(16 - width as i32))
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use pulp::x86::V3;

    /// Groups of many kinds, from a seed.
    fn groups() -> Vec<Group> {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 40) as u16
        };
        let mut groups = vec![[0; GROUP], [u16::MAX; GROUP], [1; GROUP], [0x8000; GROUP]];
        for i in 0..400_u32 {
            let mut group: Group = std::array::from_fn(|_| random() >> (i % 16));
            if i % 3 == 0 {
                group.iter_mut().for_each(|number| *number *= u16::from(random() & 1 == 0));
            }
            groups.push(group);
        }
        groups
    }

    #[test]
    fn both_kinds_of_lanes_give_the_same() {
        let Some(v3) = V3::try_new() else {
            println!("SKIPPED: this processor has no AVX2");
            return;
        };
        let groups = groups();
        for (a, b) in groups.iter().zip(groups.iter().skip(1)) {
            let (x, y) = (v3.load(a), v3.load(b));
            let same = |ours, theirs| assert_eq!(v3.store(ours), theirs, "{a:?} {b:?}");
            same(v3.splat(a[0]), Portable.splat(a[0]));
            same(v3.add(x, y), Portable.add(*a, *b));
            same(v3.subtract(x, y), Portable.subtract(*a, *b));
            same(v3.least(x, y), Portable.least(*a, *b));
            same(v3.mean(x, y), Portable.mean(*a, *b));
            same(v3.zigzag(x), Portable.zigzag(*a));
            same(v3.unzigzag(x), Portable.unzigzag(*a));
            same(v3.or_else(x, y), Portable.or_else(*a, *b));
            same(v3.where_some(x, y), Portable.where_some(*a, *b));
            same(v3.follow(x, y), Portable.follow(*a, *b));
            same(v3.running_sum(x, y), Portable.running_sum(*a, *b));
            same(v3.select(b[3], x, y), Portable.select(b[3], *a, *b));
            let zero = [0; GROUP];
            assert_eq!(v3.equal(x, v3.load(&zero)), Portable.equal(*a, zero));
            assert_eq!(v3.equal(x, y), Portable.equal(*a, *b));
            let some = v3.store(v3.select(b[3], x, v3.splat(0)));
            same(v3.running_sums(y, v3.load(&some), b[3]), Portable.running_sums(*b, some, b[3]));
            let bytes = Portable.to_bytes(*a);
            same(v3.spread(&bytes, b[3]), Portable.spread(&bytes, b[3]));
            assert_eq!(v3.sum(x), Portable.sum(*a));
            let width = Portable.width(*a);
            assert_eq!(v3.width(x), width);
            let (mut ours, mut theirs) = ([0; 2 * GROUP], [0; 2 * GROUP]);
            v3.pack(x, width, &mut ours);
            Portable.pack(*a, width, &mut theirs);
            let bytes = 2 * width as usize;
            assert_eq!(ours[..bytes], theirs[..bytes]);
            ours[bytes..].fill(0xA5);
            same(v3.unpack(&ours, width), *a);
            let low = a.map(|number| number & 0xFF);
            assert_eq!(v3.to_bytes(v3.load(&low)), Portable.to_bytes(low));
            same(v3.of_bytes(&Portable.to_bytes(low)), low);
        }
    }
}
