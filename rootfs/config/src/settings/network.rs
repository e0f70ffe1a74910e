//! Interfaces, addresses, Wi-Fi, time servers and proxies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::values::{
    Cidr, Country, Domain, InterfaceName, ProxyAddress, ProxyException, Ssid, TimeServer,
    WifiPassword, Within,
};

/// Interfaces, addresses and Wi-Fi.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Interfaces by name, such as `eth0`. One that is not named gets its
    /// addresses by DHCP and from IPv6 routers.
    pub interfaces: BTreeMap<InterfaceName, Interface>,
    /// Name servers of the whole node, before those of its interfaces.
    pub dns: Vec<IpAddr>,
    /// Domains to look short names up in.
    pub search: Vec<Domain>,
    /// Wireless networks.
    pub wifi: Wifi,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Interface {
    /// Whether the interface asks for an IPv4 address. Without this key it does
    /// unless `addresses` has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
    /// How IPv6 is set up.
    pub ipv6: Ipv6,
    /// Fixed addresses with the length of their network, such as
    /// `192.168.1.5/24`.
    pub addresses: Vec<Cidr>,
    /// The IPv4 router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 router; without one those that announce themselves are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// Name servers; those of DHCP come after them.
    pub dns: Vec<IpAddr>,
    /// Domains to look short names up in.
    pub search: Vec<Domain>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// The largest packet, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Within<576, 9216>>,
    /// Makes this interface a VLAN on another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
}

/// How an interface gets IPv6 addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Ipv6 {
    /// From routers that announce themselves, beside fixed addresses.
    #[default]
    Auto,
    /// Fixed addresses only.
    Manual,
    /// Not at all.
    Off,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where it leads, such as `10.0.0.0/8`.
    pub to: Cidr,
    /// The router.
    pub via: IpAddr,
    /// Of several routes, the one with the lowest number is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// A VLAN of IEEE 802.1Q.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// Its number.
    pub id: Within<1, 4094>,
    /// The interface that carries it.
    pub link: InterfaceName,
}

/// Wireless networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Wifi {
    /// The country, whose rules say which channels may be used, such as `DE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Networks to join, by name (SSID).
    pub networks: BTreeMap<Ssid, WifiNetwork>,
}

/// A wireless network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WifiNetwork {
    /// Its password (8 to 63 characters), or the key that follows from it (64
    /// hexadecimal digits). Without one the network is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<WifiPassword>,
    /// Whether the network does not announce itself.
    pub hidden: bool,
}

/// Network time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Ntp {
    /// Servers, by name or address; without any, those of Debian's pool.
    pub servers: Vec<TimeServer>,
}

/// How to reach the web from behind a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// The proxy for `http`, such as `http://proxy.lan:3128`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<ProxyAddress>,
    /// The proxy for `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<ProxyAddress>,
    /// Hosts, domains and networks that are reached without it.
    pub no_proxy: Vec<ProxyException>,
}

impl Network {
    /// Checks what concerns several keys at once.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (name, interface) in &self.interfaces {
            interface.check(name).map_err(|(key, message)| {
                let name = name.as_str();
                // As in TOML, a name with a dot is quoted.
                let name = if name.contains('.') {
                    format!("\"{name}\"")
                } else {
                    name.to_owned()
                };
                (format!("network.interfaces.{name}.{key}"), message)
            })?;
        }
        Ok(())
    }
}

impl Interface {
    /// Whether the interface asks for an IPv4 address.
    pub fn asks_dhcp(&self) -> bool {
        self.dhcp
            .unwrap_or_else(|| !self.addresses.iter().any(|it| it.address().is_ipv4()))
    }

    fn check(&self, name: &InterfaceName) -> Result<(), (&'static str, String)> {
        let reachable = |router: IpAddr| self.addresses.iter().any(|it| it.contains(router));
        if let Some(router) = self.gateway4
            && !self.asks_dhcp()
            && !reachable(router.into())
        {
            return Err((
                "gateway4",
                format!("{router} is in no network of `addresses`; correct one of them"),
            ));
        }
        if let Some(router) = self.gateway6
            && !router.is_unicast_link_local()
            && self.ipv6 != Ipv6::Auto
            && !reachable(router.into())
        {
            return Err((
                "gateway6",
                format!("{router} is in no network of `addresses`; correct one of them"),
            ));
        }
        if self.ipv6 == Ipv6::Off && self.addresses.iter().any(|it| it.address().is_ipv6()) {
            return Err((
                "ipv6",
                "it is off, and `addresses` has an IPv6 address; remove one of them".to_owned(),
            ));
        }
        for route in &self.routes {
            if route.to.address().is_ipv4() != route.via.is_ipv4() {
                return Err((
                    "routes",
                    format!("{} cannot be reached via {}", route.to.as_str(), route.via),
                ));
            }
        }
        if self.vlan.as_ref().is_some_and(|vlan| vlan.link == *name) {
            return Err((
                "vlan",
                "a VLAN is carried by another interface; correct `link`".to_owned(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn error(interface: &str) -> (String, String) {
        let text = format!(r#"{{"interfaces": {{"eth0": {interface}}}}}"#);
        let network: Network = serde_json::from_str(&text).unwrap();
        network.check().expect_err(interface)
    }

    #[test]
    fn what_cannot_work_together_is_named() {
        for (interface, key, words) in [
            (
                r#"{"addresses": ["192.168.1.5/24"], "gateway4": "192.168.2.1"}"#,
                "gateway4",
                "192.168.2.1 is in no network",
            ),
            (
                r#"{"ipv6": "manual", "addresses": ["fd00::1/64"], "gateway6": "fd01::1"}"#,
                "gateway6",
                "no network",
            ),
            (
                r#"{"ipv6": "off", "addresses": ["fd00::1/64"]}"#,
                "ipv6",
                "off",
            ),
            (
                r#"{"routes": [{"to": "10.0.0.0/8", "via": "fe80::1"}]}"#,
                "routes",
                "10.0.0.0/8",
            ),
            (r#"{"vlan": {"id": 1, "link": "eth0"}}"#, "vlan", "another"),
        ] {
            let (found, message) = error(interface);
            assert_eq!(found, format!("network.interfaces.eth0.{key}"));
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn dhcp_is_asked_unless_there_is_an_ipv4_address() {
        for (interface, asks) in [
            ("{}", true),
            (r#"{"addresses": ["fd00::1/64"]}"#, true),
            (r#"{"addresses": ["10.0.0.1/8"]}"#, false),
            (r#"{"addresses": ["10.0.0.1/8"], "dhcp": true}"#, true),
            (r#"{"dhcp": false}"#, false),
        ] {
            let interface: super::Interface = serde_json::from_str(interface).unwrap();
            assert_eq!(interface.asks_dhcp(), asks);
        }
    }
}
