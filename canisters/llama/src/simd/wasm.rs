//! The vectors of WebAssembly.

use core::arch::wasm32::*;

/// Four 32-bit floats.
#[derive(Clone, Copy)]
pub(crate) struct F32x4(v128);

/// Eight 16-bit integers.
#[derive(Clone, Copy)]
pub(crate) struct I16x8(v128);

/// Four 32-bit integers.
#[derive(Clone, Copy)]
pub(crate) struct I32x4(v128);

#[inline(always)]
fn load<T>(from: &T) -> v128 {
    const { assert!(size_of::<T>() == 16) };
    // SAFETY: the reference covers 16 readable bytes, and loads need no alignment.
    unsafe { v128_load((from as *const T).cast()) }
}

#[inline(always)]
fn store<T>(to: &mut T, value: v128) {
    const { assert!(size_of::<T>() == 16) };
    // SAFETY: the reference covers 16 writable bytes of plain numbers; stores need no alignment.
    unsafe { v128_store((to as *mut T).cast(), value) }
}

/// Load four times two words.
#[inline(always)]
fn gather([a, b, c, d]: [&[u8; 4]; 4]) -> v128 {
    // SAFETY: each reference covers four readable bytes, and loads need no alignment.
    unsafe {
        let words = v128_load32_zero(a.as_ptr().cast());
        let words = v128_load32_lane::<1>(words, b.as_ptr().cast());
        let words = v128_load32_lane::<2>(words, c.as_ptr().cast());
        v128_load32_lane::<3>(words, d.as_ptr().cast())
    }
}

impl F32x4 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    #[inline(always)]
    pub(crate) fn load(from: &[f32; 4]) -> Self {
        Self(load(from))
    }

    #[inline(always)]
    pub(crate) fn load_f32(from: &[u8; 16]) -> Self {
        Self(load(from))
    }

    #[inline(always)]
    pub(crate) fn widen_bf16(from: &[u8; 8]) -> Self {
        // SAFETY: the reference covers eight readable bytes.
        Self(i32x4_shl(unsafe { u32x4_load_extend_u16x4(from.as_ptr().cast()) }, 16))
    }

    #[inline(always)]
    pub(crate) fn widen_f16_scaled(from: &[u8; 8]) -> Self {
        // SAFETY: the reference covers eight readable bytes.
        let words = unsafe { i32x4_load_extend_i16x4(from.as_ptr().cast()) };
        Self(v128_and(i32x4_shl(words, 13), u32x4_splat(0x8fff_ffff)))
    }

    #[inline(always)]
    pub(crate) fn bf16_pairs(from: [&[u8; 4]; 4]) -> (Self, Self) {
        let words = gather(from);
        let widen = |words| Self(i32x4_shl(words, 16));
        (widen(u32x4_extend_low_u16x8(words)), widen(u32x4_extend_high_u16x8(words)))
    }

    #[inline(always)]
    pub(crate) fn f16_pairs_scaled(from: [&[u8; 4]; 4]) -> (Self, Self) {
        let words = gather(from);
        let widen = |words| Self(v128_and(i32x4_shl(words, 13), u32x4_splat(0x8fff_ffff)));
        (widen(i32x4_extend_low_i16x8(words)), widen(i32x4_extend_high_i16x8(words)))
    }

    #[inline(always)]
    pub(crate) fn f32_pairs(a: &[u8; 8], b: &[u8; 8]) -> Self {
        // SAFETY: each reference covers eight readable bytes, and loads need no alignment.
        Self(unsafe {
            v128_load64_lane::<1>(v128_load64_zero(a.as_ptr().cast()), b.as_ptr().cast())
        })
    }

    #[inline(always)]
    pub(crate) fn store(self, to: &mut [f32; 4]) {
        store(to, self.0);
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn pmax(self, other: Self) -> Self {
        Self(f32x4_pmax(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn pmin(self, other: Self) -> Self {
        Self(f32x4_pmin(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        Self(f32x4_abs(self.0))
    }

    #[inline(always)]
    pub(crate) fn round(self) -> I32x4 {
        I32x4(i32x4_trunc_sat_f32x4(f32x4_nearest(self.0)))
    }

    #[inline(always)]
    pub(crate) fn lanes(self) -> [f32; 4] {
        let value = self.0;
        [
            f32x4_extract_lane::<0>(value),
            f32x4_extract_lane::<1>(value),
            f32x4_extract_lane::<2>(value),
            f32x4_extract_lane::<3>(value),
        ]
    }

    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        let [a, b, c, d] = self.lanes();
        (a + b) + (c + d)
    }

    #[inline(always)]
    pub(crate) fn max(self) -> f32 {
        self.lanes().into_iter().fold(f32::NEG_INFINITY, |a, b| if a < b { b } else { a })
    }

    #[inline(always)]
    pub(crate) fn sums(of: [Self; 4]) -> Self {
        let [a, b, c, d] = of.map(|vector| vector.0);
        let halves =
            |x, y| f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(x, y), i32x4_shuffle::<2, 6, 3, 7>(x, y));
        let (x, y) = (halves(a, b), halves(c, d));
        Self(f32x4_add(i64x2_shuffle::<0, 2>(x, y), i64x2_shuffle::<1, 3>(x, y)))
    }

    #[inline(always)]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(v128_and(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn scale(self, exponents: I32x4) -> Self {
        Self(i32x4_add(self.0, i32x4_shl(exponents.0, 23)))
    }
}

impl I16x8 {
    #[inline(always)]
    pub(crate) fn load(from: &[i16; 8]) -> Self {
        Self(load(from))
    }

    #[inline(always)]
    pub(crate) fn splat(value: i16) -> Self {
        Self(i16x8_splat(value))
    }

    #[inline(always)]
    pub(crate) fn splat_pair(from: &[i16; 2]) -> Self {
        // SAFETY: the reference covers four readable bytes, and loads need no alignment.
        Self(unsafe { v128_load32_splat((from as *const [i16; 2]).cast()) })
    }

    #[inline(always)]
    pub(crate) fn store_pairs(self, to: &mut [[i16; 2]; 4]) {
        store(to, self.0);
    }

    #[inline(always)]
    pub(crate) fn load_magnitudes(from: &[u8; 16]) -> Self {
        Self(v128_and(load(from), u16x8_splat(0x7fff)))
    }

    #[inline(always)]
    pub(crate) fn store(self, to: &mut [i16; 8]) {
        store(to, self.0);
    }

    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        Self(i16x8_max(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn greatest(self) -> i16 {
        let mut lanes = [0; 8];
        self.store(&mut lanes);
        lanes.into_iter().fold(i16::MIN, i16::max)
    }

    #[inline(always)]
    pub(crate) fn narrow(low: I32x4, high: I32x4) -> Self {
        Self(i16x8_narrow_i32x4(low.0, high.0))
    }

    #[inline(always)]
    pub(crate) fn dot(self, other: Self) -> I32x4 {
        I32x4(i32x4_dot_i16x8(self.0, other.0))
    }
}

impl I32x4 {
    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(f32x4_convert_i32x4(self.0))
    }
}
