//! `/etc` of the system root: memory, written at every boot.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use rubus_config::identity;

use crate::steps::Outcome;

const LINKS: &[(&str, &str)] = &[
    ("/etc/mtab", "/proc/self/mounts"),
    ("/etc/os-release", "/usr/lib/os-release"),
];

/// Writes what programs of the system root and the services that see it look
/// up.
pub(super) fn write(hostname: &str, machine_id: &str) -> Outcome {
    identity::write_name(Path::new("/etc"), hostname).context("cannot write the host name")?;
    for (path, content) in files(machine_id) {
        fs::write(path, content).with_context(|| format!("cannot write {path}"))?;
    }
    for (path, target) in LINKS {
        link(path, target)?;
    }
    Ok(None)
}

/// Says which time zone it is here.
pub(super) fn set_timezone(zone: &str) -> Outcome {
    identity::set_timezone(Path::new("/etc"), zone).context("it stays UTC")?;
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

fn files(machine_id: &str) -> [(&'static str, String); 4] {
    [
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
        for (path, content) in files("0123456789abcdef0123456789abcdef") {
            assert!(content.is_empty() || content.ends_with('\n'), "{path}");
            for line in content.lines().filter(|_| path == "/etc/passwd") {
                assert_eq!(line.split(':').count(), 7, "{line}");
            }
        }
    }
}
