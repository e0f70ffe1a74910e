//! What its health check decides.

use super::*;

#[test]
fn the_first_probes_follow_each_other_quickly() {
    let mut it = checked(Restart::Always);
    assert_eq!(it.up(), [Action::Probe]);
    assert_eq!(it.state(), State::Running);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!(it.bad_probe(), []);
        pauses.push(it.next_probe() / MS);
    }
    assert_eq!(pauses, [50, 100, 200, 200, 200]);
    assert!(
        it.machine
            .reason
            .contains("not succeeded yet: refuses connections")
    );
    it.good_probe();
    assert_eq!(it.state(), State::Ready);
    assert_eq!(it.next_probe(), 10 * SECOND);
}

#[test]
fn failures_count_once_the_time_to_come_up_is_over() {
    let mut it = checked(Restart::Always);
    it.up();
    while it.now < 10 * SECOND {
        assert_eq!(it.bad_probe(), []);
        it.next_probe();
    }
    assert_eq!(it.bad_probe(), []);
    assert_eq!(it.next_probe(), 10 * SECOND);
    assert_eq!(it.bad_probe(), []);
    it.next_probe();
    assert_eq!(it.bad_probe(), [Action::Signal]);
    assert_eq!(
        it.machine.reason,
        "its health check failed 3 times: refuses connections"
    );
    it.exits(Exit::Signal(15));
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Backoff);
}

#[test]
fn a_healthy_service_survives_fewer_failures_than_its_retries() {
    let mut it = checked(Restart::Always);
    it.up();
    it.good_probe();
    for _ in 0..5 {
        for _ in 0..2 {
            it.next_probe();
            assert_eq!(it.bad_probe(), []);
            assert_eq!(it.state(), State::Ready);
        }
        assert!(it.machine.reason.contains("failed twice"));
        it.next_probe();
        it.good_probe();
        assert_eq!(it.machine.reason, "");
    }
}

#[test]
fn one_that_is_never_restarted_stays_unhealthy_until_it_recovers() {
    let mut it = checked(Restart::Never);
    it.up();
    it.good_probe();
    for _ in 0..3 {
        it.next_probe();
        assert_eq!(it.bad_probe(), []);
    }
    assert_eq!(it.state(), State::Unhealthy);
    it.next_probe();
    it.good_probe();
    assert_eq!(it.state(), State::Ready);
}

#[test]
fn an_answer_that_nobody_waits_for_is_ignored() {
    let mut it = checked(Restart::Always);
    it.up();
    it.stop();
    let before = it.machine.clone();
    it.good_probe();
    assert_eq!(it.bad_probe(), []);
    assert_eq!(it.on(Event::PostStartEnded(Exit::Code(1))), []);
    assert_eq!(it.on(Event::Started(MAIN)), []);
    assert_eq!(it.on(Event::StartFailed("x".to_owned())), []);
    assert_eq!(it.machine, before);
}

#[test]
fn an_end_that_was_told_already_is_not_told_again() {
    let mut it = life(Restart::Always);
    it.up();
    it.exits(Exit::Code(1));
    let event = Event::Exited {
        exit: Exit::Code(1),
        out_of_memory: false,
    };
    assert_eq!(it.on(event), []);
}
