//! Which columns a table has room for, and how wide they are.

use std::borrow::Cow;

use console::measure_text_width;

use super::{Column, Kind, Room, Table, cut, push};

/// Space between two columns.
const GAP: usize = 2;
/// Minimum width of a text while other columns can be removed.
const TEXT_MIN: usize = 12;
/// Minimum width of a text.
const TEXT_LEAST: usize = 4;
/// Length of a time without fractions of a second: `2026-11-30T18:17:11Z`.
const TIME: usize = 20;

/// The columns to show, and their widths.
pub struct Layout {
    /// Their numbers, ascending.
    pub shown: Vec<usize>,
    /// By column number.
    widths: Vec<usize>,
    /// Width of a line; none for unlimited.
    width: Option<usize>,
}

impl Layout {
    /// The layout of a table for lines of a width.
    ///
    /// If there is too little room, times lose their fractions of seconds, then columns without
    /// information are removed, then texts are cut, then optional columns are removed. Only ids are
    /// never cut: a line may be too long because of them.
    pub fn of(
        table: &Table,
        rows: &[Vec<String>],
        has_heading: bool,
        width: Option<usize>,
    ) -> Self {
        let mut widths = table.widths.clone();
        if has_heading {
            for (width, column) in widths.iter_mut().zip(&table.columns) {
                *width = (*width).max(measure_text_width(column.heading));
            }
        }
        let mut layout = Self {
            shown: (0..table.columns.len()).collect(),
            widths,
            width,
        };
        if let Some(width) = width {
            layout.fit(table, rows, width);
        }
        layout
    }

    fn fit(&mut self, table: &Table, rows: &[Vec<String>], width: usize) {
        let columns = &table.columns;
        if self.total() <= width {
            return;
        }
        for (width, column) in self.widths.iter_mut().zip(columns) {
            if column.kind == Kind::Time {
                *width = (*width).min(TIME.max(measure_text_width(column.heading)));
            }
        }
        if self.total() <= width {
            return;
        }
        let says_nothing = |column: &usize| {
            columns[*column].room == Room::IfNotEmpty && !table.has_values[*column]
        };
        self.shown.retain(|column| !says_nothing(column));
        while self.least(columns) > width
            && let Some(last) = self.last_to_go(columns)
        {
            self.shown.remove(last);
        }
        self.align_ids(columns, rows, width);
        self.narrow(columns, TEXT_MIN, width);
        self.narrow(columns, TEXT_LEAST, width);
    }

    /// The index of the last optional column.
    fn last_to_go(&self, columns: &[Column]) -> Option<usize> {
        let mut shown = self.shown.iter();
        shown.rposition(|column| columns[*column].room == Room::IfThereIs)
    }

    /// Makes the widest texts narrower, until the line fits or they have the minimum width.
    fn narrow(&mut self, columns: &[Column], least: usize, width: usize) {
        let texts: Vec<usize> = {
            let shown = self.shown.iter().copied();
            shown
                .filter(|column| columns[*column].kind == Kind::Text)
                .collect()
        };
        while self.total() > width {
            let widest = texts.iter().max_by_key(|column| self.widths[**column]);
            let Some(widest) = widest.filter(|column| self.widths[**column] > least) else {
                return;
            };
            self.widths[*widest] -= 1;
        }
    }

    /// Aligns rows by the ids of three quarters of them: a few long ids shift only the columns
    /// after them.
    fn align_ids(&mut self, columns: &[Column], rows: &[Vec<String>], width: usize) {
        for (column, known) in columns.iter().enumerate() {
            if known.kind != Kind::Id || self.least(columns) <= width {
                continue;
            }
            let cells = rows.iter().filter_map(|row| row.get(column));
            let mut lengths: Vec<usize> = cells.map(|cell| measure_text_width(cell)).collect();
            lengths.sort_unstable();
            if let Some(usual) = lengths.get(lengths.len() * 3 / 4) {
                let least = measure_text_width(known.heading).max(*usual);
                self.widths[column] = self.widths[column].min(least);
            }
        }
    }

    /// Length of a line.
    fn total(&self) -> usize {
        self.length(|column| self.widths[column])
    }

    /// Length of a line with all texts at their minimum width.
    fn least(&self, columns: &[Column]) -> usize {
        self.length(|column| match columns[column].kind {
            Kind::Text => self.widths[column].min(TEXT_MIN),
            _ => self.widths[column],
        })
    }

    fn length(&self, width: impl Fn(usize) -> usize) -> usize {
        let cells: usize = self.shown.iter().map(|column| width(*column)).sum();
        cells + GAP * self.shown.len().saturating_sub(1)
    }

    /// A row, or the heading.
    pub fn line<T: AsRef<str>>(&self, columns: &[Column], cells: &[T]) -> String {
        let mut line = String::new();
        let mut ids_end = 0;
        for (place, column) in self.shown.iter().enumerate() {
            let Some(cell) = cells.get(*column) else {
                break;
            };
            if place > 0 {
                line.push_str("  ");
            }
            let (width, kind) = (self.widths[*column], columns[*column].kind);
            let cell = self.cell(cell.as_ref(), kind, width);
            push(&mut line, &cell, width, kind == Kind::Number);
            if kind == Kind::Id {
                ids_end = measure_text_width(line.trim_end());
            }
        }
        let line = line.trim_end();
        match self.width {
            Some(width) if ids_end >= width => cut_after(line, ids_end).into_owned(),
            Some(width) => cut(line, width).into_owned(),
            None => line.to_owned(),
        }
    }

    fn cell<'a>(&self, cell: &'a str, kind: Kind, width: usize) -> Cow<'a, str> {
        if self.width.is_none() || measure_text_width(cell) <= width {
            return Cow::Borrowed(cell);
        }
        match kind {
            Kind::Text => cut(cell, width),
            Kind::Time => without_fraction(cell),
            Kind::Id | Kind::Word | Kind::Number => Cow::Borrowed(cell),
        }
    }
}

/// The part of a line that fits a width, without an ellipsis: the last id ends there.
fn cut_after(line: &str, width: usize) -> Cow<'_, str> {
    console::truncate_str(line, width, "")
}

/// `2026-11-30T18:17:11Z` of `2026-11-30T18:17:11.123456Z`.
fn without_fraction(time: &str) -> Cow<'_, str> {
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') => Cow::Owned(format!("{seconds}Z")),
        _ => Cow::Borrowed(time),
    }
}
