//! Messages as servers see them, and replies of honest and other servers.

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 9];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A reply in UDP and IP, with these options.
fn packet(kind: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message[4..8].copy_from_slice(&77u32.to_be_bytes());
    message[16..20].copy_from_slice(&ADDRESS.octets());
    message[28..34].copy_from_slice(&MAC);
    message[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, kind]);
    for (option, data) in options {
        message.extend([*option, data.len() as u8]);
        message.extend(*data);
    }
    message.push(255);
    let mut bytes = broadcast(&message, SERVER_ADDRESS);
    // From port 67 to port 68.
    bytes[20..24].copy_from_slice(&[0, 67, 0, 68]);
    bytes
}

const TERMS: [(u8, &[u8]); 3] = [
    (54, &[10, 0, 2, 2]),
    (51, &[0, 0, 14, 16]),
    (1, &[255, 255, 255, 0]),
];

fn ack(more: &[(u8, &[u8])]) -> Option<Lease> {
    let options: Vec<_> = TERMS.iter().chain(more).copied().collect();
    match decode(&packet(5, &options), MAC)?.kind {
        ReplyKind::Ack(lease) => Some(lease),
        other => panic!("{other:?}"),
    }
}

fn option_of(message: &[u8], kind: u8) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(message).unwrap();
    packet
        .options()
        .find(|option| option.kind == kind)
        .map(|option| option.data.to_vec())
}

#[test]
fn each_request_carries_what_rfc_2131_table_5_asks_for() {
    let (address, server) = (ADDRESS, SERVER_ADDRESS);
    let requested = Some(ADDRESS.octets().to_vec());
    let identifier = Some(SERVER_ADDRESS.octets().to_vec());
    let unset = Ipv4Addr::UNSPECIFIED;
    for (kind, message_type, client, requested, server) in [
        (RequestKind::Discover, 1, unset, None, None),
        (
            RequestKind::Take { address, server },
            3,
            unset,
            requested.clone(),
            identifier,
        ),
        (RequestKind::Reuse { address }, 3, unset, requested, None),
        (
            RequestKind::Renew { address, server },
            3,
            ADDRESS,
            None,
            None,
        ),
        (RequestKind::Rebind { address }, 3, ADDRESS, None, None),
    ] {
        let request = Request {
            transaction: 77,
            kind,
        };
        let message = encode(&request, MAC, "berry", 3);
        assert!(message.len() >= 300);
        assert_eq!(option_of(&message, 53), Some(vec![message_type]));
        assert_eq!(message[12..16], client.octets());
        assert_eq!(option_of(&message, 50), requested);
        assert_eq!(option_of(&message, 54), server);
        assert_eq!(option_of(&message, 12), Some(b"berry".to_vec()));
        assert_eq!(option_of(&message, 55), Some(WANTED.to_vec()));
        assert_eq!(message[28..34], MAC);
    }
}

#[test]
fn a_node_without_a_name_sends_none() {
    let request = Request {
        transaction: 1,
        kind: RequestKind::Discover,
    };
    assert_eq!(option_of(&encode(&request, MAC, "", 0), 12), None);
}

#[test]
fn a_broadcast_is_a_valid_ip_packet() {
    let bytes = broadcast(b"hello", Ipv4Addr::UNSPECIFIED);
    let ip = Ipv4Packet::new_checked(&bytes[..]).unwrap();
    assert!(ip.verify_checksum());
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    assert!(udp.verify_checksum(
        &IpAddress::Ipv4(Ipv4Addr::UNSPECIFIED),
        &IpAddress::Ipv4(Ipv4Addr::BROADCAST)
    ));
    assert_eq!(udp.payload(), b"hello");
}

#[test]
fn an_ack_becomes_a_lease() {
    let lease = ack(&[
        (3, &[10, 0, 2, 2, 10, 0, 2, 3]),
        (6, &[10, 0, 2, 3, 8, 8, 8, 8]),
        (15, b"example.org"),
        (26, &[5, 220]),
    ])
    .unwrap();
    assert_eq!((lease.address, lease.prefix), (ADDRESS, 24));
    assert_eq!(
        lease.routes,
        [Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(SERVER_ADDRESS)
        }]
    );
    assert_eq!(lease.name_servers.len(), 2);
    assert_eq!(lease.domain.as_deref(), Some("example.org"));
    assert_eq!(lease.mtu, Some(1500));
    assert_eq!(
        (lease.renew, lease.rebind, lease.duration),
        (1800, 3150, Some(3600))
    );
}

#[test]
fn offers_and_refusals_are_told_apart() {
    let reply = decode(&packet(2, &TERMS), MAC).unwrap();
    assert_eq!(reply.transaction, 77);
    assert!(matches!(reply.kind, ReplyKind::Offer(_)));
    let reply = decode(&packet(6, &[]), MAC).unwrap();
    assert_eq!(reply.kind, ReplyKind::Nak);
}

#[test]
fn times_that_make_no_sense_are_replaced() {
    let of = |lease: Lease| (lease.renew, lease.rebind);
    let times = |renew: u32, rebind: u32| {
        of(ack(&[(58, &renew.to_be_bytes()), (59, &rebind.to_be_bytes())]).unwrap())
    };
    assert_eq!(times(100, 200), (100, 200));
    for (renew, rebind) in [(0, 0), (0, 200), (200, 100), (200, 200), (100, 3600)] {
        assert_eq!(times(renew, rebind), (1800, 3150), "{renew} {rebind}");
    }
}

#[test]
fn a_lease_of_no_time_is_not_renewed_in_a_flood() {
    let lease = decode(
        &packet(5, &[(54, &[10, 0, 2, 2]), (51, &[0, 0, 0, 0])]),
        MAC,
    );
    let Some(ReplyKind::Ack(lease)) = lease.map(|reply| reply.kind) else {
        panic!("no lease");
    };
    assert_eq!((lease.renew, lease.duration), (5, Some(10)));
}

#[test]
fn a_lease_for_ever_has_no_end() {
    let options: [(u8, &[u8]); 2] = [(54, &[10, 0, 2, 2]), (51, &[255; 4])];
    let Some(ReplyKind::Ack(lease)) = decode(&packet(5, &options), MAC).map(|reply| reply.kind)
    else {
        panic!("no lease");
    };
    assert_eq!(lease.duration, None);
    assert_eq!(lease.prefix, 8);
}

#[test]
fn classless_routes_replace_the_router() {
    let lease = ack(&[
        (3, &[10, 0, 2, 9]),
        (
            121,
            &[
                24, 192, 168, 7, 10, 0, 2, 3, 0, 10, 0, 2, 2, 16, 169, 254, 0, 0, 0, 0,
            ],
        ),
    ])
    .unwrap();
    let route = |destination: [u8; 4], prefix, gateway: Option<[u8; 4]>| Route {
        destination: destination.into(),
        prefix,
        gateway: gateway.map(Into::into),
    };
    assert_eq!(
        lease.routes,
        [
            route([192, 168, 7, 0], 24, Some([10, 0, 2, 3])),
            route([0; 4], 0, Some([10, 0, 2, 2])),
            route([169, 254, 0, 0], 16, None),
        ]
    );
}

#[test]
fn broken_classless_routes_end_where_they_break() {
    for data in [&[33, 1, 2, 3, 4][..], &[24, 192, 168], &[0, 10, 0, 2], &[]] {
        assert_eq!(ack(&[(121, data)]).unwrap().routes, [], "{data:?}");
    }
}

#[test]
fn names_that_would_write_more_than_a_name_are_refused() {
    for name in [&b"a\nnameserver 6.6.6.6"[..], b"a b", b"\xff", b"#", b""] {
        assert_eq!(ack(&[(15, name)]).unwrap().domain, None, "{name:?}");
    }
}

#[test]
fn addresses_that_no_host_has_are_no_lease() {
    for server in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1]] {
        let options: [(u8, &[u8]); 2] = [(54, &server), (51, &[0, 0, 14, 16])];
        assert_eq!(decode(&packet(5, &options), MAC), None, "{server:?}");
    }
    for mask in [[0; 4], [255, 0, 255, 0]] {
        let options: [(u8, &[u8]); 3] = [(54, &[10, 0, 2, 2]), (51, &[0, 0, 14, 16]), (1, &mask)];
        assert_eq!(decode(&packet(5, &options), MAC), None, "{mask:?}");
    }
}

#[test]
fn somebody_elses_replies_and_other_packets_are_none() {
    let good = packet(5, &TERMS);
    assert!(decode(&good, MAC).is_some());
    assert_eq!(decode(&good, [0; 6]), None);
    let mut request = good.clone();
    request[28] = 1;
    assert_eq!(decode(&request, MAC), None);
    let mut other_port = good;
    other_port[23] = 69;
    assert_eq!(decode(&other_port, MAC), None);
}

#[test]
fn no_truncated_or_damaged_packet_does_harm() {
    let good = packet(
        5,
        &[
            TERMS[0],
            TERMS[1],
            TERMS[2],
            (121, &[0, 10, 0, 2, 2]),
            (6, &[1, 2, 3]),
            (26, &[0]),
        ],
    );
    for end in 0..good.len() {
        let _ = decode(&good[..end], MAC);
    }
    for at in 0..good.len() {
        for value in [0, 1, 127, 255] {
            let mut damaged = good.clone();
            damaged[at] = value;
            let _ = decode(&damaged, MAC);
        }
    }
}
