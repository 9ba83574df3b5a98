//! Four lanes in a Wasm vector.

use core::arch::wasm32::{
    i8x16_swizzle, i32x4_add, u8x16, u32x4, u32x4_extract_lane, u32x4_shl, u32x4_shr,
    u32x4_shuffle, u64x2, v128, v128_or, v128_xor,
};
use core::hint::black_box;

use super::lanes::Lanes;

/// Four 32-bit words in a `v128`.
#[derive(Clone, Copy)]
pub(super) struct Vector(v128);

/// The byte orders of rotations by whole bytes.
#[derive(Clone, Copy)]
pub(super) struct Orders {
    right_16: v128,
    right_8: v128,
}

impl Lanes for Vector {
    type Rotor = Orders;

    #[inline(always)]
    fn rotor() -> Orders {
        // A constant would be turned into a shuffle, at a price of 3 instead of 1 + 1.
        Orders {
            right_16: black_box(u8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)),
            right_8: black_box(u8x16(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)),
        }
    }

    #[inline(always)]
    fn new([a, b, c, d]: [u32; 4]) -> Self {
        Self(u32x4(a, b, c, d))
    }

    #[inline(always)]
    fn pair([a, b, c, d]: [u64; 4]) -> [Self; 2] {
        let (even, odd) = (u64x2(a, c), u64x2(b, d));
        [u32x4_shuffle::<0, 4, 2, 6>(even, odd), u32x4_shuffle::<1, 5, 3, 7>(even, odd)].map(Self)
    }

    #[inline(always)]
    fn words(self) -> [u32; 4] {
        [
            u32x4_extract_lane::<0>(self.0),
            u32x4_extract_lane::<1>(self.0),
            u32x4_extract_lane::<2>(self.0),
            u32x4_extract_lane::<3>(self.0),
        ]
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(v128_xor(self.0, other.0))
    }

    #[inline(always)]
    fn right_16(self, orders: Orders) -> Self {
        Self(i8x16_swizzle(self.0, orders.right_16))
    }

    #[inline(always)]
    fn right_12(self) -> Self {
        Self(v128_or(u32x4_shr(self.0, 12), u32x4_shl(self.0, 20)))
    }

    #[inline(always)]
    fn right_8(self, orders: Orders) -> Self {
        Self(i8x16_swizzle(self.0, orders.right_8))
    }

    #[inline(always)]
    fn right_7(self) -> Self {
        Self(v128_or(u32x4_shr(self.0, 7), u32x4_shl(self.0, 25)))
    }
}
