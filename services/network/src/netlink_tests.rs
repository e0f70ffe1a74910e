//! Messages as the kernel expects them.

use netlink_packet_core::Emitable;
use netlink_packet_route::link::WirelessEvent;

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

#[test]
fn a_vlan_has_a_name_a_link_and_a_number() {
    let message = vlan_message("lan", 7, 2);
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    // IFLA_LINK, and in IFLA_LINKINFO the kind and in its data IFLA_VLAN_ID.
    let attributes: Vec<u8> = [
        [8_u16, 3].map(u16::to_ne_bytes).concat(),
        b"lan\0".to_vec(),
        [8_u16, 5].map(u16::to_ne_bytes).concat(),
        2_u32.to_ne_bytes().to_vec(),
        [28_u16, 18].map(u16::to_ne_bytes).concat(),
        [9_u16, 1].map(u16::to_ne_bytes).concat(),
        b"vlan\0\0\0\0".to_vec(),
        [12_u16, 2].map(u16::to_ne_bytes).concat(),
        [6_u16, 1].map(u16::to_ne_bytes).concat(),
        [7_u16, 0].map(u16::to_ne_bytes).concat(),
    ]
    .concat();
    // Behind the header of 16 bytes, all zeros.
    assert_eq!(bytes[..16], [0; 16]);
    assert_eq!(bytes[16..], attributes);
}

#[test]
fn addresses_have_their_family_scope_and_broadcast() {
    let broadcast = |message: &AddressMessage| {
        message.attributes.iter().find_map(|it| match it {
            AddressAttribute::Broadcast(address) => Some(address.to_string()),
            _ => None,
        })
    };
    for (text, family, scope, all) in [
        (
            "10.0.0.7/24",
            AddressFamily::Inet,
            AddressScope::Universe,
            Some("10.0.0.255"),
        ),
        (
            "169.254.3.4/16",
            AddressFamily::Inet,
            AddressScope::Link,
            Some("169.254.255.255"),
        ),
        (
            "10.0.0.6/31",
            AddressFamily::Inet,
            AddressScope::Universe,
            None,
        ),
        (
            "fd00::7/64",
            AddressFamily::Inet6,
            AddressScope::Universe,
            None,
        ),
    ] {
        let message = address_message(2, address(text));
        assert_eq!(message.header.family, family, "{text}");
        assert_eq!(message.header.scope, scope, "{text}");
        assert_eq!(broadcast(&message).as_deref(), all, "{text}");
        assert_eq!(message.header.index, 2);
        let ip = address(text).address;
        assert!(message.attributes.contains(&AddressAttribute::Local(ip)));
    }
}

#[test]
fn routes_have_their_family_metric_and_origin() {
    let plain = route_message(2, route("0.0.0.0/0", Some("10.0.0.1")));
    assert_eq!(
        plain.attributes,
        [
            RouteAttribute::Oif(2),
            RouteAttribute::Priority(102),
            RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, 1))),
        ]
    );
    assert_eq!(plain.header.address_family, AddressFamily::Inet);
    assert_eq!(plain.header.protocol, RouteProtocol::Static);
    assert_eq!(plain.header.scope, RouteScope::Universe);
    assert_eq!(plain.header.flags, RouteFlags::empty());

    let ipv6 = Route {
        unproven: true,
        origin: Origin::Dhcp,
        ..route("fd00:1::/32", Some("fd00::1"))
    };
    let message = route_message(2, ipv6);
    assert_eq!(message.header.address_family, AddressFamily::Inet6);
    assert_eq!(message.header.destination_prefix_length, 32);
    assert_eq!(message.header.protocol, RouteProtocol::Dhcp);
    assert_eq!(message.header.flags, RouteFlags::Onlink);
    assert_eq!(
        message.attributes[2..],
        [
            RouteAttribute::Destination(RouteAddress::Inet6("fd00:1::".parse().unwrap())),
            RouteAttribute::Gateway(RouteAddress::Inet6("fd00::1".parse().unwrap())),
        ]
    );
    let on_link = route_message(2, route("10.0.0.0/8", None));
    assert_eq!(on_link.header.scope, RouteScope::Link);
}

#[test]
fn a_link_is_understood_as_the_kernel_describes_it() {
    let describe = |flags| {
        let mut message = vlan_message("lan", 7, 2);
        message.header.index = 9;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = flags;
        message.attributes.extend([
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::Mtu(1496),
            LinkAttribute::Mode(LinkMode::Dormant),
        ]);
        // As it comes from the kernel.
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewLink(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let Some(NetlinkPayload::InnerMessage(message)) =
            messages(&bytes).pop().map(|it| it.payload)
        else {
            panic!("{bytes:?}");
        };
        event(message)
    };
    let up = LinkFlags::Up | LinkFlags::LowerUp;
    assert_eq!(
        describe(up),
        Some(LinkEvent::Is(Link {
            index: 9,
            name: "lan".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 9]),
            kind: Some("vlan".to_owned()),
            enslaved: false,
            up: true,
            carrier: true,
            supplicant: true,
            mtu: 1496,
        }))
    );
    // Switched on without a cable, and with a wireless network that has not let
    // us in.
    for flags in [LinkFlags::Up, up | LinkFlags::Dormant] {
        let Some(LinkEvent::Is(link)) = describe(flags) else {
            panic!("{flags:?}");
        };
        assert!(link.up && !link.carrier, "{flags:?}");
    }
}

#[test]
fn what_a_radio_did_is_no_description_of_its_link() {
    let mut message = LinkMessage::default();
    message.header.index = 3;
    message.attributes = vec![
        LinkAttribute::IfName("wlan0".to_owned()),
        // It joined a network (SIOCGIWAP).
        LinkAttribute::Wireless(WirelessEvent::Other(vec![16, 0, 0x15, 0x8b])),
    ];
    assert_eq!(event(RouteNetlinkMessage::NewLink(message)), None);
}
