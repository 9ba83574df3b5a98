//! Multiplication of i16 rows with activations quantized to i16 in groups of 256 columns.
//!
//! A kernel holds a panel's activations in locals and walks its rows once. Each group's products
//! are summed in four i32 lanes, then converted and scaled.
//!
//! # No lane overflows
//! A lane sums at most 64 products w * q. Let |w| be the lane norm of the row, at most `norm` of
//! its group, and x the lane's activations, |x| at most `lane_norm`. `quantize` chooses a scale s
//! with s * lane_norm * norm <= `LANE_LIMIT`, and rounding adds at most 1/2 to each of 64 elements:
//! |q| <= s * |x| + 4. By Cauchy-Schwarz every partial sum is at most
//! norm * (s * |x| + 4) <= 2.13e9 + 4 * 8 * 32767 < 2.1311e9 < 2^31 - 1.
//! Float rounding in s and in the norms changes this by less than 1e-5 of it. A single dot of two
//! pairs is at most 2 * 32767^2 < 2^31 - 1, because neither operand is ever -32768.

use super::layout::{GROUP_COLUMNS, Panel};
use crate::simd::{F32x4, I16x8};

const LANE_LIMIT: f32 = 2.13e9;
/// Squares of activations from here on are normal numbers.
const TINY: f32 = 1e-12;
const GREATEST_WORD: f32 = 32767.0;
const GROUP_VECTORS: usize = GROUP_COLUMNS / 8;

/// What decides how a group is quantized.
#[derive(Clone, Copy)]
pub(super) struct Measure {
    /// Greatest magnitude of an activation.
    pub(super) greatest: f32,
    /// Squares of the activations, in the lanes that sum their products.
    squares: F32x4,
}

impl Measure {
    /// Measure one group.
    pub(super) fn of(group: &[[f32; 4]]) -> Self {
        let zero = F32x4::splat(0.0);
        let (mut greatest, mut low, mut high) = (zero, zero, zero);
        for [a, b, c, d] in group.as_chunks::<4>().0 {
            let (a, b, c, d) = (F32x4::load(a), F32x4::load(b), F32x4::load(c), F32x4::load(d));
            greatest = greatest.pmax(a.abs().pmax(b.abs())).pmax(c.abs().pmax(d.abs()));
            (low, high) = (low.add(a.mul(a)).add(c.mul(c)), high.add(b.mul(b)).add(d.mul(d)));
        }
        // Lane n of a dot product sums columns 2n and 2n + 1 of each eight.
        Self { greatest: greatest.max(), squares: F32x4::add_pairs(low, high) }
    }

    /// Sum of the squares.
    pub(super) fn total(&self) -> f32 {
        self.squares.sum()
    }
}

/// Quantize one group; returns its step, or NaN if an activation is not finite.
pub(super) fn quantize(
    group: &[[f32; 4]],
    measure: Measure,
    norm: f32,
    words: &mut [[i16; 8]],
) -> f32 {
    let Measure { greatest, squares } = measure;
    let total = measure.total();
    if !total.is_finite() {
        words.fill([0; 8]);
        return f32::NAN;
    }
    if greatest == 0.0 {
        words.fill([0; 8]);
        return 0.0;
    }
    // Squares of tiny activations underflow: take the greatest norm that a lane can have.
    let lane_norm = if greatest < TINY { 8.0 * greatest } else { squares.max().sqrt() };
    let scale = (GREATEST_WORD / greatest).min(LANE_LIMIT / (norm.max(1.0) * lane_norm));
    let scale = scale.min(f32::MAX);
    let factor = F32x4::splat(scale);
    let least = I16x8::splat(-i16::MAX);
    let round = |four: &[f32; 4]| F32x4::load(four).mul(factor).round();
    let turns = group.as_chunks::<4>().0.iter().zip(words.as_chunks_mut::<2>().0);
    for ([a, b, c, d], [first, second]) in turns {
        I16x8::narrow(round(a), round(b)).max(least).store(first);
        I16x8::narrow(round(c), round(d)).max(least).store(second);
    }
    1.0 / scale
}

macro_rules! list {
    (8 $then:ident $($with:tt)*) => { $then!($($with)* 0; 1 2 3 4 5 6 7) };
    (16 $then:ident $($with:tt)*) => {
        $then!($($with)* 0; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (24 $then:ident $($with:tt)*) => {
        $then!($($with)* 0; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23)
    };
    (32 $then:ident $($with:tt)*) => {
        $then!($($with)* 0; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26
            27 28 29 30 31)
    };
}

macro_rules! load_group {
    ($from:ident $first:literal $zero:literal; $($k:literal)*) => {
        [I16x8::load(&$from[$first]), $(I16x8::load(&$from[$first + $k])),*]
    };
}

macro_rules! dot_group {
    ($row:ident $x:ident $first:literal $zero:literal; $($k:literal)*) => {{
        let sum = I16x8::load(&$row[$first]).dot($x[0]);
        $(let sum = sum.add(I16x8::load(&$row[$first + $k]).dot($x[$k]));)*
        sum
    }};
}

/// Sum a row's products: of each group first in integers, then scaled.
macro_rules! multiply_row {
    ($row:ident $sum:ident $(($x:ident $scale:ident $group:literal $first:literal $count:tt))*) => {
        let total: Option<F32x4> = if FIRST { None } else { Some(F32x4::load($sum)) };
        $(
            let products = list!($count dot_group $row $x $first).to_f32().mul($scale);
            let total = Some(total.map_or(products, |total| total.add(products)));
        )*
        total.expect("a group").store($sum);
    };
}

macro_rules! multiply_rows {
    (($row:ident $sum:ident) ($($group:tt)*)) => { multiply_row!($row $sum $($group)*); };
    (($row:ident $sum:ident, $($others:tt)*) $groups:tt) => {
        multiply_rows!(($row $sum) $groups);
        multiply_rows!(($($others)*) $groups);
    };
}

/// Load a panel's activations and steps into locals.
macro_rules! load_panel {
    ($from:ident $steps:ident
        $(($x:ident $scale:ident $group:literal $first:literal $count:tt))*) => {
        $(
            let $x = list!($count load_group $from $first);
            let $scale = F32x4::splat($steps[$group]);
        )*
    };
}

/// Define a kernel for panels of `$vectors` vectors, which takes some rows a turn. A group has a
/// name for its activations and its step, its number, its first vector and its count of vectors.
macro_rules! kernel {
    ($name:ident $vectors:literal ($($row:ident $sum:ident),*) $($group:tt)*) => {
        #[inline(never)]
        fn $name<const FIRST: bool>(
            words: &[[i16; 8]],
            x: &[[i16; 8]],
            steps: &[f32],
            sums: &mut [[f32; 4]],
        ) {
            const TURN: usize = [$(stringify!($row)),*].len();
            let turns = words.as_chunks::<$vectors>().0.as_chunks::<TURN>().0;
            let x: &[[i16; 8]; $vectors] = x.first_chunk().expect("a panel of x");
            load_panel!(x steps $($group)*);
            for ([$($row),*], [$($sum),*]) in turns.iter().zip(sums.as_chunks_mut::<TURN>().0) {
                multiply_rows!(($($row $sum),*) ($($group)*));
            }
        }
    };
}

// The loop's own steps weigh more in narrow panels: those take two rows a turn.
kernel!(k8 8 (ra sa, rb sb) (a pa 0 0 8));
kernel!(k16 16 (ra sa, rb sb) (a pa 0 0 16));
kernel!(k24 24 (ra sa, rb sb) (a pa 0 0 24));
kernel!(k32 32 (ra sa, rb sb) (a pa 0 0 32));
kernel!(k40 40 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 8));
kernel!(k48 48 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 16));
kernel!(k56 56 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 24));
kernel!(k64 64 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 32));
kernel!(k72 72 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 32) (c pc 2 64 8));
kernel!(k80 80 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 32) (c pc 2 64 16));
kernel!(k88 88 (ra sa, rb sb) (a pa 0 0 32) (b pb 1 32 32) (c pc 2 64 24));
kernel!(k128 128 (ra sa) (a pa 0 0 32) (b pb 1 32 32) (c pc 2 64 32) (d pd 3 96 32));
kernel!(k256 256 (ra sa) (a pa 0 0 32) (b pb 1 32 32) (c pc 2 64 32) (d pd 3 96 32)
    (e pe 4 128 32) (f pf 5 160 32) (g pg 6 192 32) (h ph 7 224 32));

/// Add a panel's products to the lanes of each row's sum, or begin the sums with the first panel.
pub(super) fn multiply_panel(
    panel: &Panel,
    words: &[[i16; 8]],
    x: &[[i16; 8]],
    steps: &[f32],
    sums: &mut [[f32; 4]],
) {
    let first = panel.first_column / 8;
    let (x, steps) = (&x[first..], &steps[first / GROUP_VECTORS..]);
    macro_rules! run {
        ($($vectors:literal $kernel:ident),*) => {
            match (panel.columns / 8, first) {
                $(
                    ($vectors, 0) => $kernel::<true>(words, x, steps, sums),
                    ($vectors, _) => $kernel::<false>(words, x, steps, sums),
                )*
                _ => unreachable!("layout has panels of these widths only"),
            }
        };
    }
    run!(8 k8, 16 k16, 24 k24, 32 k32, 40 k40, 48 k48, 56 k56, 64 k64, 72 k72, 80 k80, 88 k88,
        128 k128, 256 k256);
}

#[cfg(test)]
mod tests {
    use super::{LANE_LIMIT, Measure};
    use crate::matrix::layout::Layout;
    use proptest::prelude::*;

    fn quantize(group: &[[f32; 4]], norm: f32, words: &mut [[i16; 8]]) -> f32 {
        super::quantize(group, Measure::of(group), norm, words)
    }

    fn lanes_stay_in_range(weights: &[i16; 256], x: &[f32; 256]) {
        let lane = |column: usize| (column % 8) / 2;
        let mut squares = [0.0_f64; 4];
        for (column, &weight) in weights.iter().enumerate() {
            squares[lane(column)] += f64::from(weight) * f64::from(weight);
        }
        let norm = squares.into_iter().fold(0.0, f64::max).sqrt() as f32;
        let mut words = [[0; 8]; 32];
        let step = quantize(x.as_chunks::<4>().0, norm, &mut words);
        assert!(step >= 0.0);
        let mut sums = [0_i64; 4];
        for (column, &weight) in weights.iter().enumerate() {
            let word = words[column / 8][column % 8];
            assert!(word >= -32767);
            sums[lane(column)] += i64::from(weight) * i64::from(word);
            if column % 2 == 1 {
                assert!(i32::try_from(sums[lane(column)]).is_ok(), "lane {}", lane(column));
            }
        }
    }

    #[test]
    fn worst_lanes_stay_in_range() {
        lanes_stay_in_range(&[32767; 256], &[1.0; 256]);
        lanes_stay_in_range(&[-32767; 256], &[1e18; 256]);
        lanes_stay_in_range(&[-32767; 256], &[1e-19; 256]);
        let mut lane = [0.0; 256];
        lane.iter_mut().step_by(8).for_each(|x| *x = -7.0);
        lanes_stay_in_range(&[32767; 256], &lane);
        let mut aligned = [0; 256];
        let mut x = [0.0; 256];
        for column in 0..256 {
            aligned[column] = column as i16 * 128;
            x[column] = f32::from(aligned[column]);
        }
        lanes_stay_in_range(&aligned, &x);
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
            let mut words = [[5; 8]; 8];
            assert!(quantize(&x, 1.0, &mut words).is_nan());
            assert_eq!(words, [[0; 8]; 8]);
        }
    }

    #[test]
    fn every_panel_width_has_its_kernel() {
        for columns in 1..=5000 {
            for panel in Layout::new(1, columns, 8).panels() {
                let known = [8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 128, 256];
                assert!(known.contains(&(panel.columns / 8)), "{columns}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_lane_overflows(
            weights in prop::array::uniform32(prop::array::uniform8(-32767..=32767_i16)),
            signs in any::<u64>(),
            x in prop::array::uniform32(prop::array::uniform8(-1.0_f32..1.0)),
            exponent in -60..60_i32,
        ) {
            let mut flat = [0; 256];
            let mut activations = [0.0; 256];
            for column in 0..256 {
                flat[column] = weights[column / 8][column % 8];
                // Half of the cases align signs, which is the worst for a sum.
                let aligned = signs & 1 == 1;
                let value = x[column / 8][column % 8] * 2.0_f32.powi(exponent);
                activations[column] =
                    if aligned { value.abs() * f32::from(flat[column].signum()) } else { value };
            }
            lanes_stay_in_range(&flat, &activations);
        }
    }
}
