//! Reads a compose file: every key is known, refused by name, or an error with
//! the nearest one.

use std::collections::{BTreeMap, BTreeSet};

use rubus_service::suggest;

use crate::{
    Problem,
    access::{At, Outcome, Reader},
    project::{Condition, Health, Mount, MountSource, Port, Project, Service, Volume},
    values,
    yaml::{self, Key, Node, Value},
};

/// Keys of a service that are understood.
pub const KEYS: [&str; 32] = [
    "cap_add",
    "cap_drop",
    "command",
    "container_name",
    "cpus",
    "depends_on",
    "devices",
    "entrypoint",
    "environment",
    "expose",
    "extra_hosts",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "labels",
    "logging",
    "mem_limit",
    "network_mode",
    "pid",
    "ports",
    "privileged",
    "pull_policy",
    "read_only",
    "restart",
    "stop_grace_period",
    "stop_signal",
    "tmpfs",
    "user",
    "volumes",
    "working_dir",
];

/// Keys of the Compose specification that are not supported, each with the way
/// out.
const UNSUPPORTED: [(&str, &str); 14] = [
    (
        "build",
        "build the image elsewhere, and name it with `image`",
    ),
    ("configs", "mount a file of the node instead"),
    ("deploy", "use `mem_limit` and `cpus`"),
    ("dns", "set `docker.daemon.dns` with `ros config`"),
    ("env_file", "write its variables into `environment`"),
    ("extends", "write the keys here"),
    ("links", "services find each other by their names"),
    ("networks", "services of a file share one network"),
    ("profiles", "write two files"),
    ("secrets", "mount a file of the node instead"),
    ("security_opt", "remove it"),
    ("sysctls", "set `kernel.sysctl` with `ros config`"),
    (
        "ulimits",
        "set `docker.daemon.default-ulimits` with `ros config`",
    ),
    ("volumes_from", "name the volumes"),
];

/// Keys of a file that are understood.
const TOP: [&str; 4] = ["name", "services", "version", "volumes"];

impl Project {
    /// Reads a file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and key.
    pub fn parse(file: &str, name: Name<'_>, text: &str) -> Result<Project, Problem> {
        let root = yaml::parse(text).map_err(|(line, message)| Problem {
            file: file.to_owned(),
            line,
            key: String::new(),
            message,
        })?;
        Reader { file }.project(name, &root)
    }
}

/// What a project is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// This, whatever its file says.
    Is(&'a str),
    /// What its file says, and this if it says nothing.
    OrElse(&'a str),
}

impl Reader<'_> {
    fn project(&self, name: Name<'_>, root: &Node) -> Outcome<Project> {
        let top = At {
            key: String::new(),
            node: root,
        };
        let (Name::Is(first) | Name::OrElse(first)) = name;
        let mut project = Project {
            name: first.to_owned(),
            description: None,
            services: BTreeMap::new(),
            volumes: BTreeMap::new(),
        };
        for (key, value) in self.map(&top)? {
            let at = top.below(&key.name, value);
            match key.name.as_str() {
                // Obsolete; every file of the last ten years has another one.
                "version" => {}
                "name" => {
                    let said = self.text(&at)?;
                    if let Name::OrElse(_) = name {
                        project.name = said;
                    }
                }
                "services" => {
                    for (key, value) in self.map(&at)? {
                        if !values::is_name(&key.name) {
                            let message =
                                "this cannot name a service; use letters, digits, `-`, `_` and `.`";
                            return self.wrong_key(&at, key, message.to_owned());
                        }
                        let service = self.service(&at.below(&key.name, value))?;
                        project.services.insert(key.name.clone(), service);
                    }
                }
                "volumes" => {
                    for (key, value) in self.map(&at)? {
                        let volume = self.volume(&at.below(&key.name, value))?;
                        project.volumes.insert(key.name.clone(), volume);
                    }
                }
                "x-description" => project.description = Some(self.text(&at)?),
                it if it.starts_with("x-") => {}
                "networks" | "configs" | "secrets" | "include" => {
                    let message = "this is not supported; remove it".to_owned();
                    return self.wrong_key(&top, key, message);
                }
                it => return self.wrong_key(&top, key, no_such_key(it, &TOP)),
            }
        }
        if !values::is_name(&project.name) || project.name != project.name.to_lowercase() {
            return self.wrong(
                &top,
                format!(
                    "\"{}\" cannot name a project; use lower case letters, digits, `-` and `_`",
                    project.name
                ),
            );
        }
        if project.services.is_empty() {
            return self.wrong(&top, "it has no services");
        }
        self.check(&top, &project)?;
        Ok(project)
    }

    /// What is wrong with the services together.
    fn check(&self, top: &At<'_>, project: &Project) -> Outcome<()> {
        let node = |service: &str, key: &str| {
            let found = get(top.node, "services").and_then(|it| get(it, service));
            let found = found.and_then(|it| get(it, key)).unwrap_or(top.node);
            At {
                key: format!("services.{service}.{key}"),
                node: found,
            }
        };
        for (name, service) in &project.services {
            for (other, condition) in &service.depends_on {
                let at = node(name, "depends_on");
                let Some(found) = project.services.get(other) else {
                    let hint = suggest::hint(other, project.services.keys().map(String::as_str));
                    return self.wrong(&at, format!("there is no service {other}{hint}"));
                };
                let never = found.health.as_ref().is_some_and(|it| it.test == ["NONE"]);
                if *condition == Condition::Healthy && never {
                    return self.wrong(&at, format!("{other} has no health check"));
                }
            }
            for mount in &service.mounts {
                if let MountSource::Volume(volume) = &mount.source
                    && !project.volumes.contains_key(volume)
                {
                    let hint = suggest::hint(volume, project.volumes.keys().map(String::as_str));
                    let message = format!(
                        "there is no volume {volume}{hint}; name it below `volumes` of the file"
                    );
                    return self.wrong(&node(name, "volumes"), message);
                }
            }
            if service.network_mode.is_some() && !service.ports.is_empty() {
                let message =
                    "a service with a `network_mode` offers its ports by itself; remove `ports`";
                return self.wrong(&node(name, "ports"), message);
            }
        }
        let order = project.in_order();
        if let Some(name) = project
            .services
            .keys()
            .find(|name| !order.iter().any(|(it, _)| it == name))
        {
            let message = "services depend on each other in a circle";
            return self.wrong(&node(name, "depends_on"), message);
        }
        let mut names = BTreeSet::new();
        for name in project.services.keys() {
            if !names.insert(project.container_name(name)) {
                let message = "another service has a container of this name";
                return self.wrong(&node(name, "container_name"), message);
            }
        }
        Ok(())
    }

    fn service(&self, at: &At<'_>) -> Outcome<Service> {
        let mut service = Service::default();
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            self.key(&mut service, at, key, &it)?;
        }
        if service.image.is_empty() {
            return self.wrong(at, "it has no `image`");
        }
        Ok(service)
    }

    fn key(&self, service: &mut Service, above: &At<'_>, key: &Key, at: &At<'_>) -> Outcome<()> {
        match key.name.as_str() {
            "image" => service.image = self.image(at)?,
            "command" => service.command = self.words(at)?,
            "entrypoint" => service.entrypoint = self.words(at)?,
            "environment" => service.environment = self.pairs(at)?,
            "labels" => service.labels = self.pairs(at)?,
            "user" => service.user = Some(self.text(at)?),
            "group_add" => service.group_add = self.texts(at)?,
            "working_dir" => service.working_dir = Some(self.text(at)?),
            "hostname" => service.hostname = Some(self.text(at)?),
            "container_name" => {
                let name = self.text(at)?;
                if !values::is_name(&name) {
                    return self.wrong(at, format!("\"{name}\" cannot name a container"));
                }
                service.container_name = Some(name);
            }
            "volumes" => service.mounts = self.each(at, |at| self.mount(at))?,
            "tmpfs" => {
                for text in self.texts(at)? {
                    let (path, options) = text.split_once(':').unwrap_or((&text, ""));
                    if !path.starts_with('/') {
                        return self.wrong(at, format!("\"{path}\" is not an absolute path"));
                    }
                    service.tmpfs.insert(path.to_owned(), options.to_owned());
                }
            }
            "ports" => {
                let ports = self.each(at, |at| self.port(at))?;
                service.ports = ports.into_iter().flatten().collect();
            }
            // Services of one network reach all ports of each other.
            "expose" => drop(self.texts(at)?),
            "restart" => service.restart = self.parsed(at, values::restart)?,
            "depends_on" => service.depends_on = self.depends_on(at)?,
            "healthcheck" => service.health = Some(self.health(at)?),
            "cap_add" => service.cap_add = self.texts(at)?,
            "cap_drop" => service.cap_drop = self.texts(at)?,
            "devices" => service.devices = self.each(at, |at| self.parsed(at, values::device))?,
            "read_only" => service.read_only = self.truth(at)?,
            "privileged" => service.privileged = self.truth(at)?,
            "init" => service.init = self.truth(at)?,
            "network_mode" => match self.text(at)?.as_str() {
                mode @ ("host" | "none") => service.network_mode = Some(mode.to_owned()),
                "bridge" | "default" => {}
                mode => {
                    return self.wrong(
                        at,
                        format!("\"{mode}\" is not one of host, none and bridge"),
                    );
                }
            },
            "pid" => match self.text(at)?.as_str() {
                "host" => service.pid_host = true,
                other => return self.wrong(at, format!("\"{other}\" is not \"host\"")),
            },
            "extra_hosts" => {
                let colon = |(name, address)| format!("{name}:{address}");
                service.extra_hosts = match &at.node.value {
                    Value::Map(_) => self.pairs(at)?.into_iter().map(colon).collect(),
                    _ => self.texts(at)?,
                };
            }
            "logging" => service.logging = Some(self.logging(at)?),
            "mem_limit" => service.memory = Some(self.parsed(at, values::bytes)?),
            "cpus" => service.nano_cpus = Some(self.parsed(at, values::cpus)?),
            "stop_signal" => service.stop_signal = Some(self.text(at)?),
            "stop_grace_period" => {
                service.stop_grace_period = Some(self.parsed(at, values::duration)?);
            }
            "pull_policy" => match self.text(at)?.as_str() {
                "missing" | "if_not_present" => {}
                _ => {
                    let message =
                        "only \"missing\" is supported; `docker pull` fetches a newer one";
                    return self.wrong(at, message);
                }
            },
            name if name.starts_with("x-") => {}
            name => {
                let message = match UNSUPPORTED.iter().find(|(it, _)| *it == name) {
                    Some((_, way_out)) => format!("this is not supported; {way_out}"),
                    None => no_such_key(name, &KEYS),
                };
                return self.wrong_key(above, key, message);
            }
        }
        Ok(())
    }

    fn image(&self, at: &At<'_>) -> Outcome<String> {
        let image = self.text(at)?;
        let right = !image.is_empty()
            && !image.starts_with('-')
            && image
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-/:@+".contains(c));
        if right {
            Ok(image)
        } else {
            self.wrong(
                at,
                format!("\"{image}\" is not an image, such as \"nginx:1.27\""),
            )
        }
    }

    fn mount(&self, at: &At<'_>) -> Outcome<Mount> {
        if !matches!(at.node.value, Value::Map(_)) {
            return self.parsed(at, values::mount);
        }
        let (mut kind, mut source, mut target, mut options) = (None, None, None, Vec::new());
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            match key.name.as_str() {
                "type" => kind = Some(self.text(&it)?),
                "source" => source = Some(self.parsed(&it, values::mount_source)?),
                "target" => target = Some(self.text(&it)?),
                "read_only" if self.truth(&it)? => options.push("ro".to_owned()),
                "read_only" => {}
                name => {
                    let known = ["type", "source", "target", "read_only"];
                    return self.wrong_key(at, key, no_such_key(name, &known));
                }
            }
        }
        let Some(target) = target.filter(|it| it.starts_with('/') && it != "/") else {
            return self.wrong(at, "it has no `target` that is an absolute path");
        };
        let source = match (kind.as_deref(), source) {
            (Some("bind"), Some(source @ MountSource::Host(_))) => source,
            (Some("volume"), Some(source @ MountSource::Volume(_))) => source,
            (Some("volume"), None) => MountSource::Anonymous,
            (Some("bind"), _) => return self.wrong(at, "a bind has a path as its `source`"),
            (Some("volume"), _) => return self.wrong(at, "a volume has a name as its `source`"),
            _ => return self.wrong(at, "its `type` is not one of bind and volume"),
        };
        Ok(Mount {
            source,
            target,
            options,
        })
    }

    fn port(&self, at: &At<'_>) -> Outcome<Vec<Port>> {
        if !matches!(at.node.value, Value::Map(_)) {
            return self.parsed(at, values::ports);
        }
        let mut port = Port {
            address: None,
            published: None,
            target: 0,
            protocol: "tcp".to_owned(),
        };
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            match key.name.as_str() {
                "target" => port.target = self.parsed(&it, values::port)?,
                "published" => port.published = Some(self.parsed(&it, values::port)?),
                "protocol" => port.protocol = self.parsed(&it, values::protocol_of)?,
                "host_ip" => {
                    let address = |text: &str| {
                        text.parse()
                            .map_err(|_| format!("\"{text}\" is not an address"))
                    };
                    port.address = Some(self.parsed(&it, address)?);
                }
                // For people, and for Swarm.
                "name" | "mode" | "app_protocol" => {}
                name => {
                    let known = ["target", "published", "protocol", "host_ip"];
                    return self.wrong_key(at, key, no_such_key(name, &known));
                }
            }
        }
        if port.target == 0 {
            return self.wrong(at, "it has no `target`");
        }
        Ok(vec![port])
    }

    fn depends_on(&self, at: &At<'_>) -> Outcome<BTreeMap<String, Condition>> {
        if !matches!(at.node.value, Value::Map(_)) {
            let names = self.texts(at)?.into_iter();
            return Ok(names.map(|name| (name, Condition::Started)).collect());
        }
        let mut conditions = BTreeMap::new();
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            let mut condition = Condition::Started;
            for (key, value) in self.map(&it)? {
                let value = it.below(&key.name, value);
                match key.name.as_str() {
                    "condition" => {
                        condition = self.parsed(&value, |text| match text {
                            "service_started" => Ok(Condition::Started),
                            "service_healthy" => Ok(Condition::Healthy),
                            "service_completed_successfully" => Ok(Condition::Completed),
                            _ => Err(format!(
                                "\"{text}\" is not one of service_started, service_healthy and \
                                 service_completed_successfully"
                            )),
                        })?;
                    }
                    "required" | "restart" => drop(self.truth(&value)?),
                    name => {
                        let known = ["condition", "required", "restart"];
                        return self.wrong_key(&it, key, no_such_key(name, &known));
                    }
                }
            }
            conditions.insert(key.name.clone(), condition);
        }
        Ok(conditions)
    }

    fn health(&self, at: &At<'_>) -> Outcome<Health> {
        let mut health = Health::default();
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            match key.name.as_str() {
                "test" => {
                    health.test = match &value.value {
                        Value::List(_) => self.texts(&it)?,
                        _ => vec!["CMD-SHELL".to_owned(), self.text(&it)?],
                    };
                    let right = matches!(
                        health.test.first().map(String::as_str),
                        Some("NONE" | "CMD" | "CMD-SHELL")
                    );
                    if !right {
                        let message = "a list begins with NONE, CMD or CMD-SHELL";
                        return self.wrong(&it, message);
                    }
                }
                "interval" => health.interval = Some(self.parsed(&it, values::duration)?),
                "timeout" => health.timeout = Some(self.parsed(&it, values::duration)?),
                "start_period" => health.start_period = Some(self.parsed(&it, values::duration)?),
                "retries" => {
                    let number = |text: &str| {
                        text.parse()
                            .map_err(|_| format!("\"{text}\" is not a number"))
                    };
                    health.retries = Some(self.parsed(&it, number)?);
                }
                "disable" => {
                    if self.truth(&it)? {
                        health.test = vec!["NONE".to_owned()];
                    }
                }
                name => {
                    let known = [
                        "test",
                        "interval",
                        "timeout",
                        "start_period",
                        "retries",
                        "disable",
                    ];
                    return self.wrong_key(at, key, no_such_key(name, &known));
                }
            }
        }
        Ok(health)
    }

    fn logging(&self, at: &At<'_>) -> Outcome<(String, BTreeMap<String, String>)> {
        let (mut driver, mut options) = ("local".to_owned(), BTreeMap::new());
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            match key.name.as_str() {
                "driver" => driver = self.text(&it)?,
                "options" => options = self.pairs(&it)?,
                name => {
                    return self.wrong_key(at, key, no_such_key(name, &["driver", "options"]));
                }
            }
        }
        Ok((driver, options))
    }

    fn volume(&self, at: &At<'_>) -> Outcome<Volume> {
        let mut volume = Volume::default();
        if at.node.value == Value::Null {
            return Ok(volume);
        }
        for (key, value) in self.map(at)? {
            let it = at.below(&key.name, value);
            match key.name.as_str() {
                "name" => volume.name = Some(self.text(&it)?),
                "external" => volume.external = self.truth(&it)?,
                name if name.starts_with("x-") => {}
                "driver" | "driver_opts" | "labels" => {
                    let message = "this is not supported; make the volume with `docker volume create`, and say `external: true`";
                    return self.wrong_key(at, key, message.to_owned());
                }
                name => return self.wrong_key(at, key, no_such_key(name, &["name", "external"])),
            }
        }
        Ok(volume)
    }
}

fn get<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Map(map) => map
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, it)| it),
        _ => None,
    }
}

fn no_such_key(name: &str, known: &[&str]) -> String {
    let hint = suggest::hint(name, known.iter().copied());
    format!("there is no such key{hint}")
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
