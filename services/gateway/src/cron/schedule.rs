//! When a function runs by the clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use watchdog::duration;

/// The shortest period of `@every`.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the annotation `schedule` says.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// At these minutes, in UTC.
    Minutes(Box<Cron>),
    /// Over and over, from when it was deployed.
    Every(Duration),
}

impl Schedule {
    /// Reads five fields of cron (`*/5 * * * *`), `@hourly` and its like, or
    /// `@every 90s`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every") {
            return match duration::parse(period.trim()) {
                Some(period) if period >= SHORTEST => Ok(Self::Every(period)),
                Some(_) => Err("a period of less than a second".to_owned()),
                None => Err("no period, such as 90s or 1h30m, follows @every".to_owned()),
            };
        }
        // Names are one word. The library replaces them inside of others too.
        let fields = match text {
            "@midnight" => "@daily",
            _ if text.starts_with('@') || text.split_whitespace().count() == 5 => text,
            _ => {
                return Err(
                    "not five fields (minute, hour, day of month, month, day of week)".to_owned(),
                );
            }
        };
        CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(fields)
            .map(|cron| Self::Minutes(Box::new(cron)))
            .map_err(|error| error.to_string())
    }
}

/// Whether a minute, in seconds of the wall clock, is one of a cron's.
pub(super) fn is_minute_of(cron: &Cron, wall: u64) -> bool {
    i64::try_from(wall)
        .ok()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
        .is_some_and(|time| cron.is_time_matching(&time).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of the wall clock.
    fn at(text: &str) -> u64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp() as u64
    }

    /// The first minute of a day that matches.
    fn minutes(schedule: &str, day: &str) -> Vec<String> {
        let Schedule::Minutes(cron) = Schedule::parse(schedule).unwrap() else {
            panic!("{schedule} is a period");
        };
        let start = at(&format!("{day}T00:00:00Z"));
        (0..24 * 60)
            .filter(|minute| is_minute_of(&cron, start + minute * 60))
            .map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60))
            .collect()
    }

    #[test]
    fn five_fields_name_minutes() {
        // 2026-11-22 is a Sunday.
        for (schedule, day, expected) in [
            ("30 4 * * *", "2026-11-22", &["04:30"][..]),
            (
                "*/20 3-4 * * *",
                "2026-11-22",
                &["03:00", "03:20", "03:40", "04:00", "04:20", "04:40"],
            ),
            ("0 0 1,22 * *", "2026-11-22", &["00:00"]),
            ("0 0 * nov SUN", "2026-11-22", &["00:00"]),
            ("0 0 * * 7", "2026-11-22", &["00:00"]),
            ("0 0 * * 1-5", "2026-11-22", &[]),
            ("0 12 22 * 1", "2026-11-22", &["12:00"]),
            ("0 12 21 * 0", "2026-11-22", &["12:00"]),
            ("0 0 29 2 *", "2028-02-29", &["00:00"]),
            ("0 0 31 2 *", "2026-11-22", &[]),
            ("@daily", "2026-11-22", &["00:00"]),
            ("@midnight", "2026-11-22", &["00:00"]),
            ("@weekly", "2026-11-22", &["00:00"]),
            ("@weekly", "2026-11-23", &[]),
            ("@monthly", "2026-11-01", &["00:00"]),
            ("@yearly", "2026-01-01", &["00:00"]),
            ("  5\t4 * * *  ", "2026-11-22", &["04:05"]),
        ] {
            assert_eq!(minutes(schedule, day), expected, "{schedule}");
        }
        assert_eq!(minutes("* * * * *", "2026-11-22").len(), 24 * 60);
        assert_eq!(minutes("@hourly", "2026-11-22").len(), 24);
    }

    #[test]
    fn only_whole_minutes_are_minutes() {
        let Schedule::Minutes(cron) = Schedule::parse("* * * * *").unwrap() else {
            panic!();
        };
        let minute = at("2026-11-22T10:00:00Z");
        assert!(is_minute_of(&cron, minute));
        assert!(!is_minute_of(&cron, minute + 1));
        assert!(!is_minute_of(&cron, u64::MAX - 15));
    }

    #[test]
    fn periods_are_durations_of_go() {
        for (text, seconds) in [
            ("@every 5m", 300),
            ("@every 1h30m", 5400),
            ("@every 90", 90),
        ] {
            let Ok(Schedule::Every(period)) = Schedule::parse(text) else {
                panic!("{text}");
            };
            assert_eq!(period.as_secs(), seconds);
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_reason() {
        for text in [
            "",
            " ",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "a * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "@never",
            "@",
            "@every",
            "@every soon",
            "@every 0s",
            "@every 10ms",
            "@every -5m",
            "@reboot",
            "\u{e4} * * * *",
            "* * * * MOND",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        assert!(Schedule::parse(&"9".repeat(100_000)).is_err());
    }
}
