//! What `service.toml` may say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{Period, Size};

/// One system service, as `service.toml` defines it. Written on the device as
/// `service.json` beside its bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name: that of its folder, not of a key in the file.
    #[serde(default)]
    pub name: String,
    /// One line that says what it is.
    pub description: String,
    /// Whether it stays or finishes.
    pub kind: Kind,
    /// Whether it starts at boot unless the configuration says otherwise.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether only images have it whose `rubus.toml` asks for it
    /// (`[services] NAME = true`).
    #[serde(default)]
    pub optional: bool,

    /// The name of this variant, where the service has more than one
    /// (`services/NAME/variants/`): what `ros engine switch` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Its version, where that is not the version of a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The package whose version is its version. A variant whose name ends in
    /// a version, such as `docker-28`, is built only when it is that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_of: Option<String>,

    // What its root filesystem is made of.
    /// Debian packages; everything they depend on comes along.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The suite that its packages come from; if not given, the release that
    /// images are made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Packages to leave out although something depends on them (`debconf`:
    /// nothing that runs here needs it).
    #[serde(default)]
    pub exclude: Vec<String>,
    /// An OCI image, `registry/name@sha256:...`, instead of packages. It brings
    /// its own users. For `ros service add` a tag will do, and `./FILE` is an
    /// archive.
    #[serde(default)]
    pub image: Option<String>,
    /// Our own program, by the name of its crate; it ends up in `/usr/bin`.
    #[serde(default, rename = "crate")]
    pub krate: Option<String>,
    /// Paths to leave out of the root, relative to it; a folder goes whole;
    /// `*` stands for anything within one name.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Symbolic links to make, path to target: what `update-alternatives`
    /// would have done.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// System users that maintainer scripts would have made.
    #[serde(default)]
    pub users: Vec<User>,
    /// System groups that maintainer scripts would have made.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Folders to make in the root, for mounts to land on.
    #[serde(default)]
    pub directories: Vec<String>,

    // How it runs.
    /// The program and its arguments; only a service with an `image` may leave
    /// it to the image.
    #[serde(default)]
    pub command: Vec<String>,
    /// Variables of its environment, besides `PATH` and those of its `image`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The user it runs as, one of the root's `/etc/passwd`, or `USER:GROUP` by
    /// name or number; if not given that of its `image`, else `root`.
    #[serde(default)]
    pub user: Option<String>,
    /// The folder it runs in; if not given that of its `image`, else `/`.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Services that have to be ready before this one starts.
    #[serde(default)]
    pub after: Vec<String>,
    /// A command run inside once it runs; the service is ready only when this
    /// has ended with 0.
    #[serde(default)]
    pub post_start: Vec<String>,
    /// When to start it again after it ended by itself.
    #[serde(default)]
    pub restart: Restart,
    /// The signal that asks it to stop.
    #[serde(default = "sigterm")]
    pub stop_signal: String,
    /// How long it may take to stop before it is killed.
    #[serde(default = "ten_seconds")]
    pub stop_timeout: Period,
    /// Whether a stop ends everything in the container or just its first
    /// process (an engine whose containers are to live on).
    #[serde(default)]
    pub kill: Kill,
    /// Health check; a service with one is ready when it is healthy.
    #[serde(default)]
    pub health: Option<Health>,
    /// Bounds on what it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Configuration keys that it reads; their change restarts it. It finds
    /// their values, and those of no other keys, in
    /// `/run/settings/settings.json`.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The signal that makes it read its settings anew, where it need not be
    /// restarted for that.
    #[serde(default)]
    pub reload_signal: Option<String>,
    /// What is done around a switch to another variant.
    #[serde(default)]
    pub switch: Switch,

    // What it may see and do.
    /// Its network.
    #[serde(default)]
    pub network: Network,
    /// Whose processes it sees.
    #[serde(default)]
    pub pid: Namespace,
    /// Everything allowed: all capabilities and devices, no seccomp filter,
    /// kernel settings writable. For engines and consoles.
    #[serde(default)]
    pub privileged: bool,
    /// Capabilities it keeps, also when its user is not root (then they are
    /// ambient); all others are dropped.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Whether programs with set-user-id may gain privileges (`sudo`).
    #[serde(default)]
    pub new_privileges: bool,
    /// Whether its root filesystem can be written to, and whether that stays.
    #[serde(default)]
    pub root: Root,
    /// Whether the system call filter is on.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// Device nodes, `/dev/name` or `/dev/name:rwm`.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Bind mounts, `/on/the/host:/inside:options`; options are `ro` or `rw`
    /// and mount(8) words such as `rshared`, by commas. A missing folder below
    /// `/var/lib/rubus`, `/data` or `/run` is made first and belongs to the
    /// service's user.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// Folders in memory, `/inside` or `/inside:size=1M,mode=0755`.
    #[serde(default)]
    pub tmpfs: Vec<String>,
}

/// Whether a service stays or finishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs until it is stopped.
    Daemon,
    /// Runs to its end; ready when that was 0.
    Oneshot,
}

/// When to start a service again after it ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Whatever its exit status was.
    Always,
    /// Unless its exit status was 0.
    #[default]
    OnFailure,
    /// Not at all.
    Never,
}

/// What a stop ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kill {
    /// Every process of the container.
    #[default]
    All,
    /// The container's first process only.
    Main,
}

/// The network of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The node's own.
    Host,
    /// A loopback of its own and nothing else.
    #[default]
    None,
}

/// A namespace that is the node's or the service's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// The node's.
    Host,
    /// The service's own.
    #[default]
    Private,
}

/// Whether a root filesystem can be written to, and whether that stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// Nobody can.
    #[default]
    ReadOnly,
    /// What is written lies in memory, and is gone at the service's stop.
    Volatile,
    /// What is written lies on the data partition, and stays.
    Kept,
}

/// Whether the system call filter is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// An allow-list, widened by the capabilities that it keeps.
    #[default]
    Default,
    /// No filter.
    Unconfined,
}

/// A system user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of its own group; made with the user's name where none has it.
    pub gid: u32,
    /// Home folder.
    #[serde(default = "nonexistent")]
    pub home: String,
    /// Login shell.
    #[serde(default = "nologin")]
    pub shell: String,
    /// Further groups, by name.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A system group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// Bounds on what a service may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, swap included; what goes beyond is killed.
    pub memory: Option<Size>,
    /// Number of processes and threads.
    pub pids: Option<u32>,
    /// Share of a busy processor against the others (1 to 10000, 100 is usual).
    pub cpu_weight: Option<u32>,
    /// Open files.
    pub open_files: Option<u64>,
}

/// Commands around a switch from one variant of a service to another. Each gets
/// one more argument: `forward`, or `back` where the new one failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// A command run inside the variant that is to be stopped, so that it can
    /// make ready for that. When it fails, the old one goes on, so it has to
    /// leave things as they were then.
    #[serde(default)]
    pub drain: Vec<String>,
    /// A command run inside the variant that was started, once it is ready; when
    /// it fails in the new one, the old one comes back. The last line that it
    /// prints is what people are told: what is well, or what is not.
    #[serde(default)]
    pub gate: Vec<String>,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "RawHealth", into = "RawHealth")]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// Time between two tries.
    pub interval: Period,
    /// After which a try counts as failed.
    pub timeout: Period,
    /// Failures in a row that make a healthy service unhealthy.
    pub retries: u32,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A command inside the container that ends with 0.
    Exec(Vec<String>),
    /// An address that answers with a 2xx or 3xx status:
    /// `http://127.0.0.1:8080/healthz`, or `http://unix:/run/x.sock:/path` for a
    /// unix socket of the host.
    Http(String),
    /// A port of the loopback that accepts a connection.
    Tcp(u16),
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawHealth {
    /// A command inside the container that ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<Vec<String>>,
    /// An address that answers with a 2xx or 3xx status:
    /// `http://127.0.0.1:8080/healthz`, or `http://unix:/run/x.sock:/path` for a
    /// unix socket of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    /// A port of the loopback that accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<u16>,
    /// Time between two tries.
    #[serde(default = "ten_seconds")]
    interval: Period,
    /// After which a try counts as failed.
    #[serde(default = "ten_seconds")]
    timeout: Period,
    /// Failures in a row that make a healthy service unhealthy.
    #[serde(default = "three")]
    retries: u32,
}

impl TryFrom<RawHealth> for Health {
    type Error = String;

    fn try_from(raw: RawHealth) -> Result<Self, String> {
        let probe = match (raw.exec, raw.http, raw.tcp) {
            (Some(exec), None, None) if !exec.is_empty() => Probe::Exec(exec),
            (None, Some(http), None) => Probe::Http(http),
            (None, None, Some(port)) => Probe::Tcp(port),
            _ => return Err("a health check has exactly one of exec, http and tcp".to_owned()),
        };
        Ok(Health {
            probe,
            interval: raw.interval,
            timeout: raw.timeout,
            retries: raw.retries,
        })
    }
}

impl From<Health> for RawHealth {
    fn from(health: Health) -> Self {
        let mut raw = RawHealth {
            exec: None,
            http: None,
            tcp: None,
            interval: health.interval,
            timeout: health.timeout,
            retries: health.retries,
        };
        match health.probe {
            Probe::Exec(exec) => raw.exec = Some(exec),
            Probe::Http(http) => raw.http = Some(http),
            Probe::Tcp(port) => raw.tcp = Some(port),
        }
        raw
    }
}

fn yes() -> bool {
    true
}

fn sigterm() -> String {
    "SIGTERM".to_owned()
}

fn nonexistent() -> String {
    "/nonexistent".to_owned()
}

fn nologin() -> String {
    "/usr/sbin/nologin".to_owned()
}

fn ten_seconds() -> Period {
    Period(std::time::Duration::from_secs(10))
}

fn three() -> u32 {
    3
}
