//! Rows under headings, aligned by what a terminal shows of them.
//! Owns the widths; colours are the caller's, and count for nothing.

use crate::output::{Output, Paint};

/// A cell: what is shown, and the same with its colours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    shown: usize,
    painted: String,
    right: bool,
}

impl Cell {
    /// `painted` is `text` with or without colours.
    pub(crate) fn new(text: &str, painted: String) -> Cell {
        Cell {
            shown: text.chars().count(),
            painted,
            right: false,
        }
    }

    /// Without colours.
    pub(crate) fn plain(text: impl Into<String>) -> Cell {
        let text = text.into();
        Cell::new(&text.clone(), text)
    }

    /// Over a column.
    pub(crate) fn heading(name: &str, output: Output) -> Cell {
        Cell::new(name, output.paint(name, &[Paint::Dim]))
    }

    /// To the right, as numbers are.
    pub(crate) fn right(mut self) -> Cell {
        self.right = true;
        self
    }
}

/// The lines of a table; two spaces between columns, none at the end of a line.
pub(crate) fn lines(rows: &[Vec<Cell>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.shown).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let blank = " ".repeat(width.saturating_sub(cell.shown));
            if cell.right { format!("{blank}{}", cell.painted) } else { format!("{}{blank}", cell.painted) }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = [
            vec![Cell::plain("KEY"), Cell::plain("TOKEN").right(), Cell::plain("LEADER")],
            vec![Cell::new("ä/b", "\x1b[1mä/b\x1b[0m".to_owned()), Cell::plain("7").right(), Cell::plain("x")],
            vec![Cell::plain("longer"), Cell::default(), Cell::plain("")],
        ];
        assert_eq!(lines(&rows), ["KEY     TOKEN  LEADER", "\x1b[1mä/b\x1b[0m         7  x", "longer"]);
    }
}
