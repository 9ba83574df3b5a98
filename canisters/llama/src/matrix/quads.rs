//! A matrix of i16 words, in quads of rows.

use std::collections::BTreeMap;

use super::NotFinite;
use super::fast::{self, Pair};
use super::grid::{self, Words};
use super::layout::{GROUP_COLUMNS, Layout, Panel, QUAD};
use super::word::Word;

/// The words of each panel, quad after quad, with the steps of rows and the norms of groups.
pub(super) struct Quads {
    panels: Vec<Vec<Words>>,
    steps: Vec<[f32; QUAD]>,
    norms: Vec<f32>,
    /// Quads of which some rows are placed.
    incomplete: BTreeMap<usize, Incomplete>,
}

/// The bytes of a quad's rows, and which of them are known.
struct Incomplete {
    bytes: Vec<u8>,
    known: [bool; QUAD],
}

impl Quads {
    pub(super) fn new(layout: &Layout) -> Self {
        let room = |panel: &Panel| {
            Vec::with_capacity(
                layout.rows() * panel.columns * size_of::<i16>() / size_of::<Words>(),
            )
        };
        Self {
            panels: layout.panels().iter().map(room).collect(),
            steps: vec![[0.0; QUAD]; layout.rows() / QUAD],
            norms: vec![0.0; layout.columns() / GROUP_COLUMNS],
            incomplete: BTreeMap::new(),
        }
    }

    /// Place consecutive rows of `columns` elements, the first of them `first` of `count`.
    pub(super) fn place<W: Word>(
        &mut self,
        layout: &Layout,
        (first, count): (usize, usize),
        columns: usize,
        mut bytes: &[u8],
    ) -> Result<(), NotFinite> {
        let length = columns * W::BYTES;
        let mut row = first;
        while !bytes.is_empty() {
            let is_whole = row.is_multiple_of(QUAD) && columns == layout.columns();
            let placed = match bytes.split_at_checked(QUAD * length) {
                Some((quad, rest)) if is_whole => {
                    let rows = std::array::from_fn(|row| &quad[row * length..(row + 1) * length]);
                    self.place_quad::<W>(layout, row / QUAD, rows)?;
                    bytes = rest;
                    QUAD
                }
                _ => {
                    let (known, rest) = bytes.split_at(length);
                    self.place_row::<W>(layout, (row, count), known)?;
                    bytes = rest;
                    1
                }
            };
            row += placed;
        }
        Ok(())
    }

    /// Keep a row until its quad is complete. Rows of padding are known from the start.
    fn place_row<W: Word>(
        &mut self,
        layout: &Layout,
        (row, count): (usize, usize),
        bytes: &[u8],
    ) -> Result<(), NotFinite> {
        let (quad, length) = (row / QUAD, layout.columns() * W::BYTES);
        let known = std::array::from_fn(|row| quad * QUAD + row >= count);
        let incomplete = self
            .incomplete
            .entry(quad)
            .or_insert_with(|| Incomplete { bytes: vec![0; QUAD * length], known });
        let to = &mut incomplete.bytes[row % QUAD * length..(row % QUAD + 1) * length];
        to[..bytes.len()].copy_from_slice(bytes);
        if !W::greatest(to).is_finite() {
            to.fill(0);
            return Err(NotFinite(row));
        }
        incomplete.known[row % QUAD] = true;
        if incomplete.known != [true; QUAD] {
            return Ok(());
        }
        let Some(Incomplete { bytes, .. }) = self.incomplete.remove(&quad) else { return Ok(()) };
        let rows = std::array::from_fn(|row| &bytes[row * length..(row + 1) * length]);
        self.place_quad::<W>(layout, quad, rows)
    }

    fn place_quad<W: Word>(
        &mut self,
        layout: &Layout,
        quad: usize,
        rows: [&[u8]; QUAD],
    ) -> Result<(), NotFinite> {
        let greatest = rows.map(W::greatest);
        if let Some(row) = greatest.iter().position(|greatest| !greatest.is_finite()) {
            return Err(NotFinite(quad * QUAD + row));
        }
        let (panels, norms) = (&mut self.panels, &mut self.norms);
        self.steps[quad] = grid::place_quad::<W>(rows, greatest, quad, layout, panels, norms);
        Ok(())
    }

    /// Convert a row to f32.
    pub(super) fn row(&self, layout: &Layout, row: usize, to: &mut [f32]) {
        let (quad, lane) = (row / QUAD, 2 * (row % QUAD));
        let step = self.steps[quad][row % QUAD];
        let parts = layout.panels().iter().zip(&self.panels).flat_map(|(panel, words)| {
            let count = panel.columns / 2;
            &words.as_flattened()[quad * count..(quad + 1) * count]
        });
        for (to, words) in to.chunks_mut(2).zip(parts) {
            for (to, &word) in to.iter_mut().zip(&words[lane..]) {
                *to = f32::from(word) * step;
            }
        }
    }

    /// Return the greatest norms of the rows of several matrices of equal columns.
    pub(super) fn joint_norms<'a>(all: impl Iterator<Item = &'a Self>, to: &mut Vec<f32>) {
        to.clear();
        for quads in all {
            to.resize(quads.norms.len(), 0.0);
            to.iter_mut().zip(&quads.norms).for_each(|(to, norm)| *to = to.max(*norm));
        }
    }

    /// Multiply with activations that were quantized for these norms or greater ones.
    pub(super) fn multiply(&self, layout: &Layout, x: (&[Pair], &[f32]), y: &mut [f32]) {
        let (whole, rest) = y.as_chunks_mut::<QUAD>();
        let quads = whole.len();
        self.multiply_quads(layout, 0, x, whole);
        if !rest.is_empty() {
            let mut last = [[0.0; QUAD]];
            self.multiply_quads(layout, quads, x, &mut last);
            rest.copy_from_slice(&last.as_flattened()[..rest.len()]);
        }
    }

    /// Multiply quads from number `first` on.
    fn multiply_quads(
        &self,
        layout: &Layout,
        first: usize,
        x: (&[Pair], &[f32]),
        y: &mut [[f32; QUAD]],
    ) {
        for (panel, words) in layout.panels().iter().zip(&self.panels) {
            let words = &words.as_flattened()[first * panel.columns / 2..];
            fast::multiply_panel(panel, words, x, &self.steps[first..], y);
        }
    }
}
