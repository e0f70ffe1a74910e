//! What a link is configured with, and what has to change to get from one
//! configuration to another.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::dhcp::{Lease, Route};

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub(crate) prefix: u8,
}

/// What a link is configured with, wherever that comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Our address.
    pub(crate) address: Option<Address>,
    /// Ways to other networks.
    pub(crate) routes: Vec<Route>,
    /// Name servers, the preferred one first.
    pub(crate) name_servers: Vec<Ipv4Addr>,
    /// Domain that short names are looked up in.
    pub(crate) domain: Option<String>,
    /// Largest packet; `None` for what the link had.
    pub(crate) mtu: Option<u16>,
}

/// One change to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Remove an address; its routes go with it.
    RemoveAddress(Address),
    /// Add an address.
    AddAddress(Address),
    /// Remove a route.
    RemoveRoute(Route),
    /// Add a route.
    AddRoute(Route),
    /// Set the largest packet.
    SetMtu(u16),
}

impl From<&Lease> for Config {
    fn from(lease: &Lease) -> Self {
        Self {
            address: Some(Address {
                address: lease.address,
                prefix: lease.prefix,
            }),
            routes: lease.routes.clone(),
            name_servers: lease.name_servers.clone(),
            domain: lease.domain.clone(),
            mtu: lease.mtu,
        }
    }
}

/// The changes that lead from one configuration to another, in the order in
/// which the kernel takes them. What stays is not touched: a renewed lease must
/// not cut connections.
pub(crate) fn changes(from: &Config, to: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let moved = from.address != to.address;
    // The kernel drops routes together with the address that they need.
    let kept: &[Route] = if moved { &[] } else { &from.routes };
    for route in kept {
        if !to.routes.contains(route) {
            changes.push(Change::RemoveRoute(*route));
        }
    }
    if moved {
        changes.extend(from.address.map(Change::RemoveAddress));
        changes.extend(to.address.map(Change::AddAddress));
    }
    if let Some(mtu) = to.mtu
        && from.mtu != to.mtu
    {
        changes.push(Change::SetMtu(mtu));
    }
    // Routes on the link first: gateways may be reached through them.
    for on_link in [true, false] {
        for route in &to.routes {
            if route.gateway.is_none() == on_link && !kept.contains(route) {
                changes.push(Change::AddRoute(*route));
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Address {
        Address {
            address: Ipv4Addr::new(10, 0, 0, last),
            prefix: 24,
        }
    }

    fn route(last: u8) -> Route {
        Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(Ipv4Addr::new(10, 0, 0, last)),
        }
    }

    fn config(last: u8, routes: &[Route]) -> Config {
        Config {
            address: Some(address(last)),
            routes: routes.to_vec(),
            ..Config::default()
        }
    }

    #[test]
    fn nothing_changes_between_equal_configurations() {
        let same = config(7, &[route(1)]);
        assert_eq!(changes(&same, &same), []);
        assert_eq!(changes(&Config::default(), &Config::default()), []);
    }

    #[test]
    fn the_address_comes_before_its_routes_and_on_link_routes_before_others() {
        let on_link = Route {
            gateway: None,
            ..route(9)
        };
        assert_eq!(
            changes(&Config::default(), &config(7, &[route(1), on_link])),
            [
                Change::AddAddress(address(7)),
                Change::AddRoute(on_link),
                Change::AddRoute(route(1)),
            ]
        );
    }

    #[test]
    fn a_new_router_leaves_the_address_alone() {
        assert_eq!(
            changes(&config(7, &[route(1)]), &config(7, &[route(2)])),
            [Change::RemoveRoute(route(1)), Change::AddRoute(route(2)),]
        );
    }

    #[test]
    fn a_new_address_takes_the_routes_along() {
        assert_eq!(
            changes(&config(7, &[route(1)]), &config(8, &[route(1)])),
            [
                Change::RemoveAddress(address(7)),
                Change::AddAddress(address(8)),
                Change::AddRoute(route(1)),
            ]
        );
    }

    #[test]
    fn a_lost_configuration_is_removed() {
        assert_eq!(
            changes(&config(7, &[route(1)]), &Config::default()),
            [Change::RemoveAddress(address(7))]
        );
    }

    #[test]
    fn the_mtu_is_set_when_it_differs() {
        let small = Config {
            mtu: Some(1400),
            ..config(7, &[])
        };
        assert_eq!(changes(&config(7, &[]), &small), [Change::SetMtu(1400)]);
        assert_eq!(changes(&small, &small), []);
    }
}
