//! Log lines in the format of Go's standard logger, on standard error.

use std::{
    cell::RefCell,
    fmt::Display,
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The last second that can be written, in the year 9999.
const LATEST: u64 = 253_402_300_799;

/// Writes one line: time in UTC, then the message. A log that nobody reads any
/// more must not end the function, so a failure to write is passed over.
pub fn line(message: impl Display) {
    thread_local! {
        static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LINE.with_borrow_mut(|line| {
        line.clear();
        write_line(line, SystemTime::now(), message);
        let _ = std::io::stderr().write_all(line);
    });
}

/// Writes the line of a request that was answered; `status` is worded by the
/// mode.
pub(crate) fn exchange(
    request: impl Display,
    status: impl Display,
    bytes: u64,
    time: Duration,
    call_id: Option<&str>,
) {
    let (size, seconds) = (HumanSize(bytes), time.as_secs_f64());
    let (open, call_id, close) = match call_id {
        Some(call_id) => (" [", call_id, "]"),
        None => ("", "", ""),
    };
    line(format_args!(
        "{request} - {status} - ContentLength: {size} ({seconds:.4}s){open}{call_id}{close}"
    ));
}

fn write_line(line: &mut Vec<u8>, time: SystemTime, message: impl Display) {
    stamp(line, time);
    let _ = write!(line, "{message}");
    while line.ends_with(b"\n") {
        line.pop();
    }
    line.push(b'\n');
}

/// Appends the time and a space. The text of a second is kept: most lines share
/// it with the one before.
pub(crate) fn stamp(line: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let second = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs().min(LATEST));
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second {
            *last = second;
            *text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(second))
                .to_string()
                .replace('-', "/")
                .replace(['T', 'Z'], " ");
        }
        line.extend_from_slice(text.as_bytes());
    });
}

/// A size as Docker writes it: four digits, in powers of 1000.
struct HumanSize(u64);

impl Display for HumanSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{}B", self.0);
        }
        let mut size = self.0 as f64;
        let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].iter();
        let mut unit = "B";
        while size >= 1000.0 {
            let Some(next) = units.next() else { break };
            (size, unit) = (size / 1000.0, next);
        }
        let decimals = match size {
            ..10.0 => 3,
            ..100.0 => 2,
            _ => 1,
        };
        let text = format!("{size:.decimals$}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))?;
        f.write_str(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_looks_like_one_of_gos_logger() {
        for (seconds, expected) in [
            (1_700_000_000, "2023/11/14 22:13:20 Forking fprocess.\n"),
            (1_700_000_001, "2023/11/14 22:13:21 Forking fprocess.\n"),
            (0, "1970/01/01 00:00:00 Forking fprocess.\n"),
            (u64::MAX >> 4, "9999/12/31 23:59:59 Forking fprocess.\n"),
        ] {
            let mut line = Vec::new();
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            write_line(&mut line, time, "Forking fprocess.\n");
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    #[test]
    fn sizes_have_four_digits_in_powers_of_a_thousand() {
        for (bytes, text) in [
            (0, "0B"),
            (12, "12B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (12_345, "12.35kB"),
            (100_500, "100.5kB"),
            (1_500_000, "1.5MB"),
            (2_000_000_000, "2GB"),
        ] {
            assert_eq!(HumanSize(bytes).to_string(), text);
        }
    }
}
