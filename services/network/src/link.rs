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
    /// Whether a program such as wpa_supplicant decides when it may be used.
    pub(crate) supplicant: bool,
    /// Largest packet.
    pub(crate) mtu: u32,
}

/// Names of wired links.
const WIRED: &[&str] = &["eth", "en", "usb"];
/// Names of wireless links.
const WIRELESS: &str = "wl";

impl Link {
    /// Whether we configure it: what is `named` by the settings, whatever it
    /// is, hardware with a cable, and hardware that is made to join wireless
    /// networks; unless it belongs to another link. What Docker makes is
    /// Docker's, and an access point is of those who made it one.
    pub(crate) fn is_ours(&self, named: bool) -> bool {
        let hardware = self.mac.is_some() && self.kind.is_none();
        let wired = WIRED.iter().any(|prefix| self.name.starts_with(prefix));
        (named || hardware && (wired || self.supplicant)) && !self.enslaved
    }

    /// How much its routes cost against those of others: cables win, and among
    /// equals the first link.
    pub(crate) fn metric(&self) -> u32 {
        let kind = if self.name.starts_with(WIRELESS) {
            600
        } else {
            100
        };
        kind + self.index
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
            supplicant: false,
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
    fn wireless_hardware_is_ours_while_a_supplicant_looks_after_it() {
        let joined = Link {
            supplicant: true,
            ..link("wlan0")
        };
        assert!(joined.is_ours(false));
        let part = Link {
            enslaved: true,
            ..joined
        };
        assert!(!part.is_ours(false));
        // Somebody tries a supplicant on a cable of their own making.
        let made = Link {
            kind: Some("veth".to_owned()),
            supplicant: true,
            ..link("veth0")
        };
        assert!(!made.is_ours(false));
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
    fn cables_and_then_the_first_link_have_the_better_routes() {
        let second = Link {
            index: 3,
            ..link("eth1")
        };
        assert!(link("eth0").metric() < second.metric());
        assert!(second.metric() < link("wlan0").metric());
    }
}
