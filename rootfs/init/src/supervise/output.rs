//! Cuts what a program prints into lines of the log.

use crate::log::Level;

/// The longest line; a program that prints more without a line end gets it cut.
const LONGEST: usize = 4096;

/// Puts lines together from what a pipe delivers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes more output and returns the lines that it completes. A line may
    /// begin with its level in the kernel's form, as in `<3>`.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.pending.push(byte);
            }
            if byte == b'\n' || self.pending.len() == LONGEST {
                let line = String::from_utf8_lossy(&self.pending).into_owned();
                self.pending.clear();
                if !line.trim().is_empty() {
                    lines.push(leveled(line));
                }
            }
        }
        lines
    }
}

fn leveled(line: String) -> (Level, String) {
    let (level, text) = match line.split_at_checked(3) {
        Some(("<0>" | "<1>" | "<2>" | "<3>", text)) => (Level::Error, text),
        Some(("<4>" | "<5>", text)) => (Level::Notice, text),
        Some(("<6>" | "<7>", text)) => (Level::Info, text),
        _ => return (Level::Notice, line),
    };
    (level, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines};
    use crate::log::Level;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"one\ntw"), [(Level::Notice, "one".to_owned())]);
        assert_eq!(lines.feed(b""), []);
        assert_eq!(lines.feed(b"o\n\n"), [(Level::Notice, "two".to_owned())]);
    }

    #[test]
    fn a_line_may_say_how_urgent_it_is() {
        let mut lines = Lines::default();
        assert_eq!(
            lines.feed(b"<3>no\n<6>fine\n<9>odd\n"),
            [
                (Level::Error, "no".to_owned()),
                (Level::Info, "fine".to_owned()),
                (Level::Notice, "<9>odd".to_owned()),
            ]
        );
    }

    #[test]
    fn output_without_an_end_does_not_pile_up() {
        let mut lines = Lines::default();
        let got = lines.feed(&[b'x'; LONGEST * 2 + 1]);
        assert_eq!(got.len(), 2);
        assert_eq!(lines.pending.len(), 1);
    }
}
