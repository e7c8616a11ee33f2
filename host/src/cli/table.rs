//! Tables for people.

use std::io::{self, Write};

/// Rows of cells, aligned by column. Numbers stand to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|text| (*text).to_owned()).collect();
        Self {
            rows: vec![headings],
        }
    }

    /// A table without headings.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells);
    }

    /// Adds a row of any length.
    pub fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter();
        self.rows.push(cells.map(|cell| printable(&cell)).collect());
    }

    /// Writes it.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_within(None, out)
    }

    /// Writes it, with lines cut to a width, if there is one.
    pub fn write_within(&self, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                if column > 0 {
                    line.push_str("  ");
                }
                match is_number(cell) {
                    true => line.extend([gap.as_str(), cell]),
                    false => line.extend([cell.as_str(), &gap]),
                }
            }
            let line = line.trim_end();
            match width {
                Some(width) if line.chars().count() > width => {
                    let cut: String = line.chars().take(width.saturating_sub(1)).collect();
                    writeln!(out, "{cut}…")?;
                }
                _ => writeln!(out, "{line}")?,
            }
        }
        Ok(())
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

/// A text without what would steer a terminal: controls, and marks that turn the direction of
/// writing.
pub fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(steers, "\u{fffd}")
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || ".,".contains(c))
}

/// A whole number with its thousands apart: `262,200`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["type", "count"]);
        table.row(["open".to_owned(), grouped(1_234)]);
        table.row(["deposit".to_owned(), grouped(7)]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = "type     count\nopen     1,234\ndeposit      7\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_line_is_cut_to_a_width() {
        let mut table = Table::bare();
        table.row(["a".to_owned(), "12345é ".to_owned()]);
        let written = |width| {
            let mut out = Vec::new();
            table.write_within(width, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Some(9)), "a  12345é\n");
        assert_eq!(written(Some(8)), "a  1234…\n");
        assert_eq!(written(None), "a  12345é\n");
    }

    #[test]
    fn nothing_in_a_cell_steers_the_terminal() {
        let mut table = Table::bare();
        table.row(["a\u{1b}[31m\n\u{7}\u{9b}\u{202e}é".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written.matches('\u{fffd}').count(), 5);
        assert!(written.ends_with("é\n") && !written.contains('\u{1b}'));
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
