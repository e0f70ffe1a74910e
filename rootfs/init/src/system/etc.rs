//! `/etc` of the system root: memory, written at every boot.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::steps::Outcome;

const LINKS: &[(&str, &str)] = &[
    ("/etc/mtab", "/proc/self/mounts"),
    ("/etc/os-release", "/usr/lib/os-release"),
];

/// Writes what programs of the system root and the services that see it look
/// up.
pub(super) fn write(hostname: &str, machine_id: &str) -> Outcome {
    for (path, content) in files(hostname, machine_id) {
        fs::write(path, content).with_context(|| format!("cannot write {path}"))?;
    }
    for (path, target) in LINKS {
        link(path, target)?;
    }
    Ok(None)
}

/// Where the rules of time zones are.
const ZONES: &str = "/usr/share/zoneinfo";

/// Says which time zone it is here. Services that share the network of the node
/// see both files.
pub(super) fn set_timezone(zone: &str) -> Outcome {
    let rules = Path::new(ZONES).join(zone);
    let rules =
        fs::read(&rules).with_context(|| format!("there is no time zone {zone}; it stays UTC"))?;
    fs::write("/etc/localtime", rules).context("cannot write /etc/localtime")?;
    fs::write("/etc/timezone", format!("{zone}\n")).context("cannot write /etc/timezone")?;
    Ok(Some(zone.to_owned()))
}

fn link(path: &str, target: &str) -> Result<()> {
    if !Path::new(target).exists() {
        return Ok(());
    }
    match symlink(target, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot link {path} to {target}"))
        }
        _ => Ok(()),
    }
}

fn files(hostname: &str, machine_id: &str) -> [(&'static str, String); 6] {
    [
        ("/etc/hostname", format!("{hostname}\n")),
        (
            "/etc/hosts",
            format!(
                "127.0.0.1\tlocalhost\n\
                 127.0.1.1\t{hostname}\n\
                 ::1\tlocalhost ip6-localhost ip6-loopback\n"
            ),
        ),
        ("/etc/machine-id", format!("{machine_id}\n")),
        // The network service fills it; it is there so that it can be bound
        // into other services before.
        ("/etc/resolv.conf", String::new()),
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
                .to_owned(),
        ),
        (
            "/etc/group",
            "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n".to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn every_file_ends_with_its_line() {
        for (path, content) in files("node1", "0123456789abcdef0123456789abcdef") {
            assert!(content.is_empty() || content.ends_with('\n'), "{path}");
            for line in content.lines().filter(|_| path == "/etc/passwd") {
                assert_eq!(line.split(':').count(), 7, "{line}");
            }
        }
    }

    #[test]
    fn the_node_knows_its_own_name() {
        let files = files("node1", "");
        let (_, hosts) = &files[1];
        assert!(hosts.lines().any(|l| l == "127.0.1.1\tnode1"), "{hosts}");
    }
}
