//! The number formats of checkpoints, little-endian.

use crate::simd::{F32x4, I16x8};

/// The type of a checkpoint's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl Dtype {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// 2^112: what `F32x4::widen_f16_scaled` leaves out.
const F16_SCALE: f32 = f32::from_bits((127 + 112) << 23);
/// 2^56. Half of F16's scale goes into the activations and half into the sum, so that neither
/// overflows.
const F16_HALF_SCALE: f32 = f32::from_bits((127 + 56) << 23);

/// Elements of one format, four at a time.
pub(crate) trait Word: Copy {
    /// The bytes of four elements.
    type Four: Copy + 'static;
    /// The bytes of two elements.
    type Pair: Copy + 'static;
    /// Bytes of an element.
    const BYTES: usize;
    /// Factor of the activations and of the sums of products with `widen`.
    const HALF_SCALE: f32;

    /// View bytes as groups of four elements.
    fn fours(bytes: &[u8]) -> &[Self::Four];

    /// View bytes as pairs of elements.
    fn pairs(bytes: &[u8]) -> &[Self::Pair];

    /// Convert four pairs.
    fn values(pairs: [&Self::Pair; 4]) -> (F32x4, F32x4);

    /// Convert four elements, scaled by 1 / `HALF_SCALE`^2.
    fn widen(four: &Self::Four) -> F32x4;

    /// Convert four elements.
    fn value(four: &Self::Four) -> F32x4;

    /// Return the greatest magnitude of a multiple of eight elements; not finite if one is not.
    fn greatest(bytes: &[u8]) -> f32;
}

fn greatest_bits(bytes: &[u8]) -> u16 {
    let load = I16x8::load_magnitudes;
    let (turns, rest) = bytes.as_chunks::<16>().0.as_chunks::<4>();
    let greatest = turns.iter().fold(I16x8::splat(0), |greatest, [a, b, c, d]| {
        greatest.max(load(a).max(load(b))).max(load(c).max(load(d)))
    });
    let greatest = rest.iter().fold(greatest, |greatest, eight| greatest.max(load(eight)));
    greatest.greatest().unsigned_abs()
}

/// bfloat16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl Word for Bf16 {
    type Four = [u8; 8];
    type Pair = [u8; 4];
    const BYTES: usize = 2;
    const HALF_SCALE: f32 = 1.0;

    #[inline(always)]
    fn fours(bytes: &[u8]) -> &[Self::Four] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn pairs(bytes: &[u8]) -> &[Self::Pair] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn values(pairs: [&Self::Pair; 4]) -> (F32x4, F32x4) {
        F32x4::bf16_pairs(pairs)
    }

    #[inline(always)]
    fn widen(four: &Self::Four) -> F32x4 {
        F32x4::widen_bf16(four)
    }

    #[inline(always)]
    fn value(four: &Self::Four) -> F32x4 {
        F32x4::widen_bf16(four)
    }

    fn greatest(bytes: &[u8]) -> f32 {
        f32::from_bits(u32::from(greatest_bits(bytes)) << 16)
    }
}

/// IEEE half precision.
#[derive(Clone, Copy)]
pub(crate) struct F16;

impl Word for F16 {
    type Four = [u8; 8];
    type Pair = [u8; 4];
    const BYTES: usize = 2;
    const HALF_SCALE: f32 = F16_HALF_SCALE;

    #[inline(always)]
    fn fours(bytes: &[u8]) -> &[Self::Four] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn pairs(bytes: &[u8]) -> &[Self::Pair] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn values(pairs: [&Self::Pair; 4]) -> (F32x4, F32x4) {
        let (low, high) = F32x4::f16_pairs_scaled(pairs);
        (low.mul(F32x4::splat(F16_SCALE)), high.mul(F32x4::splat(F16_SCALE)))
    }

    #[inline(always)]
    fn widen(four: &Self::Four) -> F32x4 {
        F32x4::widen_f16_scaled(four)
    }

    #[inline(always)]
    fn value(four: &Self::Four) -> F32x4 {
        F32x4::widen_f16_scaled(four).mul(F32x4::splat(F16_SCALE))
    }

    fn greatest(bytes: &[u8]) -> f32 {
        const INFINITY: u16 = 0x7c00;
        let bits = greatest_bits(bytes);
        if bits >= INFINITY {
            return f32::INFINITY;
        }
        f32::from_bits(u32::from(bits) << 13) * F16_SCALE
    }
}

/// IEEE single precision.
#[derive(Clone, Copy)]
pub(crate) struct F32;

impl Word for F32 {
    type Four = [u8; 16];
    type Pair = [u8; 8];
    const BYTES: usize = 4;
    const HALF_SCALE: f32 = 1.0;

    #[inline(always)]
    fn fours(bytes: &[u8]) -> &[Self::Four] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn pairs(bytes: &[u8]) -> &[Self::Pair] {
        bytes.as_chunks().0
    }

    #[inline(always)]
    fn values(pairs: [&Self::Pair; 4]) -> (F32x4, F32x4) {
        let [a, b, c, d] = pairs;
        (F32x4::f32_pairs(a, b), F32x4::f32_pairs(c, d))
    }

    #[inline(always)]
    fn widen(four: &Self::Four) -> F32x4 {
        F32x4::load_f32(four)
    }

    #[inline(always)]
    fn value(four: &Self::Four) -> F32x4 {
        F32x4::load_f32(four)
    }

    fn greatest(bytes: &[u8]) -> f32 {
        let words = bytes.as_chunks::<4>().0.iter();
        let bits = words.map(|&word| u32::from_le_bytes(word) & 0x7fff_ffff).max();
        f32::from_bits(bits.unwrap_or(0))
    }
}
