//! Operations on vectors of activations.

use crate::simd::F32x4;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts: products of the first with small integers are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1/n! for the Taylor series of e^r, |r| <= ln 2 / 2; the rest is below 6e-9.
const FACTORIALS: [f32; 6] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0];

/// e^x, for x clamped to -87..88.
#[inline(always)]
pub(crate) fn exp(x: F32x4) -> F32x4 {
    let splat = F32x4::splat;
    let x = splat(-87.0).pmax(splat(88.0).pmin(x));
    let turns = x.mul(splat(LOG2_E)).round();
    let whole = turns.to_f32();
    let r = x.sub(whole.mul(splat(LN_2_HIGH))).sub(whole.mul(splat(LN_2_LOW)));
    let mut series = splat(FACTORIALS[0]);
    for factorial in &FACTORIALS[1..] {
        series = series.mul(r).add(splat(*factorial));
    }
    series.mul(r.mul(r)).add(r).add(splat(1.0)).scale(turns)
}

/// Add `y` to `x`.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    let ((fours, rest), (y_fours, y_rest)) = (x.as_chunks_mut::<4>(), y.as_chunks::<4>());
    for (x, y) in fours.iter_mut().zip(y_fours) {
        F32x4::load(x).add(F32x4::load(y)).store(x);
    }
    for (x, y) in rest.iter_mut().zip(y_rest) {
        *x += y;
    }
}

/// Scale `x` to a mean square of one, then by `weights`.
pub(crate) fn rms_norm(x: &[f32], weights: &[f32], epsilon: f32, to: &mut [f32]) {
    let factor = F32x4::splat(rms_factor(x, epsilon));
    let ((fours, rest), (weight_fours, weight_rest)) = (x.as_chunks::<4>(), weights.as_chunks());
    let (to_fours, to_rest) = to.as_chunks_mut::<4>();
    for ((to, x), weight) in to_fours.iter_mut().zip(fours).zip(weight_fours) {
        F32x4::load(x).mul(factor).mul(F32x4::load(weight)).store(to);
    }
    for ((to, x), weight) in to_rest.iter_mut().zip(rest).zip(weight_rest) {
        *to = *x * factor.lanes()[0] * weight;
    }
}

/// Scale each head of `x` to a mean square of one, then by `weights`, in place.
pub(crate) fn rms_norm_heads(x: &mut [f32], weights: &[f32], epsilon: f32) {
    for head in x.chunks_exact_mut(weights.len()) {
        let factor = rms_factor(head, epsilon);
        for (x, weight) in head.iter_mut().zip(weights) {
            *x = *x * factor * weight;
        }
    }
}

fn rms_factor(x: &[f32], epsilon: f32) -> f32 {
    let (fours, rest) = x.as_chunks::<4>();
    let squares = fours.iter().fold(F32x4::splat(0.0), |sum, four| {
        let x = F32x4::load(four);
        sum.add(x.mul(x))
    });
    let sum = rest.iter().fold(squares.sum(), |sum, x| sum + x * x);
    1.0 / (sum / x.len() as f32 + epsilon).sqrt()
}

/// Replace `gate` by silu(gate) * `up`.
pub(crate) fn silu_multiply(gate: &mut [f32], up: &[f32]) {
    let (fours, rest) = gate.as_chunks_mut::<4>();
    let (up_fours, up_rest) = up.as_chunks::<4>();
    let silu = |x: F32x4| x.div(F32x4::splat(1.0).add(exp(F32x4::splat(0.0).sub(x))));
    for (gate, up) in fours.iter_mut().zip(up_fours) {
        silu(F32x4::load(gate)).mul(F32x4::load(up)).store(gate);
    }
    for (gate, up) in rest.iter_mut().zip(up_rest) {
        *gate = silu(F32x4::splat(*gate)).lanes()[0] * up;
    }
}

/// Rotate the two halves of each head by the angles of one position.
pub(crate) fn rotate(x: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    let ((cosines, cosines_rest), (sines, sines_rest)) =
        (cosines.as_chunks::<4>(), sines.as_chunks::<4>());
    for head in x.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        let ((first, first_rest), (second, second_rest)) =
            (first.as_chunks_mut::<4>(), second.as_chunks_mut::<4>());
        for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(cosines.iter().zip(sines))
        {
            let (x, y) = (F32x4::load(a), F32x4::load(b));
            let (cosine, sine) = (F32x4::load(cosine), F32x4::load(sine));
            x.mul(cosine).sub(y.mul(sine)).store(a);
            y.mul(cosine).add(x.mul(sine)).store(b);
        }
        for ((a, b), (cosine, sine)) in
            first_rest.iter_mut().zip(second_rest).zip(cosines_rest.iter().zip(sines_rest))
        {
            (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{exp, rms_norm, rotate, silu_multiply};
    use crate::simd::F32x4;

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let found = exp(F32x4::splat(x)).lanes()[0];
            let exact = f64::from(x).exp();
            let error = (f64::from(found) - exact).abs() / exact;
            assert!(error < 2.4e-7, "{x}: {error}");
        }
        assert_eq!(exp(F32x4::splat(0.0)).lanes()[0], 1.0);
        assert!(exp(F32x4::splat(-1e9)).lanes()[0] < 1e-37);
        assert!(exp(F32x4::splat(1e9)).lanes()[0] > 1e38);
    }

    #[test]
    fn silu_covers_lengths_that_are_no_multiple_of_four() {
        for length in [1, 4, 7] {
            let mut gate: Vec<_> = (0..length).map(|n| n as f32 - 3.0).collect();
            let expected: Vec<_> = gate.iter().map(|x| 2.0 * x / (1.0 + (-x).exp())).collect();
            silu_multiply(&mut gate, &vec![2.0; length]);
            for (found, expected) in gate.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn rotation_keeps_lengths() {
        let mut x = [3.0, 1.0, 4.0, 2.0];
        rotate(&mut x, &[0.6, 0.0], &[0.8, 1.0]);
        assert_eq!(x, [3.0 * 0.6 - 4.0 * 0.8, -2.0, 4.0 * 0.6 + 3.0 * 0.8, 1.0]);
    }

    #[test]
    fn norm_scales_to_one() {
        let mut to = [0.0; 5];
        rms_norm(&[2.0; 5], &[1.0, 1.0, 1.0, 1.0, 3.0], 1e-6, &mut to);
        assert!((to[0] - 1.0).abs() < 1e-6 && (to[4] - 3.0).abs() < 1e-6);
    }
}
