//! Network links as the kernel describes them, and which of them are ours.

/// Hardware address of an Ethernet link.
pub(crate) use crate::dhcp::message::Mac;

/// A link, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kernel's number for it.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its hardware address; none unless it is Ethernet.
    pub(crate) mac: Option<Mac>,
    /// What made it, when it is not hardware: `veth`, `bridge`, `vlan`.
    pub(crate) kind: Option<String>,
    /// Whether it is a part of another link, a bridge or a bond.
    pub(crate) enslaved: bool,
    /// Whether it is switched on.
    pub(crate) up: bool,
    /// Whether the other side is there, and lets us in where it asks who we
    /// are.
    pub(crate) carrier: bool,
    /// Largest packet.
    pub(crate) mtu: u32,
}

/// Names of wired links. Wi-Fi (`wlan*`) is ours when the settings name it.
const WIRED: &[&str] = &["eth", "en", "usb"];

impl Link {
    /// Whether we configure it: what is `named` by the settings, whatever it
    /// is, and hardware with a cable; unless it belongs to another link. What
    /// Docker makes is Docker's.
    pub(crate) fn is_ours(&self, named: bool) -> bool {
        let wired = self.mac.is_some()
            && self.kind.is_none()
            && WIRED.iter().any(|prefix| self.name.starts_with(prefix));
        (named || wired) && !self.enslaved
    }

    /// How much its routes cost against those of others: the first link wins.
    pub(crate) fn metric(&self) -> u32 {
        100 + self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> Link {
        Link {
            index: 2,
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            kind: None,
            enslaved: false,
            up: false,
            carrier: false,
            mtu: 1500,
        }
    }

    #[test]
    fn wired_hardware_is_ours() {
        for name in ["eth0", "eth1", "enp1s0", "end0", "enx001122334455", "usb0"] {
            assert!(link(name).is_ours(false), "{name}");
        }
    }

    #[test]
    fn loopback_wireless_and_what_docker_makes_is_not() {
        for name in [
            "lo", "wlan0", "docker0", "br-1a2b", "veth12ab", "tun0", "can0",
        ] {
            assert!(!link(name).is_ours(false), "{name}");
        }
        let made = Link {
            kind: Some("veth".to_owned()),
            ..link("eth0")
        };
        assert!(!made.is_ours(false));
        let part = Link {
            enslaved: true,
            ..link("eth0")
        };
        assert!(!part.is_ours(false));
        let no_ethernet = Link {
            mac: None,
            ..link("usb0")
        };
        assert!(!no_ethernet.is_ours(false));
    }

    #[test]
    fn what_the_settings_name_is_ours_unless_it_is_a_part_of_another() {
        let vlan = Link {
            kind: Some("vlan".to_owned()),
            ..link("lan")
        };
        let tunnel = Link {
            mac: None,
            ..link("wg0")
        };
        for it in [link("wlan0"), vlan, tunnel] {
            assert!(it.is_ours(true), "{it:?}");
        }
        let part = Link {
            enslaved: true,
            ..link("eth0")
        };
        assert!(!part.is_ours(true));
    }

    #[test]
    fn the_first_link_has_the_better_routes() {
        let second = Link {
            index: 3,
            ..link("eth1")
        };
        assert!(link("eth0").metric() < second.metric());
    }
}
