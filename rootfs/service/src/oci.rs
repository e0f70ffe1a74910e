//! The OCI runtime configuration (`config.json`) that follows from a
//! [`Service`]. Made once, at build time; the device runs it as it is.
//!
//! The structs are the subset of the runtime specification that is used here,
//! in the field order of the specification, so that the output is always the
//! same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Identity, Network, Service, capabilities,
    definition::{self, Kill, Namespace, Seccomp},
    mounts, seccomp,
};

/// Where the cgroups of services lie below the root of the hierarchy.
pub const CGROUPS: &str = "/rubus";
/// Where the runtime mounts the writable root of a service: a layer over the
/// service's own read-only root.
pub const WRITABLE_ROOTS: &str = "/run/rubus/roots";

/// Where programs of a service are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Open files of a process, soft and hard, as distributions have it.
const OPEN_FILES: (u64, u64) = (1024, 524_288);
/// The same for services whose children expect to raise it (engines).
const OPEN_FILES_PRIVILEGED: u64 = 1_048_576;

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Version of the specification.
    pub oci_version: String,
    /// The first process.
    pub process: Process,
    /// Its root filesystem.
    pub root: Root,
    /// What is mounted there, in order.
    pub mounts: Vec<Mount>,
    /// What is special to Linux.
    pub linux: Linux,
}

/// The first process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Who it runs as.
    pub user: ProcessUser,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its working folder.
    pub cwd: String,
    /// Its capabilities.
    pub capabilities: CapabilitySets,
    /// Its resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Whether set-user-id programs do not gain anything.
    pub no_new_privileges: bool,
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitySets {
    /// The most it can ever have.
    pub bounding: Vec<String>,
    /// Those in force.
    pub effective: Vec<String>,
    /// Kept over execve(2) when the file says so too.
    pub inheritable: Vec<String>,
    /// Those that it may put in force.
    pub permitted: Vec<String>,
    /// Kept over execve(2) by a user that is not root.
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it can be raised to.
    pub hard: u64,
    /// What it is.
    pub soft: u64,
}

/// The root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its path, relative to the bundle or absolute.
    pub path: String,
    /// Whether it cannot be written.
    pub readonly: bool,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside.
    pub destination: String,
    /// The type of the filesystem.
    #[serde(rename = "type")]
    pub kind: String,
    /// What: a path of the node for bind mounts.
    pub source: String,
    /// Options of mount(8).
    pub options: Vec<String>,
}

/// The part of a configuration that is special to Linux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// Its cgroup, from the root of the hierarchy.
    pub cgroups_path: String,
    /// What the cgroup allows.
    pub resources: Resources,
    /// The namespaces of its own.
    pub namespaces: Vec<NamespaceKind>,
    /// How mounts travel between it and the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<String>,
    /// The system call filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<seccomp::Filter>,
    /// Paths that it cannot see.
    pub masked_paths: Vec<String>,
    /// Paths that it cannot write.
    pub readonly_paths: Vec<String>,
}

/// A namespace of a container's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceKind {
    /// Which: `mount`, `pid`, ...
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a cgroup allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Device rules, later wins.
    pub devices: Vec<DeviceRule>,
    /// Bounds on memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Bounds on processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Files of the cgroup, as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// A device rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// `c`, `b`, or all when absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Major number, any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number, any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Letters of `rwm`.
    pub access: String,
}

/// Bounds on memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Of memory.
    pub limit: u64,
    /// Of memory and swap together.
    pub swap: u64,
}

/// Bounds on processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pids {
    /// How many.
    pub limit: u32,
}

impl Config {
    /// The configuration of a service that runs as `identity`.
    pub fn new(service: &Service, identity: &Identity) -> Config {
        let root = match service.root {
            definition::Root::ReadOnly => Root {
                path: "rootfs".to_owned(),
                readonly: true,
            },
            definition::Root::Volatile | definition::Root::Kept => Root {
                path: format!("{WRITABLE_ROOTS}/{}", service.name),
                readonly: false,
            },
        };
        Config {
            oci_version: "1.0.2".to_owned(),
            process: process(service, identity),
            root,
            mounts: mounts::mounts(service),
            linux: linux(service),
        }
    }

    /// As the text of `config.json`.
    pub fn to_json(&self) -> String {
        // Plain structs of strings and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn process(service: &Service, identity: &Identity) -> Process {
    let mut env = vec![format!("PATH={PATH}"), format!("HOME={}", identity.home)];
    for (key, value) in &service.environment {
        env.retain(|it| it.split('=').next() != Some(key));
        env.push(format!("{key}={value}"));
    }
    let (soft, hard) = match service.limits.open_files {
        Some(count) => (count, count),
        None if service.privileged => (OPEN_FILES_PRIVILEGED, OPEN_FILES_PRIVILEGED),
        None => OPEN_FILES,
    };
    Process {
        user: ProcessUser {
            uid: identity.uid,
            gid: identity.gid,
            additional_gids: identity.groups.clone(),
        },
        args: service.command.clone(),
        env,
        cwd: service
            .working_dir
            .clone()
            .unwrap_or_else(|| "/".to_owned()),
        capabilities: capability_sets(service, identity),
        rlimits: vec![Rlimit {
            kind: "RLIMIT_NOFILE".to_owned(),
            hard,
            soft,
        }],
        // An engine passes this on to every container that it starts.
        no_new_privileges: !(service.new_privileges || service.privileged),
    }
}

fn capability_sets(service: &Service, identity: &Identity) -> CapabilitySets {
    let mut kept: Vec<String> = if service.privileged {
        capabilities::ALL.iter().map(|&it| it.to_owned()).collect()
    } else {
        service.capabilities.clone()
    };
    kept.sort_unstable_by_key(|name| capabilities::ALL.iter().position(|it| it == name));
    kept.dedup();
    // Root gets its permitted set back at execve(2); others need ambient ones,
    // which have to be inheritable.
    let passed_on = if identity.uid == 0 {
        Vec::new()
    } else {
        kept.clone()
    };
    CapabilitySets {
        bounding: kept.clone(),
        effective: kept.clone(),
        inheritable: passed_on.clone(),
        permitted: kept,
        ambient: passed_on,
    }
}

fn linux(service: &Service) -> Linux {
    let (masked_paths, readonly_paths) = if service.privileged {
        (Vec::new(), Vec::new())
    } else {
        (owned(&MASKED), owned(&READ_ONLY))
    };
    let filtered = !service.privileged && service.seccomp == Seccomp::Default;
    Linux {
        cgroups_path: format!("{CGROUPS}/{}", service.name),
        resources: resources(service),
        namespaces: namespaces(service),
        rootfs_propagation: mounts::propagation(service).map(str::to_owned),
        seccomp: filtered.then(|| seccomp::filter(&service.capabilities)),
        masked_paths,
        readonly_paths,
    }
}

/// Windows into the kernel that no service needs.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];

/// Settings of the kernel that a service may look at.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The names of nodes are the node's own: no service gets a UTS namespace, so
/// that all of them see a change of the hostname.
fn namespaces(service: &Service) -> Vec<NamespaceKind> {
    let mut kinds = vec!["mount"];
    if service.pid == Namespace::Private {
        kinds.push("pid");
    }
    if service.network == Network::None {
        kinds.push("network");
    }
    if !service.privileged {
        kinds.extend(["ipc", "cgroup"]);
    }
    kinds
        .into_iter()
        .map(|kind| NamespaceKind {
            kind: kind.to_owned(),
        })
        .collect()
}

fn resources(service: &Service) -> Resources {
    let mut unified = BTreeMap::new();
    let limits = &service.limits;
    if let Some(weight) = limits.cpu_weight {
        unified.insert("cpu.weight".to_owned(), weight.to_string());
    }
    if limits.memory.is_some() && service.kill == Kill::All {
        // Half a service is worse than one that starts again.
        unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    Resources {
        devices: device_rules(service),
        memory: limits.memory.map(|size| Memory {
            limit: size.0,
            swap: size.0,
        }),
        pids: limits.pids.map(|limit| Pids { limit }),
        unified,
    }
}

/// What a device is by number is known on the device only (`/dev/rtc0` gets
/// the next free major number). So a service with devices may use any number;
/// what it can reach are the nodes that are bound into its `/dev`, and without
/// CAP_MKNOD it cannot make others.
fn device_rules(service: &Service) -> Vec<DeviceRule> {
    if service.privileged {
        return vec![DeviceRule {
            allow: true,
            kind: None,
            major: None,
            minor: None,
            access: "rwm".to_owned(),
        }];
    }
    let mut rules = vec![DeviceRule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        access: "rwm".to_owned(),
    }];
    // null, zero, full, random, urandom; tty, ptmx; the pseudo-terminals.
    for (major, minor) in [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ] {
        rules.push(DeviceRule {
            allow: true,
            kind: Some("c".to_owned()),
            major: Some(major),
            minor,
            access: "rwm".to_owned(),
        });
    }
    let access: String = "rwm"
        .chars()
        .filter(|&letter| service.devices().any(|it| it.access.contains(letter)))
        .collect();
    if !access.is_empty() {
        rules.push(DeviceRule {
            allow: true,
            kind: None,
            major: None,
            minor: None,
            access,
        });
    }
    rules
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&it| it.to_owned()).collect()
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
