//! Decides which message is next, when a failed one is tried again, and when
//! it is given up. Nothing here reads a clock, a file or a socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::policy::Policy;

/// A point of the monotonic clock: wall clocks jump.
pub(super) type Moment = Duration;

/// First and longest pause while nothing can be called at all.
const ABSENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A message that is being called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Its place in the order of acceptance.
    pub(super) seq: u64,
    /// Its function, as `name.namespace`.
    pub(super) function: Arc<str>,
    /// Attempts that failed so far.
    pub(super) failures: u32,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Call this one.
    Call(Ticket),
    /// Look again at this time, or when something changes.
    At(Moment),
    /// Look again when something changes.
    Idle,
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The function answered.
    Answered,
    /// Something between here and the function failed.
    Failed,
    /// Nothing can be called now, whatever the function.
    Away,
    /// It can never be called.
    Hopeless,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done with.
    Remove,
    /// It is tried again; so many attempts have failed.
    Retry(u32),
    /// It waits as if it had not been tried.
    Keep,
    /// It goes to the dead letters, after so many attempts.
    Bury(u32),
}

/// What becomes of a message after so many failures before this end.
pub(super) fn verdict(failures: u32, end: &End, policy: &Policy) -> Verdict {
    let attempts = failures.saturating_add(1);
    match end {
        End::Answered => Verdict::Remove,
        End::Away => Verdict::Keep,
        End::Hopeless => Verdict::Bury(attempts),
        End::Failed if attempts >= policy.attempts => Verdict::Bury(attempts),
        End::Failed => Verdict::Retry(attempts),
    }
}

/// The messages of one function.
#[derive(Debug, Default)]
struct Lane {
    /// Those that can be called, with the failures of each.
    ready: BTreeMap<u64, u32>,
    /// Those that failed and wait, by when.
    later: BTreeSet<(Moment, u64, u32)>,
    inflight: usize,
    /// When its turn was last, counted in calls.
    turn: u64,
}

/// How many messages of a function wait and are being called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// The function, as `name.namespace`.
    pub(super) function: Arc<str>,
    /// Messages that wait.
    pub(super) depth: usize,
    /// Messages that are being called.
    pub(super) inflight: usize,
}

/// All messages, by function.
#[derive(Debug)]
pub(super) struct Schedule {
    lanes: BTreeMap<Arc<str>, Lane>,
    slots: usize,
    inflight: usize,
    turn: u64,
    /// Nothing is called before.
    closed_until: Moment,
    absences: u32,
}

impl Schedule {
    /// An empty one that calls at most `slots` messages at a time.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            slots: slots.max(1),
            inflight: 0,
            turn: 0,
            closed_until: Moment::ZERO,
            absences: 0,
        }
    }

    /// Takes in a message that can be called at once.
    pub(super) fn add(&mut self, seq: u64, function: &str, failures: u32) {
        let lane = self.lanes.entry(Arc::from(function)).or_default();
        lane.ready.insert(seq, failures);
    }

    /// Chooses the next call.
    ///
    /// The function with the fewest calls under way comes first, and of several
    /// the one whose turn was longest ago. The last free slot is for a function
    /// that has none: one that is slow leaves room for the others.
    pub(super) fn next(&mut self, now: Moment) -> Next {
        if now < self.closed_until {
            let waits = |lane: &Lane| !lane.ready.is_empty() || !lane.later.is_empty();
            return match self.lanes.values().any(waits) {
                true => Next::At(self.closed_until),
                false => Next::Idle,
            };
        }
        if self.inflight == self.slots {
            return Next::Idle;
        }
        for lane in self.lanes.values_mut() {
            while let Some(&(due, seq, failures)) = lane.later.first()
                && due <= now
            {
                lane.later.pop_first();
                lane.ready.insert(seq, failures);
            }
        }
        let last = self.slots > 1 && self.slots - self.inflight == 1;
        let chosen = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| !lane.ready.is_empty() && (!last || lane.inflight == 0))
            .min_by_key(|(_, lane)| (lane.inflight, lane.turn));
        if let Some((function, lane)) = chosen
            && let Some((seq, failures)) = lane.ready.pop_first()
        {
            self.turn += 1;
            self.inflight += 1;
            lane.turn = self.turn;
            lane.inflight += 1;
            return Next::Call(Ticket {
                seq,
                function: Arc::clone(function),
                failures,
            });
        }
        let due = self
            .lanes
            .values()
            .filter_map(|lane| lane.later.first().map(|&(due, ..)| due))
            .min();
        due.map_or(Next::Idle, Next::At)
    }

    /// Takes note of how a call ended. What it returns is done by then: from
    /// here on the message can be called again.
    pub(super) fn conclude(
        &mut self,
        ticket: &Ticket,
        end: &End,
        policy: &Policy,
        now: Moment,
    ) -> Verdict {
        self.inflight = self.inflight.saturating_sub(1);
        let lane = self.lanes.entry(Arc::clone(&ticket.function)).or_default();
        lane.inflight = lane.inflight.saturating_sub(1);
        let verdict = verdict(ticket.failures, end, policy);
        match verdict {
            Verdict::Remove | Verdict::Bury(_) => {}
            Verdict::Retry(failures) => {
                let due = now + policy.wait(failures);
                lane.later.insert((due, ticket.seq, failures));
            }
            Verdict::Keep => {
                lane.ready.insert(ticket.seq, ticket.failures);
            }
        }
        if lane.ready.is_empty() && lane.later.is_empty() && lane.inflight == 0 {
            self.lanes.remove(&ticket.function);
        }
        match end {
            // Calls that were under way together count as one absence.
            End::Away if now >= self.closed_until => {
                self.closed_until = now + doubled(ABSENCE, self.absences);
                self.absences = self.absences.saturating_add(1);
            }
            End::Away | End::Hopeless => {}
            End::Answered | End::Failed => self.absences = 0,
        }
        verdict
    }

    /// How many messages of a function wait or are being called.
    pub(super) fn load_of(&self, function: &str) -> usize {
        let lane = self.lanes.get(function);
        lane.map_or(0, |lane| {
            lane.ready.len() + lane.later.len() + lane.inflight
        })
    }

    /// What there is of each function.
    pub(super) fn loads(&self) -> Vec<Load> {
        self.lanes
            .iter()
            .map(|(function, lane)| Load {
                function: Arc::clone(function),
                depth: lane.ready.len() + lane.later.len(),
                inflight: lane.inflight,
            })
            .collect()
    }
}

/// The first pause, doubled so many times, up to the longest.
pub(super) fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        attempts: 3,
        codes: Vec::new(),
        min_wait: Duration::from_secs(1),
        max_wait: Duration::from_secs(60),
    };

    const fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    /// Chooses calls until there is none, and names them.
    fn calls(schedule: &mut Schedule, now: Moment) -> (Vec<Ticket>, Next) {
        let mut tickets = Vec::new();
        loop {
            match schedule.next(now) {
                Next::Call(ticket) => tickets.push(ticket),
                other => return (tickets, other),
            }
        }
    }

    fn order(tickets: &[Ticket]) -> Vec<u64> {
        tickets.iter().map(|ticket| ticket.seq).collect()
    }

    fn filled(slots: usize, messages: &[(u64, &str)]) -> Schedule {
        let mut schedule = Schedule::new(slots);
        for &(seq, function) in messages {
            schedule.add(seq, function, 0);
        }
        schedule
    }

    #[test]
    fn one_function_is_called_in_the_order_of_acceptance() {
        let mut schedule = filled(1, &[(3, "a"), (1, "a"), (2, "a")]);
        for expected in 1..=3 {
            let (tickets, _) = calls(&mut schedule, at(0));
            assert_eq!(order(&tickets), [expected]);
            schedule.conclude(&tickets[0], &End::Answered, &POLICY, at(0));
        }
        assert_eq!(schedule.next(at(0)), Next::Idle);
        assert!(schedule.loads().is_empty());
    }

    #[test]
    fn functions_take_turns() {
        let mut schedule = filled(1, &[(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")]);
        let mut seen = Vec::new();
        while let Next::Call(ticket) = schedule.next(at(0)) {
            seen.push(ticket.seq);
            schedule.conclude(&ticket, &End::Answered, &POLICY, at(0));
        }
        assert_eq!(seen, [1, 4, 5, 2, 3]);
    }

    #[test]
    fn a_slow_function_leaves_a_slot_for_the_others() {
        let mut schedule = filled(3, &[(1, "slow"), (2, "slow"), (3, "slow"), (4, "slow")]);
        let (slow, _) = calls(&mut schedule, at(0));
        assert_eq!(order(&slow), [1, 2]);
        schedule.add(5, "quick", 0);
        schedule.add(6, "quick", 0);
        for expected in [5, 6] {
            let (quick, _) = calls(&mut schedule, at(0));
            assert_eq!(order(&quick), [expected]);
            schedule.conclude(&quick[0], &End::Answered, &POLICY, at(0));
        }
        schedule.conclude(&slow[0], &End::Answered, &POLICY, at(0));
        assert_eq!(order(&calls(&mut schedule, at(0)).0), [3]);
    }

    #[test]
    fn the_slots_are_the_bound_whatever_waits() {
        for slots in 1..6 {
            let mut schedule = Schedule::new(slots);
            for seq in 0..60 {
                schedule.add(seq, ["a", "b", "c", "d", "e", "f"][seq as usize % 6], 0);
            }
            let (tickets, next) = calls(&mut schedule, at(0));
            assert_eq!((tickets.len(), next), (slots, Next::Idle));
        }
    }

    #[test]
    fn failures_wait_longer_each_time_and_end_with_the_dead() {
        let mut schedule = filled(1, &[(1, "a")]);
        for (now, verdict, next) in [
            (0, Verdict::Retry(1), Next::At(at(1))),
            (1, Verdict::Retry(2), Next::At(at(3))),
            (3, Verdict::Bury(3), Next::Idle),
        ] {
            let Next::Call(ticket) = schedule.next(at(now)) else {
                panic!("nothing to call at {now}");
            };
            assert_eq!(
                schedule.conclude(&ticket, &End::Failed, &POLICY, at(now)),
                verdict
            );
            assert_eq!(schedule.next(at(now)), next);
        }
        assert!(schedule.loads().is_empty());
    }

    #[test]
    fn others_do_not_wait_for_one_that_failed() {
        let mut schedule = filled(1, &[(1, "a"), (2, "a"), (3, "b")]);
        let (tickets, _) = calls(&mut schedule, at(0));
        schedule.conclude(&tickets[0], &End::Failed, &POLICY, at(0));
        for expected in [3, 2] {
            let (tickets, _) = calls(&mut schedule, at(0));
            assert_eq!(order(&tickets), [expected]);
            schedule.conclude(&tickets[0], &End::Answered, &POLICY, at(0));
        }
        assert_eq!(schedule.next(at(0)), Next::At(at(1)));
        assert_eq!(order(&calls(&mut schedule, at(1)).0), [1]);
    }

    #[test]
    fn what_failed_before_a_restart_counts_after_it() {
        let mut schedule = Schedule::new(1);
        schedule.add(1, "a", 2);
        let (tickets, _) = calls(&mut schedule, at(0));
        assert_eq!(
            schedule.conclude(&tickets[0], &End::Failed, &POLICY, at(0)),
            Verdict::Bury(3)
        );
    }

    #[test]
    fn an_absence_stops_everything_and_counts_against_nobody() {
        let mut schedule = filled(2, &[(1, "a"), (2, "b"), (3, "c")]);
        let (tickets, _) = calls(&mut schedule, at(0));
        for ticket in &tickets {
            assert_eq!(
                schedule.conclude(ticket, &End::Away, &POLICY, at(0)),
                Verdict::Keep
            );
        }
        // Two calls at once are one absence; the pauses grow with each.
        let mut now = at(0);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(schedule.next(now), Next::At(now + at(pause)));
            now += at(pause);
            let Next::Call(ticket) = schedule.next(now) else {
                panic!("nothing to call at {now:?}");
            };
            assert_eq!(ticket.failures, 0);
            schedule.conclude(&ticket, &End::Away, &POLICY, now);
        }
        // One answer, and the next absence is short again.
        now += at(30);
        let (tickets, _) = calls(&mut schedule, now);
        schedule.conclude(&tickets[0], &End::Answered, &POLICY, now);
        schedule.conclude(&tickets[1], &End::Away, &POLICY, now);
        assert_eq!(schedule.next(now), Next::At(now + at(1)));
    }

    #[test]
    fn what_can_never_be_called_is_buried_at_once() {
        let mut schedule = filled(1, &[(1, "a")]);
        let (tickets, _) = calls(&mut schedule, at(0));
        assert_eq!(
            schedule.conclude(&tickets[0], &End::Hopeless, &POLICY, at(0)),
            Verdict::Bury(1)
        );
        assert_eq!(schedule.next(at(0)), Next::Idle);
    }

    #[test]
    fn loads_count_what_waits_and_what_is_under_way() {
        let mut schedule = filled(1, &[(1, "a"), (2, "a"), (3, "b")]);
        let (tickets, _) = calls(&mut schedule, at(0));
        schedule.conclude(&tickets[0], &End::Failed, &POLICY, at(0));
        let (_, _) = calls(&mut schedule, at(0));
        assert_eq!(
            ["a", "b", "c"].map(|name| schedule.load_of(name)),
            [2, 1, 0]
        );
        let loads: Vec<_> = schedule
            .loads()
            .into_iter()
            .map(|load| (load.function.to_string(), load.depth, load.inflight))
            .collect();
        assert_eq!(loads, [("a".to_owned(), 2, 0), ("b".to_owned(), 0, 1)]);
    }
}
