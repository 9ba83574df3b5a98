//! Matrices in the heap and their products with a vector.

mod exact;
mod fast;
mod grid;
mod layout;
mod quads;
mod word;

pub(crate) use word::{Bf16, F16, F32, Word};

pub use word::Dtype;

use std::ops::Range;

use crate::simd::F32x4;
use layout::{GROUP_COLUMNS, Layout};
use quads::Quads;

/// How weights are kept and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// i16 on a power-of-two grid a row, times i16 activations: relative error about 1e-4.
    Fast,
    /// The checkpoint's own words, times f32 activations: relative error below 1e-6.
    Exact,
}

/// A row with an element that is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFinite(pub(crate) usize);

/// Panels of the exact kernels, in groups.
const EXACT_WIDTHS: [usize; 4] = [4, 3, 2, 1];

/// Rows whose sums are kept at once; a multiple of four.
const STRIP_ROWS: usize = 512;

/// Buffers of a multiplication, kept to be used again.
pub(crate) struct Scratch {
    x: Vec<[f32; 4]>,
    pairs: Vec<fast::Pair>,
    steps: Vec<f32>,
    norms: Vec<f32>,
    sums: Box<[[f32; 4]; STRIP_ROWS]>,
}

impl Default for Scratch {
    fn default() -> Self {
        let sums = Box::new([[0.0; 4]; STRIP_ROWS]);
        let (x, pairs, steps, norms) = Default::default();
        Self { x, pairs, steps, norms, sums }
    }
}

enum Elements {
    Grid(Quads),
    /// The checkpoint's own words.
    Words {
        bytes: Vec<u8>,
        dtype: Dtype,
    },
}

/// A matrix of `rows` by `columns`, row-major.
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    layout: Layout,
    elements: Elements,
}

impl Matrix {
    /// Make a matrix without rows. It can be used when all of them are placed.
    pub(crate) fn new(rows: usize, columns: usize, mode: Mode, dtype: Dtype) -> Self {
        let widths: &[usize] = if mode == Mode::Fast { &fast::WIDTHS } else { &EXACT_WIDTHS };
        let layout = Layout::new(rows, columns, widths);
        let elements = match mode {
            Mode::Fast => Elements::Grid(Quads::new(&layout)),
            Mode::Exact => {
                Elements::Words { bytes: vec![0; layout.elements() * dtype.bytes()], dtype }
            }
        };
        Self { rows, columns, layout, elements }
    }

    /// Place whole rows of a checkpoint's words, from row `first` on.
    pub(crate) fn place_rows(
        &mut self,
        first: usize,
        bytes: &[u8],
        dtype: Dtype,
    ) -> Result<(), NotFinite> {
        match dtype {
            Dtype::Bf16 => self.place_rows_of::<Bf16>(first, bytes),
            Dtype::F16 => self.place_rows_of::<F16>(first, bytes),
            Dtype::F32 => self.place_rows_of::<F32>(first, bytes),
        }
    }

    fn place_rows_of<W: Word>(&mut self, first: usize, bytes: &[u8]) -> Result<(), NotFinite> {
        let layout = &self.layout;
        match &mut self.elements {
            Elements::Grid(quads) => {
                quads.place::<W>(layout, (first, self.rows), self.columns, bytes)?;
            }
            Elements::Words { bytes: to, .. } => {
                for (index, row) in bytes.chunks_exact(self.columns * W::BYTES).enumerate() {
                    if !is_finite::<W>(row) {
                        return Err(NotFinite(first + index));
                    }
                    for (first_column, start, count) in layout.pieces(first + index) {
                        let end = self.columns.min(first_column + count);
                        let from = &row[first_column * W::BYTES..end * W::BYTES];
                        to[start * W::BYTES..][..from.len()].copy_from_slice(from);
                    }
                }
            }
        }
        Ok(())
    }

    /// Convert a row to f32.
    pub(crate) fn row(&self, row: usize, to: &mut [f32]) {
        match &self.elements {
            Elements::Grid(quads) => quads.row(&self.layout, row, to),
            Elements::Words { bytes, dtype } => {
                for (first_column, first, count) in self.layout.pieces(row) {
                    let to = &mut to[first_column.min(self.columns)..];
                    let size = dtype.bytes();
                    let bytes = &bytes[first * size..(first + count) * size];
                    match dtype {
                        Dtype::Bf16 => convert::<Bf16>(bytes, to),
                        Dtype::F16 => convert::<F16>(bytes, to),
                        Dtype::F32 => convert::<F32>(bytes, to),
                    }
                }
            }
        }
    }

    /// Multiply with the column vector `x` into `y`.
    pub(crate) fn multiply(&self, x: &[f32], y: &mut [f32], scratch: &mut Scratch) {
        multiply_all(x, [(self, y)], scratch);
    }

    fn multiply_words<W: Word>(
        &self,
        x: &[f32],
        bytes: &[u8],
        y: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let x = pad(x, W::HALF_SCALE, self.layout.columns(), &mut scratch.x);
        let scale = F32x4::splat(W::HALF_SCALE);
        for (y, rows) in self.strips(y) {
            for panel in self.layout.panels() {
                let Range { start, end } = self.layout.rows_of(panel, &rows);
                let bytes = &bytes[start * W::BYTES..end * W::BYTES];
                exact::multiply_panel::<W>(panel, bytes, x, &mut scratch.sums[..]);
            }
            finish(&scratch.sums, std::iter::repeat(scale), y);
        }
    }

    /// Cut the result into strips, each with its rows.
    fn strips<'a>(&self, y: &'a mut [f32]) -> impl Iterator<Item = (&'a mut [f32], Range<usize>)> {
        let rows = self.layout.rows();
        y.chunks_mut(STRIP_ROWS).enumerate().map(move |(index, y)| {
            let start = index * STRIP_ROWS;
            (y, start..rows.min(start + STRIP_ROWS))
        })
    }
}

/// Multiply several matrices with the same column vector, which is quantized once for all of them. An
/// empty result is not computed.
pub(crate) fn multiply_all<const N: usize>(
    x: &[f32],
    mut all: [(&Matrix, &mut [f32]); N],
    scratch: &mut Scratch,
) {
    let fits = |(matrix, y): &(&Matrix, &mut [f32])| {
        x.len() == matrix.columns && (y.is_empty() || y.len() == matrix.rows)
    };
    assert!(all.iter().all(fits), "shapes");
    quantize(x, all.iter().map(|(matrix, _)| *matrix), scratch);
    for (matrix, y) in all.iter_mut().filter(|(_, y)| !y.is_empty()) {
        match &matrix.elements {
            Elements::Grid(quads) => {
                quads.multiply(&matrix.layout, (&scratch.pairs, &scratch.steps), y);
            }
            Elements::Words { bytes, dtype } => match dtype {
                Dtype::Bf16 => matrix.multiply_words::<Bf16>(x, bytes, y, scratch),
                Dtype::F16 => matrix.multiply_words::<F16>(x, bytes, y, scratch),
                Dtype::F32 => matrix.multiply_words::<F32>(x, bytes, y, scratch),
            },
        }
    }
}

/// Quantize activations for all matrices that are on a grid.
fn quantize<'a>(x: &[f32], all: impl Iterator<Item = &'a Matrix> + Clone, scratch: &mut Scratch) {
    let Scratch { x: padded, pairs, steps, norms, .. } = scratch;
    let on_grid = all.filter_map(|matrix| match &matrix.elements {
        Elements::Grid(quads) => Some(quads),
        Elements::Words { .. } => None,
    });
    Quads::joint_norms(on_grid, norms);
    let columns = norms.len() * GROUP_COLUMNS;
    if columns == 0 {
        return;
    }
    let x = if columns == x.len() { x.as_chunks().0 } else { pad(x, 1.0, columns, padded) };
    pairs.resize(columns / 2, [0; 2]);
    steps.clear();
    let groups = x.as_chunks().0.iter().zip(pairs.as_chunks_mut().0);
    for ((x, to), &norm) in groups.zip(&*norms) {
        steps.push(fast::quantize(x, norm, to));
    }
}

/// Tell whether all elements of a row are numbers.
fn is_finite<W: Word>(row: &[u8]) -> bool {
    let (whole, rest) = row.split_at(row.len() / (8 * W::BYTES) * 8 * W::BYTES);
    let mut last = rest.to_vec();
    last.resize(8 * W::BYTES, 0);
    W::greatest(whole).is_finite() && W::greatest(&last).is_finite()
}

fn convert<W: Word>(bytes: &[u8], to: &mut [f32]) {
    for (four, to) in W::fours(bytes).iter().zip(to.chunks_mut(4)) {
        to.copy_from_slice(&W::value(four).lanes()[..to.len()]);
    }
}

/// Copy `x`, scaled, into `padded`, and fill up with zeros.
fn pad<'a>(x: &[f32], scale: f32, columns: usize, padded: &'a mut Vec<[f32; 4]>) -> &'a [[f32; 4]] {
    padded.resize(columns / 4, [0.0; 4]);
    let flat = padded.as_flattened_mut();
    let (head, tail) = flat.split_at_mut(x.len());
    for (to, x) in head.iter_mut().zip(x) {
        *to = x * scale;
    }
    tail.fill(0.0);
    padded
}

/// Add up each row's lanes and scale them.
fn finish(sums: &[[f32; 4]; STRIP_ROWS], scales: impl Iterator<Item = F32x4>, y: &mut [f32]) {
    let (fours, rest) = y.as_chunks_mut::<4>();
    let mut totals = sums.as_chunks::<4>().0.iter().zip(scales).map(|([a, b, c, d], scale)| {
        let rows = [F32x4::load(a), F32x4::load(b), F32x4::load(c), F32x4::load(d)];
        F32x4::sums(rows).mul(scale)
    });
    for (y, total) in fours.iter_mut().zip(&mut totals) {
        total.store(y);
    }
    if let Some(total) = totals.next() {
        rest.copy_from_slice(&total.lanes()[..rest.len()]);
    }
}
