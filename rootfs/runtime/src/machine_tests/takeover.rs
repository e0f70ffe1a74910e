//! How it goes on with another runtime, and that no order of events breaks it.

use super::*;

#[test]
fn what_was_under_way_is_begun_anew() {
    let mut stopping = life(Restart::Always);
    stopping.up();
    stopping.stop();
    assert_eq!(stopping.on(Event::Adopted), [Action::Signal]);

    let mut cleaning = life(Restart::Always);
    cleaning.up();
    cleaning.exits(Exit::Code(1));
    assert_eq!(cleaning.on(Event::Adopted), [Action::Clean]);

    let mut probing = checked(Restart::Always);
    probing.up();
    assert_eq!(probing.on(Event::Adopted), []);
    assert_eq!(probing.on(Event::Tick), [Action::Probe]);

    let mut ready = life(Restart::Always);
    ready.up();
    let before = ready.machine.clone();
    assert_eq!(ready.on(Event::Adopted), []);
    assert_eq!(ready.machine, before);
}

#[test]
fn a_pause_goes_on_where_it_was() {
    let mut it = life(Restart::Always);
    it.up();
    it.fails();
    let text = serde_json::to_string(&it.machine).unwrap();
    it.machine = serde_json::from_str(&text).unwrap();
    it.on(Event::Adopted);
    assert_eq!(it.sit_out_backoff(), 1);
    it.launch();
    it.fails();
    assert_eq!(it.sit_out_backoff(), 2);
}

/// Every event in every order of a given length: it never has two containers,
/// never acts on one that is gone, and always comes to rest.
#[test]
fn no_order_of_events_breaks_it() {
    fn events() -> Vec<Event> {
        let exited = |code| Event::Exited {
            exit: Exit::Code(code),
            out_of_memory: false,
        };
        vec![
            Event::Start,
            Event::Stop { kill_by: None },
            Event::Restart,
            Event::Proceed,
            Event::Started(MAIN),
            Event::StartFailed("x".to_owned()),
            exited(0),
            exited(1),
            Event::Cleaned,
            Event::Probed(Ok(())),
            Event::Probed(Err("x".to_owned())),
            Event::PostStartEnded(Exit::Code(0)),
            Event::PostStartEnded(Exit::Code(1)),
            Event::Tick,
            Event::Adopted,
        ]
    }
    fn go_on(it: &Life, depth: usize) {
        if depth == 0 {
            return;
        }
        for event in events() {
            let mut next = Life {
                rules: it.rules.clone(),
                machine: it.machine.clone(),
                now: it.now + 7 * SECOND,
            };
            let actions = next.on(event.clone());
            let machine = &next.machine;
            for action in actions {
                match action {
                    Action::Launch => assert!(machine.main.is_none() && !machine.remains),
                    Action::Clean => assert!(machine.main.is_none() && machine.remains),
                    Action::Signal | Action::Kill | Action::Probe | Action::PostStart => {
                        assert!(machine.main.is_some(), "{event:?} {machine:?}");
                    }
                }
            }
            let running = matches!(
                machine.phase,
                Phase::Running | Phase::Ready | Phase::Unhealthy
            );
            assert!(!running || machine.main.is_some(), "{event:?} {machine:?}");
            go_on(&next, depth - 1);
        }
    }
    for restart in [Restart::Always, Restart::Never] {
        let mut it = checked(restart);
        it.rules.post_start = true;
        it.on(Event::Start);
        it.on(Event::Proceed);
        go_on(&it, 4);
    }
}
