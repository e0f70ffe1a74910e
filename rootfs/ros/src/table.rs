//! Tables with aligned columns.

use crate::terminal::Style;

/// A cell: its text and how it looks.
pub(crate) type Cell = (String, Style);

/// A table with one line a row; the last column is as long as it is.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Table {
        Table {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text.
    pub(crate) fn render(&self, colours: bool) -> String {
        let head: Vec<Cell> = self
            .head
            .iter()
            .map(|it| ((*it).to_owned(), Style::Bold))
            .collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            let lengths = all()
                .filter_map(|row| row.get(column))
                .map(|(text, _)| length(text));
            lengths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for row in all() {
            // Spaces go before a cell, so that no line ends with them.
            let mut gap = 0;
            for ((cell, style), width) in row.iter().zip(&widths) {
                if !cell.is_empty() {
                    text.extend(std::iter::repeat_n(' ', gap));
                    text.push_str(&style.paint(cell, colours));
                    gap = 0;
                }
                gap += width - if cell.is_empty() { 0 } else { length(cell) } + 2;
            }
            text.push('\n');
        }
        text
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A cell without style.
pub(crate) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Style::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_end_in_spaces() {
        let mut table = Table::new(&["NAME", "STATE", "REASON"]);
        table.row(vec![plain("network"), plain("ready"), plain("")]);
        table.row(vec![plain("a"), plain(""), plain("waits for x")]);
        assert_eq!(
            table.render(false),
            "NAME     STATE  REASON\nnetwork  ready\na               waits for x\n"
        );
    }

    #[test]
    fn colours_do_not_disturb_the_columns() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![("xx".to_owned(), Style::Good), plain("y")]);
        assert_eq!(
            table.render(true),
            "\x1b[1mA\x1b[0m   \x1b[1mB\x1b[0m\n\x1b[32mxx\x1b[0m  y\n"
        );
    }
}
