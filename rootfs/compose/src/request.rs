//! What an engine is asked to make: bodies of its API.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::project::{Health, MountSource, Port, Project, Restart, Service};

/// The label that names the project of a container, network or volume. These
/// are Compose's own, so that its tools and portals know what belongs together.
pub const PROJECT: &str = "com.docker.compose.project";
/// The label that names the service of a container.
pub const SERVICE: &str = "com.docker.compose.service";
/// The label that stands for what a container was made from.
pub const HASH: &str = "com.docker.compose.config-hash";
/// The label that names the use of a network or volume in the project.
const NETWORK: &str = "com.docker.compose.network";
const VOLUME: &str = "com.docker.compose.volume";
const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// A container to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Stands for everything below.
    pub hash: String,
    /// The body of `POST /containers/create`.
    pub body: Value,
}

/// The container of a service.
pub fn container(project: &Project, name: &str, service: &Service) -> Container {
    let mut body = body(project, name, service);
    let hash = hex(&Sha256::digest(body.to_string()));
    let mut labels: Map<String, Value> = service
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    for (label, value) in [
        (PROJECT, project.name.as_str()),
        (SERVICE, name),
        (HASH, &hash),
        (NUMBER, "1"),
        (ONE_OFF, "False"),
    ] {
        labels.insert(label.to_owned(), value.into());
    }
    body["Labels"] = labels.into();
    Container {
        service: name.to_owned(),
        name: project.container_name(name),
        image: service.image.clone(),
        hash,
        body,
    }
}

/// The body of `POST /networks/create` for the network of a project.
pub fn network(project: &Project) -> Value {
    json!({
        "Name": project.network_name(),
        "Labels": { PROJECT: project.name, NETWORK: "default" },
    })
}

/// The body of `POST /volumes/create`.
pub fn volume(project: &Project, volume: &str) -> Value {
    json!({
        "Name": project.volume_name(volume),
        "Labels": { PROJECT: project.name, VOLUME: volume },
    })
}

fn body(project: &Project, name: &str, service: &Service) -> Value {
    let mut body = json!({
        "Image": service.image,
        "Env": service.environment.iter().map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>(),
        // Part of what the hash stands for, until the labels of Compose come.
        "Labels": service.labels,
        "HostConfig": host_config(project, service),
    });
    for (key, value) in [
        ("Cmd", json!(service.command)),
        ("Entrypoint", json!(service.entrypoint)),
        ("User", json!(service.user)),
        ("WorkingDir", json!(service.working_dir)),
        ("Hostname", json!(service.hostname)),
        ("StopSignal", json!(service.stop_signal)),
        (
            "StopTimeout",
            json!(service.stop_grace_period.map(|it| it.as_secs())),
        ),
        (
            "Healthcheck",
            service.health.as_ref().map_or(Value::Null, health),
        ),
    ] {
        if !value.is_null() {
            body[key] = value;
        }
    }
    if !service.ports.is_empty() {
        let ports = service.ports.iter().map(|port| (inside(port), json!({})));
        body["ExposedPorts"] = ports.collect::<Map<_, _>>().into();
    }
    if service.network_mode.is_none() {
        body["NetworkingConfig"] = json!({
            "EndpointsConfig": { project.network_name(): { "Aliases": [name] } },
        });
    }
    body
}

fn host_config(project: &Project, service: &Service) -> Value {
    let network = service
        .network_mode
        .clone()
        .unwrap_or_else(|| project.network_name());
    let mut config = json!({
        "NetworkMode": network,
        "RestartPolicy": restart(service.restart),
    });
    let binds: Vec<String> = service
        .mounts
        .iter()
        .filter_map(|mount| {
            let source = match &mount.source {
                MountSource::Host(path) => path.clone(),
                MountSource::Volume(volume) => project.volume_name(volume),
                MountSource::Anonymous => return None,
            };
            let options = match mount.options.is_empty() {
                true => String::new(),
                false => format!(":{}", mount.options.join(",")),
            };
            Some(format!("{source}:{}{options}", mount.target))
        })
        .collect();
    let anonymous: Vec<Value> = service
        .mounts
        .iter()
        .filter(|mount| mount.source == MountSource::Anonymous)
        .map(|mount| {
            let read_only = mount.options.iter().any(|it| it == "ro");
            json!({ "Type": "volume", "Target": mount.target, "ReadOnly": read_only })
        })
        .collect();
    let devices = service.devices.iter().map(|(host, inside, access)| {
        json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access })
    });
    let mut ports: Map<String, Value> = Map::new();
    for port in &service.ports {
        let address = port.address.map_or_else(String::new, |it| it.to_string());
        let published = port.published.map_or_else(String::new, |it| it.to_string());
        let binding = json!({ "HostIp": address, "HostPort": published });
        if let Value::Array(list) = ports.entry(inside(port)).or_insert_with(|| json!([])) {
            list.push(binding);
        }
    }
    for (key, value) in [
        ("Binds", json!(binds)),
        ("Mounts", json!(anonymous)),
        ("Devices", devices.collect()),
        ("PortBindings", ports.into()),
        ("Tmpfs", json!(service.tmpfs)),
        ("CapAdd", json!(service.cap_add)),
        ("CapDrop", json!(service.cap_drop)),
        ("GroupAdd", json!(service.group_add)),
        ("ExtraHosts", json!(service.extra_hosts)),
    ] {
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        if !empty {
            config[key] = value;
        }
    }
    for (key, on) in [
        ("ReadonlyRootfs", service.read_only),
        ("Privileged", service.privileged),
        ("Init", service.init),
    ] {
        if on {
            config[key] = true.into();
        }
    }
    if service.pid_host {
        config["PidMode"] = "host".into();
    }
    if let Some(memory) = service.memory {
        config["Memory"] = memory.into();
    }
    if let Some(cpus) = service.nano_cpus {
        config["NanoCpus"] = cpus.into();
    }
    if let Some((driver, options)) = &service.logging {
        config["LogConfig"] = json!({ "Type": driver, "Config": options });
    }
    config
}

fn restart(restart: Restart) -> Value {
    match restart {
        Restart::No => json!({ "Name": "no" }),
        Restart::Always => json!({ "Name": "always" }),
        Restart::OnFailure(times) => {
            json!({ "Name": "on-failure", "MaximumRetryCount": times.unwrap_or(0) })
        }
        Restart::UnlessStopped => json!({ "Name": "unless-stopped" }),
    }
}

fn health(health: &Health) -> Value {
    let nanos = |time: Option<Duration>| {
        time.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
    };
    json!({
        "Test": health.test,
        "Interval": nanos(health.interval),
        "Timeout": nanos(health.timeout),
        "StartPeriod": nanos(health.start_period),
        "Retries": health.retries.unwrap_or(0),
    })
}

fn inside(port: &Port) -> String {
    format!("{}/{}", port.target, port.protocol)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn first(text: &str) -> Container {
        let project = Project::parse("f", Name::Is("app"), text).unwrap();
        let (name, service) = project.services.iter().next().unwrap();
        container(&project, name, service)
    }

    #[test]
    fn a_service_becomes_what_the_engine_takes() {
        let made = first(
            r#"
services:
  web:
    image: x
    command: [a, b]
    environment: {A: 1}
    labels: {l: m}
    ports: ["127.0.0.1:8080:80", "53:53/udp"]
    volumes: ["data:/data", "/home/rubus:/h:ro", /own]
    devices: ["/dev/i2c-1"]
    restart: on-failure:3
    stop_grace_period: 1m
    mem_limit: 64m
    cap_drop: [ALL]
    read_only: true
    healthcheck: {test: [CMD, x], interval: 10s}
volumes: {data: }
"#,
        );
        assert_eq!(
            (made.name.as_str(), made.image.as_str()),
            ("app-web-1", "x")
        );
        let body = &made.body;
        assert_eq!(body["Cmd"], json!(["a", "b"]));
        assert_eq!(body["Env"], json!(["A=1"]));
        assert_eq!(body["StopTimeout"], 60);
        assert_eq!(body["ExposedPorts"], json!({ "80/tcp": {}, "53/udp": {} }));
        assert_eq!(body["Labels"]["l"], "m");
        assert_eq!(body["Labels"][PROJECT], "app");
        assert_eq!(body["Labels"][HASH], made.hash);
        assert_eq!(body["Healthcheck"]["Interval"], 10_000_000_000_u64);
        assert_eq!(
            body["NetworkingConfig"]["EndpointsConfig"]["app_default"]["Aliases"],
            json!(["web"])
        );
        let host = &body["HostConfig"];
        assert_eq!(
            host["Binds"],
            json!(["app_data:/data", "/home/rubus:/h:ro"])
        );
        assert_eq!(host["Mounts"][0]["Target"], "/own");
        assert_eq!(
            host["PortBindings"]["80/tcp"],
            json!([{ "HostIp": "127.0.0.1", "HostPort": "8080" }])
        );
        assert_eq!(
            host["RestartPolicy"],
            json!({ "Name": "on-failure", "MaximumRetryCount": 3 })
        );
        assert_eq!(host["Memory"], 64 << 20);
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["Devices"][0]["PathOnHost"], "/dev/i2c-1");
    }

    #[test]
    fn what_is_not_said_is_not_asked_for() {
        let body = first("services: {a: {image: x}}").body;
        for key in [
            "Cmd",
            "Entrypoint",
            "Healthcheck",
            "ExposedPorts",
            "StopTimeout",
        ] {
            assert!(body.get(key).is_none(), "{key}");
        }
        let keys: Vec<_> = body["HostConfig"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["NetworkMode", "RestartPolicy"]);
        assert_eq!(
            body["HostConfig"]["RestartPolicy"]["Name"],
            "unless-stopped"
        );
    }

    #[test]
    fn the_network_of_the_node_has_no_names() {
        let body = first("services: {a: {image: x, network_mode: host}}").body;
        assert_eq!(body["HostConfig"]["NetworkMode"], "host");
        assert!(body.get("NetworkingConfig").is_none());
    }

    #[test]
    fn the_hash_follows_what_the_file_says() {
        let of = |rest: &str| first(&format!("services: {{a: {{image: x{rest}}}}}")).hash;
        assert_eq!(of(""), of(", restart: unless-stopped"));
        for rest in [
            ", labels: {a: b}",
            ", command: y",
            ", ports: [\"80\"]",
            ", init: true",
        ] {
            assert_ne!(of(""), of(rest), "{rest}");
        }
    }
}
