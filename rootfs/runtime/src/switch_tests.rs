//! A specification of switches, in simulated time: the ways they go, every
//! event in every state, and what a boot finds at every moment.

use super::*;

const RULES: SwitchRules = SwitchRules {
    drain: true,
    gate: true,
    start_time: START_TIME,
    stay_time: 0,
};
const PLAIN: SwitchRules = SwitchRules {
    drain: false,
    gate: false,
    start_time: START_TIME,
    stay_time: STAY_TIME,
};
const NOW: &str = "2026-11-21T12:00:00.000000Z";

fn sight(state: State) -> Sight {
    Sight {
        state,
        down: matches!(state, State::Stopped | State::Failed | State::Done),
        restarts: 0,
    }
}

fn own() -> Switch {
    Switch::boot(Record::default(), "old", true, |_| None, NOW)
}

fn begun(rules: SwitchRules) -> (Switch, Vec<Effect>) {
    let mut switch = own();
    let effects = switch.begin(rules, sight(State::Ready), true, "new", NOW);
    (switch, effects)
}

fn see(switch: &mut Switch, rules: SwitchRules, state: State, now: Micros) -> Vec<Effect> {
    switch.seen(rules, sight(state), || "it broke".to_owned(), now, NOW)
}

fn decided(effects: &[Effect]) -> bool {
    matches!(effects[..2], [Effect::Save, Effect::Report(_)])
}

#[test]
fn a_switch_goes_step_by_step_and_is_chosen_at_the_end() {
    let (mut switch, effects) = begun(RULES);
    assert_eq!(effects, [Effect::Drain]);
    assert_eq!(see(&mut switch, RULES, State::Ready, 0), []);
    assert_eq!(switch.drained(Ok(()), NOW), [Effect::Stop]);
    assert_eq!(see(&mut switch, RULES, State::Stopping, 1), []);
    assert_eq!(switch.current, "old");
    assert_eq!(
        see(&mut switch, RULES, State::Stopped, 2),
        [Effect::Use, Effect::Start]
    );
    assert_eq!(switch.current, "new");
    assert_eq!(see(&mut switch, RULES, State::Starting, 3), []);
    assert_eq!(see(&mut switch, RULES, State::Running, 4), []);
    assert_eq!(see(&mut switch, RULES, State::Ready, 5), [Effect::Gate]);
    assert_eq!(switch.record.chosen, None, "not before the gate");
    let effects = switch.gated(RULES, Ok("3 of 3".to_owned()), NOW);
    assert!(decided(&effects), "{effects:?}");
    assert_eq!(switch.record.chosen.as_deref(), Some("new"));
    assert_eq!(switch.attempt, None);
    let last = switch.record.last.unwrap();
    assert!(last.done);
    assert_eq!(last.reason, "3 of 3");
}

#[test]
fn without_commands_and_health_check_it_has_to_stay_up() {
    let (mut switch, effects) = begun(PLAIN);
    assert_eq!(effects, [Effect::Stop]);
    see(&mut switch, PLAIN, State::Stopped, 0);
    assert_eq!(see(&mut switch, PLAIN, State::Ready, SECOND), []);
    assert_eq!(switch.deadline(), Some(SECOND + STAY_TIME));
    // It ends once, and has to stay up anew.
    assert_eq!(see(&mut switch, PLAIN, State::Backoff, 2 * SECOND), []);
    assert_eq!(see(&mut switch, PLAIN, State::Ready, 4 * SECOND), []);
    assert_eq!(see(&mut switch, PLAIN, State::Ready, 8 * SECOND), []);
    let effects = see(&mut switch, PLAIN, State::Ready, 4 * SECOND + STAY_TIME);
    assert!(decided(&effects), "{effects:?}");
    assert_eq!(switch.record.chosen.as_deref(), Some("new"));
}

#[test]
fn one_that_does_not_run_is_not_drained_and_the_way_back_leaves_it_so() {
    let mut switch = own();
    let effects = switch.begin(RULES, sight(State::Stopped), false, "new", NOW);
    assert_eq!(effects, [Effect::Stop]);
    see(&mut switch, RULES, State::Stopped, 0);
    let effects = see(&mut switch, RULES, State::Failed, 1);
    assert!(decided(&effects));
    assert_eq!(effects[2..], [Effect::Stop]);
    assert_eq!(see(&mut switch, RULES, State::Stopped, 2), [Effect::Use]);
    assert_eq!((switch.current.as_str(), &switch.attempt), ("old", &None));
}

/// From a new one that has just been started.
fn starting() -> Switch {
    let (mut switch, _) = begun(RULES);
    switch.drained(Ok(()), NOW);
    see(&mut switch, RULES, State::Stopped, 0);
    see(&mut switch, RULES, State::Starting, 0);
    switch
}

#[test]
fn a_few_ends_are_chance_and_more_are_not() {
    let mut switch = starting();
    for restarts in 0..MOST_ENDS {
        let at = Sight {
            restarts,
            ..sight(State::Backoff)
        };
        let effects = switch.seen(RULES, at, || "it broke".to_owned(), 1, NOW);
        let last = restarts + 1 == MOST_ENDS;
        assert_eq!(effects.contains(&Effect::Stop), last, "{restarts}");
    }
    let last = switch.record.last.unwrap();
    assert_eq!((last.done, last.reason.as_str()), (false, "it broke"));
}

#[test]
fn one_that_takes_too_long_is_taken_back() {
    let mut switch = starting();
    assert_eq!(switch.deadline(), Some(START_TIME));
    assert_eq!(see(&mut switch, RULES, State::Running, START_TIME - 1), []);
    let effects = see(&mut switch, RULES, State::Running, START_TIME);
    // It never got ready, so it has nothing to drain.
    assert_eq!(effects[2..], [Effect::Stop]);
    let last = switch.record.last.unwrap();
    assert_eq!(last.reason, "it is not ready after 120 s: it broke");
}

/// From a new one that the gate did not let through.
fn going_back() -> Switch {
    let mut switch = starting();
    see(&mut switch, RULES, State::Ready, 1);
    let effects = switch.gated(RULES, Err("web is gone".to_owned()), NOW);
    assert!(decided(&effects));
    assert_eq!(effects[2..], [Effect::Drain]);
    assert_eq!(
        switch.drained(Err("no".to_owned()), NOW),
        [Effect::Stop],
        "it is stopped all the same"
    );
    assert_eq!(
        see(&mut switch, RULES, State::Stopped, 2),
        [Effect::Use, Effect::Start]
    );
    assert_eq!(switch.current, "old");
    switch
}

#[test]
fn what_the_gate_does_not_let_through_goes_back() {
    let mut switch = going_back();
    assert_eq!(see(&mut switch, RULES, State::Ready, 3), [Effect::Gate]);
    assert_eq!(switch.gated(RULES, Ok(String::new()), NOW), []);
    assert_eq!(switch.attempt, None);
    assert_eq!(switch.record.chosen, None);
    assert_eq!(switch.record.last.unwrap().reason, "web is gone");
}

#[test]
fn when_the_old_one_does_not_come_back_both_reasons_are_told() {
    let mut switch = going_back();
    let effects = see(&mut switch, RULES, State::Failed, 3);
    assert!(decided(&effects));
    assert_eq!(switch.attempt, None);
    assert_eq!(
        switch.record.last.unwrap().reason,
        "web is gone; old is not ready again: it broke"
    );
    let mut switch = going_back();
    see(&mut switch, RULES, State::Ready, 3);
    switch.gated(RULES, Err("db is gone".to_owned()), NOW);
    assert_eq!(
        switch.record.last.unwrap().reason,
        "web is gone; old runs again, but db is gone"
    );
}

#[test]
fn one_that_cannot_be_drained_goes_on() {
    let (mut switch, _) = begun(RULES);
    let effects = switch.drained(Err("busy".to_owned()), NOW);
    assert!(decided(&effects));
    assert_eq!(effects.len(), 2);
    assert_eq!((switch.current.as_str(), &switch.attempt), ("old", &None));
}

#[test]
fn one_that_vanishes_meanwhile_is_given_up() {
    let (mut switch, _) = begun(PLAIN);
    see(&mut switch, PLAIN, State::Stopped, 0);
    let effects = switch.unusable("new is gone", NOW);
    assert!(decided(&effects));
    assert_eq!(effects[2..], [Effect::Use, Effect::Start]);
    assert_eq!(switch.current, "old");
    see(&mut switch, PLAIN, State::Ready, 1);
    see(&mut switch, PLAIN, State::Ready, 1 + STAY_TIME);
    assert_eq!(switch.attempt, None);
}

fn record(chosen: Option<&str>, next: Option<&str>) -> Record {
    Record {
        chosen: chosen.map(str::to_owned),
        next: next.map(str::to_owned),
        ..Record::default()
    }
}

#[test]
fn a_boot_starts_what_was_chosen_or_says_why_not() {
    let chosen = || record(Some("new"), None);
    let boot =
        |problem: fn(&str) -> Option<String>| Switch::boot(chosen(), "old", true, problem, NOW);
    let switch = boot(|_| None);
    assert_eq!(
        (switch.current.as_str(), switch.notice.as_str()),
        ("new", "")
    );
    let switch = boot(|_| Some("new is not there".to_owned()));
    assert_eq!(switch.current, "old");
    assert_eq!(switch.notice, "old runs instead of new: new is not there");
    assert_eq!(switch.record, chosen(), "it may come again");
}

#[test]
fn a_boot_tries_what_is_enabled_once() {
    let next = record(None, Some("new"));
    let switch = Switch::boot(next.clone(), "old", true, |_| None, NOW);
    assert_eq!(switch.current, "new");
    assert_eq!(switch.record.next, None);
    assert_eq!(switch.record.trial.as_ref().unwrap().from, "old");
    // The node goes down before it is decided.
    let again = Switch::boot(switch.record, "old", true, |_| None, NOW);
    assert_eq!((again.current.as_str(), &again.attempt), ("old", &None));
    assert!(!again.record.last.unwrap().done);

    let gone = |_: &str| Some("new is gone".to_owned());
    let switch = Switch::boot(next.clone(), "old", true, gone, NOW);
    assert_eq!((switch.current.as_str(), &switch.attempt), ("old", &None));
    assert_eq!(switch.record.last.unwrap().reason, "new is gone");

    let off = Switch::boot(next.clone(), "old", false, |_| None, NOW);
    assert_eq!(
        off.record, next,
        "a service that is off is tried once it is on"
    );
}

#[test]
fn a_boot_for_recovery_forgets_what_was_chosen_and_what_was_to_be_tried() {
    let chosen = Record {
        chosen: Some("new".to_owned()),
        next: Some("other".to_owned()),
        ..Record::default()
    };
    let switch = Switch::recover(&chosen, "old");
    assert_eq!(switch.current, "old");
    assert_eq!(switch.record, Record::default());
    assert!(switch.notice.contains("new"), "{}", switch.notice);
    assert_eq!(Switch::recover(&Record::default(), "old"), own());
}

#[test]
fn a_boot_that_cannot_remember_a_trial_makes_none() {
    let next = record(None, Some("new"));
    let mut switch = Switch::boot(next, "old", true, |_| None, NOW);
    switch.forget_trial("the card is full");
    assert_eq!((switch.current.as_str(), &switch.attempt), ("old", &None));
    assert_eq!(switch.notice, "new is not tried: the card is full");
}

#[test]
fn at_boot_others_come_first_which_is_not_held_against_it() {
    let next = record(None, Some("new"));
    let mut switch = Switch::boot(next, "old", true, |_| None, NOW);
    let late = 2 * START_TIME;
    assert_eq!(see(&mut switch, RULES, State::Waiting, late), []);
    assert_eq!(switch.deadline(), None);
    assert_eq!(see(&mut switch, RULES, State::Starting, late), []);
    assert_eq!(switch.deadline(), Some(late + START_TIME));
}

#[test]
fn the_images_own_is_no_choice() {
    let mut switch = Switch::boot(record(Some("new"), None), "old", true, |_| None, NOW);
    switch.begin(PLAIN, sight(State::Stopped), true, "old", NOW);
    see(&mut switch, PLAIN, State::Stopped, 0);
    see(&mut switch, PLAIN, State::Ready, 0);
    see(&mut switch, PLAIN, State::Ready, STAY_TIME);
    assert_eq!(
        (switch.current.as_str(), switch.record.chosen),
        ("old", None)
    );
}

#[test]
fn to_enable_the_current_one_is_to_try_nothing() {
    let mut switch = own();
    switch.enable("new");
    assert_eq!(switch.record.next.as_deref(), Some("new"));
    switch.enable("old");
    assert_eq!(switch.record.next, None);
}

#[test]
fn a_container_of_which_nothing_else_is_known_is_stopped_if_it_was_on_trial() {
    let (switch, _) = begun(RULES);
    let mut found = Switch::found(switch.record, "old");
    assert_eq!(found.resume(), [Effect::Stop]);
    assert_eq!(found.record.trial, None);
    see(&mut found, RULES, State::Stopped, 0);
    assert_eq!(found.current, "old");
    let found = Switch::found(record(Some("new"), None), "old");
    assert_eq!((found.current.as_str(), found.resume()), ("new", vec![]));
}

/// Everything that can happen to a switch.
#[derive(Clone, Debug)]
enum Happening {
    Drained(bool),
    Gated(bool),
    Unusable,
    Seen(State, u32, Micros),
}

fn happenings() -> Vec<Happening> {
    let states = [
        State::Stopped,
        State::Waiting,
        State::Starting,
        State::Running,
        State::Ready,
        State::Unhealthy,
        State::Backoff,
        State::Failed,
        State::Done,
        State::Stopping,
    ];
    let mut all = vec![Happening::Unusable];
    for well in [true, false] {
        all.extend([Happening::Drained(well), Happening::Gated(well)]);
    }
    for state in states {
        for restarts in [0, MOST_ENDS] {
            for now in [0, START_TIME, 3 * START_TIME] {
                all.push(Happening::Seen(state, restarts, now));
            }
        }
    }
    all
}

fn happen(switch: &mut Switch, rules: SwitchRules, what: &Happening) -> Vec<Effect> {
    let result = |well: bool| {
        if well {
            Ok(String::new())
        } else {
            Err("no".to_owned())
        }
    };
    match *what {
        Happening::Drained(well) => switch.drained(result(well).map(drop), NOW),
        Happening::Gated(well) => switch.gated(rules, result(well), NOW),
        Happening::Unusable => switch.unusable("gone", NOW),
        Happening::Seen(state, restarts, now) => {
            let sight = Sight {
                restarts,
                ..sight(state)
            };
            switch.seen(rules, sight, || "it broke".to_owned(), now, NOW)
        }
    }
}

/// All states that a switch can get into.
fn reachable(rules: SwitchRules) -> Vec<Switch> {
    let boot = Switch::boot(record(None, Some("new")), "old", true, |_| None, NOW);
    let mut all = vec![own(), begun(rules).0, boot];
    let mut unwanted = own();
    unwanted.begin(rules, sight(State::Stopped), false, "new", NOW);
    all.push(unwanted);
    let mut next = 0;
    while next < all.len() {
        for what in happenings() {
            let mut after = all[next].clone();
            happen(&mut after, rules, &what);
            if !all.contains(&after) {
                all.push(after);
            }
        }
        next += 1;
    }
    all
}

#[test]
fn whatever_happens_in_whatever_state_a_boot_finds_one_that_has_proved_itself() {
    for rules in [RULES, PLAIN] {
        let all = reachable(rules);
        assert!(all.len() > 20, "{}", all.len());
        for before in &all {
            for what in happenings() {
                let mut after = before.clone();
                let effects = happen(&mut after, rules, &what);
                let context = format!("{before:?}\n{what:?}\n{after:?}\n{effects:?}");
                if before.attempt.is_none() {
                    assert_eq!((&after, effects.len()), (before, 0), "{context}");
                    continue;
                }
                // What is remembered is written before anything follows from it.
                if after.record != before.record {
                    assert_eq!(effects.first(), Some(&Effect::Save), "{context}");
                }
                let forward = after.attempt.as_ref().is_some_and(|it| it.back.is_none());
                assert_eq!(after.record.trial.is_some(), forward, "{context}");
                if after.record.chosen.is_some() {
                    assert!(after.record.last.as_ref().unwrap().done, "{context}");
                    assert_eq!(after.current, "new", "{context}");
                }
                let boot = Switch::boot(after.record.clone(), "old", true, |_| None, NOW);
                let proved = after.record.chosen.as_deref().unwrap_or("old");
                assert_eq!((boot.current.as_str(), &boot.attempt), (proved, &None));
                // It is about to be what it says it is.
                if after.current != before.current {
                    assert!(effects.contains(&Effect::Use), "{context}");
                }
            }
        }
    }
}

/// A world that answers every effect, in which some things never go well.
#[derive(Clone, Copy, Debug)]
struct World {
    new: State,
    old: State,
    drains: bool,
    gate: bool,
}

impl World {
    /// Lives on until the switch is over; at most so many events.
    fn run(self, switch: &mut Switch, rules: SwitchRules, mut effects: Vec<Effect>) -> bool {
        let mut state = State::Stopped;
        let mut now = 0;
        for _ in 0..30 {
            if switch.attempt.is_none() {
                return true;
            }
            let mut more = Vec::new();
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Drain => {
                        let result = if self.drains {
                            Ok(())
                        } else {
                            Err("no".into())
                        };
                        more.extend(switch.drained(result, NOW));
                    }
                    Effect::Gate => {
                        let result = if self.gate {
                            Ok("".into())
                        } else {
                            Err("no".into())
                        };
                        more.extend(switch.gated(rules, result, NOW));
                    }
                    Effect::Stop => state = State::Stopped,
                    Effect::Start if switch.current == "new" => state = self.new,
                    Effect::Start => state = self.old,
                    Effect::Use | Effect::Save | Effect::Report(_) => {}
                }
            }
            now += START_TIME / 2;
            more.extend(see(switch, rules, state, now));
            effects = more;
        }
        false
    }
}

#[test]
fn no_switch_hangs_however_badly_it_goes() {
    let ends = [State::Ready, State::Running, State::Failed, State::Waiting];
    for rules in [RULES, PLAIN] {
        for start in reachable(rules) {
            // A boot waits for other services for as long as they take.
            if start.attempt.as_ref().is_some_and(|it| it.boot) {
                continue;
            }
            for (new, old) in ends.iter().flat_map(|new| ends.map(|old| (*new, old))) {
                for (drains, gate) in [(true, true), (false, false), (true, false)] {
                    let world = World {
                        new,
                        old,
                        drains,
                        gate,
                    };
                    let mut switch = start.clone();
                    let effects = switch.resume();
                    assert!(
                        world.run(&mut switch, rules, effects),
                        "{world:?} {start:?}"
                    );
                }
            }
        }
    }
}

/// Every record that is written on the way, from the first.
fn writes(rules: SwitchRules, world: World) -> Vec<Record> {
    let (mut switch, mut effects) = begun(rules);
    let mut written = vec![Record::default(), switch.record.clone()];
    let mut state = State::Ready;
    let mut now = 0;
    while switch.attempt.is_some() {
        let mut more = Vec::new();
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Save => written.push(switch.record.clone()),
                Effect::Drain => more.extend(switch.drained(Ok(()), NOW)),
                Effect::Gate => {
                    let result = if world.gate {
                        Ok("".into())
                    } else {
                        Err("no".into())
                    };
                    more.extend(switch.gated(rules, result, NOW));
                }
                Effect::Stop => state = State::Stopped,
                Effect::Start if switch.current == "new" => state = world.new,
                Effect::Start => state = world.old,
                Effect::Use | Effect::Report(_) => {}
            }
        }
        now += START_TIME / 2;
        more.extend(see(&mut switch, rules, state, now));
        effects = more;
    }
    written.extend(
        effects
            .contains(&Effect::Save)
            .then(|| switch.record.clone()),
    );
    written.dedup();
    written
}

#[test]
fn power_that_fails_before_a_write_leaves_what_worked_before_it() {
    let well = World {
        new: State::Ready,
        old: State::Ready,
        drains: true,
        gate: true,
    };
    let shut = World {
        gate: false,
        ..well
    };
    let broken = World {
        new: State::Failed,
        ..well
    };
    // What comes up when the write that would be next does not happen, and
    // what that boot says of the switch.
    type Found = (&'static str, Option<bool>);
    let cases: [(SwitchRules, World, &[Found]); 4] = [
        (
            RULES,
            well,
            &[("old", None), ("old", Some(false)), ("new", Some(true))],
        ),
        (
            PLAIN,
            well,
            &[("old", None), ("old", Some(false)), ("new", Some(true))],
        ),
        (
            RULES,
            shut,
            &[
                ("old", None),
                ("old", Some(false)),
                ("old", Some(false)),
                ("old", Some(false)),
            ],
        ),
        (
            PLAIN,
            broken,
            &[("old", None), ("old", Some(false)), ("old", Some(false))],
        ),
    ];
    for (rules, world, expected) in cases {
        let found: Vec<(String, Option<bool>)> = writes(rules, world)
            .into_iter()
            .map(|record| {
                let boot = Switch::boot(record, "old", true, |_| None, NOW);
                assert_eq!(boot.attempt, None);
                (boot.current, boot.record.last.map(|it| it.done))
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(it, done)| ((*it).to_owned(), *done))
            .collect();
        assert_eq!(found, expected, "{world:?}");
    }
}

#[test]
fn what_is_resumed_is_what_was_under_way() {
    for rules in [RULES, PLAIN] {
        for switch in reachable(rules) {
            let text = serde_json::to_string(&switch).unwrap();
            let read: Switch = serde_json::from_str(&text).unwrap();
            assert_eq!(read, switch);
            assert_eq!(read.resume().is_empty(), switch.attempt.is_none());
        }
    }
}
