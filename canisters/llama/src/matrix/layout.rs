//! Where a matrix keeps its elements.
//!
//! Columns are padded to a multiple of 64 and cut into groups of 256; the last group may have 64,
//! 128 or 192. A panel is a run of groups that a kernel multiplies in one pass over all rows, and
//! each panel's rows are contiguous.

use std::ops::Range;

/// Columns that share one scale of the activations.
pub(crate) const GROUP_COLUMNS: usize = 256;
/// Every row is padded to a multiple of this.
const UNIT_COLUMNS: usize = 64;

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
    /// Lay out rows of `columns` in panels of at most `widest` full groups: 1 or 8. An odd number
    /// of rows is padded by one.
    pub(crate) fn new(rows: usize, columns: usize, widest: usize) -> Self {
        let columns = columns.next_multiple_of(UNIT_COLUMNS);
        let (mut groups, tail) = (columns / GROUP_COLUMNS, columns % GROUP_COLUMNS);
        let (mut panels, mut first_column) = (Vec::new(), 0);
        while first_column < columns {
            let taken = [8, 4, 2, 1].into_iter().find(|&n| n <= groups.min(widest)).unwrap_or(0);
            groups -= taken;
            let with_tail = groups == 0 && taken <= 2.min(widest - 1);
            let columns = taken * GROUP_COLUMNS + if with_tail { tail } else { 0 };
            panels.push(Panel { first_column, columns });
            first_column += columns;
        }
        Self { rows: rows.next_multiple_of(2), columns, panels }
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

    /// Yield the groups of a row in order: first column, first element, number of columns.
    pub(crate) fn groups(&self, row: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        self.panels.iter().flat_map(move |panel| {
            let first = self.rows_of(panel, &(row..row)).start;
            (0..panel.columns).step_by(GROUP_COLUMNS).map(move |at| {
                (panel.first_column + at, first + at, GROUP_COLUMNS.min(panel.columns - at))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Panel};

    fn widths(columns: usize, widest: usize) -> Vec<usize> {
        Layout::new(3, columns, widest).panels.iter().map(|panel| panel.columns).collect()
    }

    #[test]
    fn covers_every_column_with_kernel_widths() {
        assert_eq!(widths(576, 8), [576]);
        assert_eq!(widths(576, 1), [256, 256, 64]);
        assert_eq!(widths(896, 8), [512, 384]);
        assert_eq!(widths(4096, 8), [2048, 2048]);
        assert_eq!(widths(14336, 8), [2048; 7]);
        assert_eq!(widths(1536, 8), [1024, 512]);
        assert_eq!(widths(1100, 8), [1024, 128]);
        assert_eq!(widths(40, 8), [64]);
        for columns in 1..3000 {
            for widest in [1, 8] {
                let total = widths(columns, widest).into_iter().sum::<usize>();
                assert_eq!(total, columns.next_multiple_of(64));
            }
        }
    }

    #[test]
    fn every_element_has_its_own_place() {
        let layout = Layout::new(5, 1100, 8);
        let mut seen = vec![false; layout.elements()];
        for row in 0..6 {
            for (_, first, count) in layout.groups(row) {
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
