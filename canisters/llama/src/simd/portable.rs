//! Lane by lane what `wasm` does with one instruction.

/// Four 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F32x4([f32; 4]);

/// Eight 16-bit integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I16x8([i16; 8]);

/// Four 32-bit integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct I32x4([i32; 4]);

fn pairs<T: Copy, R>(a: [T; 4], b: [T; 4], join: impl Fn(T, T) -> R) -> [R; 4] {
    std::array::from_fn(|lane| join(a[lane], b[lane]))
}

fn words(from: &[u8; 8]) -> [u16; 4] {
    std::array::from_fn(|lane| u16::from_le_bytes([from[2 * lane], from[2 * lane + 1]]))
}

fn joined(a: &[u8; 4], b: &[u8; 4]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(a);
    bytes[4..].copy_from_slice(b);
    bytes
}

impl F32x4 {
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    pub(crate) fn load(from: &[f32; 4]) -> Self {
        Self(*from)
    }

    /// Load four little-endian F32 words.
    pub(crate) fn load_f32(from: &[u8; 16]) -> Self {
        Self(std::array::from_fn(|lane| {
            let at = 4 * lane;
            f32::from_le_bytes([from[at], from[at + 1], from[at + 2], from[at + 3]])
        }))
    }

    /// Widen four BF16 words.
    pub(crate) fn widen_bf16(from: &[u8; 8]) -> Self {
        Self(words(from).map(|word| f32::from_bits(u32::from(word) << 16)))
    }

    /// Widen four F16 words, scaled by 2^-112. Infinities and NaN become finite.
    pub(crate) fn widen_f16_scaled(from: &[u8; 8]) -> Self {
        Self(words(from).map(|word| {
            let bits = (i32::from(word as i16) << 13) as u32;
            f32::from_bits(bits & 0x8fff_ffff)
        }))
    }

    /// Widen four pairs of BF16 words.
    pub(crate) fn bf16_pairs([a, b, c, d]: [&[u8; 4]; 4]) -> (Self, Self) {
        (Self::widen_bf16(&joined(a, b)), Self::widen_bf16(&joined(c, d)))
    }

    /// Widen four pairs of F16 words, as `widen_f16_scaled`.
    pub(crate) fn f16_pairs_scaled([a, b, c, d]: [&[u8; 4]; 4]) -> (Self, Self) {
        (Self::widen_f16_scaled(&joined(a, b)), Self::widen_f16_scaled(&joined(c, d)))
    }

    /// Load two pairs of little-endian F32 words.
    pub(crate) fn f32_pairs(a: &[u8; 8], b: &[u8; 8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(a);
        bytes[8..].copy_from_slice(b);
        Self::load_f32(&bytes)
    }

    pub(crate) fn store(self, to: &mut [f32; 4]) {
        *to = self.0;
    }

    pub(crate) fn add(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| a + b))
    }

    pub(crate) fn sub(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| a - b))
    }

    pub(crate) fn mul(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| a * b))
    }

    pub(crate) fn div(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| a / b))
    }

    /// Return the greater lanes; `self` where a lane of either is NaN.
    pub(crate) fn pmax(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| if a < b { b } else { a }))
    }

    /// Return the smaller lanes; `self` where a lane of either is NaN.
    pub(crate) fn pmin(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| if b < a { b } else { a }))
    }

    pub(crate) fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    /// Round to the nearest integer, ties to even, and convert; out of range saturates, NaN is 0.
    pub(crate) fn round(self) -> I32x4 {
        I32x4(self.0.map(|value| value.round_ties_even() as i32))
    }

    pub(crate) fn lanes(self) -> [f32; 4] {
        self.0
    }

    /// Add the lanes: (0 + 1) + (2 + 3).
    pub(crate) fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        (a + b) + (c + d)
    }

    /// Return the greatest lane.
    pub(crate) fn max(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |a, b| if a < b { b } else { a })
    }

    /// Sum the lanes of four vectors into one: ((0 + 2) + (1 + 3)) of each.
    pub(crate) fn sums(of: [Self; 4]) -> Self {
        Self(of.map(|Self([a, b, c, d])| (a + c) + (b + d)))
    }

    /// Combine the bits.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, |a, b| f32::from_bits(a.to_bits() & b.to_bits())))
    }

    /// Multiply by 2^`exponents`, which must leave every lane a normal number.
    pub(crate) fn scale(self, exponents: I32x4) -> Self {
        Self(std::array::from_fn(|lane| {
            let bits = self.0[lane].to_bits() as i32;
            f32::from_bits(bits.wrapping_add(exponents.0[lane] << 23) as u32)
        }))
    }
}

impl I16x8 {
    pub(crate) fn load(from: &[i16; 8]) -> Self {
        Self(*from)
    }

    pub(crate) fn splat(value: i16) -> Self {
        Self([value; 8])
    }

    /// Load two words, four times.
    pub(crate) fn splat_pair(&[a, b]: &[i16; 2]) -> Self {
        Self([a, b, a, b, a, b, a, b])
    }

    /// Store the words as pairs.
    pub(crate) fn store_pairs(self, to: &mut [[i16; 2]; 4]) {
        to.as_flattened_mut().copy_from_slice(&self.0);
    }

    /// Load the magnitudes of eight little-endian 16-bit floats: their bits without the sign.
    pub(crate) fn load_magnitudes(from: &[u8; 16]) -> Self {
        Self(std::array::from_fn(|lane| {
            i16::from_le_bytes([from[2 * lane], from[2 * lane + 1]]) & 0x7fff
        }))
    }

    pub(crate) fn store(self, to: &mut [i16; 8]) {
        *to = self.0;
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].max(other.0[lane])))
    }

    /// Return the greatest lane.
    pub(crate) fn greatest(self) -> i16 {
        self.0.into_iter().fold(i16::MIN, i16::max)
    }

    /// Narrow eight integers; out of range saturates.
    pub(crate) fn narrow(low: I32x4, high: I32x4) -> Self {
        Self(std::array::from_fn(|lane| {
            let value = if lane < 4 { low.0[lane] } else { high.0[lane - 4] };
            value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
        }))
    }

    /// Multiply lanes and add neighbouring products.
    pub(crate) fn dot(self, other: Self) -> I32x4 {
        let product = |lane: usize| i32::from(self.0[lane]) * i32::from(other.0[lane]);
        I32x4(std::array::from_fn(|lane| product(2 * lane).wrapping_add(product(2 * lane + 1))))
    }
}

impl I32x4 {
    pub(crate) fn add(self, other: Self) -> Self {
        Self(pairs(self.0, other.0, i32::wrapping_add))
    }

    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(self.0.map(|value| value as f32))
    }
}
