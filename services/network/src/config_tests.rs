//! From one configuration to another.

use super::*;

fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    }
}

fn route(to: &str, via: Option<&str>) -> Route {
    let to = address(to);
    Route {
        destination: to.address,
        prefix: to.prefix,
        gateway: via.map(|via| via.parse().unwrap()),
        metric: 102,
        unproven: false,
        origin: Origin::Settings,
    }
}

/// The default route to this router.
fn to(via: &str) -> Route {
    let everywhere = if via.contains(':') {
        "::/0"
    } else {
        "0.0.0.0/0"
    };
    route(everywhere, Some(via))
}

fn config(addresses: &[&str], routes: &[Route]) -> Config {
    Config {
        addresses: addresses.iter().map(|text| address(text)).collect(),
        routes: routes.to_vec(),
        ..Config::default()
    }
}

fn add(text: &str) -> Change {
    Change::AddAddress(address(text))
}

fn remove(text: &str) -> Change {
    Change::RemoveAddress(address(text))
}

#[test]
fn a_network_begins_where_its_prefix_says() {
    for (text, first) in [
        ("10.1.2.3/8", "10.0.0.0"),
        ("10.1.2.3/0", "0.0.0.0"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("10.1.2.3/23", "10.1.2.0"),
        ("fd00:1:2::3/32", "fd00:1::"),
        ("fd00::3/0", "::"),
        ("fd00::3/128", "fd00::3"),
    ] {
        let it = address(text);
        let first: IpAddr = first.parse().unwrap();
        assert_eq!(network(it.address, it.prefix), first, "{text}");
    }
    assert!(address("10.0.0.1/24").reaches([10, 0, 0, 9].into()));
    assert!(!address("10.0.0.1/24").reaches([10, 0, 1, 9].into()));
    assert!(!address("0.0.0.0/0").reaches("::".parse().unwrap()));
}

#[test]
fn nothing_changes_between_equal_configurations() {
    let same = Config {
        mtu: Some(1400),
        ..config(&["10.0.0.7/24", "fd00::7/64"], &[to("10.0.0.1")])
    };
    assert_eq!(changes(&same, &same), []);
    assert_eq!(changes(&Config::default(), &Config::default()), []);
}

#[test]
fn addresses_come_before_their_routes_and_on_link_routes_before_others() {
    let on_link = route("10.9.0.0/16", None);
    assert_eq!(
        changes(
            &Config::default(),
            &config(
                &["10.0.0.7/24", "fd00::7/64"],
                &[to("10.9.0.1"), to("fd00::1"), on_link]
            )
        ),
        [
            add("10.0.0.7/24"),
            add("fd00::7/64"),
            Change::AddRoute(on_link),
            Change::AddRoute(to("10.9.0.1")),
            Change::AddRoute(to("fd00::1")),
        ]
    );
}

#[test]
fn what_is_added_or_removed_leaves_the_rest_alone() {
    let plain = config(&["10.0.0.7/24"], &[to("10.0.0.1")]);
    let further = Route {
        metric: 5,
        ..route("10.8.0.0/16", Some("10.0.0.2"))
    };
    let more = config(
        &["10.0.0.7/24", "fd00::7/64"],
        &[to("10.0.0.1"), further, to("fd00::1")],
    );
    assert_eq!(
        changes(&plain, &more),
        [
            add("fd00::7/64"),
            Change::AddRoute(further),
            Change::AddRoute(to("fd00::1")),
        ]
    );
    assert_eq!(
        changes(&more, &plain),
        [
            Change::RemoveRoute(further),
            Change::RemoveRoute(to("fd00::1")),
            remove("fd00::7/64"),
        ]
    );
}

#[test]
fn a_new_router_leaves_the_address_alone() {
    assert_eq!(
        changes(
            &config(&["10.0.0.7/24"], &[to("10.0.0.1")]),
            &config(&["10.0.0.7/24"], &[to("10.0.0.2")])
        ),
        [
            Change::RemoveRoute(to("10.0.0.1")),
            Change::AddRoute(to("10.0.0.2"))
        ]
    );
}

#[test]
fn routes_that_the_kernel_drops_with_an_address_come_back() {
    assert_eq!(
        changes(
            &config(&["10.0.0.7/24"], &[to("10.0.0.1")]),
            &config(&["10.0.0.8/24"], &[to("10.0.0.1")])
        ),
        [
            remove("10.0.0.7/24"),
            add("10.0.0.8/24"),
            Change::AddRoute(to("10.0.0.1")),
        ]
    );
    // Those of the other family stay.
    assert_eq!(
        changes(
            &config(&["10.0.0.7/24", "fd00::7/64"], &[to("fd00::1")]),
            &config(&["fd00::7/64"], &[to("fd00::1")])
        ),
        [remove("10.0.0.7/24")]
    );
    assert_eq!(
        changes(
            &config(&["10.0.0.7/24", "fd00::7/64"], &[to("10.0.0.1")]),
            &config(&["10.0.0.7/24"], &[to("10.0.0.1")])
        ),
        [remove("fd00::7/64")]
    );
}

#[test]
fn addresses_that_the_kernel_drops_with_another_of_their_network_come_back() {
    assert_eq!(
        changes(
            &config(
                &["10.0.0.7/24", "10.0.0.8/24", "10.1.0.8/24", "10.0.0.9/25"],
                &[]
            ),
            &config(&["10.0.0.8/24", "10.1.0.8/24", "10.0.0.9/25"], &[])
        ),
        [remove("10.0.0.7/24"), add("10.0.0.8/24")]
    );
    assert_eq!(
        changes(
            &config(&["fd00::7/64", "fd00::8/64"], &[]),
            &config(&["fd00::8/64"], &[])
        ),
        [remove("fd00::7/64")]
    );
}

#[test]
fn a_lost_configuration_is_removed() {
    assert_eq!(
        changes(
            &config(&["10.0.0.7/24"], &[to("10.0.0.1")]),
            &Config::default()
        ),
        [Change::RemoveRoute(to("10.0.0.1")), remove("10.0.0.7/24")]
    );
}

#[test]
fn the_mtu_is_set_when_it_differs_and_before_addresses() {
    let small = Config {
        mtu: Some(1400),
        ..config(&["fd00::7/64"], &[])
    };
    assert_eq!(
        changes(&Config::default(), &small),
        [Change::SetMtu(1400), add("fd00::7/64")]
    );
    assert_eq!(changes(&small, &config(&["fd00::7/64"], &[])), []);
}
