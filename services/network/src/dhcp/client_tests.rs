//! The client as RFC 2131 wants it, event by event.

use std::net::Ipv4Addr;

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Adds nothing to waits.
const RANDOM: u32 = 7000;

fn lease() -> Lease {
    Lease {
        address: ADDRESS,
        prefix: 24,
        routes: Vec::new(),
        name_servers: Vec::new(),
        domain: None,
        mtu: None,
        server: SERVER,
        renew: 1800,
        rebind: 3150,
        duration: Some(3600),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn reply(kind: ReplyKind) -> Event {
    Event::Reply(Reply {
        transaction: RANDOM,
        kind,
    })
}

fn sent(kind: RequestKind) -> Vec<Action> {
    vec![Action::Send(Request {
        transaction: RANDOM,
        kind,
    })]
}

const TAKE: RequestKind = RequestKind::Take {
    address: ADDRESS,
    server: SERVER,
};
const REUSE: RequestKind = RequestKind::Reuse { address: ADDRESS };
const RENEW: RequestKind = RequestKind::Renew {
    address: ADDRESS,
    server: SERVER,
};
const REBIND: RequestKind = RequestKind::Rebind { address: ADDRESS };

fn run(client: &mut Client, now: u64, event: Event) -> Vec<Action> {
    client.handle(at(now), RANDOM, event)
}

fn bound_at_zero() -> Client {
    let mut client = Client::new();
    run(&mut client, 0, Event::Start(None));
    run(&mut client, 0, reply(ReplyKind::Offer(lease())));
    run(&mut client, 0, reply(ReplyKind::Ack(lease())));
    assert_eq!(in_use(&client), Some(&lease()));
    client
}

/// One client in each state, by its name.
fn every_state() -> Vec<Client> {
    let mut selecting = Client::new();
    run(&mut selecting, 0, Event::Start(None));
    let mut requesting = selecting.clone();
    run(&mut requesting, 0, reply(ReplyKind::Offer(lease())));
    let mut rebooting = Client::new();
    run(&mut rebooting, 0, Event::Start(Some(lease())));
    let bound = bound_at_zero();
    let mut renewing = bound.clone();
    run(&mut renewing, 1800, Event::Timer);
    let mut rebinding = bound.clone();
    run(&mut rebinding, 3150, Event::Timer);
    vec![
        Client::new(),
        selecting,
        requesting,
        rebooting,
        bound,
        renewing,
        rebinding,
    ]
}

/// The lease in use.
fn in_use(client: &Client) -> Option<&Lease> {
    match &client.state {
        State::Bound { lease, .. }
        | State::Renewing { lease, .. }
        | State::Rebinding { lease, .. } => Some(lease),
        _ => None,
    }
}

#[test]
fn discovers_at_once_takes_the_offer_and_is_bound() {
    let mut client = Client::new();
    assert_eq!(
        run(&mut client, 5, Event::Start(None)),
        sent(RequestKind::Discover)
    );
    assert_eq!(
        run(&mut client, 5, reply(ReplyKind::Offer(lease()))),
        sent(TAKE)
    );
    assert_eq!(
        run(&mut client, 6, reply(ReplyKind::Ack(lease()))),
        [Action::Bound(lease())]
    );
    assert_eq!(client.deadline(), Some(at(6 + 1800)));
    assert!(!client.listens());
}

#[test]
fn silence_is_answered_with_ever_longer_waits_and_never_given_up() {
    let mut client = Client::new();
    run(&mut client, 0, Event::Start(None));
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..9 {
        let next = client.deadline().unwrap().as_secs();
        waits.push(next - now);
        now = next;
        assert_eq!(
            run(&mut client, now, Event::Timer),
            sent(RequestKind::Discover)
        );
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64, 64, 64]);
}

#[test]
fn waits_differ_between_nodes_by_up_to_a_second() {
    let mut client = Client::new();
    client.handle(at(0), 999, Event::Start(None));
    assert_eq!(client.deadline(), Some(Duration::from_millis(2999)));
}

#[test]
fn a_timer_that_comes_early_changes_nothing() {
    for mut client in every_state() {
        let before = client.state.clone();
        assert_eq!(run(&mut client, 1, Event::Timer), [], "{before:?}");
        assert_eq!(client.state, before);
    }
}

#[test]
fn a_server_that_offers_and_goes_silent_is_given_up() {
    let mut client = every_state().remove(2);
    assert_eq!(run(&mut client, 2, Event::Timer), sent(TAKE));
    assert_eq!(run(&mut client, 6, Event::Timer), sent(TAKE));
    assert_eq!(
        run(&mut client, 14, Event::Timer),
        sent(RequestKind::Discover)
    );
}

#[test]
fn a_server_that_offers_and_refuses_is_asked_again_later() {
    let mut client = every_state().remove(2);
    assert_eq!(run(&mut client, 0, reply(ReplyKind::Nak)), []);
    assert_eq!(client.state(), "selecting");
    assert_eq!(client.deadline(), Some(at(4)));
    assert_eq!(
        run(&mut client, 4, Event::Timer),
        sent(RequestKind::Discover)
    );
}

#[test]
fn a_remembered_address_is_asked_for_first() {
    let mut client = Client::new();
    assert_eq!(
        run(&mut client, 0, Event::Start(Some(lease()))),
        sent(REUSE)
    );
    assert_eq!(
        run(&mut client, 1, reply(ReplyKind::Ack(lease()))),
        [Action::Bound(lease())]
    );
}

#[test]
fn a_remembered_address_that_is_refused_or_unknown_is_forgotten() {
    let mut refused = every_state().remove(3);
    assert_eq!(
        run(&mut refused, 0, reply(ReplyKind::Nak)),
        sent(RequestKind::Discover)
    );
    let mut unknown = every_state().remove(3);
    assert_eq!(
        run(&mut unknown, 2, Event::Timer),
        sent(RequestKind::Discover)
    );
}

#[test]
fn half_way_the_server_is_asked_for_more_time_until_any_may_answer() {
    let mut client = bound_at_zero();
    assert_eq!(run(&mut client, 1800, Event::Timer), sent(RENEW));
    assert!(client.listens());
    let mut times = Vec::new();
    loop {
        let next = client.deadline().unwrap();
        times.push(next.as_secs());
        if client.handle(next, RANDOM, Event::Timer) != sent(RENEW) {
            break;
        }
    }
    assert_eq!(times, [2475, 2812, 2981, 3065, 3125, 3150]);
    assert_eq!(client.state(), "rebinding");
    assert_eq!(in_use(&client), Some(&lease()));
}

#[test]
fn more_time_counts_from_when_it_was_granted() {
    for (start, event) in [(1800, RENEW), (3150, REBIND)] {
        let mut client = bound_at_zero();
        assert_eq!(run(&mut client, start, Event::Timer), sent(event));
        assert_eq!(
            run(&mut client, start + 1, reply(ReplyKind::Ack(lease()))),
            [Action::Bound(lease())]
        );
        assert_eq!(client.deadline(), Some(at(start + 1 + 1800)));
    }
}

#[test]
fn a_lease_that_nobody_extends_ends_and_the_search_begins_anew() {
    let mut client = bound_at_zero();
    run(&mut client, 3150, Event::Timer);
    assert_eq!(run(&mut client, 3375, Event::Timer), sent(REBIND));
    let mut expected = vec![Action::Lost];
    expected.extend(sent(RequestKind::Discover));
    assert_eq!(run(&mut client, 3600, Event::Timer), expected);
    assert_eq!(in_use(&client), None);
}

#[test]
fn an_address_that_is_refused_while_in_use_is_dropped_at_once() {
    for index in [5, 6] {
        let mut client = every_state().remove(index);
        let actions = run(&mut client, 3200, reply(ReplyKind::Nak));
        assert_eq!(actions[0], Action::Lost);
        assert_eq!(actions[1..], sent(RequestKind::Discover));
    }
}

#[test]
fn a_machine_that_slept_past_the_end_of_its_lease_drops_it() {
    let mut client = bound_at_zero();
    assert_eq!(run(&mut client, 90_000, Event::Timer)[0], Action::Lost);
}

#[test]
fn an_endless_lease_is_never_renewed() {
    let mut client = every_state().remove(2);
    let endless = Lease {
        duration: None,
        ..lease()
    };
    run(&mut client, 0, reply(ReplyKind::Ack(endless)));
    assert_eq!(client.deadline(), None);
}

#[test]
fn a_lost_link_stops_every_state_and_replies_to_it_are_ignored() {
    for mut client in every_state() {
        assert_eq!(run(&mut client, 4000, Event::Stop), []);
        assert_eq!((client.deadline(), in_use(&client)), (None, None));
        for kind in [
            ReplyKind::Offer(lease()),
            ReplyKind::Ack(lease()),
            ReplyKind::Nak,
        ] {
            assert_eq!(run(&mut client, 4000, reply(kind)), []);
        }
        assert_eq!(client.state(), "off");
    }
}

#[test]
fn replies_to_somebody_else_change_nothing() {
    for mut client in every_state() {
        let before = client.state.clone();
        for kind in [
            ReplyKind::Offer(lease()),
            ReplyKind::Ack(lease()),
            ReplyKind::Nak,
        ] {
            let other = Event::Reply(Reply {
                transaction: RANDOM + 1,
                kind,
            });
            assert_eq!(run(&mut client, 0, other), []);
        }
        assert_eq!(client.state, before);
    }
}

#[test]
fn replies_that_do_not_fit_the_state_change_nothing() {
    let misfits: [(usize, &[ReplyKind]); 7] = [
        (
            0,
            &[
                ReplyKind::Offer(lease()),
                ReplyKind::Ack(lease()),
                ReplyKind::Nak,
            ],
        ),
        (1, &[ReplyKind::Ack(lease()), ReplyKind::Nak]),
        (2, &[ReplyKind::Offer(lease())]),
        (3, &[ReplyKind::Offer(lease())]),
        (
            4,
            &[
                ReplyKind::Offer(lease()),
                ReplyKind::Ack(lease()),
                ReplyKind::Nak,
            ],
        ),
        (5, &[ReplyKind::Offer(lease())]),
        (6, &[ReplyKind::Offer(lease())]),
    ];
    for (index, kinds) in misfits {
        for kind in kinds {
            let mut client = every_state().remove(index);
            let before = client.state.clone();
            assert_eq!(
                run(&mut client, 0, reply(kind.clone())),
                [],
                "{before:?} {kind:?}"
            );
            assert_eq!(client.state, before);
        }
    }
}
