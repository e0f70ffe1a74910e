//! The mounts of a service, and the places in its root where they land.

use crate::{Network, Root, Service, oci::Mount, syntax};

/// Files of the node that a service on the node's network sees.
const HOST_FILES: [&str; 5] = [
    "/etc/hostname",
    "/etc/hosts",
    TIME_ZONE,
    "/etc/machine-id",
    "/etc/resolv.conf",
];

/// The rules of the node's time zone.
const TIME_ZONE: &str = "/etc/localtime";

/// Where the settings of each service are on the node: a folder each, with the
/// keys that its `settings` name and no others.
pub const SETTINGS: &str = "/run/rubus/settings";
/// Where a service that names settings finds its own.
pub const SETTINGS_INSIDE: &str = "/run/settings";

/// A path that has to exist in the root of a service, because its root is
/// read-only when mounts are made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountPoint {
    /// Its path inside.
    pub path: String,
    /// The path on the node that is bound there, if any: whether that is a
    /// file or a folder, this has to be too.
    pub source: Option<String>,
}

impl MountPoint {
    /// Whether it is a file, as far as the source tells: what lies directly in
    /// `/etc` or a folder of programs, sockets, and device nodes.
    pub fn is_file(&self) -> bool {
        let Some(source) = &self.source else {
            return false;
        };
        let (folder, name) = source.rsplit_once('/').unwrap_or(("", source));
        matches!(folder, "/etc" | "/usr/bin" | "/usr/sbin" | "/usr/lib/rubus")
            || name.ends_with(".sock")
            || name.ends_with(".json")
            || name.ends_with(".toml")
    }
}

/// Every bind mount of a service: what has to exist on the node before it can
/// run.
pub fn sources(service: &Service) -> Vec<MountPoint> {
    mounts(service)
        .into_iter()
        .filter(|it| it.kind == "bind")
        .map(|it| MountPoint {
            path: it.destination,
            source: Some(it.source),
        })
        .collect()
}

/// Every path that has to exist in the root of a service before it can run,
/// parents before children. Those below another mount come into being there.
pub fn mount_points(service: &Service) -> Vec<MountPoint> {
    let mounts = mounts(service);
    let made_inside = |path: &str| {
        mounts
            .iter()
            .any(|it| it.kind != "bind" && path.starts_with(&format!("{}/", it.destination)))
    };
    let mut points: Vec<MountPoint> = mounts
        .iter()
        .filter(|it| !made_inside(&it.destination))
        .map(|it| MountPoint {
            path: it.destination.clone(),
            source: (it.kind == "bind").then(|| it.source.clone()),
        })
        .collect();
    points.sort();
    points
}

/// All mounts in the order in which they are made. What the service itself
/// names takes the place of a standard mount.
pub(crate) fn mounts(service: &Service) -> Vec<Mount> {
    let mut own: Vec<Mount> = service.tmpfs().map(tmpfs).collect();
    own.extend(service.mounts().map(bind));
    own.extend(service.devices().map(|device| {
        let options = ["bind", "nosuid", "noexec"];
        mount(&device.path, "bind", &device.path, &options)
    }));
    // A parent before what lies in it.
    own.sort_by(|a, b| a.destination.split('/').cmp(b.destination.split('/')));

    let mut all = standard(service);
    all.retain(|it| !own.iter().any(|mine| mine.destination == it.destination));
    // A standard mount inside one of the service's own comes after it.
    let (inside, outside): (Vec<Mount>, Vec<Mount>) = all.into_iter().partition(|it| {
        own.iter().any(|mine| {
            it.destination
                .starts_with(&format!("{}/", mine.destination))
        })
    });
    let mut all = outside;
    all.extend(own);
    all.extend(inside);
    all
}

/// How mounts travel: as far as the service's own mounts ask for. Without this
/// a `shared` bind mount is shared with nobody.
pub(crate) fn propagation(service: &Service) -> Option<&'static str> {
    let asks = |word: &str| {
        service
            .mounts()
            .any(|it| it.options.iter().any(|o| o.trim_start_matches('r') == word))
    };
    if asks("shared") {
        Some("rshared")
    } else if asks("slave") || service.privileged {
        Some("rslave")
    } else {
        None
    }
}

fn standard(service: &Service) -> Vec<Mount> {
    let mut all = vec![mount(
        "/proc",
        "proc",
        "proc",
        &["nosuid", "noexec", "nodev"],
    )];
    if service.privileged {
        // The node's own: engines look for their devices and cgroups there.
        let options = ["rbind", "rslave", "nosuid", "noexec"];
        all.push(mount("/sys", "bind", "/sys", &options));
        all.push(mount(
            "/dev",
            "bind",
            "/dev",
            &["rbind", "rslave", "nosuid"],
        ));
    } else {
        let read_only = ["nosuid", "noexec", "nodev", "ro"];
        all.extend([
            mount("/sys", "sysfs", "sysfs", &read_only),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &read_only),
            mount(
                "/dev",
                "tmpfs",
                "tmpfs",
                &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
            ),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &[
                    "nosuid",
                    "noexec",
                    "newinstance",
                    "ptmxmode=0666",
                    "mode=0620",
                    "gid=5",
                ],
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"],
            ),
            mount(
                "/dev/mqueue",
                "mqueue",
                "mqueue",
                &["nosuid", "noexec", "nodev"],
            ),
        ]);
    }
    all.push(mount(
        "/run",
        "tmpfs",
        "tmpfs",
        &["nosuid", "nodev", "mode=755", "size=16m"],
    ));
    all.push(mount(
        "/tmp",
        "tmpfs",
        "tmpfs",
        &["nosuid", "nodev", "mode=1777", "size=64m"],
    ));
    if !service.settings.is_empty() {
        all.push(mount(
            SETTINGS_INSIDE,
            "bind",
            &format!("{SETTINGS}/{}", service.name),
            &["bind", "ro", "nosuid", "nodev", "noexec"],
        ));
    }
    if service.network == Network::Host {
        for path in HOST_FILES {
            // Packages that are installed there put a link of their own in its
            // place, which they could not over a mount.
            if path == TIME_ZONE && service.root == Root::Kept {
                continue;
            }
            all.push(mount(
                path,
                "bind",
                path,
                &["bind", "ro", "nosuid", "nodev", "noexec"],
            ));
        }
    }
    all
}

fn tmpfs(tmpfs: syntax::Tmpfs) -> Mount {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    for option in tmpfs.options {
        // The last word counts for the kernel, but not for every runtime.
        let opposite = match option.as_str() {
            "suid" => "nosuid",
            "dev" => "nodev",
            _ => "",
        };
        options.retain(|it| it != opposite && *it != option);
        options.push(option);
    }
    Mount {
        destination: tmpfs.target,
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
    }
}

fn bind(bind: syntax::Mount) -> Mount {
    let mut options = bind.options;
    if !options.iter().any(|it| it == "rbind") {
        options.insert(0, "rbind".to_owned());
    }
    if !options.iter().any(|it| it == "ro" || it == "rw") {
        options.push("ro".to_owned());
    }
    Mount {
        destination: bind.target,
        kind: "bind".to_owned(),
        source: bind.source,
        options,
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|&it| it.to_owned()).collect(),
    }
}
