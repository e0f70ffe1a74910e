//! How much the queue holds, and how much of it is called at a time.

use std::time::Duration;

use watchdog::duration;

use crate::quantity;

/// Bounds that keep a small board's memory and disk free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most calls at a time.
    pub inflight: usize,
    /// Most bytes of a request's body, and of an answer's on its way to a
    /// callback.
    pub body: u64,
    /// Most requests that wait.
    pub messages: usize,
    /// Most bytes of the disk that they take.
    pub bytes: u64,
    /// Most dead letters.
    pub dead: usize,
    /// Hours of operation after which a dead letter is removed.
    pub dead_hours: u64,
    /// Whether answers may go to loopback and link-local addresses.
    pub private_callbacks: bool,
}

impl Limits {
    /// Reads the bounds through `get`, which looks a variable up. What cannot
    /// be read counts as not set.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name, default: usize| {
            get(name)
                .and_then(|value| value.parse().ok())
                .filter(|number| *number > 0)
                .unwrap_or(default)
        };
        let bytes = |name, default| {
            get(name)
                .and_then(|value| quantity::memory(&value).ok())
                .and_then(|bytes| u64::try_from(bytes).ok())
                .filter(|bytes| *bytes > 0)
                .unwrap_or(default)
        };
        let age = get("queue_dead_age").and_then(|value| duration::parse(&value));
        Self {
            inflight: number("max_inflight", 4),
            body: bytes("queue_body_limit", 10 << 20),
            messages: number("queue_max_messages", 10_000),
            bytes: bytes("queue_max_size", 256 << 20),
            dead: number("queue_max_dead", 1000),
            dead_hours: age
                .unwrap_or(Duration::from_secs(7 * 24 * 60 * 60))
                .as_secs()
                .div_ceil(60 * 60),
            private_callbacks: get("queue_private_callbacks").is_some_and(|value| value == "true"),
        }
    }

    /// Most bytes of the disk that dead letters take.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.bytes / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_suit_a_small_board() {
        let limits = Limits::read(|_| None);
        assert_eq!((limits.inflight, limits.messages), (4, 10_000));
        assert_eq!((limits.body, limits.bytes), (10 << 20, 256 << 20));
        assert_eq!((limits.dead, limits.dead_hours), (1000, 168));
        assert!(!limits.private_callbacks);
    }

    #[test]
    fn what_cannot_be_read_is_the_default() {
        for wrong in ["", "0", "-1", "many"] {
            let limits = Limits::read(|name| (!name.ends_with("age")).then(|| wrong.to_owned()));
            assert_eq!(limits, Limits::read(|_| None), "{wrong}");
        }
        let limits = Limits::read(|name| match name {
            "max_inflight" => Some("9".to_owned()),
            "queue_body_limit" => Some("256Ki".to_owned()),
            "queue_dead_age" => Some("90m".to_owned()),
            _ => None,
        });
        assert_eq!(
            (limits.inflight, limits.body, limits.dead_hours),
            (9, 256 << 10, 2)
        );
    }
}
