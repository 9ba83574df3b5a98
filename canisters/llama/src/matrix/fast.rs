//! Multiplication of i16 rows with activations quantized to i16 in groups of 64 columns.
//!
//! A kernel holds a panel's activations in locals and walks its rows once, four at a time. A vector
//! of weights holds two columns of each of four rows, so that each i32 lane sums the products of one
//! row, and no lanes are added up at the end. Each group's products are summed in integers, then
//! converted and scaled.
//!
//! # No lane overflows
//! A lane sums the 64 products w * q of a group. Let |w| be the norm of the row in this group, at most
//! `norm`, and x the group's activations. `quantize` chooses a scale s with s * |x| * norm <=
//! `LANE_LIMIT`, and rounding adds at most 1/2 to each of 64 elements: |q| <= s * |x| + 4. By
//! Cauchy-Schwarz every partial sum is at most
//! norm * (s * |x| + 4) <= 2.13e9 + 4 * 8 * 32767 < 2.1311e9 < 2^31 - 1.
//! Float rounding in s and in the norms changes this by less than 1e-5 of it. A single dot of two
//! pairs is at most 2 * 32767^2 < 2^31 - 1, because neither operand is ever -32768.

use super::layout::{GROUP_COLUMNS, Panel};
use crate::simd::{F32x4, I16x8};

/// Widths of the panels that have a kernel, in groups.
pub(super) const WIDTHS: [usize; 7] = [16, 9, 8, 4, 3, 2, 1];

/// The quantized activations of two columns.
pub(super) type Pair = [i16; 2];

/// Pairs of a group.
pub(super) const GROUP_PAIRS: usize = GROUP_COLUMNS / 2;
/// The activations of a group.
pub(super) type Group = [[f32; 4]; GROUP_COLUMNS / 4];
const LANE_LIMIT: f32 = 2.13e9;
/// Squares of activations from here on are normal numbers.
const TINY: f32 = 1e-12;
const GREATEST_WORD: f32 = 32767.0;
/// The square root of a group's columns.
const ROOT_COLUMNS: f32 = 8.0;

/// Quantize one group; returns its step, or NaN if an activation is not finite.
pub(super) fn quantize(group: &Group, norm: f32, pairs: &mut [Pair; GROUP_PAIRS]) -> f32 {
    let zero = F32x4::splat(0.0);
    let (mut greatest, mut even, mut odd) = (zero, zero, zero);
    // Lengths are constant, so that the compiler unrolls the loops.
    for [a, b] in group.as_chunks::<2>().0 {
        let (a, b) = (F32x4::load(a), F32x4::load(b));
        greatest = greatest.pmax(a.abs().pmax(b.abs()));
        (even, odd) = (even.add(a.mul(a)), odd.add(b.mul(b)));
    }
    let (greatest, total) = (greatest.max(), even.add(odd).sum());
    if !total.is_finite() {
        pairs.fill([0; 2]);
        return f32::NAN;
    }
    if greatest == 0.0 {
        pairs.fill([0; 2]);
        return 0.0;
    }
    // Squares of tiny activations underflow: take the greatest norm that a group can have.
    let group_norm = if greatest < TINY { ROOT_COLUMNS * greatest } else { total.sqrt() };
    let scale = (GREATEST_WORD / greatest).min(LANE_LIMIT / (norm.max(1.0) * group_norm));
    let scale = scale.min(f32::MAX);
    let factor = F32x4::splat(scale);
    let least = I16x8::splat(-i16::MAX);
    let round = |four: &[f32; 4]| F32x4::load(four).mul(factor).round();
    for ([a, b], to) in group.as_chunks::<2>().0.iter().zip(pairs.as_chunks_mut::<4>().0) {
        I16x8::narrow(round(a), round(b)).max(least).store_pairs(to);
    }
    1.0 / scale
}

/// Pass on the numbers of a group's pairs after the first.
macro_rules! group {
    ($then:ident $($with:tt)*) => {
        $then!($($with)* 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
            28 29 30 31)
    };
}

macro_rules! load_group {
    ($from:ident $group:literal; $($k:literal)*) => {{
        let from: &[Pair; GROUP_PAIRS] = &$from[$group];
        [I16x8::splat_pair(&from[0]), $(I16x8::splat_pair(&from[$k])),*]
    }};
}

macro_rules! dot_group {
    ($quad:ident $x:ident $group:literal; $($k:literal)*) => {{
        let words: &[[i16; 8]; GROUP_PAIRS] = &$quad[$group];
        let sum = I16x8::load(&words[0]).dot($x[0]);
        $(let sum = sum.add(I16x8::load(&words[$k]).dot($x[$k]));)*
        sum
    }};
}

/// Define a kernel for panels of `$groups` groups. A group has a name for its activations and one for
/// its step, and its number.
macro_rules! kernel {
    ($name:ident $groups:literal ($x:ident $step:ident 0)
        $(($more:ident $more_step:ident $group:literal))*) => {
        #[inline(never)]
        fn $name(words: &[[i16; 8]], x: &Activations<'_>, output: &mut Output<'_>) {
            let words = words.as_chunks::<GROUP_PAIRS>().0.as_chunks::<$groups>().0;
            let pairs = x.pairs.as_chunks::<GROUP_PAIRS>().0;
            let pairs: &[_; $groups] = pairs.first_chunk().expect("a panel of x");
            let steps: &[f32; $groups] = x.steps.first_chunk().expect("a panel of steps");
            let kept = output.kept;
            let ($x, $step) = (group!(load_group pairs 0;), F32x4::splat(steps[0]));
            $(let ($more, $more_step) =
                (group!(load_group pairs $group;), F32x4::splat(steps[$group]));)*
            for ((quad, scale), y) in words.iter().zip(output.scales).zip(&mut *output.y) {
                let total = group!(dot_group quad $x 0;).to_f32().mul($step);
                $(let total =
                    total.add(group!(dot_group quad $more $group;).to_f32().mul($more_step));)*
                F32x4::load(y).and(kept).add(total.mul(F32x4::load(scale))).store(y);
            }
        }
    };
}

kernel!(k1 1 (a pa 0));
kernel!(k2 2 (a pa 0) (b pb 1));
kernel!(k3 3 (a pa 0) (b pb 1) (c pc 2));
kernel!(k4 4 (a pa 0) (b pb 1) (c pc 2) (d pd 3));
kernel!(k8 8 (a pa 0) (b pb 1) (c pc 2) (d pd 3) (e pe 4) (f pf 5) (g pg 6) (h ph 7));
kernel!(k9 9 (a pa 0) (b pb 1) (c pc 2) (d pd 3) (e pe 4) (f pf 5) (g pg 6) (h ph 7) (i pi 8));
kernel!(k16 16 (a pa 0) (b pb 1) (c pc 2) (d pd 3) (e pe 4) (f pf 5) (g pg 6) (h ph 7)
    (i pi 8) (j pj 9) (k pk 10) (l pl 11) (m pm 12) (n pn 13) (o po 14) (p pp 15));

/// Quantized activations of a panel's columns or more, and the steps of their groups.
struct Activations<'a> {
    pairs: &'a [Pair],
    steps: &'a [f32],
}

/// Sums of four rows each, and the steps of these rows.
struct Output<'a> {
    y: &'a mut [[f32; 4]],
    scales: &'a [[f32; 4]],
    /// What is kept of the sums before: all bits or none.
    kept: F32x4,
}

/// Add a panel's products to the sums of rows, or begin the sums with the first panel.
pub(super) fn multiply_panel(
    panel: &Panel,
    words: &[[i16; 8]],
    (pairs, steps): (&[Pair], &[f32]),
    scales: &[[f32; 4]],
    y: &mut [[f32; 4]],
) {
    let first = panel.first_column;
    let x = Activations { pairs: &pairs[first / 2..], steps: &steps[first / GROUP_COLUMNS..] };
    let kept = F32x4::splat(f32::from_bits(if first == 0 { 0 } else { u32::MAX }));
    let output = &mut Output { y, scales, kept };
    match panel.columns / GROUP_COLUMNS {
        1 => k1(words, &x, output),
        2 => k2(words, &x, output),
        3 => k3(words, &x, output),
        4 => k4(words, &x, output),
        8 => k8(words, &x, output),
        9 => k9(words, &x, output),
        16 => k16(words, &x, output),
        _ => unreachable!("a layout has panels of these widths only"),
    }
}

#[cfg(test)]
mod tests {
    use super::{LANE_LIMIT, quantize};
    use proptest::prelude::*;

    fn sums_stay_in_range(weights: &[i16; 64], x: &[f32; 64]) {
        let square = |weight: &i16| f64::from(*weight).powi(2);
        let norm = weights.iter().map(square).sum::<f64>().sqrt() as f32;
        let mut pairs = [[0; 2]; 32];
        let group = x.as_chunks().0.first_chunk().expect("a group");
        let step = quantize(group, norm, &mut pairs);
        assert!(step >= 0.0);
        let mut sum = 0_i64;
        for (weights, pair) in weights.as_chunks::<2>().0.iter().zip(&pairs) {
            for (weight, word) in weights.iter().zip(pair) {
                assert!(*word >= -32767);
                sum += i64::from(*weight) * i64::from(*word);
            }
            assert!(i32::try_from(sum).is_ok());
        }
    }

    #[test]
    fn worst_sums_stay_in_range() {
        sums_stay_in_range(&[32767; 64], &[1.0; 64]);
        sums_stay_in_range(&[-32767; 64], &[1e18; 64]);
        sums_stay_in_range(&[-32767; 64], &[1e-19; 64]);
        let mut single = [0.0; 64];
        single[17] = -7.0;
        sums_stay_in_range(&[32767; 64], &single);
        let mut aligned = [0; 64];
        let mut x = [0.0; 64];
        for column in 0..64 {
            aligned[column] = column as i16 * 512;
            x[column] = f32::from(aligned[column]);
        }
        sums_stay_in_range(&aligned, &x);
    }

    #[test]
    fn limit_leaves_room_for_rounding() {
        let rounding = 4.0 * 8.0 * 32767.0;
        assert!((f64::from(LANE_LIMIT) + rounding) * (1.0 + 1e-5) < f64::from(i32::MAX));
    }

    #[test]
    fn rejects_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            let mut x = [[1.0; 4]; 16];
            x[3][2] = bad;
            let mut pairs = [[5; 2]; 32];
            assert!(quantize(&x, 1.0, &mut pairs).is_nan());
            assert_eq!(pairs, [[0; 2]; 32]);
        }
    }

    proptest! {
        #[test]
        fn no_sum_overflows(
            weights in prop::array::uniform32(-32767..=32767_i16),
            signs in any::<u64>(),
            x in prop::array::uniform32(-1.0_f32..1.0),
            exponent in -60..60_i32,
        ) {
            let mut flat = [0; 64];
            let mut activations = [0.0; 64];
            for column in 0..64 {
                flat[column] = weights[column / 2];
                // Half of the cases align signs, which is the worst for a sum.
                let aligned = signs & 1 == 1;
                let value = x[column / 2] * 2.0_f32.powi(exponent);
                activations[column] =
                    if aligned { value.abs() * f32::from(flat[column].signum()) } else { value };
            }
            sums_stay_in_range(&flat, &activations);
        }
    }
}
