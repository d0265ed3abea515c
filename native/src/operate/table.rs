//! Tables in columns, in colour where somebody looks.

use std::io::IsTerminal;

/// Between columns.
const GAP: &str = "  ";

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub const OFF: Self = Self { is_on: false };

    /// Colours where the output is a terminal, and nobody has asked for none.
    pub fn for_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_on: std::io::stdout().is_terminal() && !unwanted,
        }
    }

    /// The text in its tone.
    pub fn text(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Warn => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        if self.is_on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// What a text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// All is well.
    Good,
    /// Something is under way, or to be done.
    Warn,
    /// Something is wrong.
    Bad,
    /// Not what one looks for.
    Faint,
}

/// A text in a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone.
    pub fn new(text: impl ToString, tone: Tone) -> Self {
        Self {
            text: text.to_string(),
            tone,
        }
    }
}

/// Text without a tone.
pub fn plain(text: impl ToString) -> Cell {
    Cell::new(text, Tone::Plain)
}

/// Columns, and rows of as many cells.
pub struct Table {
    heads: Vec<&'static str>,
    is_number: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these columns; `#` before a head makes it one of numbers, which stand to the right.
    pub fn new(columns: &[&'static str]) -> Self {
        let head = |column: &&'static str| column.trim_start_matches('#');
        Self {
            heads: columns.iter().map(head).collect(),
            is_number: columns
                .iter()
                .map(|column| column.starts_with('#'))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    /// The table, line by line.
    pub fn text(&self, paint: Paint) -> String {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].text.chars().count());
                cells.chain([self.heads[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let heads = self.heads.iter().map(|head| Cell::new(head, Tone::Faint));
        let mut text = String::new();
        for row in [heads.collect()].iter().chain(&self.rows) {
            self.line(row, &widths, paint, &mut text);
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint, out: &mut String) {
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        for (column, cell) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let blanks = " ".repeat(widths[column] - cell.text.chars().count());
            let text = paint.text(&cell.text, cell.tone);
            if column > 0 {
                out.push_str(GAP);
            }
            match (self.is_number[column], Some(column) == last) {
                (true, _) => out.extend([blanks.as_str(), &text]),
                (false, true) => out.push_str(&text),
                (false, false) => out.extend([text.as_str(), &blanks]),
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let mut table = Table::new(&["node", "#copies", "state"]);
        table.row(vec![plain("ü"), plain(7), plain("active")]);
        table.row(vec![plain("longer"), plain(1234), plain("")]);
        assert_eq!(
            table.text(Paint::OFF),
            "node    copies  state\n\
             ü            7  active\n\
             longer    1234\n"
        );
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(&["a", "b"]);
        table.row(vec![Cell::new("x", Tone::Bad), plain("y")]);
        let text = table.text(Paint { is_on: true });
        assert!(text.ends_with("\x1b[31mx\x1b[0m  y\n"), "{text:?}");
    }
}
