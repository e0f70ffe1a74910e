//! DHCP messages on the wire. What comes in is from anyone on the network: what
//! is not well-formed, or would not be an address that a host can have, is no
//! reply.

use std::net::Ipv4Addr;

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpProtocol,
        Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    },
};

use super::{Lease, Reply, ReplyKind, Request, RequestKind, Route};

/// Hardware address of an Ethernet link.
pub(crate) type Mac = [u8; 6];

/// Port of servers.
pub(crate) const SERVER_PORT: u16 = 67;
/// Port of clients.
pub(crate) const CLIENT_PORT: u16 = 68;

const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const DURATION: u8 = 51;
const SERVER: u8 = 54;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLASSLESS_ROUTES: u8 = 121;

/// What we ask servers to tell. Routes come before the router: RFC 3442.
const WANTED: &[u8] = &[
    SUBNET_MASK,
    CLASSLESS_ROUTES,
    ROUTER,
    NAME_SERVERS,
    DOMAIN,
    MTU,
    DURATION,
    RENEW,
    REBIND,
];

/// Shorter leases are kept this long: renewing more often than every few
/// seconds would be a flood, whatever a server says.
const SHORTEST: u32 = 10;
/// More routes than any real network has.
const MOST_ROUTES: usize = 64;

/// The DHCP message of a request.
pub(crate) fn encode(request: &Request, mac: Mac, host_name: &str, seconds: u16) -> Vec<u8> {
    let mac = EthernetAddress(mac);
    let none = Ipv4Addr::UNSPECIFIED;
    let (message_type, client_ip, requested_ip, server_identifier) = match request.kind {
        RequestKind::Discover => (DhcpMessageType::Discover, none, None, None),
        RequestKind::Take { address, server } => {
            (DhcpMessageType::Request, none, Some(address), Some(server))
        }
        RequestKind::Reuse { address } => (DhcpMessageType::Request, none, Some(address), None),
        RequestKind::Renew { address, .. } | RequestKind::Rebind { address } => {
            (DhcpMessageType::Request, address, None, None)
        }
    };
    let host_name: &[u8] = host_name.as_bytes();
    let options = [DhcpOption {
        kind: HOST_NAME,
        data: &host_name[..host_name.len().min(63)],
    }];
    let repr = DhcpRepr {
        message_type,
        transaction_id: request.transaction,
        secs: seconds,
        client_hardware_address: mac,
        client_ip,
        your_ip: none,
        server_ip: none,
        router: None,
        subnet_mask: None,
        relay_agent_ip: none,
        broadcast: false,
        requested_ip,
        client_identifier: Some(mac),
        server_identifier,
        parameter_request_list: Some(WANTED),
        dns_servers: None,
        max_size: Some(1432),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: if host_name.is_empty() { &[] } else { &options },
    };
    // BOOTP relays want 300 bytes.
    let mut bytes = vec![0; repr.buffer_len().max(300)];
    let mut packet = DhcpPacket::new_unchecked(&mut bytes);
    // It fails only when the buffer is too short, and it has the right length.
    let _ = repr.emit(&mut packet);
    bytes
}

/// Puts a message to everyone into UDP and IP, from a host that has no address
/// yet (or uses the one in `source`).
pub(crate) fn broadcast(message: &[u8], source: Ipv4Addr) -> Vec<u8> {
    let udp = UdpRepr {
        src_port: CLIENT_PORT,
        dst_port: SERVER_PORT,
    };
    let ip = Ipv4Repr {
        src_addr: source,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + message.len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; ip.buffer_len() + ip.payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    udp.emit(
        &mut datagram,
        &IpAddress::Ipv4(source),
        &IpAddress::Ipv4(Ipv4Addr::BROADCAST),
        message.len(),
        |payload| payload.copy_from_slice(message),
        &checksums,
    );
    bytes
}

/// The reply in an IP packet, if it is one to this hardware address.
pub(crate) fn decode(packet: &[u8], mac: Mac) -> Option<Reply> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    if !ip.verify_checksum() || ip.next_header() != IpProtocol::Udp || ip.frag_offset() != 0 {
        return None;
    }
    // The UDP checksum is not looked at: where a card calculates it, packets
    // from the same machine (a virtual one's host) come without.
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    if udp.src_port() != SERVER_PORT || udp.dst_port() != CLIENT_PORT {
        return None;
    }
    decode_message(udp.payload(), mac)
}

fn decode_message(message: &[u8], mac: Mac) -> Option<Reply> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let repr = DhcpRepr::parse(&packet).ok()?;
    if repr.client_hardware_address.0 != mac {
        return None;
    }
    let option = |kind| {
        packet
            .options()
            .find(|option| option.kind == kind)
            .map(|option| option.data)
    };
    let kind = match repr.message_type {
        DhcpMessageType::Offer => ReplyKind::Offer(lease(repr.your_ip, option)?),
        DhcpMessageType::Ack => ReplyKind::Ack(lease(repr.your_ip, option)?),
        DhcpMessageType::Nak => ReplyKind::Nak,
        _ => return None,
    };
    Some(Reply {
        transaction: repr.transaction_id,
        kind,
    })
}

fn lease<'a>(address: Ipv4Addr, option: impl Fn(u8) -> Option<&'a [u8]>) -> Option<Lease> {
    let addresses = |kind| addresses(option(kind).unwrap_or_default());
    let number = |kind| {
        option(kind)
            .and_then(|data| data.try_into().ok())
            .map(u32::from_be_bytes)
    };
    let server = addresses(SERVER).first().copied()?;
    if !is_host(address) || !is_host(server) {
        return None;
    }
    let prefix = match addresses(SUBNET_MASK).first() {
        Some(mask) => prefix_of(*mask)?,
        None => class_prefix(address),
    };
    let routes = match option(CLASSLESS_ROUTES) {
        Some(data) => classless_routes(data),
        None => addresses(ROUTER)
            .first()
            .filter(|router| is_host(**router))
            .map(|router| Route {
                destination: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                gateway: Some(*router),
            })
            .into_iter()
            .collect(),
    };
    let duration = number(DURATION)?.max(SHORTEST);
    let (mut renew, mut rebind) = (duration / 2, duration - duration / 8);
    if let (Some(first), Some(second)) = (number(RENEW), number(REBIND))
        && first >= SHORTEST / 2
        && first < second
        && second < duration
    {
        (renew, rebind) = (first, second);
    }
    Some(Lease {
        address,
        prefix,
        routes,
        name_servers: addresses(NAME_SERVERS)
            .into_iter()
            .filter(|server| is_host(*server))
            .collect(),
        domain: option(DOMAIN).and_then(domain),
        // RFC 2132 allows 68, but nothing works below what IPv6 needs.
        mtu: option(MTU)
            .and_then(|data| data.try_into().ok())
            .map(u16::from_be_bytes)
            .filter(|mtu| *mtu >= 1280),
        server,
        renew,
        rebind,
        duration: (duration != u32::MAX).then_some(duration),
    })
}

fn addresses(data: &[u8]) -> Vec<Ipv4Addr> {
    let (addresses, _) = data.as_chunks::<4>();
    addresses
        .iter()
        .map(|bytes| Ipv4Addr::from(*bytes))
        .collect()
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback())
}

fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (ones > 0 && bits.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)
}

/// What an address meant before there were masks.
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// RFC 3442: prefix, as many bytes of the network as that needs, router.
fn classless_routes(mut data: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = data.split_first() {
        let significant = usize::from(prefix).div_ceil(8);
        if prefix > 32 || rest.len() < significant + 4 || routes.len() == MOST_ROUTES {
            break;
        }
        let mut network = [0; 4];
        network[..significant].copy_from_slice(&rest[..significant]);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let gateway = addresses(&rest[significant..significant + 4])
            .first()
            .copied()
            .filter(|gateway| is_host(*gateway));
        routes.push(Route {
            destination: Ipv4Addr::from_bits(u32::from_be_bytes(network) & mask),
            prefix,
            gateway,
        });
        data = &rest[significant + 4..];
    }
    routes
}

/// A domain goes into a configuration file: it must be nothing but a name.
fn domain(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?.trim_end_matches('\0');
    let is_name = (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
