//! When an answer is a result, and when it means that a call failed and is
//! tried again.

use std::time::Duration;

use hyper::StatusCode;
use watchdog::duration;

use super::schedule::doubled;
use crate::model::Map;

/// Bounds of what a function can ask for.
const MOST_ATTEMPTS: u32 = 1000;
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often and how fast a failed call is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Attempts in all, the first among them.
    pub(super) attempts: u32,
    /// Statuses of the function's own that count as failed.
    pub(super) codes: Vec<u16>,
    /// The pause after the first failure; it doubles with each.
    pub(super) min_wait: Duration,
    /// The longest pause.
    pub(super) max_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 10,
            codes: Vec::new(),
            min_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// What the annotations of a function say, or its labels. What cannot be
    /// read counts as not set.
    pub(crate) fn of(annotations: &Map, labels: Option<&Map>) -> Self {
        let text = |name: &str| {
            let key = format!("com.openfaas.retry.{name}");
            let value = annotations.get(&key).or_else(|| labels?.get(&key));
            value.map(|value| value.trim().to_owned())
        };
        let period = |name, default| {
            text(name)
                .and_then(|value| duration::parse(&value))
                .unwrap_or(default)
                .min(LONGEST_WAIT)
        };
        let default = Self::default();
        let min_wait = period("min_wait", default.min_wait);
        Self {
            attempts: text("attempts")
                .and_then(|value| value.parse().ok())
                .unwrap_or(default.attempts)
                .clamp(1, MOST_ATTEMPTS),
            codes: text("codes")
                .map(|codes| {
                    let codes = codes.split(',');
                    codes.filter_map(|code| code.trim().parse().ok()).collect()
                })
                .unwrap_or_default(),
            min_wait,
            max_wait: period("max_wait", default.max_wait).max(min_wait),
        }
    }

    /// How long to wait after so many failures.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        doubled((self.min_wait, self.max_wait), failures.saturating_sub(1))
    }

    /// Whether an answer means that the call failed. `internal` says that it
    /// is not the function's own.
    pub(super) fn failed(&self, status: StatusCode, internal: bool) -> bool {
        internal || self.codes.contains(&status.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Map {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (format!("com.openfaas.retry.{name}"), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_not_said_or_not_readable_is_the_default() {
        assert_eq!(Policy::of(&Map::new(), None), Policy::default());
        let annotations = map(&[
            ("attempts", "many"),
            ("codes", "a,,-1"),
            ("min_wait", "soon"),
            ("max_wait", ""),
        ]);
        assert_eq!(Policy::of(&annotations, None), Policy::default());
    }

    #[test]
    fn annotations_come_before_labels() {
        let annotations = map(&[("attempts", "3"), ("codes", "429, 502")]);
        let labels = map(&[("attempts", "7"), ("min_wait", "5"), ("max_wait", "2m")]);
        let expected = Policy {
            attempts: 3,
            codes: vec![429, 502],
            min_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(120),
        };
        assert_eq!(Policy::of(&annotations, Some(&labels)), expected);
    }

    #[test]
    fn what_is_asked_for_has_bounds() {
        for (name, value, expected) in [
            ("attempts", "0", (1, 1, 60)),
            ("attempts", "4000000000", (1000, 1, 60)),
            ("min_wait", "100", (10, 100, 100)),
            ("max_wait", "9999h", (10, 1, 86_400)),
        ] {
            let policy = Policy::of(&Map::new(), Some(&map(&[(name, value)])));
            let found = (
                policy.attempts,
                policy.min_wait.as_secs(),
                policy.max_wait.as_secs(),
            );
            assert_eq!(found, expected, "{name}: {value}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = |failures| Policy::default().wait(failures).as_secs();
        let found: Vec<u64> = (0..9).map(seconds).collect();
        assert_eq!(found, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(u32::MAX), 60);
    }

    #[test]
    fn what_a_function_answers_itself_is_a_result() {
        let policy = Policy {
            codes: vec![429],
            ..Policy::default()
        };
        for (status, internal, failed) in [
            (StatusCode::OK, false, false),
            (StatusCode::NOT_FOUND, false, false),
            (StatusCode::INTERNAL_SERVER_ERROR, false, false),
            (StatusCode::TOO_MANY_REQUESTS, false, true),
            (StatusCode::TOO_MANY_REQUESTS, true, true),
            (StatusCode::BAD_GATEWAY, true, true),
        ] {
            assert_eq!(policy.failed(status, internal), failed, "{status}");
        }
    }
}
