//! Standard output: what it is, and writing to it.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::table::Style;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    terminal: bool,
    style: Style,
}

impl Output {
    /// Looks at what standard output is.
    pub(crate) fn detect(no_color: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal
            .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
            .flatten()
            .map(|size| usize::from(size.ws_col))
            .filter(|&columns| columns > 0);
        Self {
            terminal,
            style: Style {
                colour: terminal && !no_color,
                width,
            },
        }
    }

    /// Whether a terminal reads along.
    pub(crate) const fn is_terminal(self) -> bool {
        self.terminal
    }

    /// How to draw for it.
    pub(crate) const fn style(self) -> Style {
        self.style
    }

    /// Writes text as it is.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes a line.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Writes a value as JSON, for people and programs.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        Ok(self.line(&text)?)
    }
}

/// Writes a line to standard error. Where that is closed, nobody misses it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line to a terminal on standard error, over the one before; an empty
/// one clears it.
pub(crate) fn rewrite(line: &str) {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}

/// Whether the environment asks for no colours (<https://no-color.org>), or
/// names a terminal that has none.
pub(crate) fn colours_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
