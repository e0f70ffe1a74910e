//! Annotations of a function that are rules for its calls.

use std::time::Duration;

use watchdog::duration;

use crate::model::Map;

/// How long a call may take, instead of what holds for all functions.
const TIMEOUT: &str = "org.rubus.timeout";
/// The secret that is the token of its callers.
const TOKEN: &str = "org.rubus.token";

/// What holds for the calls of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules<'a> {
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// The name of the secret that callers have to know.
    pub token: Option<&'a str>,
}

impl<'a> Rules<'a> {
    /// The rules of a function that was deployed with these annotations.
    pub fn of(annotations: &'a Map) -> Self {
        Self {
            timeout: annotations.get(TIMEOUT).and_then(|text| period(text)),
            token: annotations.get(TOKEN).map(String::as_str),
        }
    }

    /// The rules of a function that is to be deployed.
    ///
    /// # Errors
    /// When an annotation cannot be understood.
    pub fn check(annotations: &'a Map) -> Result<Self, String> {
        match annotations.get(TIMEOUT) {
            Some(text) if period(text).is_none() => Err(format!(
                "annotations: {TIMEOUT} is \"{text}\"; write it as \"90s\" or \"5m\""
            )),
            _ => Ok(Self::of(annotations)),
        }
    }
}

fn period(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|period| !period.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: &str, value: &str) -> Map {
        Map::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn annotations_are_rules() {
        let none = Map::new();
        let rules = Rules::check(&none).unwrap();
        assert_eq!((rules.timeout, rules.token), (None, None));
        let timeout = map(TIMEOUT, "5m");
        assert_eq!(
            Rules::check(&timeout).unwrap().timeout,
            Some(Duration::from_secs(300))
        );
        for wrong in ["soon", "", "0", "-1s"] {
            let reason = Rules::check(&map(TIMEOUT, wrong)).unwrap_err();
            assert!(reason.contains(TIMEOUT), "{reason}");
        }
        assert_eq!(Rules::of(&map(TOKEN, "key")).token, Some("key"));
    }
}
