//! A link from the moment it appears, event by event.

use super::*;
use crate::dhcp::{ReplyKind, RequestKind, Route};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RANDOM: u32 = 5000;

fn link(up: bool, carrier: bool) -> Link {
    Link {
        index: 2,
        name: "eth0".to_owned(),
        mac: Some([2, 0, 0, 0, 0, 9]),
        kind: None,
        enslaved: false,
        up,
        carrier,
    }
}

fn lease() -> Lease {
    Lease {
        address: ADDRESS,
        prefix: 24,
        routes: vec![ROUTE],
        name_servers: vec![SERVER],
        domain: None,
        mtu: None,
        server: SERVER,
        renew: 1800,
        rebind: 3150,
        duration: Some(3600),
    }
}

const ROUTE: Route = Route {
    destination: Ipv4Addr::UNSPECIFIED,
    prefix: 0,
    gateway: Some(SERVER),
};

const ADD: Action = Action::Change(Change::AddAddress(Address {
    address: ADDRESS,
    prefix: 24,
}));
const REMOVE: Action = Action::Change(Change::RemoveAddress(Address {
    address: ADDRESS,
    prefix: 24,
}));

fn sent(kind: RequestKind) -> Action {
    Action::Send(Request {
        transaction: RANDOM,
        kind,
    })
}

fn run(interface: &mut Interface, now: u64, event: Event) -> Vec<Action> {
    interface.handle(Duration::from_secs(now), RANDOM, event)
}

fn reply(kind: ReplyKind) -> Event {
    Event::Reply(Reply {
        transaction: RANDOM,
        kind,
    })
}

fn fresh() -> Interface {
    Interface::new(&link(false, false), None, Config::default())
}

fn bound_at_zero() -> Interface {
    let mut interface = fresh();
    run(&mut interface, 0, Event::Link(link(true, true)));
    run(&mut interface, 0, reply(ReplyKind::Offer(lease())));
    run(&mut interface, 0, reply(ReplyKind::Ack(lease())));
    interface
}

#[test]
fn a_link_is_switched_on_and_asks_as_soon_as_it_has_a_carrier() {
    let mut interface = fresh();
    assert_eq!(
        run(&mut interface, 0, Event::Link(link(false, false))),
        [Action::Up]
    );
    assert_eq!(run(&mut interface, 0, Event::Link(link(true, false))), []);
    assert_eq!(interface.deadline(), None);
    assert_eq!(
        run(&mut interface, 3, Event::Link(link(true, true))),
        [sent(RequestKind::Discover)]
    );
    assert_eq!(interface.since(), Duration::from_secs(3));
}

#[test]
fn a_lease_is_applied_and_remembered() {
    let mut interface = fresh();
    run(&mut interface, 0, Event::Link(link(true, true)));
    run(&mut interface, 0, reply(ReplyKind::Offer(lease())));
    assert_eq!(
        run(&mut interface, 0, reply(ReplyKind::Ack(lease()))),
        [
            ADD,
            Action::Change(Change::AddRoute(ROUTE)),
            Action::Remember(lease())
        ]
    );
    assert_eq!(interface.config(), &Config::from(&lease()));
}

#[test]
fn a_renewal_changes_and_writes_nothing() {
    let mut interface = bound_at_zero();
    run(&mut interface, 1800, Event::Timer);
    assert_eq!(
        run(&mut interface, 1801, reply(ReplyKind::Ack(lease()))),
        []
    );
}

#[test]
fn without_a_carrier_the_address_goes_and_comes_back_with_it() {
    let mut interface = bound_at_zero();
    assert_eq!(
        run(&mut interface, 9, Event::Link(link(true, false))),
        [REMOVE]
    );
    assert_eq!(interface.config(), &Config::default());
    assert_eq!(
        run(&mut interface, 12, Event::Link(link(true, true))),
        [sent(RequestKind::Reuse { address: ADDRESS })]
    );
    assert_eq!(
        run(&mut interface, 12, reply(ReplyKind::Ack(lease()))),
        [ADD, Action::Change(Change::AddRoute(ROUTE))]
    );
}

#[test]
fn a_description_that_says_nothing_new_does_nothing() {
    let mut interface = bound_at_zero();
    assert_eq!(run(&mut interface, 1, Event::Link(link(true, true))), []);
}

#[test]
fn a_link_that_somebody_switches_off_stays_off() {
    let mut interface = bound_at_zero();
    let actions = run(&mut interface, 1, Event::Link(link(false, false)));
    assert_eq!(actions, [REMOVE]);
}

#[test]
fn when_no_server_answers_an_address_of_the_link_is_taken_and_the_search_goes_on() {
    let mut interface = fresh();
    run(&mut interface, 0, Event::Link(link(true, true)));
    for now in [2, 6, 14] {
        assert_eq!(
            run(&mut interface, now, Event::Timer),
            [sent(RequestKind::Discover)]
        );
    }
    assert_eq!(interface.deadline(), Some(PATIENCE));
    let actions = run(&mut interface, 15, Event::Timer);
    let [Action::Change(Change::AddAddress(own))] = actions[..] else {
        panic!("{actions:?}");
    };
    assert!(own.address.is_link_local());
    assert_eq!(own.prefix, 16);
    assert_eq!(
        run(&mut interface, 30, Event::Timer),
        [sent(RequestKind::Discover)]
    );
    // A server that comes late is as good.
    run(&mut interface, 31, reply(ReplyKind::Offer(lease())));
    assert_eq!(
        run(&mut interface, 31, reply(ReplyKind::Ack(lease())))[..2],
        [Action::Change(Change::RemoveAddress(own)), ADD]
    );
}

#[test]
fn a_lost_lease_takes_the_address_along_and_patience_begins_anew() {
    let mut interface = bound_at_zero();
    run(&mut interface, 1800, Event::Timer);
    assert_eq!(
        run(&mut interface, 1801, reply(ReplyKind::Nak)),
        [REMOVE, sent(RequestKind::Discover)]
    );
    assert_eq!(interface.deadline(), Some(Duration::from_secs(1803)));
    assert_eq!(interface.give_up, Some(Duration::from_secs(1816)));
}

#[test]
fn what_an_earlier_run_left_stays_until_the_server_has_spoken() {
    let left = Config::from(&lease());
    let mut interface = Interface::new(&link(true, true), Some(lease()), left);
    assert_eq!(
        run(&mut interface, 0, Event::Link(link(true, true))),
        [sent(RequestKind::Reuse { address: ADDRESS })]
    );
    assert_eq!(run(&mut interface, 0, reply(ReplyKind::Ack(lease()))), []);
}

#[test]
fn link_local_addresses_are_in_the_range_of_rfc_3927_and_keep_to_the_hardware() {
    for last in 0..=255 {
        let mac = [0xdc, 0xa6, 0x32, 1, 2, last];
        let own = link_local(mac);
        assert_eq!(own, link_local(mac));
        let octets = own.address.unwrap().address.octets();
        assert_eq!(octets[..2], [169, 254]);
        assert!((1..=254).contains(&octets[2]), "{octets:?}");
    }
}
