//! Rows on a power-of-two grid: each element becomes an i16 times the row's step.
//!
//! A row's step has two lower bounds. Its greatest element must fit an i16. And its lanes must not be
//! longer than those of other rows need to be: the activations of a group are quantized once for all
//! rows, as coarsely as the row with the longest lane demands. A row of many large elements therefore
//! gives up a bit or two, which it can spare, and all rows get finer activations.

use super::layout::{GROUP_COLUMNS, Layout};
use super::word::Word;
use crate::simd::{F32x4, I16x8};

/// A row's greatest magnitude lies in [2^14, 2^15) steps, unless its step would be subnormal.
const TOP_EXPONENT: i32 = 14;
const BIAS: i32 = 127;
const LEAST_EXPONENT: i32 = TOP_EXPONENT - 126;
/// A row's typical lane norm lies below so many steps. Half of it is about what makes the errors of
/// weights and of activations equal on SmolLM2.
const TYPICAL_LANE_NORM: f32 = 40_000.0;
/// One of so many quadruples of a row is looked at for its typical lane norm.
const SAMPLED: usize = 8;
/// Elements that a lane of a full group sums.
const LANE_ELEMENTS: f32 = 64.0;

/// 32 words: what a turn of the conversion gives.
pub(super) type Words = [[i16; 8]; 4];

/// Return the step for a row of this greatest magnitude: a normal power of two.
pub(super) fn step(greatest: f32) -> f32 {
    let exponent = (greatest.to_bits() >> 23) as i32 - BIAS;
    power_of_two(exponent.max(LEAST_EXPONENT) - TOP_EXPONENT)
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((BIAS + exponent) as u32) << 23)
}

/// Return the least power of two that brings a row's typical lane norm below its bound, or zero if
/// its squares have no f32.
fn typical_step<W: Word>(bytes: &[u8]) -> f32 {
    let sampled = W::fours(bytes).iter().step_by(SAMPLED);
    let count = 4 * sampled.len();
    let squares = sampled.fold(F32x4::splat(0.0), |sum, four| {
        let x = W::value(four);
        sum.add(x.mul(x))
    });
    let norm = (squares.sum() / count as f32 * LANE_ELEMENTS).sqrt();
    let least = norm / TYPICAL_LANE_NORM;
    if !least.is_normal() {
        return 0.0;
    }
    let exponent = (least.to_bits() >> 23) as i32 - BIAS;
    let is_whole = least.to_bits() << 9 == 0;
    power_of_two(exponent + i32::from(!is_whole))
}

/// Convert one padded row and return its step. Raises `norms` to each group's lane norm.
///
/// The lane norm of a group is the Euclidean norm of the elements that one i32 lane of a dot
/// product sums. `norms` keeps the greatest of all rows. Rows that come in order are appended to
/// their panels, so that no memory is cleared first.
pub(super) fn place_row<W: Word>(
    bytes: &[u8],
    greatest: f32,
    row: usize,
    layout: &Layout,
    panels: &mut [Vec<Words>],
    norms: &mut [f32],
) -> f32 {
    let step = step(greatest).max(typical_step::<W>(bytes));
    let scale = F32x4::splat(1.0 / step);
    let mut norms = norms.iter_mut();
    for (panel, words) in layout.panels().iter().zip(panels) {
        let (width, first) = (panel.columns / 32, panel.first_column * W::BYTES);
        let from = bytes[first..first + panel.columns * W::BYTES].chunks(GROUP_COLUMNS * W::BYTES);
        let (start, end) = (row * width, (row + 1) * width);
        if words.len() == start {
            for (from, norm) in from.zip(&mut norms) {
                let mut squares = F32x4::splat(0.0);
                words.extend(converted::<W>(from, scale, &mut squares));
                *norm = norm.max(squares.max().sqrt());
            }
            continue;
        }
        if words.len() < end {
            words.resize(end, [[0; 8]; 4]);
        }
        let groups = words[start..end].chunks_mut(GROUP_COLUMNS / 32);
        for ((from, norm), to) in from.zip(&mut norms).zip(groups) {
            let mut squares = F32x4::splat(0.0);
            to.iter_mut()
                .zip(converted::<W>(from, scale, &mut squares))
                .for_each(|(to, words)| *to = words);
            *norm = norm.max(squares.max().sqrt());
        }
    }
    step
}

/// Convert elements, and add the squares of what they become to `squares`, lane by lane.
#[inline(always)]
fn converted<W: Word>(
    from: &[u8],
    scale: F32x4,
    squares: &mut F32x4,
) -> impl Iterator<Item = Words> {
    let least = I16x8::splat(-i16::MAX);
    W::fours(from).as_chunks::<2>().0.as_chunks::<4>().0.iter().map(move |pairs| {
        let mut to = [[0; 8]; 4];
        for ([low, high], to) in pairs.iter().zip(&mut to) {
            let low = W::value(low).mul(scale).round();
            let words = I16x8::narrow(low, W::value(high).mul(scale).round()).max(least);
            words.store(to);
            // At most 2 * 32767^2 < 2^31.
            *squares = squares.add(words.dot(words).to_f32());
        }
        to
    })
}

#[cfg(test)]
mod tests {
    use super::{TYPICAL_LANE_NORM, step, typical_step};
    use crate::matrix::word::{F32, Word};

    fn bytes(row: &[f32]) -> Vec<u8> {
        row.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn rows_of_equal_elements_give_up_bits() {
        for magnitude in [1.0_f32, 0.3, 1e-6, 1e15] {
            let step = typical_step::<F32>(&bytes(&[magnitude; 256]));
            let norm = 8.0 * magnitude / step;
            assert!((TYPICAL_LANE_NORM / 2.0..=TYPICAL_LANE_NORM).contains(&norm), "{norm}");
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
