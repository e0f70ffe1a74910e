//! Aligned tables, as text.

use crate::text::printable;

/// The gap between two columns.
const GAP: usize = 2;
/// What the last column keeps on a narrow terminal.
const LEAST: usize = 8;

/// How a cell is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As the terminal likes.
    #[default]
    Plain,
    /// Well: green.
    Good,
    /// Under way: yellow.
    Busy,
    /// Not well: red.
    Bad,
}

impl Paint {
    /// The text between the escape sequences that colour it.
    pub(crate) fn on(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => 32,
            Self::Busy => 33,
            Self::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Which side of its column a cell is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell in colour.
    pub(crate) fn painted(text: &str, paint: Paint) -> Self {
        Self {
            text: printable(text).into_owned(),
            paint,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// With colours.
    pub(crate) colour: bool,
    /// The last column is cut so that lines fit into this many characters.
    pub(crate) width: Option<usize>,
}

/// A table: a head in capitals, and rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many characters of `width` are left for the last column.
    pub(crate) fn room(&self, width: usize) -> usize {
        let last = self.columns.len().saturating_sub(1);
        let before: usize = self
            .widths()
            .iter()
            .take(last)
            .flatten()
            .map(|width| width + GAP)
            .sum();
        width.saturating_sub(before).max(LEAST)
    }

    /// The width of each column; none for one without any content.
    fn widths(&self) -> Vec<Option<usize>> {
        let content = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i));
            cells.map(Cell::width).max()
        };
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(i, (head, _))| match content(i) {
                Some(0) => None,
                width => Some(width.unwrap_or(0).max(head.len())),
            })
            .collect()
    }

    /// Draws it. Columns without any content are left out.
    pub(crate) fn render(&self, style: Style) -> String {
        let shown: Vec<(usize, usize)> = self
            .widths()
            .into_iter()
            .enumerate()
            .filter_map(|(i, width)| Some((i, width?)))
            .collect();
        let head: Vec<Cell> = self
            .columns
            .iter()
            .map(|(head, _)| (*head).into())
            .collect();

        let mut out = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            let mut used = 0;
            for (position, &(i, full)) in shown.iter().enumerate() {
                let Some(cell) = row.get(i) else { continue };
                let last = position + 1 == shown.len();
                let text = match style.width {
                    Some(width) if last => cut(&cell.text, width.saturating_sub(used).max(LEAST)),
                    _ => cell.text.clone(),
                };
                let blank = " ".repeat(full.saturating_sub(text.chars().count()));
                let painted = if style.colour {
                    cell.paint.on(&text)
                } else {
                    text
                };
                match self.columns[i].1 {
                    Align::Left if last => line += &painted,
                    Align::Left => line += &(painted + &blank),
                    Align::Right => line += &(blank + &painted),
                }
                if !last {
                    line += &" ".repeat(GAP);
                }
                used += full + GAP;
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

/// The text, or its beginning and an ellipsis, in `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("PID", Align::Right),
            ("NOTE", Align::Left),
        ]);
        table.row(vec![
            "ntp".into(),
            "71".into(),
            "keeps the clock right".into(),
        ]);
        table.row(vec!["network".into(), "".into(), "".into()]);
        table.row(vec![
            "docker".into(),
            "12345".into(),
            "runs containers".into(),
        ]);
        table
    }

    #[test]
    fn words_are_left_and_numbers_right_and_no_line_ends_in_blanks() {
        assert_eq!(
            table().render(Style::default()),
            "\
NAME       PID  NOTE
ntp         71  keeps the clock right
network
docker   12345  runs containers
"
        );
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal() {
        let style = Style {
            width: Some(28),
            ..Style::default()
        };
        assert_eq!(
            table().render(style),
            "\
NAME       PID  NOTE
ntp         71  keeps the c…
network
docker   12345  runs contai…
"
        );
    }

    #[test]
    fn a_terminal_too_narrow_still_gets_a_table() {
        let style = Style {
            width: Some(3),
            ..Style::default()
        };
        assert!(table().render(style).contains("ntp         71  keeps t…\n"));
    }

    #[test]
    fn colours_do_not_move_anything() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right)]);
        table.row(vec![Cell::painted("ok", Paint::Good), "1".into()]);
        table.row(vec![Cell::painted("failed", Paint::Bad), "22".into()]);
        let style = Style {
            colour: true,
            width: None,
        };
        assert_eq!(
            table.render(style),
            "A        B\n\x1b[32mok\x1b[0m       1\n\x1b[31mfailed\x1b[0m  22\n"
        );
        assert!(!table.render(Style::default()).contains('\x1b'));
    }

    #[test]
    fn a_column_without_content_is_left_out() {
        let mut table = Table::new(&[("NAME", Align::Left), ("REASON", Align::Left)]);
        table.row(vec!["ntp".into(), "".into()]);
        assert_eq!(table.render(Style::default()), "NAME\nntp\n");
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        let table = Table::new(&[("NAME", Align::Left), ("STATE", Align::Left)]);
        assert_eq!(table.render(Style::default()), "NAME  STATE\n");
    }

    #[test]
    fn foreign_text_cannot_colour_a_cell() {
        assert_eq!(Cell::from("\u{1b}[31m").text, "\\u{1b}[31m");
    }
}
