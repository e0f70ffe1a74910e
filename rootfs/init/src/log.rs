//! Messages of `init`.
//!
//! They go to the kernel's log, because that is what reaches every console
//! (serial and screen) and `dmesg` alike, and because the kernel's `quiet`
//! then means the same for `init`: steps are shown without it, failures
//! always.

use std::fs::OpenOptions;
use std::io::Write;

/// How urgent a message is: the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Shown on the console even with `quiet`.
    Error = 3,
    /// Output of the programs that `init` starts.
    Notice = 5,
    /// Steps that went well.
    Info = 6,
}

/// The longest text of one record; the kernel takes up to about 1000 bytes.
const RECORD: usize = 900;

/// Logs a message of `init` itself.
pub(crate) fn log(level: Level, text: &str) {
    log_as("init", level, text);
}

/// Logs a message that failed or needs attention.
pub(crate) fn error(text: &str) {
    log(Level::Error, text);
}

/// Logs a message that is good to know.
pub(crate) fn info(text: &str) {
    log(Level::Info, text);
}

/// Logs a message in the name of `program`.
pub(crate) fn log_as(program: &str, level: Level, text: &str) {
    for line in text.lines().flat_map(records) {
        let record = format!("<{}>{program}: {line}\n", level as u8);
        if !to_kernel(&record) {
            // Before /dev is mounted; the kernel opened the console for us.
            eprintln!("{program}: {line}");
        }
    }
}

/// The kernel limits how often one open file may log, so each record opens its
/// own.
fn to_kernel(record: &str) -> bool {
    if cfg!(test) {
        return false;
    }
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut kmsg| kmsg.write_all(record.as_bytes()))
        .is_ok()
}

/// Cuts a line into pieces that the kernel takes as one record each.
fn records(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(RECORD);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::{RECORD, records};

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = "ä".repeat(RECORD);
        let pieces: Vec<&str> = records(&line).collect();
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|p| p.len() <= RECORD));
        assert_eq!(pieces.concat(), line);
    }

    #[test]
    fn a_short_line_is_one_record() {
        assert_eq!(records("mounted").collect::<Vec<_>>(), ["mounted"]);
        assert_eq!(records("").count(), 0);
    }
}
