//! What the settings want of one link, and how that and what a server granted
//! become one configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rubus_config::settings::{self, Ipv6};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Address, Config, Origin, Route, network},
    dhcp::{self, Lease},
    ipv6,
    link::Link,
};

/// What the settings want of one link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setup {
    /// Whether it asks for an IPv4 address.
    pub(crate) dhcp: bool,
    /// How it gets those of IPv6.
    pub(crate) ipv6: ipv6::Setup,
    /// What it has whatever a server says.
    fixed: Config,
    /// The metric of routes for which none was chosen.
    metric: u32,
}

/// The IPv4 address that a link has found for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    /// None.
    #[default]
    Nothing,
    /// What a server granted.
    Lease(Lease),
    /// One that it took because no server answered.
    LinkLocal(Address),
}

impl Setup {
    /// What these settings want of this link.
    pub(crate) fn new(settings: &settings::Interface, link: &Link) -> Self {
        let metric = link.metric();
        let everywhere = |router: IpAddr| match router {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let route = |destination, prefix, gateway, metric| Route {
            destination,
            prefix,
            gateway: Some(gateway),
            metric,
            unproven: false,
            origin: Origin::Settings,
        };
        let gateways = settings
            .gateway4
            .map(IpAddr::V4)
            .into_iter()
            .chain(settings.gateway6.map(IpAddr::V6))
            .map(|router| route(everywhere(router), 0, router, metric));
        let further = settings.routes.iter().map(|it| {
            route(
                // The kernel refuses bits behind the prefix.
                network(it.to.address(), it.to.prefix()),
                it.to.prefix(),
                it.via,
                it.metric.unwrap_or(metric),
            )
        });
        let addresses = settings.addresses.iter().map(|it| Address {
            address: it.address(),
            prefix: it.prefix(),
        });
        Self {
            // A tunnel has no hardware address, and without one nobody can ask.
            dhcp: settings.asks_dhcp() && link.mac.is_some(),
            ipv6: ipv6::Setup {
                mode: settings.ipv6,
                routers: settings.gateway6.is_none(),
            },
            fixed: Config {
                addresses: addresses.collect(),
                routes: gateways.chain(further).collect(),
                name_servers: settings.dns.clone(),
                search: domains(&settings.search),
                mtu: settings.mtu.map(|mtu| mtu.get()),
            },
            metric,
        }
    }

    /// Whether it has an IPv4 address of its own.
    pub(crate) fn has_ipv4(&self) -> bool {
        self.fixed.addresses.iter().any(|it| it.address.is_ipv4())
    }

    /// The largest packet that was chosen.
    pub(crate) fn mtu(&self) -> Option<u32> {
        self.fixed.mtu
    }

    /// The configuration that follows, while the link has a carrier. What the
    /// settings say comes first, and wins where both speak of one thing.
    pub(crate) fn config(&self, found: &Found) -> Config {
        let mut config = Config {
            routes: Vec::new(),
            ..self.fixed.clone()
        };
        let mut wanted = self.fixed.routes.clone();
        match found {
            Found::Nothing => {}
            Found::LinkLocal(address) => config.addresses.push(*address),
            Found::Lease(lease) => {
                config.addresses.push(Address {
                    address: lease.address.into(),
                    prefix: lease.prefix,
                });
                wanted.extend(lease.routes.iter().map(|it| self.granted(it)));
                let servers = lease.name_servers.iter().copied().map(IpAddr::V4);
                config.name_servers.extend(servers);
                config.search.extend(lease.domain.clone());
                config.mtu = config.mtu.or(lease.mtu.map(u32::from));
            }
        }
        unique(&mut config.addresses);
        unique(&mut config.name_servers);
        unique(&mut config.search);
        // A route over a link without an address would only take traffic away
        // from links that have one.
        let ipv4 = self.has_ipv4() || matches!(found, Found::Lease(_));
        let ipv6 = self.ipv6.mode != Ipv6::Off;
        for route in wanted {
            let usable = if route.destination.is_ipv4() {
                ipv4
            } else {
                ipv6
            };
            let key = |it: &Route| (it.destination, it.prefix, it.metric);
            let taken = config.routes.iter().any(|it| key(it) == key(&route));
            if usable && !taken {
                config.routes.push(route);
            }
        }
        let neighbours: Vec<Address> = config
            .routes
            .iter()
            .filter(|route| route.gateway.is_none())
            .map(|route| Address {
                address: route.destination,
                prefix: route.prefix,
            })
            .chain(config.addresses.iter().copied())
            .collect();
        for route in &mut config.routes {
            route.unproven = route.gateway.is_some_and(|gateway| {
                let local = matches!(gateway, IpAddr::V6(it) if it.is_unicast_link_local());
                !local && !neighbours.iter().any(|it| it.reaches(gateway))
            });
        }
        config
    }

    fn granted(&self, route: &dhcp::Route) -> Route {
        Route {
            destination: route.destination.into(),
            prefix: route.prefix,
            gateway: route.gateway.map(IpAddr::V4),
            metric: self.metric,
            unproven: false,
            origin: Origin::Dhcp,
        }
    }
}

/// What the settings want of the node as a whole, as if it were a link that is
/// always there.
pub(crate) fn of_the_node(settings: &settings::Network) -> Config {
    Config {
        name_servers: settings.dns.clone(),
        search: domains(&settings.search),
        ..Config::default()
    }
}

fn domains(domains: &[settings::values::Domain]) -> Vec<String> {
    domains.iter().map(|it| it.as_str().to_owned()).collect()
}

/// Keeps the first of equals.
fn unique<T: PartialEq>(all: &mut Vec<T>) {
    let mut kept = Vec::with_capacity(all.len());
    for one in all.drain(..) {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    *all = kept;
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
