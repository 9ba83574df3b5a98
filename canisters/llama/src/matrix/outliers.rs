//! Activations far above the rest of their group, multiplied apart.
//!
//! A group shares one step, so that a single large activation makes all others coarse. Models of this
//! family have such channels in every block. Taken out, an outlier costs some 30 instructions a row;
//! a matrix with more rows than columns is left as it is, because its errors weigh less than that.

use super::fast::Measure;
use super::grid::Words;
use super::layout::{GROUP_COLUMNS, Layout};
use crate::simd::F32x4;

/// An activation is an outlier beyond so many times its group's root mean square.
const FACTOR: f32 = 12.0;

/// An activation and its column.
pub(super) type Outlier = (usize, f32);

/// Move the outliers of a group that begins at `first_column` to `found`. Returns the group without
/// them: itself, if it has none, or its copy in `kept` with zeros in their places.
pub(super) fn take<'a>(
    group: &'a [[f32; 4]],
    measure: Measure,
    first_column: usize,
    kept: &'a mut [[f32; 4]; GROUP_COLUMNS / 4],
    found: &mut Vec<Outlier>,
) -> &'a [[f32; 4]] {
    let limit = FACTOR * (measure.total() / (4 * group.len()) as f32).sqrt();
    if limit.is_nan() || measure.greatest <= limit {
        return group;
    }
    let kept = &mut kept[..group.len()];
    kept.copy_from_slice(group);
    for (column, x) in kept.as_flattened_mut().iter_mut().enumerate() {
        if x.abs() > limit {
            found.push((first_column + column, *x));
            *x = 0.0;
        }
    }
    kept
}

/// Add the products of outliers to `y`.
pub(super) fn multiply(
    found: &[Outlier],
    layout: &Layout,
    panels: &[Vec<Words>],
    row_steps: &[f32],
    y: &mut [f32],
) {
    let (whole, last) = row_steps.split_at(y.len() / 4 * 4);
    let steps = (whole.as_chunks::<4>().0, last);
    for &(column, x) in found {
        let parts = layout.panels().iter().zip(panels);
        for (panel, words) in parts {
            let Some(first) = column.checked_sub(panel.first_column) else { continue };
            if first >= panel.columns {
                continue;
            }
            let words = words.as_flattened().as_flattened();
            let mut at = first;
            let mut next = || {
                let word = words.get(at).copied().unwrap_or(0);
                at += panel.columns;
                word
            };
            let ((fours, rest), (step_fours, last)) = (y.as_chunks_mut::<4>(), steps);
            let x_four = F32x4::splat(x);
            for (y, step) in fours.iter_mut().zip(step_fours) {
                let weights = F32x4::of_words([next(), next(), next(), next()]);
                let product = weights.mul(F32x4::load(step).mul(x_four));
                F32x4::load(y).add(product).store(y);
            }
            for (y, step) in rest.iter_mut().zip(last) {
                *y += f32::from(next()) * (step * x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Measure;

    fn take<'a>(
        group: &'a [[f32; 4]],
        first: usize,
        kept: &'a mut [[f32; 4]; 64],
        found: &mut Vec<super::Outlier>,
    ) -> &'a [[f32; 4]] {
        super::take(group, Measure::of(group), first, kept, found)
    }

    #[test]
    fn takes_what_is_far_above_its_group() {
        let mut group = [[1.0_f32; 4]; 64];
        group[2][1] = -50.0;
        group[63][3] = 3.0;
        let (mut kept, mut found) = ([[9.0; 4]; 64], Vec::new());
        let rest = take(&group, 256, &mut kept, &mut found).to_vec();
        assert_eq!(found, [(265, -50.0)]);
        group[2][1] = 0.0;
        assert_eq!(rest, group);
        assert_eq!(take(&group[..16], 512, &mut kept, &mut found), &group[..16]);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn takes_nothing_of_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            let mut group = [[1.0_f32; 4]; 16];
            group[3][3] = bad;
            let (mut kept, mut found) = ([[0.0; 4]; 64], Vec::new());
            take(&group, 0, &mut kept, &mut found);
            assert!(found.is_empty());
        }
    }
}
