//! How it is stopped.

use super::*;

#[test]
fn a_stop_asks_and_then_kills() {
    let mut it = life(Restart::Always);
    it.up();
    assert_eq!(it.stop(), [Action::Signal]);
    assert_eq!(it.state(), State::Stopping);
    assert_eq!(it.after(10 * SECOND - 1).on(Event::Tick), []);
    assert_eq!(it.after(1).on(Event::Tick), [Action::Kill]);
    assert_eq!(it.on(Event::Tick), [], "not over and over");
    assert_eq!(it.after(5 * SECOND).on(Event::Tick), [Action::Kill]);
    it.exits(Exit::Signal(9));
    assert_eq!(it.state(), State::Stopping, "until the remains are gone");
    assert_eq!(
        it.after(60 * SECOND).on(Event::Tick),
        [],
        "there is nothing left to kill"
    );
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Stopped);
    assert!(it.machine.is_down());
    assert_eq!(it.machine.deadline(), None);
}

#[test]
fn a_stop_with_a_limit_kills_by_then() {
    let mut it = life(Restart::Always);
    it.up();
    it.on(Event::Stop {
        kill_by: Some(3 * SECOND),
    });
    assert_eq!(it.machine.deadline(), Some(3 * SECOND));
    let mut it = life(Restart::Always);
    it.up();
    it.stop();
    it.on(Event::Stop {
        kill_by: Some(4 * SECOND),
    });
    assert_eq!(it.machine.deadline(), Some(4 * SECOND));
}

#[test]
fn whatever_it_does_a_stop_ends_in_stopped() {
    let mut waiting = life(Restart::Always);
    waiting.on(Event::Start);
    let mut backoff = life(Restart::Always);
    backoff.up();
    backoff.fails();
    let mut failed = life(Restart::Never);
    failed.up();
    failed.fails();
    let mut done = oneshot(Restart::Never);
    done.up();
    done.exits(Exit::Code(0));
    done.on(Event::Cleaned);
    for mut it in [waiting, backoff, failed, done, life(Restart::Always)] {
        assert_eq!(it.stop(), []);
        assert_eq!(it.state(), State::Stopped);
        assert!(!it.machine.wanted);
        assert_eq!(it.machine.deadline(), None);
    }
}

#[test]
fn a_stop_while_it_starts_waits_for_the_container() {
    let mut it = life(Restart::Always);
    it.on(Event::Start);
    it.on(Event::Proceed);
    assert_eq!(it.stop(), []);
    assert_eq!(it.state(), State::Starting);
    assert_eq!(it.on(Event::Started(MAIN)), [Action::Signal]);
    assert_eq!(it.state(), State::Stopping);

    let mut it = life(Restart::Always);
    it.on(Event::Start);
    it.on(Event::Proceed);
    it.stop();
    it.on(Event::StartFailed("x".to_owned()));
    assert_eq!(it.state(), State::Stopped);
}

#[test]
fn a_stop_while_remains_are_removed_waits_for_that() {
    let mut it = life(Restart::Always);
    it.up();
    it.exits(Exit::Code(1));
    it.stop();
    assert_eq!(it.state(), State::Stopping);
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Stopped);
}

#[test]
fn a_restart_stops_and_starts_without_a_pause() {
    let mut it = life(Restart::Never);
    it.up();
    assert_eq!(it.on(Event::Restart), [Action::Signal]);
    it.exits(Exit::Signal(15));
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Waiting);
    it.launch();
    assert_eq!(it.state(), State::Ready);
    assert_eq!(it.machine.restarts, 0, "it did not end by itself");
}

#[test]
fn the_last_word_counts_while_it_stops() {
    let mut it = life(Restart::Always);
    it.up();
    it.stop();
    it.on(Event::Start);
    it.exits(Exit::Code(0));
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Waiting);

    let mut it = life(Restart::Always);
    it.up();
    it.on(Event::Restart);
    it.stop();
    it.exits(Exit::Code(0));
    it.on(Event::Cleaned);
    assert_eq!(it.state(), State::Stopped);
}

#[test]
fn a_start_by_hand_cuts_a_pause_short_and_forgets_the_failures() {
    let mut it = life(Restart::Always);
    it.up();
    for _ in 0..4 {
        it.fails();
        it.sit_out_backoff();
        it.launch();
    }
    it.fails();
    it.on(Event::Start);
    it.launch();
    it.fails();
    assert_eq!(it.sit_out_backoff(), 1);
}
