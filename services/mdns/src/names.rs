//! Which names are announced, and on which links.

/// The label that a host name is announced under: what comes before the first
/// dot, when multicast DNS allows it.
pub(crate) fn label(host_name: &str) -> Option<&str> {
    let label = host_name.trim().split('.').next()?;
    let good = (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && label != "localhost";
    good.then_some(label)
}

/// Whether nobody but this node is on a link: what Docker makes, and loopback.
pub(crate) fn is_internal(link: &str) -> bool {
    link == "lo"
        || ["docker", "veth", "br-"]
            .iter()
            .any(|prefix| link.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_announced_without_its_domain() {
        assert_eq!(label("berry\n"), Some("berry"));
        assert_eq!(label("berry-7.example.org"), Some("berry-7"));
    }

    #[test]
    fn names_that_dns_does_not_allow_are_refused() {
        let long = "x".repeat(64);
        for name in ["", "\n", ".x", "-a", "a-", "a b", "ä", "localhost", &long] {
            assert_eq!(label(name), None, "{name:?}");
        }
    }

    #[test]
    fn containers_do_not_hear_of_the_node_by_multicast() {
        for link in ["lo", "docker0", "docker_gwbridge", "veth1a2b", "br-0a1b2c"] {
            assert!(is_internal(link), "{link}");
        }
        for link in ["eth0", "end0", "wlan0", "usb0", "br0"] {
            assert!(!is_internal(link), "{link}");
        }
    }
}
