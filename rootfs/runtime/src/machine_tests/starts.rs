//! How it starts.

use super::*;

#[test]
fn a_new_service_does_nothing() {
    let mut it = life(Restart::Always);
    assert_eq!(it.state(), State::Stopped);
    assert_eq!(it.on(Event::Proceed), []);
    assert_eq!(it.on(Event::Tick), []);
    assert_eq!(it.machine.deadline(), None);
    assert!(it.machine.is_down());
}

#[test]
fn a_daemon_without_health_check_is_ready_when_it_runs() {
    let mut it = life(Restart::Always);
    it.now = 5;
    assert_eq!(it.on(Event::Start), []);
    it.after(10);
    assert_eq!(it.on(Event::Proceed), [Action::Launch]);
    it.after(10);
    assert_eq!(it.on(Event::Started(MAIN)), []);
    assert_eq!(it.state(), State::Ready);
    assert_eq!((it.machine.started, it.machine.ready), (Some(15), Some(25)));
    assert_eq!(it.machine.main, Some(MAIN));
    assert!(!it.machine.is_down());
}

#[test]
fn what_it_waits_for_is_its_reason() {
    let mut it = life(Restart::Always);
    it.on(Event::Start);
    it.on(Event::Blocked("network, udev".to_owned()));
    assert_eq!(it.machine.reason, "waits for network, udev");
    it.launch();
    assert_eq!(it.machine.reason, "");
    it.on(Event::Blocked("network".to_owned()));
    assert_eq!(it.machine.reason, "", "it does not wait any more");
}

#[test]
fn to_start_what_is_started_changes_nothing() {
    let mut it = life(Restart::Always);
    it.up();
    let before = it.machine.clone();
    assert_eq!(it.on(Event::Start), []);
    assert_eq!(it.machine, before);
}

#[test]
fn post_start_comes_before_health_and_ready() {
    let mut it = checked(Restart::Always);
    it.rules.post_start = true;
    assert_eq!(it.up(), [Action::PostStart]);
    assert_eq!(it.state(), State::Running);
    assert_eq!(it.machine.reason, "its post_start command runs");
    assert_eq!(it.on(Event::PostStartEnded(Exit::Code(0))), [Action::Probe]);
    assert_eq!(it.state(), State::Running);
    it.good_probe();
    assert_eq!(it.state(), State::Ready);
    assert_eq!(it.machine.reason, "");
}

#[test]
fn a_failed_post_start_stops_it_and_its_restart_policy_decides() {
    for (restart, then) in [
        (Restart::OnFailure, State::Backoff),
        (Restart::Never, State::Failed),
    ] {
        let mut it = life(restart);
        it.rules.post_start = true;
        it.up();
        assert_eq!(
            it.on(Event::PostStartEnded(Exit::Code(4))),
            [Action::Signal]
        );
        assert_eq!(it.state(), State::Stopping);
        it.exits(Exit::Signal(15));
        it.on(Event::Cleaned);
        assert_eq!(it.state(), then);
        assert!(
            it.machine
                .reason
                .starts_with("its post_start command ended with status 4")
        );
    }
}

#[test]
fn a_container_that_cannot_be_started_is_a_failure() {
    let mut it = life(Restart::OnFailure);
    it.on(Event::Start);
    it.on(Event::Proceed);
    assert_eq!(
        it.on(Event::StartFailed("no such file".to_owned())),
        [Action::Clean]
    );
    assert_eq!(it.state(), State::Backoff);
    assert!(
        it.machine
            .reason
            .starts_with("could not be started: no such file")
    );
    it.on(Event::Cleaned);
    assert_eq!(it.sit_out_backoff(), 1);
    it.launch();
    assert_eq!(it.state(), State::Ready);
}
