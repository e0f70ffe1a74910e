//! The name and the time zone of a node, and the files that say them.

use std::{fs, io, path::Path};

use crate::settings::Settings;

/// Where the rules of time zones are.
pub const ZONES: &str = "/usr/share/zoneinfo";
/// In `/etc`: names the time zone.
pub const TIMEZONE: &str = "timezone";
/// In `/etc`: the rules of the time zone, as programs read them.
const LOCALTIME: &str = "localtime";

/// The name of the node: the configured one, or one that follows from its id.
pub fn hostname(settings: &Settings, machine_id: &str) -> String {
    if let Some(name) = &settings.hostname {
        return name.as_str().to_owned();
    }
    let end = machine_id.len().saturating_sub(6);
    format!("rubus-{}", machine_id.get(end..).unwrap_or_default())
}

/// The files in `/etc` that say the name, and what is in them.
fn name_files(hostname: &str) -> [(&'static str, String); 2] {
    [
        ("hostname", format!("{hostname}\n")),
        (
            "hosts",
            format!(
                "127.0.0.1\tlocalhost\n\
                 127.0.1.1\t{hostname}\n\
                 ::1\tlocalhost ip6-localhost ip6-loopback\n"
            ),
        ),
    ]
}

/// Says the name of the node in `etc`. The files are written in place: services
/// have them bound.
///
/// # Errors
/// When they cannot be written.
pub fn write_name(etc: &Path, hostname: &str) -> io::Result<()> {
    for (file, content) in name_files(hostname) {
        fs::write(etc.join(file), content)?;
    }
    Ok(())
}

/// Says in `etc` which time zone it is here, in place as well.
///
/// # Errors
/// When there is no such zone, or the files cannot be written.
pub fn set_timezone(etc: &Path, zone: &str) -> io::Result<()> {
    let rules = fs::read(Path::new(ZONES).join(zone)).map_err(|error| {
        let message = format!("there is no time zone {zone}: {error}");
        io::Error::new(error.kind(), message)
    })?;
    fs::write(etc.join(LOCALTIME), rules)?;
    fs::write(etc.join(TIMEZONE), format!("{zone}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_name_is_called_after_its_id() {
        let mut settings = Settings::default();
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(hostname(&settings, id), "rubus-abcdef");
        settings.hostname = Some("node1".try_into().unwrap());
        assert_eq!(hostname(&settings, id), "node1");
    }

    #[test]
    fn the_node_knows_its_own_name() {
        let [(_, name), (_, hosts)] = name_files("node1");
        assert_eq!(name, "node1\n");
        assert!(hosts.lines().any(|l| l == "127.0.1.1\tnode1"), "{hosts}");
    }
}
