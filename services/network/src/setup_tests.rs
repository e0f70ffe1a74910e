//! From settings and a lease to one configuration.

use super::*;

fn setup(settings: &str) -> Setup {
    let link = Link {
        index: 2,
        name: "eth0".to_owned(),
        mac: Some([2, 0, 0, 0, 0, 9]),
        kind: None,
        enslaved: false,
        up: true,
        carrier: true,
        supplicant: false,
        mtu: 1500,
    };
    Setup::new(&serde_json::from_str(settings).unwrap(), &link)
}

fn lease() -> Found {
    Found::Lease(Lease {
        address: Ipv4Addr::new(10, 0, 0, 7),
        prefix: 24,
        routes: vec![dhcp::Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        }],
        name_servers: vec![Ipv4Addr::new(10, 0, 0, 1)],
        domain: Some("lan".to_owned()),
        mtu: Some(1492),
        server: Ipv4Addr::new(10, 0, 0, 1),
        renew: 1800,
        rebind: 3150,
        duration: Some(3600),
    })
}

/// Addresses, routes, name servers, domains and MTU in few words.
fn told(config: &Config) -> String {
    let addresses = config
        .addresses
        .iter()
        .map(|it| format!("{}/{}", it.address, it.prefix));
    let routes = config.routes.iter().map(|it| {
        let via = it.gateway.map(|via| format!(" via {via}"));
        let origin = match it.origin {
            Origin::Settings => "",
            Origin::Dhcp => " dhcp",
        };
        format!(
            "{}/{}{} {}{origin}{}",
            it.destination,
            it.prefix,
            via.unwrap_or_default(),
            it.metric,
            if it.unproven { " unproven" } else { "" },
        )
    });
    let servers = config.name_servers.iter().map(|it| format!("dns {it}"));
    let search = config.search.iter().map(|it| format!("search {it}"));
    let mtu = config.mtu.iter().map(|it| format!("mtu {it}"));
    let all: Vec<_> = addresses
        .chain(routes)
        .chain(servers)
        .chain(search)
        .chain(mtu)
        .collect();
    all.join(", ")
}

#[test]
fn without_settings_it_is_what_the_lease_says() {
    let setup = setup("{}");
    assert!(setup.dhcp && !setup.has_ipv4());
    assert_eq!(setup.ipv6, ipv6::Setup::default());
    assert_eq!(setup.config(&Found::Nothing), Config::default());
    assert_eq!(
        told(&setup.config(&lease())),
        "10.0.0.7/24, 0.0.0.0/0 via 10.0.0.1 102 dhcp, dns 10.0.0.1, search lan, mtu 1492"
    );
    let own = Address {
        address: [169, 254, 1, 1].into(),
        prefix: 16,
    };
    assert_eq!(
        told(&setup.config(&Found::LinkLocal(own))),
        "169.254.1.1/16"
    );
}

#[test]
fn fixed_settings_need_no_lease() {
    for (settings, expected) in [
        (
            r#"{"addresses": ["192.168.1.5/24", "fd00::5/64"],
                "gateway4": "192.168.1.1", "gateway6": "fd00::1",
                "dns": ["fd00::1", "192.168.1.1"], "search": ["lan"], "mtu": 1400}"#,
            "192.168.1.5/24, fd00::5/64, 0.0.0.0/0 via 192.168.1.1 102, ::/0 via fd00::1 102, \
             dns fd00::1, dns 192.168.1.1, search lan, mtu 1400",
        ),
        // Bits behind the prefix are cut off, and the metric is as chosen.
        (
            r#"{"addresses": ["192.168.1.5/24"], "routes": [
                {"to": "10.1.2.3/8", "via": "192.168.1.2", "metric": 7},
                {"to": "10.1.2.3/8", "via": "192.168.1.3"},
                {"to": "10.0.0.0/8", "via": "192.168.1.4"}]}"#,
            "192.168.1.5/24, 10.0.0.0/8 via 192.168.1.2 7, 10.0.0.0/8 via 192.168.1.3 102",
        ),
        // No route of a family without an address.
        (
            r#"{"dhcp": false, "gateway4": "192.168.1.1", "gateway6": "fe80::1"}"#,
            "::/0 via fe80::1 102",
        ),
        (
            r#"{"dhcp": false, "ipv6": "off", "gateway6": "fe80::1"}"#,
            "",
        ),
        // That router's network is known when it has announced it.
        (
            r#"{"dhcp": false, "gateway6": "fd00::1"}"#,
            "::/0 via fd00::1 102 unproven",
        ),
        (
            r#"{"addresses": ["10.0.0.5/8", "10.0.0.5/8"]}"#,
            "10.0.0.5/8",
        ),
    ] {
        let setup = setup(settings);
        assert_eq!(told(&setup.config(&Found::Nothing)), expected, "{settings}");
    }
}

#[test]
fn settings_come_before_the_lease_and_win_over_it() {
    for (settings, expected) in [
        (
            r#"{"dns": ["9.9.9.9", "10.0.0.1"], "search": ["home"], "mtu": 1400}"#,
            "10.0.0.7/24, 0.0.0.0/0 via 10.0.0.1 102 dhcp, dns 9.9.9.9, dns 10.0.0.1, \
             search home, search lan, mtu 1400",
        ),
        (
            r#"{"gateway4": "10.0.0.9"}"#,
            "10.0.0.7/24, 0.0.0.0/0 via 10.0.0.9 102, dns 10.0.0.1, search lan, mtu 1492",
        ),
        (
            r#"{"gateway4": "10.0.9.9"}"#,
            "10.0.0.7/24, 0.0.0.0/0 via 10.0.9.9 102 unproven, dns 10.0.0.1, search lan, mtu 1492",
        ),
        (
            r#"{"dhcp": true, "addresses": ["10.0.0.7/24", "10.0.0.8/24"]}"#,
            "10.0.0.7/24, 10.0.0.8/24, 0.0.0.0/0 via 10.0.0.1 102 dhcp, dns 10.0.0.1, \
             search lan, mtu 1492",
        ),
    ] {
        let setup = setup(settings);
        assert!(setup.dhcp);
        assert_eq!(told(&setup.config(&lease())), expected, "{settings}");
    }
}

#[test]
fn a_router_without_a_lease_waits_for_one() {
    let setup = setup(r#"{"gateway4": "10.0.0.9"}"#);
    let own = Address {
        address: [169, 254, 1, 1].into(),
        prefix: 16,
    };
    assert_eq!(told(&setup.config(&Found::Nothing)), "");
    assert_eq!(
        told(&setup.config(&Found::LinkLocal(own))),
        "169.254.1.1/16"
    );
}

#[test]
fn announced_routers_are_used_unless_there_is_a_fixed_one() {
    for (settings, mode, routers) in [
        ("{}", Ipv6::Auto, true),
        (r#"{"gateway6": "fe80::1"}"#, Ipv6::Auto, false),
        (r#"{"ipv6": "manual"}"#, Ipv6::Manual, true),
        (r#"{"ipv6": "off"}"#, Ipv6::Off, true),
    ] {
        assert_eq!(setup(settings).ipv6, ipv6::Setup { mode, routers });
    }
}

#[test]
fn a_link_without_a_hardware_address_asks_nobody() {
    let link = Link {
        index: 9,
        name: "wg0".to_owned(),
        mac: None,
        kind: Some("wireguard".to_owned()),
        enslaved: false,
        up: true,
        carrier: true,
        supplicant: false,
        mtu: 1420,
    };
    assert!(!Setup::new(&settings::Interface::default(), &link).dhcp);
}

#[test]
fn the_node_has_name_servers_of_its_own() {
    let settings = r#"{"dns": ["9.9.9.9"], "search": ["lan"]}"#;
    let node = of_the_node(&serde_json::from_str(settings).unwrap());
    assert_eq!(told(&node), "dns 9.9.9.9, search lan");
}
