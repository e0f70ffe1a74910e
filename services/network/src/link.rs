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
    /// Whether the other side is there.
    pub(crate) carrier: bool,
}

/// Names of wired links. Wi-Fi (`wlan*`) needs a configuration first.
const WIRED: &[&str] = &["eth", "en", "usb"];

impl Link {
    /// Whether we configure it: hardware with a cable that belongs to nothing
    /// else. What Docker makes is Docker's.
    pub(crate) fn is_ours(&self) -> bool {
        self.mac.is_some()
            && self.kind.is_none()
            && !self.enslaved
            && WIRED.iter().any(|prefix| self.name.starts_with(prefix))
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
        }
    }

    #[test]
    fn wired_hardware_is_ours() {
        for name in ["eth0", "eth1", "enp1s0", "end0", "enx001122334455", "usb0"] {
            assert!(link(name).is_ours(), "{name}");
        }
    }

    #[test]
    fn loopback_wireless_and_what_docker_makes_is_not() {
        for name in [
            "lo", "wlan0", "docker0", "br-1a2b", "veth12ab", "tun0", "can0",
        ] {
            assert!(!link(name).is_ours(), "{name}");
        }
        let made = Link {
            kind: Some("veth".to_owned()),
            ..link("eth0")
        };
        assert!(!made.is_ours());
        let part = Link {
            enslaved: true,
            ..link("eth0")
        };
        assert!(!part.is_ours());
        let no_ethernet = Link {
            mac: None,
            ..link("usb0")
        };
        assert!(!no_ethernet.is_ours());
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
