//! Numbers and foreign text, as people read them.

use std::borrow::Cow;
use std::fmt::Write;

/// A number of bytes: `512 B`, `7.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time that passed, by its two largest parts: `3 d 4 h`, `12 min 5 s`.
pub(crate) fn period(seconds: u64) -> String {
    const PARTS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let Some(first) = PARTS.iter().position(|&(size, _)| seconds >= size) else {
        return "0 s".to_owned();
    };
    let (size, unit) = PARTS[first];
    let mut text = format!("{} {unit}", seconds / size);
    if let Some((part, unit)) = PARTS.get(first + 1) {
        let rest = seconds % size / part;
        if rest > 0 {
            let _ = write!(text, " {rest} {unit}");
        }
    }
    text
}

/// Seconds with one decimal: `9.8 s`.
pub(crate) fn seconds(microseconds: u64) -> String {
    format!("{:.1} s", microseconds as f64 / 1e6)
}

/// Text that came from elsewhere, with nothing in it that a terminal obeys.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if obeyed(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_or_so() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (7_864_320, "7.5 MiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn periods_have_two_parts_at_most() {
        for (s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (725, "12 min 5 s"),
            (3_600, "1 h"),
            (3_605, "1 h"),
            (90_061, "1 d 1 h"),
            (40 * 86_400, "40 d"),
        ] {
            assert_eq!(period(s), text);
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_that_a_service_says() {
        assert_eq!(printable("plain\ttext, äöü"), "plain\ttext, äöü");
        assert_eq!(printable("\u{1b}[2Jgone\r"), "\\u{1b}[2Jgone\\r");
        assert_eq!(printable("\u{9b}2J"), "\\u{9b}2J");
    }
}
