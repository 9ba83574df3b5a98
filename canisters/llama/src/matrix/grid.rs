//! Rows on a power-of-two grid: each element becomes an i16 times the row's step.
//!
//! Four rows are placed together: a vector of words holds two columns of each.
//!
//! A row's step has two lower bounds. Its greatest element must fit an i16. And its groups must not be
//! longer than those of other rows need to be: the activations of a group are quantized once for all
//! rows, as coarsely as the row with the longest group demands. A row of many large elements therefore
//! gives up a bit or two, which it can spare, and all rows get finer activations.

use super::layout::{GROUP_COLUMNS, Layout, QUAD};
use super::word::Word;
use crate::simd::{F32x4, I16x8};

/// A row's greatest magnitude lies in [2^14, 2^15) steps, unless its step would be subnormal.
const TOP_EXPONENT: i32 = 14;
const BIAS: i32 = 127;
const LEAST_EXPONENT: i32 = TOP_EXPONENT - 126;
/// The typical norm of a row's groups lies below so many steps. Half of it is about what makes the
/// errors of weights and of activations equal on SmolLM2.
const TYPICAL_NORM: f32 = 40_000.0;
/// One of so many quadruples of a row is looked at for the typical norm of its groups.
const SAMPLED: usize = 8;
/// Pairs of columns that a turn of the conversion takes.
const TURN: usize = 8;

/// The words of four rows and 16 columns: what a turn of the conversion gives.
pub(super) type Words = [[i16; 8]; TURN];

/// Return the step for a row of this greatest magnitude: a normal power of two.
pub(super) fn step(greatest: f32) -> f32 {
    let exponent = (greatest.to_bits() >> 23) as i32 - BIAS;
    power_of_two(exponent.max(LEAST_EXPONENT) - TOP_EXPONENT)
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((BIAS + exponent) as u32) << 23)
}

/// Return the least power of two that brings the typical norm of a row's groups below its bound, or
/// zero if its squares have no f32.
fn typical_step<W: Word>(bytes: &[u8]) -> f32 {
    let sampled = W::fours(bytes).as_chunks::<SAMPLED>().0;
    let count = 4 * sampled.len();
    let squares = sampled.iter().fold(F32x4::splat(0.0), |sum, [four, ..]| {
        let x = W::value(four);
        sum.add(x.mul(x))
    });
    let norm = (squares.sum() / count as f32 * GROUP_COLUMNS as f32).sqrt();
    let least = norm / TYPICAL_NORM;
    if !least.is_normal() {
        return 0.0;
    }
    let exponent = (least.to_bits() >> 23) as i32 - BIAS;
    let is_whole = least.to_bits() << 9 == 0;
    power_of_two(exponent + i32::from(!is_whole))
}

/// Convert four padded rows and return their steps. Raises `norms` to each group's greatest norm.
///
/// The norm of a group is the Euclidean norm of a row's elements in it. `norms` keeps the greatest of
/// all rows. Quads that come in order are appended to their panels, so that no memory is cleared
/// first.
pub(super) fn place_quad<W: Word>(
    rows: [&[u8]; QUAD],
    greatest: [f32; QUAD],
    quad: usize,
    layout: &Layout,
    panels: &mut [Vec<Words>],
    norms: &mut [f32],
) -> [f32; QUAD] {
    let steps: [f32; QUAD] =
        std::array::from_fn(|row| step(greatest[row]).max(typical_step::<W>(rows[row])));
    let [a, b, c, d] = steps.map(|step| 1.0 / step);
    let scales = [F32x4::load(&[a, a, b, b]), F32x4::load(&[c, c, d, d])];
    for (panel, words) in layout.panels().iter().zip(panels) {
        let count = panel.columns / (2 * TURN);
        let start = quad * count;
        if words.len() < start {
            words.resize(start + count, [[0; 8]; TURN]);
        }
        let groups = panel.first_column..panel.first_column + panel.columns;
        for (index, first) in groups.step_by(GROUP_COLUMNS).enumerate() {
            let range = first * W::BYTES..(first + GROUP_COLUMNS) * W::BYTES;
            let group = rows.map(|row| W::pairs(&row[range.clone()]).as_chunks::<TURN>().0);
            let mut squares = F32x4::splat(0.0);
            let at = start + index * GROUP_COLUMNS / (2 * TURN);
            let turns = group[0].iter().zip(group[1]).zip(group[2].iter().zip(group[3]));
            let turns =
                turns.map(|((a, b), (c, d))| converted::<W>([a, b, c, d], scales, &mut squares));
            if words.len() == at {
                words.extend(turns);
            } else {
                words[at..].iter_mut().zip(turns).for_each(|(words, turn)| *words = turn);
            }
            let norm = &mut norms[first / GROUP_COLUMNS];
            *norm = norm.max(squares.max().sqrt());
        }
    }
    steps
}

/// Convert pairs of four rows, and add the squares of what they become to `squares`, row by row.
#[inline(always)]
fn converted<W: Word>(
    [a, b, c, d]: [&[W::Pair; TURN]; QUAD],
    [first, second]: [F32x4; 2],
    squares: &mut F32x4,
) -> Words {
    let least = I16x8::splat(-i16::MAX);
    let mut convert = |at: usize| {
        let (low, high) = W::values([&a[at], &b[at], &c[at], &d[at]]);
        let words = I16x8::narrow(low.mul(first).round(), high.mul(second).round()).max(least);
        // At most 2 * 32767^2 < 2^31.
        *squares = squares.add(words.dot(words).to_f32());
        let mut to = [0; 8];
        words.store(&mut to);
        to
    };
    // Written out, because a loop costs half as much again.
    [convert(0), convert(1), convert(2), convert(3), convert(4), convert(5), convert(6), convert(7)]
}

#[cfg(test)]
mod tests {
    use super::{TYPICAL_NORM, step, typical_step};
    use crate::matrix::word::{F32, Word};

    fn bytes(row: &[f32]) -> Vec<u8> {
        row.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn rows_of_equal_elements_give_up_bits() {
        for magnitude in [1.0_f32, 0.3, 1e-6, 1e15] {
            let step = typical_step::<F32>(&bytes(&[magnitude; 256]));
            let norm = 8.0 * magnitude / step;
            assert!((TYPICAL_NORM / 2.0..=TYPICAL_NORM).contains(&norm), "{norm}");
            assert!(step > super::step(magnitude));
        }
    }

    #[test]
    fn rows_whose_squares_are_no_numbers_keep_their_step() {
        for magnitude in [0.0, 1e-30, 3e38, f32::MAX] {
            let row = bytes(&[magnitude; 64]);
            assert!(typical_step::<F32>(&row) <= step(F32::greatest(&row)), "{magnitude}");
        }
    }

    #[test]
    fn step_puts_the_greatest_element_below_two_to_the_fifteen() {
        for greatest in [1.0_f32, 1.999_999_9, 2.0, 0.7, 3e38, 1e-30] {
            let steps = greatest / step(greatest);
            assert!((16384.0..32768.0).contains(&steps), "{greatest}: {steps}");
        }
    }

    #[test]
    fn step_of_tiny_and_zero_rows_is_a_normal_number() {
        for greatest in [0.0, f32::MIN_POSITIVE, 1e-44, 1e-38] {
            let step = step(greatest);
            assert!(step.is_normal() && (1.0 / step).is_normal());
            assert!(greatest / step < 32768.0);
        }
    }
}
