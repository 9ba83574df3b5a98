//! Attention of one query head over the cached positions.

use crate::cache::{CHUNK_POSITIONS, Chunk};
use crate::simd::F32x4;
use crate::vector::exp;

/// Positions that are added up before the output is stored again.
const STEP: usize = 8;

/// Attend to the first `length` positions of `chunks` and write the weighted mean of their values.
///
/// `query`, keys and values have the same number of elements, a multiple of four. `scores` is a
/// buffer.
pub(crate) fn attend<'a>(
    query: &[f32],
    chunks: impl Iterator<Item = Chunk<'a>> + Clone,
    length: usize,
    scores: &mut Vec<f32>,
    to: &mut [f32],
) {
    match query.len() {
        64 => attend_head(Fixed::<16>, query, chunks, length, scores, to),
        128 => attend_head(Fixed::<32>, query, chunks, length, scores, to),
        _ => attend_head(Any, query, chunks, length, scores, to),
    }
}

/// The two products of attention, for heads of one size.
trait Products {
    /// Write the scores of whole quadruples of positions.
    fn scores(&self, query: &[f32], keys: &[f32], scores: &mut [[f32; 4]]);

    /// Add the values of whole steps of positions, weighted.
    fn add_values(&self, weights: &[[f32; STEP]], values: &[f32], to: &mut [f32]);
}

fn attend_head<'a>(
    products: impl Products,
    query: &[f32],
    chunks: impl Iterator<Item = Chunk<'a>> + Clone,
    length: usize,
    scores: &mut Vec<f32>,
    to: &mut [f32],
) {
    // The padding's keys and values are finite: zeros, or left from a truncated position.
    scores.resize(length.next_multiple_of(STEP), 0.0);
    let parts = scores.chunks_mut(CHUNK_POSITIONS);
    for (part, chunk) in parts.zip(chunks.clone()) {
        products.scores(query, chunk.keys, part.as_chunks_mut().0);
    }
    scores[length..].fill(f32::MIN);
    let scale = 1.0 / (query.len() as f32).sqrt();
    let sum = exponentials(scores.as_chunks_mut().0, scale);
    to.fill(0.0);
    for (part, chunk) in scores.chunks(CHUNK_POSITIONS).zip(chunks) {
        products.add_values(part.as_chunks().0, chunk.values, to);
    }
    let factor = 1.0 / sum;
    to.iter_mut().for_each(|element| *element *= factor);
}

/// Replace scores by e^(scale * (score - greatest)) and return their sum.
fn exponentials(scores: &mut [[f32; 4]], scale: f32) -> f32 {
    let greatest = scores
        .iter()
        .fold(F32x4::splat(f32::MIN), |greatest, four| greatest.pmax(F32x4::load(four)));
    let (greatest, scale) = (F32x4::splat(greatest.max()), F32x4::splat(scale));
    let mut sum = F32x4::splat(0.0);
    for four in scores {
        let value = exp(F32x4::load(four).sub(greatest).mul(scale));
        sum = sum.add(value);
        value.store(four);
    }
    sum.sum()
}

/// Heads of 4 * N elements.
struct Fixed<const N: usize>;

/// Heads of any size.
struct Any;

impl<const N: usize> Products for Fixed<N> {
    #[inline(never)]
    fn scores(&self, query: &[f32], keys: &[f32], scores: &mut [[f32; 4]]) {
        let query: &[[f32; 4]; N] = query.as_chunks().0.first_chunk().expect("a head");
        let query = query.map(|four| F32x4::load(&four));
        let keys = keys.as_chunks::<4>().0.as_chunks::<N>().0.as_chunks::<4>().0;
        for (keys, scores) in keys.iter().zip(scores) {
            let dot = |key: &[[f32; 4]; N]| {
                let mut sum = F32x4::load(&key[0]).mul(query[0]);
                for n in 1..N {
                    sum = sum.add(F32x4::load(&key[n]).mul(query[n]));
                }
                sum
            };
            let [a, b, c, d] = keys;
            F32x4::sums([dot(a), dot(b), dot(c), dot(d)]).store(scores);
        }
    }

    #[inline(never)]
    fn add_values(&self, weights: &[[f32; STEP]], values: &[f32], to: &mut [f32]) {
        // Four vectors a turn: the loop's own steps cost as much as three products.
        let to = to.as_chunks_mut::<4>().0.as_chunks_mut::<4>().0;
        let values = values.as_chunks::<4>().0.as_chunks::<4>().0;
        for (weights, values) in weights.iter().zip(values.chunks_exact(STEP * to.len())) {
            let weights = weights.map(F32x4::splat);
            let [a, b, c, d, e, f, g, h] =
                std::array::from_fn(|at| &values[at * N / 4..(at + 1) * N / 4]);
            let pairs = a.iter().zip(b).zip(c.iter().zip(d));
            let others = e.iter().zip(f).zip(g.iter().zip(h));
            for (to, (((a, b), (c, d)), ((e, f), (g, h)))) in to.iter_mut().zip(pairs.zip(others)) {
                let add = |to: &mut [f32; 4], values: [&[f32; 4]; STEP]| {
                    let products = weights.iter().zip(values);
                    let sum = products.fold(F32x4::load(to), |sum, (weight, value)| {
                        sum.add(F32x4::load(value).mul(*weight))
                    });
                    sum.store(to);
                };
                add(&mut to[0], [&a[0], &b[0], &c[0], &d[0], &e[0], &f[0], &g[0], &h[0]]);
                add(&mut to[1], [&a[1], &b[1], &c[1], &d[1], &e[1], &f[1], &g[1], &h[1]]);
                add(&mut to[2], [&a[2], &b[2], &c[2], &d[2], &e[2], &f[2], &g[2], &h[2]]);
                add(&mut to[3], [&a[3], &b[3], &c[3], &d[3], &e[3], &f[3], &g[3], &h[3]]);
            }
        }
    }
}

impl Products for Any {
    fn scores(&self, query: &[f32], keys: &[f32], scores: &mut [[f32; 4]]) {
        let query = query.as_chunks::<4>().0;
        let keys = keys.as_chunks::<4>().0.chunks_exact(query.len());
        for (key, score) in keys.zip(scores.as_flattened_mut()) {
            let sum = query.iter().zip(key).fold(F32x4::splat(0.0), |sum, (query, key)| {
                sum.add(F32x4::load(query).mul(F32x4::load(key)))
            });
            *score = sum.sum();
        }
    }

    fn add_values(&self, weights: &[[f32; STEP]], values: &[f32], to: &mut [f32]) {
        let to = to.as_chunks_mut::<4>().0;
        let values = values.as_chunks::<4>().0.chunks_exact(to.len());
        for (weight, value) in weights.as_flattened().iter().zip(values) {
            let weight = F32x4::splat(*weight);
            for (to, value) in to.iter_mut().zip(value) {
                F32x4::load(to).add(F32x4::load(value).mul(weight)).store(to);
            }
        }
    }
}
