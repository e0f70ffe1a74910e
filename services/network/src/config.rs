//! What a link is configured with, and what has to change to get from one
//! configuration to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The address.
    pub(crate) address: IpAddr,
    /// Length of the subnet's prefix.
    pub(crate) prefix: u8,
}

impl Address {
    /// Whether another host is in the network of this address.
    pub(crate) fn reaches(&self, host: IpAddr) -> bool {
        network(self.address, self.prefix) == network(host, self.prefix)
    }
}

/// A way to other networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// First address of the network that it leads to.
    pub(crate) destination: IpAddr,
    /// Length of that network's prefix; 0 for everywhere else.
    pub(crate) prefix: u8,
    /// The router; none when the network is on this very link.
    pub(crate) gateway: Option<IpAddr>,
    /// Of several routes to one network, the one with the least is taken.
    pub(crate) metric: u32,
    /// Whether the router is taken to be on the link though no address says so.
    pub(crate) unproven: bool,
    /// Who wants it.
    pub(crate) origin: Origin,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// The settings.
    Settings,
    /// A lease.
    Dhcp,
}

/// What a link is configured with, wherever that comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Our addresses.
    pub(crate) addresses: Vec<Address>,
    /// Ways to other networks.
    pub(crate) routes: Vec<Route>,
    /// Name servers, the preferred one first.
    pub(crate) name_servers: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    pub(crate) search: Vec<String>,
    /// Largest packet; `None` for what the link had.
    pub(crate) mtu: Option<u32>,
}

/// One change to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Remove an address.
    RemoveAddress(Address),
    /// Add an address, or make sure that it is there.
    AddAddress(Address),
    /// Remove a route.
    RemoveRoute(Route),
    /// Add a route, or make sure that it is there.
    AddRoute(Route),
    /// Set the largest packet.
    SetMtu(u32),
}

/// The first address of the network that an address is in.
pub(crate) fn network(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// The changes that lead from one configuration to another, in the order in
/// which the kernel takes them. What stays is not touched: a renewed lease must
/// not cut connections.
pub(crate) fn changes(from: &Config, to: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for route in &from.routes {
        if !to.routes.contains(route) {
            changes.push(Change::RemoveRoute(*route));
        }
    }
    let gone: Vec<&Address> = from
        .addresses
        .iter()
        .filter(|address| !to.addresses.contains(address))
        .collect();
    changes.extend(gone.iter().map(|address| Change::RemoveAddress(**address)));
    // Before the addresses: those of IPv6 need a link that takes 1280 bytes.
    if let Some(mtu) = to.mtu
        && from.mtu != to.mtu
    {
        changes.push(Change::SetMtu(mtu));
    }
    // With an IPv4 address the kernel drops the later ones of its network, and
    // with the last one all routes. So these are added again.
    let dropped = |address: &Address| {
        address.address.is_ipv4()
            && gone
                .iter()
                .any(|it| it.prefix == address.prefix && it.reaches(address.address))
    };
    for address in &to.addresses {
        if !from.addresses.contains(address) || dropped(address) {
            changes.push(Change::AddAddress(*address));
        }
    }
    let shaken = gone.iter().any(|address| address.address.is_ipv4());
    // Routes on the link first: gateways may be reached through them.
    for on_link in [true, false] {
        for route in &to.routes {
            let kept = from.routes.contains(route) && !(shaken && route.destination.is_ipv4());
            if route.gateway.is_none() == on_link && !kept {
                changes.push(Change::AddRoute(*route));
            }
        }
    }
    changes
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
