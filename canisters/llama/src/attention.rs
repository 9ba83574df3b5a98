//! Attention of one query head over the cached positions.

use crate::cache::{CHUNK_POSITIONS, Chunk};
use crate::simd::F32x4;
use crate::vector::exp;

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

/// A number for each position of a chunk.
type Eight = [f32; CHUNK_POSITIONS];

/// The two products of attention, for heads of one size.
trait Products {
    /// Write the scores of all positions of some chunks.
    fn scores<'a>(
        &self,
        query: &[f32],
        chunks: impl Iterator<Item = Chunk<'a>>,
        scores: &mut [Eight],
    );

    /// Add the values of all positions of some chunks, weighted.
    fn add_values<'a>(
        &self,
        weights: &[Eight],
        chunks: impl Iterator<Item = Chunk<'a>>,
        to: &mut [f32],
    );
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
    scores.resize(length.next_multiple_of(CHUNK_POSITIONS), 0.0);
    products.scores(query, chunks.clone(), scores.as_chunks_mut().0);
    scores[length..].fill(f32::MIN);
    let scale = 1.0 / (query.len() as f32).sqrt();
    let sum = exponentials(scores.as_chunks_mut().0, scale);
    to.fill(0.0);
    products.add_values(scores.as_chunks().0, chunks, to);
    let factor = F32x4::splat(1.0 / sum);
    for four in to.as_chunks_mut().0 {
        F32x4::load(four).mul(factor).store(four);
    }
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
    fn scores<'a>(
        &self,
        query: &[f32],
        chunks: impl Iterator<Item = Chunk<'a>>,
        scores: &mut [Eight],
    ) {
        let query: &[[f32; 4]; N] = query.as_chunks().0.first_chunk().expect("a head");
        let query = query.map(|four| F32x4::load(&four));
        for (chunk, scores) in chunks.zip(scores) {
            let keys = chunk.keys.as_chunks::<4>().0.as_chunks::<N>().0.as_chunks::<4>().0;
            for (keys, scores) in keys.iter().zip(scores.as_chunks_mut().0) {
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
    }

    #[inline(never)]
    fn add_values<'a>(
        &self,
        weights: &[Eight],
        chunks: impl Iterator<Item = Chunk<'a>>,
        to: &mut [f32],
    ) {
        let to: &mut [[f32; 4]; N] = to.as_chunks_mut().0.first_chunk_mut().expect("a head");
        for (chunk, weights) in chunks.zip(weights) {
            let values = chunk.values.as_chunks::<4>().0;
            let weights = weights.map(F32x4::splat);
            // Four vectors a turn, all from one address: the loop's own steps cost as much as three
            // products.
            for (turn, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let values = &values[4 * turn..][..(CHUNK_POSITIONS - 1) * N + 4];
                for (n, to) in to.iter_mut().enumerate() {
                    let mut sum = F32x4::load(to);
                    for (position, weight) in weights.iter().enumerate() {
                        sum = sum.add(F32x4::load(&values[position * N + n]).mul(*weight));
                    }
                    sum.store(to);
                }
            }
        }
    }
}

impl Products for Any {
    fn scores<'a>(
        &self,
        query: &[f32],
        chunks: impl Iterator<Item = Chunk<'a>>,
        scores: &mut [Eight],
    ) {
        let query = query.as_chunks::<4>().0;
        let keys = |chunk: Chunk<'a>| chunk.keys.as_chunks::<4>().0.chunks_exact(query.len());
        for (key, score) in chunks.flat_map(keys).zip(scores.as_flattened_mut()) {
            let sum = query.iter().zip(key).fold(F32x4::splat(0.0), |sum, (query, key)| {
                sum.add(F32x4::load(query).mul(F32x4::load(key)))
            });
            *score = sum.sum();
        }
    }

    fn add_values<'a>(
        &self,
        weights: &[Eight],
        chunks: impl Iterator<Item = Chunk<'a>>,
        to: &mut [f32],
    ) {
        let to = to.as_chunks_mut::<4>().0;
        let length = to.len();
        let values = |chunk: Chunk<'a>| chunk.values.as_chunks::<4>().0.chunks_exact(length);
        for (weight, value) in weights.as_flattened().iter().zip(chunks.flat_map(values)) {
            let weight = F32x4::splat(*weight);
            for (to, value) in to.iter_mut().zip(value) {
                F32x4::load(to).add(F32x4::load(value).mul(weight)).store(to);
            }
        }
    }
}
