//! How a link gets its IPv6 addresses: what is written below
//! `/proc/sys/net/ipv6/conf`. The kernel does the rest.

use rubus_config::settings::Ipv6;
use serde::{Deserialize, Serialize};

/// How a link gets its IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// From whom.
    pub(crate) mode: Ipv6,
    /// Whether routers that announce themselves become the default route.
    pub(crate) routers: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: Ipv6::Auto,
            routers: true,
        }
    }
}

impl Setup {
    /// Whether the kernel has to forget all IPv6 of the link: addresses that
    /// routers announced would stay for days, and routers are asked only when
    /// IPv6 begins. A link of which nothing is known, and that is to have what
    /// it would have by itself, is left alone.
    pub(crate) fn begins_anew(self, before: Option<Self>) -> bool {
        before.map_or(self.mode != Ipv6::Auto, |before| before != self)
    }

    /// The files to write and their content, in order.
    pub(crate) fn writes(self, before: Option<Self>) -> Vec<(&'static str, &'static str)> {
        let mut writes = Vec::new();
        if self.mode == Ipv6::Off || self.begins_anew(before) {
            writes.push(("disable_ipv6", "1"));
        }
        match self.mode {
            Ipv6::Off => return writes,
            Ipv6::Manual => writes.extend([("accept_ra", "0"), ("autoconf", "0")]),
            Ipv6::Auto => writes.extend([
                // Docker turns forwarding on, and a router ignores announcements
                // of other routers unless told otherwise.
                ("accept_ra", "2"),
                ("autoconf", "1"),
                ("accept_ra_defrtr", if self.routers { "1" } else { "0" }),
            ]),
        }
        writes.push(("disable_ipv6", "0"));
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: Setup = Setup {
        mode: Ipv6::Auto,
        routers: true,
    };
    const OWN_ROUTER: Setup = Setup {
        mode: Ipv6::Auto,
        routers: false,
    };
    const MANUAL: Setup = Setup {
        mode: Ipv6::Manual,
        routers: true,
    };
    const OFF: Setup = Setup {
        mode: Ipv6::Off,
        routers: true,
    };

    #[test]
    fn the_kernel_is_told_where_addresses_come_from() {
        for (setup, before, expected) in [
            (
                AUTO,
                None,
                "accept_ra=2 autoconf=1 accept_ra_defrtr=1 disable_ipv6=0",
            ),
            (
                OWN_ROUTER,
                None,
                "accept_ra=2 autoconf=1 accept_ra_defrtr=0 disable_ipv6=0",
            ),
            (
                OWN_ROUTER,
                Some(AUTO),
                "disable_ipv6=1 accept_ra=2 autoconf=1 accept_ra_defrtr=0 disable_ipv6=0",
            ),
            (
                MANUAL,
                None,
                "disable_ipv6=1 accept_ra=0 autoconf=0 disable_ipv6=0",
            ),
            (
                MANUAL,
                Some(AUTO),
                "disable_ipv6=1 accept_ra=0 autoconf=0 disable_ipv6=0",
            ),
            (
                MANUAL,
                Some(MANUAL),
                "accept_ra=0 autoconf=0 disable_ipv6=0",
            ),
            (
                AUTO,
                Some(OFF),
                "disable_ipv6=1 accept_ra=2 autoconf=1 accept_ra_defrtr=1 disable_ipv6=0",
            ),
            (OFF, None, "disable_ipv6=1"),
            (OFF, Some(AUTO), "disable_ipv6=1"),
            (OFF, Some(OFF), "disable_ipv6=1"),
        ] {
            let writes: Vec<_> = setup
                .writes(before)
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            assert_eq!(writes.join(" "), expected, "{setup:?} after {before:?}");
        }
    }

    #[test]
    fn what_stays_as_it_was_is_not_cut() {
        for setup in [AUTO, OWN_ROUTER, MANUAL, OFF] {
            assert!(!setup.begins_anew(Some(setup)));
        }
        assert!(!AUTO.begins_anew(None));
        assert!(MANUAL.begins_anew(None));
    }
}
