//! What functions wrote, and which part of it is asked for.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// One line that a replica wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The function.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which of its replicas.
    pub instance: String,
    /// When, in RFC 3339.
    pub timestamp: String,
    /// The line without its end.
    pub text: String,
}

/// Which lines are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Those of one replica only.
    pub instance: Option<String>,
    /// Those since then only.
    pub since: Option<SystemTime>,
    /// The last ones of each replica only.
    pub tail: Option<usize>,
    /// Also those that come later.
    pub follow: bool,
}

/// Reads a time of RFC 3339, with any offset.
pub fn parse_time(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if let Some(offset) = text.len().checked_sub("+00:00".len())
        && let Some((local, offset)) = text.split_at_checked(offset)
        && let Some((east, offset)) = read_offset(offset)
    {
        let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
        return if east {
            time.checked_sub(offset)
        } else {
            time.checked_add(offset)
        };
    }
    humantime::parse_rfc3339(text).ok()
}

/// An offset as whether it is east of Greenwich, and how far.
fn read_offset(text: &str) -> Option<(bool, Duration)> {
    let (east, text) = match text.split_at_checked(1)? {
        // What was a plus before it was in a query.
        ("+" | " ", rest) => (true, rest),
        ("-", rest) => (false, rest),
        _ => return None,
    };
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|it| *it < 60);
    let seconds = number(hours)? * 3600 + number(minutes)? * 60;
    Some((east, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_any_offset() {
        let noon = humantime::parse_rfc3339("2026-01-01T12:00:00Z").unwrap();
        for text in [
            "2026-01-01T12:00:00Z",
            "2026-01-01T13:00:00+01:00",
            "2026-01-01T13:00:00 01:00",
            "2026-01-01T06:30:00-05:30",
            "2026-01-01T12:00:00.000000000Z",
        ] {
            assert_eq!(parse_time(text), Some(noon), "{text}");
        }
        for text in [
            "",
            "now",
            "10m",
            "2026-01-01",
            "2026-01-01T12:00:00+1:0:0",
            "2026-01-01T12:00:00+99:00",
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00\u{e4}",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
