//! What follows when it ends by itself.

use super::*;

#[test]
fn the_restart_policy_decides_what_follows_an_end() {
    use Restart::{Always, Never, OnFailure};
    for (restart, exit, then) in [
        (Always, Exit::Code(0), State::Backoff),
        (Always, Exit::Code(1), State::Backoff),
        (Always, Exit::Signal(9), State::Backoff),
        (Always, Exit::Unknown, State::Backoff),
        (OnFailure, Exit::Code(0), State::Stopped),
        (OnFailure, Exit::Code(1), State::Backoff),
        (OnFailure, Exit::Signal(11), State::Backoff),
        (OnFailure, Exit::Unknown, State::Backoff),
        (Never, Exit::Code(0), State::Stopped),
        (Never, Exit::Code(1), State::Failed),
        (Never, Exit::Unknown, State::Failed),
    ] {
        let mut it = life(restart);
        it.up();
        it.exits(exit);
        assert_eq!(it.state(), then, "{restart:?} {exit:?}");
        assert_eq!(it.machine.exit, Some(exit));
        assert!(it.machine.reason.contains(&exit.to_string()));
    }
}

#[test]
fn a_oneshot_runs_then_is_done_or_has_failed() {
    for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
        let mut it = oneshot(restart);
        assert_eq!(it.up(), []);
        assert_eq!(it.state(), State::Running);
        it.after(5).exits(Exit::Code(0));
        assert_eq!(it.state(), State::Done, "{restart:?}");
        assert_eq!(it.machine.ready, Some(5));
    }
    for (restart, then) in [
        (Restart::Always, State::Backoff),
        (Restart::OnFailure, State::Backoff),
        (Restart::Never, State::Failed),
    ] {
        let mut it = oneshot(restart);
        it.up();
        it.exits(Exit::Code(1));
        assert_eq!(it.state(), then, "{restart:?}");
        assert_eq!(it.machine.ready, None);
    }
}

#[test]
fn pauses_grow_from_one_second_to_a_minute() {
    let mut it = life(Restart::Always);
    it.up();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        it.fails();
        pauses.push(it.sit_out_backoff());
        it.launch();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(it.machine.restarts, 9);
}

#[test]
fn a_minute_of_running_well_makes_the_next_pause_short_again() {
    for (ran, pause) in [(59, 8), (60, 1)] {
        let mut it = life(Restart::Always);
        it.up();
        for _ in 0..3 {
            it.fails();
            it.sit_out_backoff();
            it.launch();
        }
        it.after(ran * SECOND).fails();
        assert_eq!(it.sit_out_backoff(), pause, "after {ran} s");
    }
}

#[test]
fn it_does_not_start_again_before_its_remains_are_gone() {
    let mut it = life(Restart::Always);
    it.up();
    it.exits(Exit::Code(1));
    it.sit_out_backoff();
    assert_eq!(it.on(Event::Proceed), []);
    assert_eq!(it.state(), State::Waiting);
    it.on(Event::Cleaned);
    assert_eq!(it.on(Event::Proceed), [Action::Launch]);
}

#[test]
fn an_end_for_want_of_memory_is_told() {
    let mut it = life(Restart::Always);
    it.rules.memory = Some("64M".to_owned());
    it.up();
    it.on(Event::Exited {
        exit: Exit::Signal(9),
        out_of_memory: true,
    });
    assert_eq!(
        it.machine.reason,
        "was killed: it went beyond its memory limit of 64M; starts again after 1 s"
    );
}

#[test]
fn the_first_start_is_remembered_for_the_boot() {
    let mut it = life(Restart::Always);
    it.now = 3;
    it.up();
    it.fails();
    it.sit_out_backoff();
    it.launch();
    assert_eq!(
        (it.machine.first_started, it.machine.first_ready),
        (Some(3), Some(3))
    );
    assert!(it.machine.started > it.machine.first_started);
}
