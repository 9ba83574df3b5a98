//! Where a matrix keeps its elements.
//!
//! Columns are padded to a multiple of 64 and cut into groups of 64, rows to a multiple of four. A
//! panel is a run of groups that a kernel multiplies in one pass over all rows, and each panel's rows
//! are contiguous.

use std::ops::Range;

/// Columns that share one scale of the activations; every row is padded to a multiple of this.
pub(crate) const GROUP_COLUMNS: usize = 64;
/// Rows that kernels take together; every column is padded to a multiple of this.
pub(crate) const QUAD: usize = 4;

/// A run of groups that one pass of a kernel covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) first_column: usize,
    pub(crate) columns: usize,
}

/// The panels of a matrix.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    rows: usize,
    columns: usize,
    panels: Vec<Panel>,
}

impl Layout {
    /// Lay out rows of `columns` in panels, each of the greatest of `widths`, in groups, that fits.
    /// `widths` fall to 1.
    pub(crate) fn new(rows: usize, columns: usize, widths: &[usize]) -> Self {
        let columns = columns.next_multiple_of(GROUP_COLUMNS);
        let (mut panels, mut first_column) = (Vec::new(), 0);
        while first_column < columns {
            let left = (columns - first_column) / GROUP_COLUMNS;
            let groups = widths.iter().find(|&&width| width <= left).unwrap_or(&1);
            let columns = groups * GROUP_COLUMNS;
            panels.push(Panel { first_column, columns });
            first_column += columns;
        }
        Self { rows: rows.next_multiple_of(QUAD), columns, panels }
    }

    /// Rows with padding.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns with padding.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Elements with padding.
    pub(crate) fn elements(&self) -> usize {
        self.rows * self.columns
    }

    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// Elements of some rows of a panel.
    pub(crate) fn rows_of(&self, panel: &Panel, rows: &Range<usize>) -> Range<usize> {
        let start = self.rows * panel.first_column;
        start + rows.start * panel.columns..start + rows.end * panel.columns
    }

    /// Yield the panels of a row in order: first column, first element, number of columns.
    pub(crate) fn pieces(&self, row: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        self.panels.iter().map(move |panel| {
            let first = self.rows_of(panel, &(row..row)).start;
            (panel.first_column, first, panel.columns)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Panel};

    const WIDTHS: [&[usize]; 2] = [&[16, 9, 8, 4, 3, 2, 1], &[4, 3, 2, 1]];

    fn widths(columns: usize, widths: &[usize]) -> Vec<usize> {
        Layout::new(3, columns, widths).panels.iter().map(|panel| panel.columns).collect()
    }

    #[test]
    fn covers_every_column_with_kernel_widths() {
        let [wide, narrow] = WIDTHS;
        assert_eq!(widths(576, wide), [576]);
        assert_eq!(widths(576, narrow), [256, 256, 64]);
        assert_eq!(widths(896, wide), [576, 256, 64]);
        assert_eq!(widths(4096, wide), [1024; 4]);
        assert_eq!(widths(1536, wide), [1024, 512]);
        assert_eq!(widths(1100, wide), [1024, 128]);
        assert_eq!(widths(40, wide), [64]);
        for columns in 1..3000 {
            for allowed in WIDTHS {
                let total = widths(columns, allowed).into_iter().sum::<usize>();
                assert_eq!(total, columns.next_multiple_of(64));
            }
        }
    }

    #[test]
    fn every_element_has_its_own_place() {
        let layout = Layout::new(5, 1100, WIDTHS[0]);
        let mut seen = vec![false; layout.elements()];
        for row in 0..8 {
            for (_, first, count) in layout.pieces(row) {
                for place in &mut seen[first..first + count] {
                    assert!(!*place);
                    *place = true;
                }
            }
        }
        assert!(seen.into_iter().all(|place| place));
        assert_eq!(layout.panels[1], Panel { first_column: 1024, columns: 128 });
    }
}
