//! What a service may do beyond what each service may.

use rubus_service::definition::{Namespace, Seccomp};
use rubus_service::{Network, Root, Service};

/// What a service may do that no service may unless its definition says so, in
/// the words of a list; nothing where it has the defaults.
pub(super) fn beyond_defaults(service: &Service) -> Vec<String> {
    let mut all = Vec::new();
    if service.privileged {
        all.push("everything that root may (privileged)".to_owned());
    }
    if !service.capabilities.is_empty() {
        all.push(service.capabilities.join(", "));
    }
    if service.seccomp == Seccomp::Unconfined && !service.privileged {
        all.push("every system call".to_owned());
    }
    if service.network == Network::Host {
        all.push("use the node's network".to_owned());
    }
    if service.pid == Namespace::Host {
        all.push("see the node's processes".to_owned());
    }
    match service.root {
        Root::ReadOnly => {}
        Root::Volatile => all.push("write its root, in memory".to_owned()),
        Root::Kept => all.push("write its root, on the data partition".to_owned()),
    }
    let paths = |writable: bool| {
        let is_writable = |options: &[String]| options.iter().any(|it| it == "rw");
        let mounts = service.mounts();
        let chosen: Vec<String> = mounts
            .filter(|it| is_writable(&it.options) == writable)
            .map(|it| it.source)
            .collect();
        (!chosen.is_empty()).then(|| chosen.join(", "))
    };
    all.extend(paths(true).map(|it| format!("write {it}")));
    all.extend(paths(false).map(|it| format!("read {it}")));
    let devices: Vec<String> = service.devices().map(|it| it.path).collect();
    if !devices.is_empty() {
        all.push(format!("use {}", devices.join(", ")));
    }
    if !service.settings.is_empty() {
        all.push(format!("read the settings {}", service.settings.join(", ")));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(rest: &str) -> String {
        let text = format!("description = \"d\"\nkind = \"daemon\"\nimage = \"x\"\n{rest}");
        let service = Service::parse_own("web", "f", &text).expect(rest);
        beyond_defaults(&service).join("; ")
    }

    #[test]
    fn the_defaults_are_not_worth_a_word() {
        assert_eq!(beyond(""), "");
        let more = "user = \"1000\"\nafter = [\"network\"]\ntmpfs = [\"/var\"]\n\
                    environment = { A = \"b\" }\n[limits]\nmemory = \"8M\"";
        assert_eq!(beyond(more), "");
    }

    #[test]
    fn each_right_is_named() {
        for (rest, words) in [
            ("privileged = true", "everything that root may (privileged)"),
            (
                "capabilities = [\"CAP_NET_RAW\", \"CAP_KILL\"]",
                "CAP_NET_RAW, CAP_KILL",
            ),
            ("seccomp = \"unconfined\"", "every system call"),
            ("network = \"host\"", "use the node's network"),
            ("pid = \"host\"", "see the node's processes"),
            ("root = \"volatile\"", "write its root, in memory"),
            ("root = \"kept\"", "write its root, on the data partition"),
            (
                "mounts = [\"/data/a:/a:rw\", \"/etc:/b\", \"/media:/c:ro\"]",
                "write /data/a; read /etc, /media",
            ),
            ("devices = [\"/dev/i2c-1:r\"]", "use /dev/i2c-1"),
            (
                "settings = [\"ntp\", \"hostname\"]",
                "read the settings ntp, hostname",
            ),
            (
                "privileged = true\nnetwork = \"host\"",
                "everything that root may (privileged); use the node's network",
            ),
        ] {
            assert_eq!(beyond(rest), words);
        }
    }
}
