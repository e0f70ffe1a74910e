//! Decides which functions are to be called now. Nothing here reads a clock.
//!
//! A look sees the ticks since the last one, measured by the monotonic clock: a
//! wall clock that jumps forward skips what lies between, and one that jumps
//! back has no tick twice.

use std::{collections::HashMap, time::Duration};

use super::schedule::{Schedule, is_minute_of};
use crate::model::{FunctionId, FunctionStatus};

const TOPIC: &str = "cron-function";
const MINUTE: u64 = 60;
/// How much the two clocks may differ between two looks without a jump.
const SLACK: u64 = 2;
/// How late a call may be. Ticks from further back are missed, as those are
/// from before the start.
const LATE: u64 = 5 * MINUTE;
/// A wall clock that is set back by more than this was wrong before: the new
/// time counts. By less, its minutes are not repeated.
const REPEATED: u64 = 3 * 60 * MINUTE;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Since 1970.
    pub(super) wall: Duration,
    /// Since any moment.
    pub(super) monotonic: Duration,
}

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Functions to be called, each once.
    pub(super) due: Vec<FunctionId>,
    /// Schedules that cannot be read, each told once.
    pub(super) complaints: Vec<String>,
    /// When to look again.
    pub(super) pause: Duration,
}

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Planner {
    last: Option<Now>,
    /// Ticks up to this second of the wall clock are done with.
    done: u64,
    functions: HashMap<FunctionId, Known>,
}

/// A function as it was deployed.
#[derive(Debug)]
struct Known {
    text: String,
    created: String,
    /// Nothing where it cannot be read.
    schedule: Option<Schedule>,
    /// When a period ends, by the monotonic clock.
    due: Duration,
}

/// The schedule of a function that has one.
pub(super) fn schedule_of(function: &FunctionStatus) -> Option<&str> {
    let annotations = function.annotations.as_ref()?;
    let mut topics = annotations.get("topic")?.split(',').map(str::trim);
    topics
        .any(|topic| topic == TOPIC)
        .then(|| annotations.get("schedule").map_or("", String::as_str))
}

impl Planner {
    /// Looks which of these functions are due.
    pub(super) fn look(&mut self, functions: &[FunctionStatus], now: Now) -> Look {
        let from = self.advance(now);
        let wall = now.wall.as_secs();
        let into_minute = now
            .wall
            .saturating_sub(Duration::from_secs(wall / MINUTE * MINUTE));
        let mut look = Look {
            pause: Duration::from_secs(MINUTE).saturating_sub(into_minute),
            ..Look::default()
        };
        let mut known = HashMap::new();
        for function in functions {
            let Some(text) = schedule_of(function) else {
                continue;
            };
            let id = FunctionId::new(&function.name, &function.namespace);
            let mut entry = match self.functions.remove(&id) {
                Some(same) if same.text == text && same.created == function.created_at => same,
                _ => Known::new(&id, function, text, now, &mut look.complaints),
            };
            let due = match &entry.schedule {
                None => false,
                Some(Schedule::Minutes(cron)) => {
                    // At most one, though several may have passed.
                    let last = wall / MINUTE;
                    let first = from / MINUTE + 1;
                    (first..=last).any(|minute| is_minute_of(cron, minute * MINUTE))
                }
                Some(Schedule::Every(period)) => {
                    let due = now.monotonic >= entry.due;
                    if due {
                        entry.due = next(entry.due, *period, now.monotonic);
                    }
                    look.pause = look.pause.min(entry.due.saturating_sub(now.monotonic));
                    due
                }
            };
            if due {
                look.due.push(id.clone());
            }
            known.insert(id, entry);
        }
        self.functions = known;
        look
    }

    /// Moves on to a moment. Ticks after what is returned are due, up to now.
    fn advance(&mut self, now: Now) -> u64 {
        let wall = now.wall.as_secs();
        let Some(last) = self.last.replace(now) else {
            self.done = wall;
            return wall;
        };
        let elapsed = now.monotonic.saturating_sub(last.monotonic).as_secs() + SLACK;
        if self.done.saturating_sub(wall) > REPEATED {
            self.done = 0;
        }
        let from = wall.saturating_sub(elapsed.min(LATE)).max(self.done);
        self.done = self.done.max(wall);
        from
    }
}

impl Known {
    fn new(
        id: &FunctionId,
        function: &FunctionStatus,
        text: &str,
        now: Now,
        complaints: &mut Vec<String>,
    ) -> Self {
        let schedule = Schedule::parse(text).map_err(|error| {
            complaints.push(format!(
                "annotation schedule of {id}: {text:?} is no schedule: {error}; it is not called"
            ));
        });
        let due = match schedule {
            Ok(Schedule::Every(period)) => now.monotonic + period,
            _ => Duration::ZERO,
        };
        Self {
            text: text.to_owned(),
            created: function.created_at.clone(),
            schedule: schedule.ok(),
            due,
        }
    }
}

/// The first end of a period after now.
fn next(due: Duration, period: Duration, now: Duration) -> Duration {
    let passed = now.saturating_sub(due).as_nanos() / period.as_nanos().max(1);
    let passed = u32::try_from(passed).unwrap_or(u32::MAX);
    due.saturating_add(period.saturating_mul(passed.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Map;

    /// 2026-11-22T10:00:00Z.
    const TEN: u64 = 1_795_341_600;

    fn function(name: &str, schedule: &str) -> FunctionStatus {
        FunctionStatus {
            name: name.to_owned(),
            namespace: "fn".to_owned(),
            annotations: Some(Map::from([
                ("topic".to_owned(), TOPIC.to_owned()),
                ("schedule".to_owned(), schedule.to_owned()),
            ])),
            ..FunctionStatus::default()
        }
    }

    /// A planner and its two clocks, in seconds.
    struct Bench {
        planner: Planner,
        functions: Vec<FunctionStatus>,
        wall: f64,
        monotonic: f64,
    }

    impl Bench {
        /// One that has looked once, so many seconds after ten.
        fn new(functions: &[(&str, &str)], seconds: f64) -> Self {
            let mut bench = Self {
                planner: Planner::default(),
                functions: functions
                    .iter()
                    .map(|(name, text)| function(name, text))
                    .collect(),
                wall: TEN as f64 + seconds,
                monotonic: 100.0,
            };
            assert_eq!(bench.after(0.0), [""; 0], "nothing is due at the start");
            bench
        }

        fn look(&mut self) -> Look {
            let now = Now {
                wall: Duration::from_secs_f64(self.wall),
                monotonic: Duration::from_secs_f64(self.monotonic),
            };
            self.planner.look(&self.functions, now)
        }

        /// What is due after so many seconds.
        fn after(&mut self, seconds: f64) -> Vec<String> {
            self.wall += seconds;
            self.monotonic += seconds;
            self.look().due.into_iter().map(|id| id.name).collect()
        }

        /// What is due when the wall clock is set, which takes no time.
        fn set(&mut self, seconds: f64) -> Vec<String> {
            self.wall = TEN as f64 + seconds;
            self.after(0.0)
        }

        /// How many calls there are in so many seconds, looking as often as is
        /// asked for.
        fn count(&mut self, seconds: f64) -> usize {
            let end = self.monotonic + seconds;
            let mut count = 0;
            loop {
                let pause = self.look().pause.as_secs_f64();
                assert!((0.0..=60.0).contains(&pause), "{pause}");
                if self.monotonic + pause > end {
                    let rest = end - self.monotonic;
                    return count + self.after(rest).len();
                }
                count += self.after(pause + 0.001).len();
            }
        }
    }

    #[test]
    fn a_minute_is_called_once_when_it_comes() {
        let mut bench = Bench::new(&[("a", "1 10 * * *")], 0.5);
        assert!(bench.after(59.0).is_empty());
        assert_eq!(bench.after(0.6), ["a"]);
        for _ in 0..10 {
            assert!(bench.after(0.3).is_empty());
        }
        assert!(bench.after(60.0).is_empty());
    }

    #[test]
    fn the_pauses_meet_every_tick() {
        for start in [0.0, 0.001, 17.3, 59.9] {
            let mut bench = Bench::new(&[("a", "* * * * *")], start);
            assert_eq!(bench.count(3600.01), 60, "{start}");
            let mut bench = Bench::new(&[("a", "*/15 * * * *"), ("b", "@hourly")], start);
            assert_eq!(bench.count(86_400.01), 96 + 24, "{start}");
        }
    }

    #[test]
    fn the_minute_of_the_start_is_missed() {
        for late in [0.0, 0.4, 30.0] {
            let mut bench = Bench::new(&[("a", "0 10 * * *")], late);
            assert!(bench.after(1.0).is_empty());
        }
    }

    #[test]
    fn a_look_that_is_late_calls_once() {
        let mut bench = Bench::new(&[("a", "* * * * *")], 30.0);
        assert_eq!(bench.after(200.0), ["a"]);
        // Too late is missed: the node was as good as off.
        let mut bench = Bench::new(&[("a", "1 10 * * *")], 30.0);
        assert_eq!(bench.after(30.0 + 299.0), ["a"]);
        let mut bench = Bench::new(&[("a", "1 10 * * *")], 30.0);
        assert!(bench.after(30.0 + 301.0).is_empty());
    }

    #[test]
    fn a_clock_that_jumps_forward_fires_no_storm() {
        for jump in [10.0, 3600.0, 86_400.0 * 365.0, 56.0 * 365.0 * 86_400.0] {
            let mut bench = Bench::new(&[("a", "* * * * *"), ("b", "0 * * * *")], 5.0);
            bench.after(1.0);
            let due = bench.set(jump + 6.0);
            assert!(due.is_empty(), "{jump}: {due:?}");
            // From there on it goes by the new time.
            let from = bench.wall;
            let calls = bench.count(7200.0);
            let minutes = ((from + 7200.0) / 60.0).floor() - (from / 60.0).floor();
            assert_eq!(calls, minutes as usize + 2, "{jump}");
        }
    }

    #[test]
    fn a_tick_that_passes_while_the_clock_jumps_is_called() {
        // 55 seconds pass, of which the new time saw a full hour.
        let mut bench = Bench::new(&[("b", "0 * * * *")], 5.0);
        bench.monotonic += 55.0;
        assert_eq!(bench.set(5.0 * 3600.0 + 20.0), ["b"]);
    }

    #[test]
    fn a_clock_that_jumps_back_a_little_repeats_nothing() {
        for back in [1.0, 59.0, 61.0, 3600.0, 10_000.0] {
            let mut bench = Bench::new(&[("a", "* * * * *")], -1.0);
            assert_eq!(bench.after(2.0), ["a"]);
            bench.set(1.0 - back);
            let calls = bench.count(back);
            assert_eq!(calls, 0, "{back}");
            assert_eq!(bench.count(120.0), 2, "{back}");
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_counts_again_from_where_it_is_set() {
        let mut bench = Bench::new(&[("a", "* * * * *")], -1.0);
        bench.set(20.0 * 365.0 * 86_400.0);
        assert!(bench.set(10.0).is_empty());
        assert_eq!(bench.count(600.0), 10);
    }

    #[test]
    fn a_clock_that_is_slewed_meets_every_tick_once() {
        for rate in [0.9995, 1.0005] {
            let mut bench = Bench::new(&[("a", "* * * * *")], 0.5);
            let mut calls = 0;
            for _ in 0..36_000 {
                bench.wall += 0.1 * rate;
                bench.monotonic += 0.1;
                calls += bench.after(0.0).len();
            }
            assert!((59..=60).contains(&calls), "{rate}: {calls}");
        }
    }

    #[test]
    fn small_steps_of_the_clock_lose_no_tick() {
        for step in [-1.5, -0.5, 0.5, 1.5] {
            let mut bench = Bench::new(&[("a", "1 10 * * *")], 58.0);
            bench.wall += step;
            let mut calls = 0;
            for _ in 0..50 {
                calls += bench.after(0.1).len();
            }
            assert_eq!(calls, 1, "{step}");
        }
    }

    #[test]
    fn periods_go_by_the_monotonic_clock() {
        let mut bench = Bench::new(&[("a", "@every 90s")], 0.0);
        assert!(bench.after(89.0).is_empty());
        assert!(bench.set(1e9).is_empty());
        assert!(bench.set(-1e9).is_empty());
        assert_eq!(bench.after(1.0), ["a"]);
        // Periods that were missed are one call, and the next keeps step.
        assert_eq!(bench.after(90.0 * 7.0 + 10.0), ["a"]);
        assert!(bench.after(79.0).is_empty());
        assert_eq!(bench.after(1.0), ["a"]);
        assert_eq!(bench.count(900.0), 10);
    }

    #[test]
    fn a_function_is_heeded_from_its_deployment_to_its_deletion() {
        let mut bench = Bench::new(&[], 30.0);
        bench.functions = vec![function("a", "* * * * *"), function("b", "@every 30s")];
        assert_eq!(bench.after(30.0), ["a"]);
        assert_eq!(bench.after(30.0), ["b"]);
        // A new deployment begins a new period, with another schedule too.
        bench.functions[1].created_at = "later".to_owned();
        bench.functions[0] = function("a", "0 0 * * *");
        assert!(bench.after(30.0).is_empty());
        assert_eq!(bench.after(30.0), ["b"]);
        bench.functions.clear();
        assert!(bench.after(60.0).is_empty());
        assert!(bench.planner.functions.is_empty());
    }

    #[test]
    fn only_the_topic_of_cron_counts_among_others() {
        let mut other = function("other", "* * * * *");
        for (topic, due) in [
            ("cron-function", true),
            ("a, cron-function", true),
            ("a,b", false),
            ("cron-functions", false),
            ("", false),
        ] {
            let annotations = other.annotations.as_mut().unwrap();
            annotations.insert("topic".to_owned(), topic.to_owned());
            let mut bench = Bench::new(&[], 59.5);
            bench.functions = vec![other.clone(), FunctionStatus::default()];
            assert_eq!(!bench.after(1.0).is_empty(), due, "{topic}");
        }
    }

    #[test]
    fn a_bad_schedule_is_told_once_a_deployment() {
        let mut bench = Bench::new(&[], 0.0);
        bench.functions = vec![function("a", "often"), function("b", "* * * * *")];
        bench.functions[0]
            .annotations
            .as_mut()
            .unwrap()
            .remove("schedule");
        let complaints = |bench: &mut Bench| {
            bench.after(60.0);
            bench.functions[1].name.push('b');
            bench.look().complaints
        };
        bench.functions.push(function("c", "often"));
        let told = bench.look().complaints;
        assert_eq!(told.len(), 2);
        assert!(
            told[1].contains("c.fn: \"often\" is no schedule"),
            "{told:?}"
        );
        assert!(complaints(&mut bench).is_empty());
        bench.functions[2].created_at = "later".to_owned();
        assert_eq!(bench.look().complaints.len(), 1);
        assert!(complaints(&mut bench).is_empty());
    }
}
