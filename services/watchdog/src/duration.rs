//! Durations as the environment of OpenFaaS programs writes them: a bare number
//! of seconds, or Go's notation (`1h2m3.5s`, `250ms`).

use std::time::Duration;

const NANOS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration; nothing when the text is none, or a negative one.
pub fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return (!text.starts_with('+')).then(|| Duration::from_secs(seconds));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at(number);
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, nanos) = NANOS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(digits, *nanos)?)?;
        rest = after;
    }
    // Go counts in signed nanoseconds.
    (total <= i64::MAX as u64).then(|| Duration::from_nanos(total))
}

/// `digits` (`3`, `3.5`, `.5`, `3.`) times `unit`, cut to whole nanoseconds.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    // More digits than these are below a nanosecond for every unit.
    let mut weight = 1_u128;
    let mut part = 0_u128;
    for digit in fraction.bytes().take(15) {
        weight *= 10;
        part = part * 10 + u128::from(digit - b'0');
    }
    nanos = nanos.checked_add(u64::try_from(part * u128::from(unit) / weight).ok()?)?;
    Some(nanos)
}

/// Writes a duration as Go does: `1m30s`, `1.5s`, `250ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (unit, factor) in [("ns", 1), ("\u{b5}s", 1_000), ("ms", 1_000_000)] {
        if nanos < factor * 1_000 {
            return format!("{}{unit}", decimal(nanos, factor));
        }
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// `value / factor` with as many decimals as it has.
fn decimal(value: u128, factor: u128) -> String {
    let fraction = value % factor;
    if fraction == 0 {
        return (value / factor).to_string();
    }
    let width = factor.ilog10() as usize;
    let text = format!("{}.{fraction:0width$}", value / factor);
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("30"), Some(Duration::from_secs(30)));
    }

    #[test]
    fn go_durations_are_read() {
        for (text, nanos) in [
            ("1h2m3.5s", 3_723_500_000_000),
            ("250ms", 250_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+2s", 2_000_000_000),
            ("100us", 100_000),
            ("100\u{b5}s", 100_000),
            ("7ns", 7),
            ("1s1s", 2_000_000_000),
            ("0.1234567891s", 123_456_789),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "-5",
            "-5s",
            "+5",
            "s",
            ".s",
            "1.2.3s",
            "1d",
            "5 s",
            "five",
            "99999999999999999999s",
            "9999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5\u{b5}s"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (60_000_000_000, "1m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }
}
