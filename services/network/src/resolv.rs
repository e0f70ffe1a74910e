//! `/etc/resolv.conf`.

use std::net::IpAddr;

use crate::config::Config;

/// The resolver of the C library asks no more than three.
const MOST: usize = 3;
/// That of musl, which many containers have, passes over longer lines.
const LONGEST_LINE: usize = 254;

/// The content that follows from the configurations of the node, whose name is
/// empty, and of all links by name, the preferred one first.
pub(crate) fn render<'a>(configs: impl Iterator<Item = (&'a str, &'a Config)> + Clone) -> String {
    let mut text =
        String::from("# Written by the network service from the settings and what DHCP told.\n");
    let mut search = String::from("search");
    let mut domains = Vec::new();
    for domain in configs.clone().flat_map(|(_, config)| &config.search) {
        if !domains.contains(&domain) && search.len() + 1 + domain.len() <= LONGEST_LINE {
            domains.push(domain);
            search.push_str(&format!(" {domain}"));
        }
    }
    if !domains.is_empty() {
        text.push_str(&format!("{search}\n"));
    }
    let mut servers = Vec::new();
    for (name, config) in configs {
        for server in &config.name_servers {
            let server = scoped(*server, name);
            if servers.len() < MOST && !servers.contains(&server) {
                text.push_str(&format!("nameserver {server}\n"));
                servers.push(server);
            }
        }
    }
    text
}

/// An address that means something on one link only, with that link.
fn scoped(address: IpAddr, link: &str) -> String {
    match address {
        IpAddr::V6(it) if it.is_unicast_link_local() && !link.is_empty() => format!("{it}%{link}"),
        it => it.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(servers: &[&str], search: &[&str]) -> Config {
        Config {
            name_servers: servers.iter().map(|it| it.parse().unwrap()).collect(),
            search: search.iter().map(|it| (*it).to_owned()).collect(),
            ..Config::default()
        }
    }

    fn lines(configs: &[(&str, Config)]) -> Vec<String> {
        let text = render(configs.iter().map(|(name, config)| (*name, config)));
        text.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn the_preferred_come_first_and_none_twice() {
        assert_eq!(
            lines(&[
                ("", config(&["fd00::53", "10.0.0.1"], &["lan"])),
                ("eth0", config(&["10.0.0.1"], &["example.org", "lan"])),
                ("eth1", config(&["10.0.0.3", "10.0.0.4"], &["example.net"])),
            ]),
            [
                "search lan example.org example.net",
                "nameserver fd00::53",
                "nameserver 10.0.0.1",
                "nameserver 10.0.0.3"
            ]
        );
    }

    #[test]
    fn a_server_on_the_link_is_asked_there() {
        assert_eq!(
            lines(&[
                ("eth0", config(&["fe80::1"], &[])),
                ("eth1", config(&["fe80::1"], &[])),
            ]),
            ["nameserver fe80::1%eth0", "nameserver fe80::1%eth1"]
        );
    }

    #[test]
    fn a_line_that_would_be_too_long_has_the_domains_that_fit() {
        let long = format!("{}.example", "a".repeat(60));
        let all: Vec<String> = (0..9).map(|n| format!("{n}{long}")).collect();
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        all.push("lan");
        let lines = lines(&[("", config(&[], &all))]);
        assert!(lines[0].len() <= LONGEST_LINE, "{}", lines[0].len());
        assert_eq!(lines[0].split(' ').count(), 1 + 3 + 1);
        assert!(lines[0].ends_with(" lan"));
    }

    #[test]
    fn without_a_network_there_are_no_servers() {
        assert_eq!(lines(&[]), [""; 0]);
    }
}
