//! Values that compose files write as text: times, sizes, ports, mounts.

use std::{net::IpAddr, time::Duration};

use crate::project::{Mount, MountSource, Port, Restart};

/// The most ports of one range.
const MOST_PORTS: u16 = 1000;

/// A length of time: `10s`, `1m30s`, `1h5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write it as \"30s\" or \"1m30s\"");
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = split_digits(rest);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        let micros = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(micros).ok_or_else(wrong)?;
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_micros(sum))
}

/// A number of bytes: `64m`, `1gb`, in powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size; write it as \"64m\" or \"1g\"");
    let (digits, unit) = split_digits(text);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// A number of processors, in billionths: `0.5`, `2`.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let number: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| *number > 0.0 && *number <= 1024.0)
        .ok_or_else(|| format!("\"{text}\" is not a number of processors, such as \"0.5\""))?;
    // At most 1024 billion billionths, which is far from where u64 ends.
    Ok((number * 1e9).round() as u64)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// When to start again.
pub(crate) fn restart(text: &str) -> Result<Restart, String> {
    let (word, count) = match text.split_once(':') {
        Some((word, count)) => (word, Some(count)),
        None => (text, None),
    };
    let restart = match (word, count) {
        ("no", None) => Some(Restart::No),
        ("always", None) => Some(Restart::Always),
        ("unless-stopped", None) => Some(Restart::UnlessStopped),
        ("on-failure", None) => Some(Restart::OnFailure(None)),
        ("on-failure", Some(count)) => count.parse().ok().map(|it| Restart::OnFailure(Some(it))),
        _ => None,
    };
    restart.ok_or_else(|| {
        format!("\"{text}\" is not one of no, always, on-failure[:TIMES] and unless-stopped")
    })
}

/// `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`, with ranges `FIRST-LAST`.
pub(crate) fn ports(text: &str) -> Result<Vec<Port>, String> {
    let wrong = || {
        format!("\"{text}\" is not a port; write it as \"8080:80\" or \"127.0.0.1:8080:80/tcp\"")
    };
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol_of(protocol)?;
    let (rest, target) = match rest.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, rest),
    };
    let target = range(target).ok_or_else(wrong)?;
    let (address, published) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            None => (None, Some(rest)),
            Some((address, published)) => {
                let address = address.trim_start_matches('[').trim_end_matches(']');
                let address: IpAddr = address.parse().map_err(|_| wrong())?;
                (Some(address), Some(published))
            }
        },
    };
    let published = match published {
        None | Some("") => None,
        Some(text) => Some(range(text).ok_or_else(wrong)?),
    };
    if let Some((first, last)) = published
        && last - first != target.1 - target.0
    {
        return Err(format!("\"{text}\" has ranges of different lengths"));
    }
    Ok((target.0..=target.1)
        .enumerate()
        .map(|(i, target)| Port {
            address,
            // Within the range, which is as long.
            published: published.map(|(first, _)| first + i as u16),
            target,
            protocol: protocol.clone(),
        })
        .collect())
}

/// A port's protocol.
pub(crate) fn protocol_of(text: &str) -> Result<String, String> {
    if ["tcp", "udp", "sctp"].contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is not one of tcp, udp and sctp"))
    }
}

/// One port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    match range(text) {
        Some((first, last)) if first == last => Ok(first),
        _ => Err(format!("\"{text}\" is not a port, 1 to 65535")),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last - first < MOST_PORTS).then_some((first, last))
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    let wrong = || {
        format!("\"{text}\" is not a mount; write it as \"/host:/inside:ro\" or \"volume:/inside\"")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] if target.starts_with('/') => (Some(source), target, ""),
        [target, options] => (None, target, options),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(wrong()),
    };
    if !target.starts_with('/') || target == "/" {
        return Err(wrong());
    }
    const OPTIONS: [&str; 12] = [
        "ro",
        "rw",
        "z",
        "Z",
        "nocopy",
        "consistent",
        "cached",
        "delegated",
        "rshared",
        "rslave",
        "rprivate",
        "shared",
    ];
    let options: Vec<String> = options
        .split(',')
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(option) = options.iter().find(|it| !OPTIONS.contains(&it.as_str())) {
        return Err(format!(
            "\"{option}\" in \"{text}\" is no option of a mount"
        ));
    }
    let source = match source {
        None => MountSource::Anonymous,
        Some(source) => mount_source(source)?,
    };
    Ok(Mount {
        source,
        target: target.to_owned(),
        options,
    })
}

/// A path of the node, or the name of a volume.
pub(crate) fn mount_source(text: &str) -> Result<MountSource, String> {
    if text.starts_with('/') {
        return Ok(MountSource::Host(text.to_owned()));
    }
    if text.starts_with(['.', '~']) {
        return Err(format!(
            "\"{text}\" is relative; name the folder from the root, such as /home/rubus/data"
        ));
    }
    if is_name(text) {
        return Ok(MountSource::Volume(text.to_owned()));
    }
    Err(format!(
        "\"{text}\" is neither a path nor the name of a volume"
    ))
}

/// Whether a project, service or volume can be called so.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// `/dev/HOST[:/dev/INSIDE[:rwm]]`.
pub(crate) fn device(text: &str) -> Result<(String, String, String), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] => (host, inside, access),
        _ => ("", "", ""),
    };
    let right = host.starts_with("/dev/")
        && inside.starts_with('/')
        && !access.is_empty()
        && access.chars().all(|c| "rwm".contains(c));
    if !right {
        return Err(format!(
            "\"{text}\" is not a device; write it as \"/dev/ttyACM0\" or \"/dev/x:/dev/y:rw\""
        ));
    }
    Ok((host.to_owned(), inside.to_owned(), access.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_compose_writes_them() {
        for (text, micros) in [
            ("10s", 10_000_000),
            ("1m30s", 90_000_000),
            ("1h5m30s20ms", 3_930_020_000),
            ("500us", 500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1x",
            "-1s",
            "99999999999999999999s",
            "999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, size) in [
            ("64m", 64 << 20),
            ("1GB", 1 << 30),
            ("512k", 512 << 10),
            ("7", 7),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "1t", "1.5g", "99999999999g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(cpus("0.5"), Ok(500_000_000));
        for text in ["0", "-1", "x", "inf", "NaN", "1e9"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_restart_policy_is_one_of_four() {
        assert_eq!(restart("no"), Ok(Restart::No));
        assert_eq!(restart("on-failure:3"), Ok(Restart::OnFailure(Some(3))));
        for text in ["", "never", "always:3", "on-failure:x"] {
            assert!(restart(text).is_err(), "{text}");
        }
    }

    fn shown(text: &str) -> Vec<String> {
        let ports = ports(text).unwrap();
        let show = |port: &Port| {
            let address = port
                .address
                .map_or_else(|| "*".to_owned(), |it| it.to_string());
            let published = port.published.unwrap_or_default();
            format!("{address} {published} {} {}", port.target, port.protocol)
        };
        ports.iter().map(show).collect()
    }

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!(shown("80"), ["* 0 80 tcp"]);
        assert_eq!(shown("8080:80"), ["* 8080 80 tcp"]);
        assert_eq!(shown("127.0.0.1:53:53/udp"), ["127.0.0.1 53 53 udp"]);
        assert_eq!(shown("[::1]:80:80"), ["::1 80 80 tcp"]);
        assert_eq!(shown("127.0.0.1::80"), ["127.0.0.1 0 80 tcp"]);
        assert_eq!(shown("9000-9001:80-81"), ["* 9000 80 tcp", "* 9001 81 tcp"]);
        for text in [
            "", "x", "0:80", "65536", "80/icmp", "a:1:2", "1:2:3:4", "80-81:80", "81-80", "1-5000",
        ] {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mount_is_of_a_path_or_a_volume() {
        let mount_of = |source, target: &str, options: &[&str]| Mount {
            source,
            target: target.to_owned(),
            options: options.iter().map(|it| (*it).to_owned()).collect(),
        };
        for (text, expected) in [
            ("/a:/b", mount_of(MountSource::Host("/a".into()), "/b", &[])),
            (
                "v:/b:ro",
                mount_of(MountSource::Volume("v".into()), "/b", &["ro"]),
            ),
            ("/b", mount_of(MountSource::Anonymous, "/b", &[])),
            (
                "/:/host:ro,rslave",
                mount_of(MountSource::Host("/".into()), "/host", &["ro", "rslave"]),
            ),
        ] {
            assert_eq!(mount(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "a",
            "a:b",
            "./a:/b",
            "~/a:/b",
            "/a:/",
            "/a:/b:x",
            "/a:/b:ro:z",
            "a b:/c",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_is_a_node_below_dev() {
        let three = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(
            device("/dev/i2c-1"),
            three("/dev/i2c-1", "/dev/i2c-1", "rwm")
        );
        assert_eq!(device("/dev/a:/dev/b:rw"), three("/dev/a", "/dev/b", "rw"));
        for text in [
            "",
            "a",
            "/etc/x",
            "/dev/a:b",
            "/dev/a:/dev/b:x",
            "/dev/a:/dev/b:",
        ] {
            assert!(device(text).is_err(), "{text}");
        }
    }
}
