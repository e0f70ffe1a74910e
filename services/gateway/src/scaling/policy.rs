//! How many replicas a function is to have, from what it has to do. Nothing here
//! acts, or knows what time it is.

use std::{collections::VecDeque, time::Duration};

use watchdog::duration;

use super::limits::Limits;
use crate::model::Map;

/// Load that one replica is to carry, where a label does not say otherwise.
const TARGET: f64 = 50.0;
/// The share of that which it is planned with.
const PROPORTION: f64 = 0.9;
/// How long a smaller number has to do before replicas go.
const DOWN_WINDOW: Duration = Duration::from_secs(60);
/// How long a function that may go to zero stays without a request.
const ZERO_AFTER: Duration = Duration::from_secs(15 * 60);

/// What counts as load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests a second.
    Rate,
    /// Requests in flight.
    Capacity,
    /// Thousandths of a processor.
    Cpu,
    /// Asynchronous requests that wait.
    Queue,
}

/// What the labels of a function say about scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Between which numbers.
    pub limits: Limits,
    /// What counts as load.
    pub kind: Kind,
    /// Load of one replica: the target with its proportion.
    pub share: f64,
    /// How long a smaller number has to do.
    pub down_window: Duration,
    /// After how long without a request it goes to zero; never where none.
    pub zero_after: Option<Duration>,
}

impl Policy {
    /// What labels say; what cannot be read counts as not said.
    ///
    /// # Errors
    /// When the labels allow no scaling at all: see [`Limits::of`].
    pub fn of(labels: Option<&Map>) -> Result<Self, String> {
        let label = |key: &str| Some(labels?.get(&format!("com.openfaas.scale.{key}"))?.trim());
        let number = |key: &str, most: f64, default: f64| {
            label(key)
                .and_then(|text| text.parse().ok())
                .filter(|number: &f64| *number > 0.0 && *number <= most)
                .unwrap_or(default)
        };
        let period = |key: &str, default| label(key).and_then(duration::parse).unwrap_or(default);
        let kind = match label("type") {
            Some("capacity") => Kind::Capacity,
            Some("cpu") => Kind::Cpu,
            Some("queue") => Kind::Queue,
            _ => Kind::Rate,
        };
        let target = number("target", f64::MAX, TARGET);
        Ok(Self {
            limits: Limits::of(labels)?,
            kind,
            share: target * number("target-proportion", 1.0, PROPORTION),
            down_window: period("down.window", DOWN_WINDOW),
            zero_after: (label("zero") == Some("true"))
                .then(|| period("zero-duration", ZERO_AFTER)),
        })
    }
}

/// What is known of a function at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// When, from any beginning.
    pub now: Duration,
    /// Replicas that there are to be.
    pub replicas: u32,
    /// Replicas that were asked for by hand, or zero.
    pub by_hand: u32,
    /// What all replicas have to do.
    pub load: f64,
    /// Requests in flight.
    pub in_flight: u32,
    /// How long it has been without a request.
    pub idle: Duration,
    /// Whether the node has memory for more replicas.
    pub room: bool,
}

/// What a function needed lately.
#[derive(Clone, Debug, Default)]
pub struct History {
    needs: VecDeque<(Duration, u32)>,
}

impl History {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// Adds what is needed now, and gives the most that was needed within a
    /// window; nothing while less than the window is known.
    fn most(&mut self, now: Duration, need: u32, window: Duration) -> Option<u32> {
        let begin = now.checked_sub(window);
        // The last one before the window says that all of it is known.
        while let (Some(begin), Some((second, _))) = (begin, self.needs.get(1))
            && *second <= begin
        {
            self.needs.pop_front();
        }
        // Where nothing changed, the earlier one tells all.
        let flat = self.needs.len() > 1 && self.needs.iter().rev().take(2).all(|it| it.1 == need);
        if flat {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        let known = self
            .needs
            .front()
            .is_some_and(|(first, _)| begin >= Some(*first));
        known.then(|| self.needs.iter().map(|(_, need)| *need).max())?
    }
}

/// The replicas that a function is to have from now on, where that changes.
///
/// More come at once, fewer when less did for a while. What was asked for by
/// hand is the least. A function without replicas is started by a request, not
/// here.
pub fn decide(policy: &Policy, situation: &Situation, history: &mut History) -> Option<u32> {
    let Situation {
        now,
        replicas,
        by_hand,
        load,
        in_flight,
        idle,
        room,
    } = *situation;
    if replicas == 0 {
        *history = History::default();
        return None;
    }
    if in_flight == 0 && policy.zero_after.is_some_and(|period| idle >= period) {
        *history = History::default();
        return Some(0);
    }
    let least = policy.limits.min.max(by_hand);
    let most = policy.limits.max.max(by_hand);
    // A float becomes the nearest number that there is.
    let need = ((load / policy.share).ceil() as u32).clamp(least, most);
    let lately = history.most(now, need, policy.down_window);
    if need > replicas {
        return room.then_some(need);
    }
    lately.filter(|most| *most < replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Map {
        let key = |(key, value): &(&str, &str)| {
            (format!("com.openfaas.scale.{key}"), (*value).to_owned())
        };
        pairs.iter().map(key).collect()
    }

    fn policy(pairs: &[(&str, &str)]) -> Policy {
        Policy::of(Some(&labels(pairs))).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(second: u64, replicas: u32, load: f64) -> Situation {
        Situation {
            now: seconds(second),
            replicas,
            by_hand: 0,
            load,
            in_flight: 0,
            idle: Duration::ZERO,
            room: true,
        }
    }

    #[test]
    fn labels_say_what_counts() {
        let plain = Policy::of(None).unwrap();
        assert_eq!((plain.kind, plain.share), (Kind::Rate, 45.0));
        assert_eq!((plain.down_window, plain.zero_after), (seconds(60), None));
        let own = policy(&[
            ("type", "capacity"),
            ("target", "10"),
            ("target-proportion", "0.5"),
            ("down.window", "5m"),
            ("zero", "true"),
            ("zero-duration", "90s"),
        ]);
        assert_eq!((own.kind, own.share), (Kind::Capacity, 5.0));
        assert_eq!(own.down_window, seconds(300));
        assert_eq!(own.zero_after, Some(seconds(90)));
        assert_eq!(policy(&[("zero", "true")]).zero_after, Some(seconds(900)));
        for wrong in [("target", "0"), ("target", "-1"), ("target", "NaN")] {
            assert_eq!(policy(&[wrong]).share, 45.0, "{wrong:?}");
        }
        for wrong in [("target-proportion", "1.5"), ("target-proportion", "x")] {
            assert_eq!(policy(&[wrong]).share, 45.0, "{wrong:?}");
        }
        assert!(Policy::of(Some(&labels(&[("factor", "0")]))).is_err());
    }

    #[test]
    fn more_load_means_more_replicas_at_once_within_the_limits() {
        let policy = policy(&[("target", "10"), ("target-proportion", "1"), ("max", "4")]);
        for (replicas, load, expected) in [
            (1, 0.0, None),
            (1, 10.0, None),
            (1, 10.1, Some(2)),
            (1, 35.0, Some(4)),
            (1, 1e300, Some(4)),
            (1, f64::NAN, None),
            (4, 100.0, None),
            (0, 100.0, None),
        ] {
            let decided = decide(&policy, &at(0, replicas, load), &mut History::default());
            assert_eq!(decided, expected, "{replicas} {load}");
        }
        let full = Situation {
            room: false,
            ..at(0, 1, 35.0)
        };
        assert_eq!(decide(&policy, &full, &mut History::default()), None);
    }

    #[test]
    fn fewer_come_when_less_did_for_the_whole_window() {
        let policy = policy(&[
            ("target", "10"),
            ("target-proportion", "1"),
            ("down.window", "10s"),
        ]);
        let mut history = History::default();
        let mut decide = |second, load| decide(&policy, &at(second, 4, load), &mut history);
        assert_eq!(decide(0, 35.0), None);
        for second in 1..=10 {
            assert_eq!(decide(second, 5.0), None, "{second}");
        }
        // A peak within the window counts.
        assert_eq!(decide(11, 15.0), Some(2));
        for second in 12..=21 {
            assert_eq!(decide(second, 5.0), Some(2), "{second}");
        }
        assert_eq!(decide(22, 5.0), Some(1));
    }

    #[test]
    fn nothing_goes_before_a_window_is_known() {
        let policy = policy(&[("down.window", "10s")]);
        let mut history = History::default();
        for second in 100..110 {
            assert_eq!(decide(&policy, &at(second, 3, 0.0), &mut history), None);
        }
        assert_eq!(decide(&policy, &at(110, 3, 0.0), &mut history), Some(1));
    }

    #[test]
    fn a_history_stays_small_however_long_nothing_changes() {
        let policy = policy(&[("down.window", "1h")]);
        let mut history = History::default();
        for second in 0..10_000 {
            decide(&policy, &at(second, 1, 0.0), &mut history);
        }
        assert!(history.needs.len() < 10, "{}", history.needs.len());
    }

    #[test]
    fn what_was_asked_for_by_hand_is_the_least() {
        let policy = policy(&[("max", "4"), ("target", "10"), ("down.window", "0s")]);
        let decide = |by_hand, replicas, load| {
            let situation = Situation {
                by_hand,
                ..at(60, replicas, load)
            };
            decide(&policy, &situation, &mut History::default())
        };
        assert_eq!(decide(3, 3, 0.0), None);
        assert_eq!(decide(3, 4, 0.0), Some(3));
        assert_eq!(decide(6, 6, 1000.0), None);
        assert_eq!(decide(0, 6, 1000.0), Some(4));
    }

    #[test]
    fn equal_limits_switch_scaling_off() {
        let policy = policy(&[("min", "2"), ("max", "2"), ("down.window", "0s")]);
        for load in [0.0, 1e6] {
            let mut history = History::default();
            assert_eq!(decide(&policy, &at(60, 2, load), &mut history), None);
        }
    }

    #[test]
    fn an_idle_function_goes_to_zero_only_where_it_may_and_nothing_is_in_flight() {
        let may = policy(&[("zero", "true"), ("zero-duration", "1m"), ("min", "2")]);
        let idle = |policy: &Policy, seconds, in_flight| {
            let situation = Situation {
                idle: Duration::from_secs(seconds),
                in_flight,
                ..at(0, 2, 0.0)
            };
            decide(policy, &situation, &mut History::default())
        };
        assert_eq!(idle(&may, 59, 0), None);
        assert_eq!(idle(&may, 60, 0), Some(0));
        assert_eq!(idle(&may, 6000, 1), None);
        let may_not = policy(&[("min", "2")]);
        assert_eq!(idle(&may_not, 6000, 0), None);
    }
}
