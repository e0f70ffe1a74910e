//! What a text has to be like.

use std::net::IpAddr;

use super::numbers::split_cidr;

/// RFC 1123, one label.
pub(super) fn hostname(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Names in `/usr/share/zoneinfo`; whether the zone exists is for who uses it.
pub(super) fn timezone(text: &str) -> bool {
    text.len() <= 64
        && text.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-+_".contains(&b))
        })
}

/// `useradd(8)` of Debian.
pub(super) fn user_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// A line of `authorized_keys(5)`: options may come before the key, a comment
/// may follow it. It must not smuggle in a second line.
pub(super) fn ssh_key(text: &str) -> bool {
    if text.contains(char::is_control) || text.starts_with(['#', ' ']) || text.len() > 16_384 {
        return false;
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| {
        ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"]
            .iter()
            .any(|prefix| pair[0].starts_with(prefix))
            && pair[1].len() >= 4
            && pair[1]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    })
}

/// `crypt(5)`: the methods that Debian's libcrypt takes and that are worth
/// having.
pub(super) fn password_hash(text: &str) -> bool {
    let strong = ["$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$", "$6$", "$5$"];
    strong.iter().any(|prefix| text.starts_with(prefix))
        && (20..=384).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b":;*!\\".contains(&b))
}

pub(super) fn absolute_path(text: &str) -> bool {
    text.len() <= 4095
        && text.len() > 1
        && !text.contains(char::is_control)
        && text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
        })
}

/// Commas and colons stand between paths in the annotations of functions.
pub(super) fn function_path(text: &str) -> bool {
    absolute_path(text) && !text.contains([',', ':'])
}

pub(super) fn shell(text: &str) -> bool {
    absolute_path(text) && !text.contains(':')
}

/// What is kept in the others would be mixed up with what the engine keeps, or
/// deleted with it.
pub(super) fn data_folder(text: &str) -> bool {
    let first = text
        .strip_prefix("/data/")
        .and_then(|rest| rest.split('/').next());
    absolute_path(text)
        && first.is_some_and(|first| !["rubus", "home", "lost+found"].contains(&first))
}

/// What the kernel takes (`dev_valid_name`), and nothing that a terminal obeys.
pub(super) fn interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/:\"".contains(&b))
}

pub(super) fn ssid(text: &str) -> bool {
    (1..=32).contains(&text.len()) && !text.contains(char::is_control)
}

/// IEEE 802.11i: a passphrase in printable ASCII, or the key itself.
pub(super) fn wifi_password(text: &str) -> bool {
    let phrase = (8..=63).contains(&text.len()) && text.bytes().all(|b| (32..127).contains(&b));
    phrase || (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

pub(super) fn domain(text: &str) -> bool {
    text.len() <= 253
        && text
            .strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .all(|label| {
                (1..=63).contains(&label.len())
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
}

pub(super) fn host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || domain(text)
}

/// A host, with a port or without; IPv6 addresses with one are in brackets.
fn host_and_port(text: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, rest)| {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
        });
    }
    match text.split_once(':') {
        Some((name, number)) => host(name) && port(number),
        None => host(text),
    }
}

pub(super) fn web_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        host_and_port(authority) && path.bytes().all(|b| b.is_ascii_graphic())
    })
}

pub(super) fn proxy_address(text: &str) -> bool {
    let rest = ["http://", "https://", "socks5://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = rest.rsplit_once('@').unwrap_or(("", rest));
        user.bytes().all(|b| b.is_ascii_graphic() && b != b'/') && host_and_port(authority)
    })
}

pub(super) fn proxy_exception(text: &str) -> bool {
    text == "*"
        || split_cidr(text).is_some()
        || host_and_port(text.trim_start_matches("*.").trim_start_matches('.'))
}

pub(super) fn syslog_server(text: &str) -> bool {
    let rest = text
        .strip_prefix("udp://")
        .or_else(|| text.strip_prefix("tcp://"));
    rest.is_some_and(host_and_port)
}

pub(super) fn registry(text: &str) -> bool {
    split_cidr(text).is_some() || host_and_port(text)
}

/// `name=value`: no comment, no filter, no second line. Firmware reads some 98
/// characters of a line.
pub(super) fn firmware_line(text: &str) -> bool {
    let name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b))
    };
    text.len() <= 96
        && text.split_once('=').is_some_and(|(key, value)| {
            name(key)
                && !value.is_empty()
                && value.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        })
}

pub(super) fn module(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A path below `/proc/sys` with dots for slashes; it cannot climb out of it.
pub(super) fn sysctl(text: &str) -> bool {
    text.len() <= 128
        && text.contains('.')
        && text.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_/:".contains(&b))
                && !part.split('/').any(|name| name.is_empty() || name == "..")
        })
}

pub(super) fn size(text: &str) -> bool {
    number_with_unit(text, &["", "K", "M", "G", "T"])
}

pub(super) fn period(text: &str) -> bool {
    number_with_unit(text, &["ms", "s", "m", "h"])
}

fn number_with_unit(text: &str, units: &[&str]) -> bool {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (1..=9).contains(&digits.len()) && units.contains(&unit)
}

pub(super) fn mode(text: &str) -> bool {
    (3..=5).contains(&text.len())
        && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
        && !text.starts_with('+')
}

pub(super) fn owner(text: &str) -> bool {
    let id = |text: &str| user_name(text) || text.parse::<u32>().is_ok();
    match text.split_once(':') {
        Some((user, group)) => id(user) && id(group),
        None => id(text),
    }
}
