//! Tables for people.
//!
//! A list has a heading and one line for each row. In a terminal it is cut to the terminal's width;
//! elsewhere lines are complete.

mod layout;

use std::borrow::Cow;
use std::io::{self, Write};

use console::{Term, measure_text_width, truncate_str};

use layout::Layout;

/// Columns of a terminal whose width is unknown.
const TERMINAL_COLUMNS: usize = 80;

/// Digits of a digest in a list: enough to name a module in other commands.
const DIGEST_DIGITS: usize = 12;

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    kind: Kind,
    room: Room,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Left-aligned, never cut because a person copies it.
    Id,
    /// Left-aligned.
    Word,
    /// Right-aligned.
    Number,
    /// A time, which loses its fractions of a second if there is no room for them.
    Time,
    /// Free text, which is cut to the room that the other columns leave.
    Text,
}

/// Whether a column may be removed when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Never.
    Always,
    /// When no row has a value in it.
    IfNotEmpty,
    /// Always.
    IfThereIs,
}

/// Text that a person copies into another command. Never cut.
pub const fn id(heading: &'static str) -> Column {
    Column::new(heading, Kind::Id)
}

/// A word or two.
pub const fn word(heading: &'static str) -> Column {
    Column::new(heading, Kind::Word)
}

/// A number.
pub const fn number(heading: &'static str) -> Column {
    Column::new(heading, Kind::Number)
}

/// A time in RFC 3339.
pub const fn time(heading: &'static str) -> Column {
    Column::new(heading, Kind::Time)
}

/// Text of any length.
pub const fn text(heading: &'static str) -> Column {
    Column::new(heading, Kind::Text)
}

impl Column {
    const fn new(heading: &'static str, kind: Kind) -> Self {
        Self {
            heading,
            kind,
            room: Room::Always,
        }
    }

    /// The same column, removed when there is no room and all its values are empty, `-` or 0.
    pub const fn if_not_empty(self) -> Self {
        Self {
            room: Room::IfNotEmpty,
            ..self
        }
    }

    /// The same column, removed when there is no room. The last one is removed first.
    pub const fn if_there_is_room(self) -> Self {
        Self {
            room: Room::IfThereIs,
            ..self
        }
    }
}

/// When a table has a heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heading {
    Always,
    /// Only in terminals; elsewhere programs read the lines.
    InTerminals,
    Never,
}

/// Rows of cells, aligned by column.
#[derive(Debug)]
pub struct Table {
    /// Empty: any number of columns, which are never cut, with numbers right-aligned.
    columns: Vec<Column>,
    heading: Heading,
    rows: Vec<Vec<String>>,
    /// Widths of all rows so far, also of those that were written.
    widths: Vec<usize>,
    /// Whether any row has a value in it.
    has_values: Vec<bool>,
    /// The columns of the heading that was written last.
    written: Option<Vec<usize>>,
}

impl Table {
    /// A list with these columns.
    pub fn new(columns: &[Column]) -> Self {
        Self::with(columns, Heading::Always)
    }

    /// A list that has a heading in terminals only.
    pub fn of_lines(columns: &[Column]) -> Self {
        Self::with(columns, Heading::InTerminals)
    }

    /// Facts without a heading: they are never cut.
    pub fn bare() -> Self {
        Self::with(&[], Heading::Never)
    }

    fn with(columns: &[Column], heading: Heading) -> Self {
        Self {
            columns: columns.to_vec(),
            heading,
            rows: Vec::new(),
            widths: vec![0; columns.len()],
            has_values: vec![false; columns.len()],
            written: None,
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells);
    }

    /// Adds a row of any length.
    pub fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        let length = self.widths.len().max(cells.len());
        self.widths.resize(length, 0);
        self.has_values.resize(length, false);
        for (column, cell) in cells.iter().enumerate() {
            self.widths[column] = self.widths[column].max(measure_text_width(cell));
            self.has_values[column] |= !matches!(cell.trim(), "" | "-" | "0");
        }
        self.rows.push(cells);
    }

    /// Writes the rows that were added since the last write, to stdout.
    pub fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.write_within(width(&Term::stdout()), out)
    }

    /// The same, cut to a width, if there is one.
    pub fn write_within(&mut self, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if self.columns.is_empty() {
            return self.write_facts(&rows, out);
        }
        let has_heading = match self.heading {
            Heading::Always => true,
            Heading::InTerminals => width.is_some(),
            Heading::Never => false,
        };
        let layout = Layout::of(self, &rows, has_heading, width);
        if has_heading && self.written.as_ref() != Some(&layout.shown) {
            let headings: Vec<&str> = self.columns.iter().map(|column| column.heading).collect();
            writeln!(out, "{}", layout.line(&self.columns, &headings))?;
            self.written = Some(layout.shown.clone());
        }
        for row in &rows {
            writeln!(out, "{}", layout.line(&self.columns, row))?;
        }
        Ok(())
    }

    fn write_facts(&self, rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
        for row in rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    line.push_str("  ");
                }
                push(&mut line, cell, self.widths[column], is_number(cell));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Appends a cell, and spaces up to a width.
fn push(line: &mut String, cell: &str, width: usize, to_the_right: bool) {
    let gap = " ".repeat(width.saturating_sub(measure_text_width(cell)));
    match to_the_right {
        true => line.extend([gap.as_str(), cell]),
        false => line.extend([cell, gap.as_str()]),
    }
}

/// Columns of a terminal; none if it is not a terminal. COLUMNS takes precedence.
pub fn width(term: &Term) -> Option<usize> {
    let given = std::env::var("COLUMNS").ok();
    let given = given.and_then(|columns| columns.parse().ok());
    if let Some(columns) = given.filter(|columns| *columns > 0) {
        return Some(columns);
    }
    let size = term.size_checked().map(|(_, columns)| columns.into());
    size.or(term.is_term().then_some(TERMINAL_COLUMNS))
}

/// The first digits of a digest, as many as a list shows.
pub fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_DIGITS).collect()
}

/// A text without characters that control a terminal: control characters, and marks that change the
/// direction of writing.
pub fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(steers, "\u{fffd}")
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || ".,".contains(c))
}

/// A whole number with thousands separators: `262,200`.
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

/// A number with its noun: `1 event`, `2,000 events`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{} {many}", grouped(number)),
    }
}

/// A mark, a name and what is said of it: in two lines if one were wider than 80 columns.
pub fn marked(mark: &str, name: &str, text: &str) -> String {
    let line = format!("{mark}  {name}: {text}");
    match measure_text_width(&line) {
        ..=80 => line,
        _ => format!("{mark}  {name}:\n{}  {text}", " ".repeat(mark.len())),
    }
}

/// A text, cut to a width with an ellipsis.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    truncate_str(text, width, "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &mut Table, width: Option<usize>) -> String {
        let mut out = Vec::new();
        table.write_within(width, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn owned<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(ToOwned::to_owned)
    }

    #[test]
    fn columns_are_aligned_and_numbers_are_to_the_right() {
        let mut table = Table::new(&[word("type"), number("count")]);
        table.row(["open".to_owned(), grouped(1_234)]);
        table.row(["deposit".to_owned(), grouped(7)]);
        let expected = "type     count\nopen     1,234\ndeposit      7\n";
        assert_eq!(written(&mut table, None), expected);
        let mut facts = Table::bare();
        facts.row(owned(["plan", "12"]));
        facts.row(owned(["in flight", "3"]));
        assert_eq!(
            written(&mut facts, Some(4)),
            "plan       12\nin flight   3\n"
        );
    }

    #[test]
    fn the_widest_text_gives_way() {
        let columns = [id("stream"), text("data"), text("why")];
        let mut table = Table::new(&columns);
        table.row(owned([
            "note-1",
            "{\"word\":\"abcdefghijklmnop\"}",
            "it is too odd",
        ]));
        let whole = "stream  data                         why\n\
            note-1  {\"word\":\"abcdefghijklmnop\"}  it is too odd\n";
        assert_eq!(written(&mut table, None), whole);
        table.row(owned([
            "note-1",
            "{\"word\":\"abcdefghijklmnop\"}",
            "it is too odd",
        ]));
        // The heading is printed already, with other widths.
        assert_eq!(
            written(&mut table, Some(40)),
            "note-1  {\"word\":\"abcdefg…  it is too odd\n"
        );
    }

    #[test]
    fn an_id_is_never_cut_and_what_follows_it_is() {
        let columns = [id("stream"), number("version"), word("state")];
        let mut table = Table::new(&columns);
        for row in ["note-1", "note-2", "note-3", "note-4"] {
            table.row(owned([row, "7", "open"]));
        }
        table.row(owned(["note-0123456789-0123456789", "8", "open"]));
        let output = written(&mut table, Some(12));
        assert!(
            output.starts_with("stream  ver…\nnote-1     …\n"),
            "{output}"
        );
        assert!(
            output.ends_with("\nnote-0123456789-0123456789\n"),
            "{output}"
        );
    }

    #[test]
    fn times_lose_their_fraction_and_columns_that_say_nothing_go() {
        let columns = [
            id("stream"),
            time("last event"),
            time("archived").if_not_empty(),
            number("parked").if_not_empty(),
            word("lifecycle").if_there_is_room(),
        ];
        let row = || owned(["note-1", "2026-11-30T18:17:11.123456Z", "", "0", "inline"]);
        let mut table = Table::new(&columns);
        table.row(row());
        assert_eq!(
            written(&mut table, Some(60)).lines().nth(1).unwrap(),
            "note-1  2026-11-30T18:17:11Z                 0  inline"
        );
        table.row(row());
        let expected =
            "stream  last event            lifecycle\nnote-1  2026-11-30T18:17:11Z  inline\n";
        assert_eq!(written(&mut table, Some(40)), expected);
        table.row(row());
        let expected = "stream  last event\nnote-1  2026-11-30T18:17:11Z\n";
        assert_eq!(written(&mut table, Some(30)), expected);
        // Now a row has a value in it: the column is shown, with a new heading.
        table.row(owned(["note-2", "2026-11-30T18:17:11Z", "", "3", "async"]));
        let expected =
            "stream  last event            parked\nnote-2  2026-11-30T18:17:11Z       3\n";
        assert_eq!(written(&mut table, Some(36)), expected);
    }

    #[test]
    fn a_heading_is_written_once_and_for_lines_in_terminals_only() {
        let mut table = Table::of_lines(&[id("position"), text("data")]);
        table.row(owned(["1", "{}"]));
        assert_eq!(written(&mut table, None), "1  {}\n");
        table.row(owned(["2", "{}"]));
        assert_eq!(
            written(&mut table, Some(80)),
            "position  data\n2         {}\n"
        );
        table.row(owned(["3", "{}"]));
        assert_eq!(written(&mut table, Some(80)), "3         {}\n");
        let mut table = Table::new(&[id("stream")]);
        assert_eq!(written(&mut table, None), "stream\n");
        assert_eq!(written(&mut table, None), "");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut table = Table::new(&[text("word"), number("n")]);
        table.row(owned(["日本語日本語日本語", "1"]));
        table.row(owned(["abc", "2"]));
        let expected = "word           n\n日本語日本語…  1\nabc            2\n";
        assert_eq!(written(&mut table, Some(16)), expected);
    }

    #[test]
    fn nothing_in_a_cell_steers_the_terminal() {
        let mut table = Table::bare();
        table.row(["a\u{1b}[31m\n\u{7}\u{9b}\u{202e}é".to_owned()]);
        let output = written(&mut table, None);
        assert_eq!(output.matches('\u{fffd}').count(), 5);
        assert!(output.ends_with("é\n") && !output.contains('\u{1b}'));
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
