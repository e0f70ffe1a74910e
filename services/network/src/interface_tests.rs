//! A link from the moment it appears, event by event.

use super::*;
use crate::{
    config::Route,
    dhcp::{self, ReplyKind, RequestKind},
};

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
        supplicant: false,
        mtu: 1500,
    }
}

fn setup(settings: &str) -> Setup {
    Setup::new(&serde_json::from_str(settings).unwrap(), &link(true, true))
}

fn lease() -> Lease {
    Lease {
        address: ADDRESS,
        prefix: 24,
        routes: vec![dhcp::Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(SERVER),
        }],
        name_servers: vec![SERVER],
        domain: None,
        mtu: None,
        server: SERVER,
        renew: 1800,
        rebind: 3150,
        duration: Some(3600),
    }
}

fn add(text: &str) -> Action {
    Action::Change(Change::AddAddress(address(text)))
}

fn remove(text: &str) -> Action {
    Action::Change(Change::RemoveAddress(address(text)))
}

fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    }
}

/// The default route of the lease.
fn route() -> Route {
    let config = setup("{}").config(&Found::Lease(lease()));
    config.routes[0]
}

/// What comes with the lease, after its address.
fn add_route() -> Action {
    Action::Change(Change::AddRoute(route()))
}

fn remove_route() -> Action {
    Action::Change(Change::RemoveRoute(route()))
}

const LEASED: &str = "10.0.0.7/24";

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

fn fresh_with(settings: &str) -> Interface {
    Interface::new(&link(false, false), setup(settings), None, None)
}

fn fresh() -> Interface {
    fresh_with("{}")
}

/// Hands it a link with a carrier; what prepares it is of no interest.
fn plug(interface: &mut Interface, now: u64) -> Vec<Action> {
    without_ipv6(run(interface, now, Event::Link(link(true, true))))
}

/// Lets a server grant the lease.
fn bind(interface: &mut Interface, now: u64) -> Vec<Action> {
    run(interface, now, reply(ReplyKind::Offer(lease())));
    run(interface, now, reply(ReplyKind::Ack(lease())))
}

fn bound_at_zero() -> Interface {
    let mut interface = fresh();
    plug(&mut interface, 0);
    bind(&mut interface, 0);
    interface
}

#[test]
fn a_link_is_prepared_and_switched_on_and_asks_as_soon_as_it_has_a_carrier() {
    let mut interface = fresh();
    let actions = run(&mut interface, 0, Event::Link(link(false, false)));
    assert_eq!(actions.last(), Some(&Action::Up));
    assert_eq!(actions[0], Action::Ipv6("accept_ra", "2"));
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
    plug(&mut interface, 0);
    assert_eq!(
        bind(&mut interface, 0),
        [add(LEASED), add_route(), Action::Remember(lease())]
    );
    assert_eq!(interface.kept().found, Found::Lease(lease()));
    assert_eq!(interface.config().addresses, [address(LEASED)]);
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
        [remove_route(), remove(LEASED)]
    );
    assert_eq!(interface.config(), &Config::default());
    assert_eq!(
        run(&mut interface, 12, Event::Link(link(true, true))),
        [sent(RequestKind::Reuse { address: ADDRESS })]
    );
    assert_eq!(
        run(&mut interface, 12, reply(ReplyKind::Ack(lease()))),
        [add(LEASED), add_route()]
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
    assert_eq!(actions, [remove_route(), remove(LEASED)]);
}

#[test]
fn when_no_server_answers_an_address_of_the_link_is_taken_and_the_search_goes_on() {
    let mut interface = fresh();
    plug(&mut interface, 0);
    for now in [2, 6, 14] {
        assert_eq!(
            run(&mut interface, now, Event::Timer),
            [sent(RequestKind::Discover)]
        );
    }
    assert_eq!(interface.deadline(), Some(PATIENCE));
    let actions = run(&mut interface, 15, Event::Timer);
    let own = link_local([2, 0, 0, 0, 0, 9]);
    assert_eq!(actions, [Action::Change(Change::AddAddress(own))]);
    assert_eq!(
        run(&mut interface, 30, Event::Timer),
        [sent(RequestKind::Discover)]
    );
    // A server that comes late is as good.
    assert_eq!(
        bind(&mut interface, 31)[..2],
        [Action::Change(Change::RemoveAddress(own)), add(LEASED)]
    );
}

#[test]
fn a_lost_lease_takes_the_address_along_and_patience_begins_anew() {
    let mut interface = bound_at_zero();
    run(&mut interface, 1800, Event::Timer);
    assert_eq!(
        run(&mut interface, 1801, reply(ReplyKind::Nak)),
        [remove_route(), remove(LEASED), sent(RequestKind::Discover)]
    );
    assert_eq!(interface.deadline(), Some(Duration::from_secs(1803)));
    assert_eq!(interface.give_up, Some(Duration::from_secs(1816)));
}

const FIXED: &str = r#"{
    "addresses": ["10.0.0.5/24", "fd00::5/64"], "gateway4": "10.0.0.1"
}"#;

#[test]
fn fixed_addresses_come_and_go_with_the_carrier_and_nobody_is_asked() {
    let mut interface = fresh_with(FIXED);
    run(&mut interface, 0, Event::Link(link(true, false)));
    assert_eq!(interface.config(), &Config::default());
    let actions = plug(&mut interface, 1);
    assert_eq!(actions[..2], [add("10.0.0.5/24"), add("fd00::5/64")]);
    assert!(matches!(
        actions[2..],
        [Action::Change(Change::AddRoute(_))]
    ));
    assert_eq!(interface.deadline(), None);
    assert!(!interface.listens());
    let actions = run(&mut interface, 9, Event::Link(link(true, false)));
    assert_eq!(actions[1..], [remove("10.0.0.5/24"), remove("fd00::5/64")]);
}

#[test]
fn fixed_addresses_do_not_wait_for_a_server() {
    let mut interface =
        fresh_with(r#"{"addresses": ["10.0.0.5/24"], "dhcp": true, "gateway4": "10.0.0.9"}"#);
    let actions = plug(&mut interface, 0);
    assert_eq!(
        actions[..2],
        [sent(RequestKind::Discover), add("10.0.0.5/24")]
    );
    // No address of the link itself: there is one.
    assert_eq!(
        run(&mut interface, 15, Event::Timer),
        [sent(RequestKind::Discover)]
    );
    assert_eq!(interface.kept().found, Found::Nothing);
    // The router of the settings stays.
    assert_eq!(
        bind(&mut interface, 16),
        [add(LEASED), Action::Remember(lease())]
    );
    // Both are in one network: what the kernel may drop is given again.
    assert_eq!(
        run(&mut interface, 4000, Event::Timer)[..2],
        [remove(LEASED), add("10.0.0.5/24")]
    );
}

/// Another run, with other settings, after one that did this.
fn next_run(before: &Interface, settings: &str, carrier: bool) -> (Interface, Vec<Action>) {
    let mut interface = Interface::new(
        &link(true, carrier),
        setup(settings),
        Some(lease()),
        Some(before.kept().clone()),
    );
    let actions = run(&mut interface, 0, Event::Link(link(true, carrier)));
    (interface, actions)
}

fn without_ipv6(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| !matches!(action, Action::Ipv6(..)));
    actions
}

#[test]
fn what_an_earlier_run_left_stays_until_the_server_has_spoken() {
    let (mut interface, actions) = next_run(&bound_at_zero(), "{}", true);
    assert_eq!(
        without_ipv6(actions),
        [sent(RequestKind::Reuse { address: ADDRESS })]
    );
    assert_eq!(interface.config().addresses, [address(LEASED)]);
    assert_eq!(run(&mut interface, 0, reply(ReplyKind::Ack(lease()))), []);
    // And over yet another run before that.
    let (again, _) = next_run(&bound_at_zero(), "{}", true);
    let (again, actions) = next_run(&again, "{}", true);
    assert_eq!(without_ipv6(actions).len(), 1);
    assert_eq!(again.config().addresses, [address(LEASED)]);
}

#[test]
fn an_address_of_the_link_itself_stays_over_a_restart() {
    let mut before = fresh();
    plug(&mut before, 0);
    run(&mut before, 15, Event::Timer);
    let (interface, actions) = next_run(&before, "{}", true);
    assert_eq!(without_ipv6(actions).len(), 1);
    assert_eq!(interface.config(), before.config());
    // But not beside a fixed one.
    let (_, actions) = next_run(
        &before,
        r#"{"addresses": ["10.0.0.5/24"], "dhcp": true}"#,
        true,
    );
    let own = link_local([2, 0, 0, 0, 0, 9]);
    assert_eq!(
        without_ipv6(actions)[1..],
        [
            Action::Change(Change::RemoveAddress(own)),
            add("10.0.0.5/24")
        ]
    );
}

#[test]
fn what_new_settings_do_not_say_goes() {
    // A lease, and then fixed addresses.
    let (interface, actions) = next_run(&bound_at_zero(), FIXED, true);
    let actions = without_ipv6(actions);
    assert_eq!(
        actions[..4],
        [
            remove_route(),
            remove(LEASED),
            add("10.0.0.5/24"),
            add("fd00::5/64")
        ]
    );
    // And back: the server is asked first.
    let (_, actions) = next_run(&interface, "{}", true);
    let actions = without_ipv6(actions);
    assert_eq!(actions[0], sent(RequestKind::Reuse { address: ADDRESS }));
    assert_eq!(actions[2..], [remove("10.0.0.5/24"), remove("fd00::5/64")]);
}

#[test]
fn a_cable_that_was_pulled_between_two_runs_takes_the_address_along() {
    let (_, actions) = next_run(&bound_at_zero(), "{}", false);
    assert_eq!(without_ipv6(actions), [remove_route(), remove(LEASED)]);
}

#[test]
fn what_the_kernel_forgets_with_ipv6_is_given_again() {
    let mut before = fresh_with(FIXED);
    plug(&mut before, 0);
    let manual = FIXED.replace('{', r#"{"ipv6": "manual","#);
    let (interface, actions) = next_run(&before, &manual, true);
    assert_eq!(actions[0], Action::Ipv6("disable_ipv6", "1"));
    assert_eq!(without_ipv6(actions), [add("fd00::5/64")]);
    let (_, actions) = next_run(&interface, &manual, true);
    assert_eq!(without_ipv6(actions), []);
}

#[test]
fn a_fixed_mtu_is_there_before_the_link_is_on_and_goes_with_its_setting() {
    let settings = r#"{"mtu": 1400, "dhcp": false}"#;
    let mut interface = fresh_with(settings);
    let actions = run(&mut interface, 0, Event::Link(link(false, false)));
    assert_eq!(
        without_ipv6(actions),
        [Action::Change(Change::SetMtu(1400)), Action::Up]
    );
    assert_eq!(plug(&mut interface, 1), []);
    assert_eq!(run(&mut interface, 2, Event::Link(link(true, false))), []);
    for carrier in [false, true] {
        let (_, actions) = next_run(&interface, r#"{"dhcp": false}"#, carrier);
        assert_eq!(
            without_ipv6(actions),
            [Action::Change(Change::SetMtu(1500))]
        );
    }
}

#[test]
fn the_mtu_of_a_lease_stays_until_another_lease() {
    let small = Lease {
        mtu: Some(1400),
        ..lease()
    };
    let mut interface = fresh();
    plug(&mut interface, 0);
    run(&mut interface, 0, reply(ReplyKind::Offer(small.clone())));
    let actions = run(&mut interface, 0, reply(ReplyKind::Ack(small.clone())));
    assert_eq!(actions[0], Action::Change(Change::SetMtu(1400)));
    // The network card loses its carrier over this, and that is the end of it.
    let mut actions = run(&mut interface, 1, Event::Link(link(true, false)));
    actions.extend(run(&mut interface, 2, Event::Link(link(true, true))));
    actions.extend(run(&mut interface, 2, reply(ReplyKind::Ack(small))));
    let mtu = |it: &Action| matches!(it, Action::Change(Change::SetMtu(_)));
    assert!(!actions.iter().any(mtu), "{actions:?}");
    run(&mut interface, 3, Event::Link(link(true, false)));
    run(&mut interface, 4, Event::Link(link(true, true)));
    let actions = run(&mut interface, 4, reply(ReplyKind::Ack(lease())));
    assert_eq!(actions[0], Action::Change(Change::SetMtu(1500)));
}

#[test]
fn a_link_that_is_not_ours_any_more_is_left_as_it_was_found() {
    let mut before = fresh_with(r#"{"addresses": ["10.0.0.5/24"], "mtu": 1400, "ipv6": "off"}"#);
    plug(&mut before, 0);
    let actions = release(before.kept());
    assert_eq!(
        actions[..2],
        [remove("10.0.0.5/24"), Action::Change(Change::SetMtu(1500))]
    );
    assert_eq!(actions.last(), Some(&Action::Ipv6("disable_ipv6", "0")));
    assert_eq!(
        release(bound_at_zero().kept()),
        [remove_route(), remove(LEASED)]
    );
    assert_eq!(release(&Kept::default()), []);
}

#[test]
fn link_local_addresses_are_in_the_range_of_rfc_3927_and_keep_to_the_hardware() {
    for last in 0..=255 {
        let mac = [0xdc, 0xa6, 0x32, 1, 2, last];
        let own = link_local(mac);
        assert_eq!(own, link_local(mac));
        assert_eq!(own.prefix, 16);
        let std::net::IpAddr::V4(address) = own.address else {
            panic!("{own:?}");
        };
        let octets = address.octets();
        assert_eq!(octets[..2], [169, 254]);
        assert!((1..=254).contains(&octets[2]), "{octets:?}");
    }
}
