//! Matrices in the heap and their products with a vector.

mod exact;
mod fast;
mod grid;
mod layout;
mod outliers;
mod word;

pub(crate) use word::{Bf16, F16, F32, Word};

pub use word::Dtype;

use std::ops::Range;

use crate::simd::F32x4;
use fast::Measure;
use layout::{GROUP_COLUMNS, Layout, Panel};

/// How weights are kept and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// i16 on a power-of-two grid a row, times i16 activations: relative error about 1e-4.
    Fast,
    /// The checkpoint's own words, times f32 activations: relative error below 1e-6.
    Exact,
}

/// An element that is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFinite;

/// Rows whose sums are kept at once; a multiple of four.
const STRIP_ROWS: usize = 512;

/// Buffers of a multiplication, kept to be used again.
pub(crate) struct Scratch {
    x: Vec<[f32; 4]>,
    words: Vec<[i16; 8]>,
    steps: Vec<f32>,
    sums: Box<[[f32; 4]; STRIP_ROWS]>,
    outliers: Vec<outliers::Outlier>,
    /// A group without its outliers.
    kept: Box<[[f32; 4]; GROUP_COLUMNS / 4]>,
}

impl Default for Scratch {
    fn default() -> Self {
        let sums = Box::new([[0.0; 4]; STRIP_ROWS]);
        let (x, words, steps, outliers) = Default::default();
        let kept = Box::new([[0.0; 4]; GROUP_COLUMNS / 4]);
        Self { x, words, steps, sums, outliers, kept }
    }
}

enum Elements {
    /// The words of each panel, row after row; the steps of rows; the lane norms of groups.
    Grid {
        panels: Vec<Vec<grid::Words>>,
        steps: Vec<f32>,
        norms: Vec<f32>,
    },
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
        let layout = Layout::new(rows, columns, if mode == Mode::Fast { 8 } else { 1 });
        let elements = match mode {
            Mode::Fast => Elements::Grid {
                panels: layout.panels().iter().map(|panel| room(&layout, panel)).collect(),
                steps: vec![0.0; rows.next_multiple_of(4)],
                norms: vec![0.0; layout.columns().div_ceil(GROUP_COLUMNS)],
            },
            Mode::Exact => {
                Elements::Words { bytes: vec![0; layout.elements() * dtype.bytes()], dtype }
            }
        };
        Self { rows, columns, layout, elements }
    }

    /// Place a whole row of a checkpoint's words.
    pub(crate) fn place_row(
        &mut self,
        row: usize,
        bytes: &[u8],
        dtype: Dtype,
    ) -> Result<(), NotFinite> {
        match dtype {
            Dtype::Bf16 => self.place_row_of::<Bf16>(row, bytes),
            Dtype::F16 => self.place_row_of::<F16>(row, bytes),
            Dtype::F32 => self.place_row_of::<F32>(row, bytes),
        }
    }

    fn place_row_of<W: Word>(&mut self, row: usize, bytes: &[u8]) -> Result<(), NotFinite> {
        let padded;
        let bytes = if bytes.len() == self.layout.columns() * W::BYTES {
            bytes
        } else {
            let mut copy = bytes.to_vec();
            copy.resize(self.layout.columns() * W::BYTES, 0);
            padded = copy;
            &padded
        };
        let greatest = W::greatest(bytes);
        if !greatest.is_finite() {
            return Err(NotFinite);
        }
        match &mut self.elements {
            Elements::Grid { panels, steps, norms } => {
                let layout = &self.layout;
                steps[row] = grid::place_row::<W>(bytes, greatest, row, layout, panels, norms);
                if row + 1 == self.rows {
                    for (panel, words) in layout.panels().iter().zip(panels) {
                        let count = layout.rows() * panel.columns / 32;
                        words.resize(words.len().max(count), [[0; 8]; 4]);
                    }
                }
            }
            Elements::Words { bytes: to, .. } => {
                for (first_column, first, count) in self.layout.groups(row) {
                    let from = &bytes[first_column * W::BYTES..(first_column + count) * W::BYTES];
                    to[first * W::BYTES..(first + count) * W::BYTES].copy_from_slice(from);
                }
            }
        }
        Ok(())
    }

    /// Convert a row to f32.
    pub(crate) fn row(&self, row: usize, to: &mut [f32]) {
        match &self.elements {
            Elements::Grid { panels, steps, .. } => {
                let parts = self.layout.panels().iter().zip(panels).flat_map(|(panel, words)| {
                    let width = panel.columns / 32;
                    words[row * width..(row + 1) * width].as_flattened().as_flattened()
                });
                for (to, &word) in to.iter_mut().zip(parts) {
                    *to = f32::from(word) * steps[row];
                }
            }
            Elements::Words { bytes, dtype } => {
                for (first_column, first, count) in self.layout.groups(row) {
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
        assert!(x.len() == self.columns && y.len() == self.rows, "shapes");
        match &self.elements {
            Elements::Grid { panels, steps, norms } => {
                self.multiply_grid(x, panels, steps, norms, y, scratch);
            }
            Elements::Words { bytes, dtype } => match dtype {
                Dtype::Bf16 => self.multiply_words::<Bf16>(x, bytes, y, scratch),
                Dtype::F16 => self.multiply_words::<F16>(x, bytes, y, scratch),
                Dtype::F32 => self.multiply_words::<F32>(x, bytes, y, scratch),
            },
        }
    }

    fn multiply_grid(
        &self,
        x: &[f32],
        panels: &[Vec<grid::Words>],
        row_steps: &[f32],
        norms: &[f32],
        y: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { x: padded, words: quantized, steps, sums, outliers, kept } = scratch;
        let columns = self.layout.columns();
        let x = if columns == x.len() { x.as_chunks().0 } else { pad(x, 1.0, columns, padded) };
        quantized.resize(columns / 8, [0; 8]);
        steps.clear();
        outliers.clear();
        let takes_outliers = self.rows <= self.columns;
        let groups = x.chunks(GROUP_COLUMNS / 4).zip(quantized.chunks_mut(GROUP_COLUMNS / 8));
        for (index, ((x, to), &norm)) in groups.zip(norms).enumerate() {
            let mut measure = Measure::of(x);
            let mut rest = x;
            if takes_outliers {
                let first_column = index * GROUP_COLUMNS;
                rest = outliers::take(x, measure, first_column, kept, outliers);
                if !std::ptr::eq(rest, x) {
                    measure = Measure::of(rest);
                }
            }
            steps.push(fast::quantize(rest, measure, norm, to));
        }
        for (y, rows) in self.strips(y) {
            for (panel, words) in self.layout.panels().iter().zip(panels) {
                let width = panel.columns / 32;
                let words = words[rows.start * width..rows.end * width].as_flattened();
                fast::multiply_panel(panel, words, quantized, steps, &mut sums[..]);
            }
            let scales = row_steps[rows.start..].as_chunks::<4>().0;
            finish(sums, scales.iter().map(F32x4::load), y);
        }
        outliers::multiply(outliers, &self.layout, panels, row_steps, y);
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
        let rows = self.rows.next_multiple_of(2);
        y.chunks_mut(STRIP_ROWS).enumerate().map(move |(index, y)| {
            let start = index * STRIP_ROWS;
            (y, start..rows.min(start + STRIP_ROWS))
        })
    }
}

fn room(layout: &Layout, panel: &Panel) -> Vec<grid::Words> {
    Vec::with_capacity(layout.rows() * panel.columns / 32)
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
