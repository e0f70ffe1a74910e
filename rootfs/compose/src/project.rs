//! What a compose file says.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// A project: services that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// One line that says what it is (`x-description`).
    pub description: Option<String>,
    /// Its services.
    pub services: BTreeMap<String, Service>,
    /// Its volumes, by the names that services use.
    pub volumes: BTreeMap<String, Volume>,
}

/// A service: one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// The image.
    pub image: String,
    /// Arguments, instead of those of the image.
    pub command: Option<Vec<String>>,
    /// The program, instead of that of the image.
    pub entrypoint: Option<Vec<String>>,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who it runs as.
    pub user: Option<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// The folder it runs in.
    pub working_dir: Option<String>,
    /// The name of its host.
    pub hostname: Option<String>,
    /// The name of its container, instead of one that is made up.
    pub container_name: Option<String>,
    /// What is mounted in it.
    pub mounts: Vec<Mount>,
    /// Folders in memory, each with its options.
    pub tmpfs: BTreeMap<String, String>,
    /// Its ports that the node offers.
    pub ports: Vec<Port>,
    /// When it is started again.
    pub restart: Restart,
    /// What has to be there before it starts.
    pub depends_on: BTreeMap<String, Condition>,
    /// Its health check, instead of that of the image.
    pub health: Option<Health>,
    /// Capabilities that it gets.
    pub cap_add: Vec<String>,
    /// Capabilities that it loses.
    pub cap_drop: Vec<String>,
    /// Device nodes: of the node, of the container, and what is allowed.
    pub devices: Vec<(String, String, String)>,
    /// Whether its root cannot be written to.
    pub read_only: bool,
    /// Whether everything is allowed.
    pub privileged: bool,
    /// Whether a small init is its first process.
    pub init: bool,
    /// `host` or `none`, instead of the network of the project.
    pub network_mode: Option<String>,
    /// Whether it sees all processes of the node.
    pub pid_host: bool,
    /// Names and addresses for its `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// How its output is kept: the driver and its options.
    pub logging: Option<(String, BTreeMap<String, String>)>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, in billionths.
    pub nano_cpus: Option<u64>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// How long it may take to stop.
    pub stop_grace_period: Option<Duration>,
}

/// Something that is mounted in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What it is.
    pub source: MountSource,
    /// Where it appears.
    pub target: String,
    /// Options, such as `ro`.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the node.
    Host(String),
    /// A volume of the project.
    Volume(String),
    /// A volume of its own that nothing else has.
    Anonymous,
}

/// A port that the node offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The address of the node; all if none is given.
    pub address: Option<IpAddr>,
    /// The port of the node; any if none is given.
    pub published: Option<u16>,
    /// The port of the container.
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Not at all, not even at boot.
    No,
    /// Whenever it ended, also at boot.
    Always,
    /// When it failed, so many times at most.
    OnFailure(Option<u32>),
    /// As [`Restart::Always`], unless somebody stopped it.
    #[default]
    UnlessStopped,
}

/// What a service waits for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Started,
    /// Its health check succeeds.
    Healthy,
    /// It has ended with 0.
    Completed,
}

/// A health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `NONE`, `CMD` or `CMD-SHELL`, and the words of the command; that of the
    /// image if there are none.
    pub test: Vec<String>,
    /// Time between two tries.
    pub interval: Option<Duration>,
    /// After which a try counts as failed.
    pub timeout: Option<Duration>,
    /// For how long failures do not count.
    pub start_period: Option<Duration>,
    /// Failures in a row that count.
    pub retries: Option<u32>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the engine, instead of one that is made up.
    pub name: Option<String>,
    /// Whether it has to be there already.
    pub external: bool,
}

impl Project {
    /// The services, each behind those that it depends on.
    pub fn in_order(&self) -> Vec<(&str, &Service)> {
        let mut order: Vec<(&str, &Service)> = Vec::new();
        // A file with a circle is not read, so each round finds one at least.
        while order.len() < self.services.len() {
            let before = order.len();
            for (name, service) in &self.services {
                let is_in = |name: &str| order.iter().any(|(it, _)| *it == name);
                if !is_in(name) && service.depends_on.keys().all(|it| is_in(it)) {
                    order.push((name, service));
                }
            }
            if order.len() == before {
                break;
            }
        }
        order
    }

    /// The name of the container of a service.
    pub fn container_name(&self, service: &str) -> String {
        self.services
            .get(service)
            .and_then(|it| it.container_name.clone())
            .unwrap_or_else(|| format!("{}-{service}-1", self.name))
    }

    /// The name of a volume in the engine.
    pub fn volume_name(&self, volume: &str) -> String {
        let known = self.volumes.get(volume);
        match known {
            Some(Volume {
                name: Some(name), ..
            }) => name.clone(),
            Some(Volume { external: true, .. }) => volume.to_owned(),
            _ => format!("{}_{volume}", self.name),
        }
    }

    /// The name of its network.
    pub fn network_name(&self) -> String {
        format!("{}_default", self.name)
    }
}
