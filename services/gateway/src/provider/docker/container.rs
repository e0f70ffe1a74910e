//! A deployment as a container, and a container as a replica. Nothing here
//! talks to the engine.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bollard::{
    auth::DockerCredentials,
    models::{
        ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, DeviceMapping,
        HealthConfig, HostConfig, Mount, MountType, RestartPolicy, RestartPolicyNameEnum,
    },
};
use watchdog::contract;

use super::host::Host;
use crate::{
    model::{FunctionDeployment, FunctionId, Resources},
    provider::{Error, Result},
    quantity,
};

/// The name of the function; upstream's label, which every container has.
pub(super) const FUNCTION_LABEL: &str = "com.openfaas.function";
const ANNOTATION_PREFIX: &str = "com.openfaas.annotations.";
/// Labels that are ours alone.
const OWN_PREFIX: &str = "org.rubus.function.";
const NAMESPACE_LABEL: &str = "org.rubus.function.namespace";
const INDEX_LABEL: &str = "org.rubus.function.index";
const REVISION_LABEL: &str = "org.rubus.function.revision";
/// The deployment in JSON, the truth from which the other labels are made.
const DEPLOYMENT_LABEL: &str = "org.rubus.function.deployment";
/// Where a function sees its secrets.
const SECRETS: &str = "/var/openfaas/secrets";
/// Processes of a function: a fork bomb must not take the node down.
const PIDS: i64 = 1024;

/// One container of a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replica {
    pub(super) container: String,
    pub(super) function: FunctionId,
    /// Which of the replicas it is.
    pub(super) index: u32,
    /// Grows with every update of the function.
    pub(super) revision: u64,
    pub(super) deployment: FunctionDeployment,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// Whether it runs, or the engine is about to start it again.
    pub(super) wanted: bool,
    /// Where it is reached, while it runs.
    pub(super) endpoint: Option<SocketAddr>,
}

/// Checks what only the provider can.
pub(super) fn check(deployment: &FunctionDeployment) -> Result<()> {
    for key in deployment.env_vars.iter().flat_map(|map| map.keys()) {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(Error::Invalid(format!(
                "\"{key}\" cannot be the name of an environment variable"
            )));
        }
    }
    for key in deployment.labels.iter().flat_map(|map| map.keys()) {
        let own = key.starts_with(OWN_PREFIX) || key == FUNCTION_LABEL;
        let annotation = key.strip_prefix(ANNOTATION_PREFIX).is_some_and(|key| {
            deployment
                .annotations
                .as_ref()
                .is_some_and(|map| map.contains_key(key))
        });
        if own || annotation {
            return Err(Error::Invalid(format!(
                "the label \"{key}\" is taken; choose another key"
            )));
        }
    }
    for resources in [&deployment.limits, &deployment.requests]
        .into_iter()
        .flatten()
    {
        bounds(Some(resources)).map_err(Error::Invalid)?;
    }
    Ok(())
}

/// Memory in bytes and processors in billionths.
fn bounds(
    resources: Option<&Resources>,
) -> std::result::Result<(Option<i64>, Option<i64>), String> {
    let Some(resources) = resources else {
        return Ok((None, None));
    };
    let read = |text: &str, parse: fn(&str) -> std::result::Result<i64, String>| {
        (!text.is_empty()).then(|| parse(text)).transpose()
    };
    Ok((
        read(&resources.memory, quantity::memory)?,
        read(&resources.cpu, quantity::cpu)?,
    ))
}

/// The name of a container. The revision keeps the containers of an update
/// apart from those that it replaces.
pub(super) fn name(id: &FunctionId, index: u32, revision: u64) -> String {
    format!("{id}.{index}-{revision:x}")
}

/// The labels that select the containers of one function.
pub(super) fn selector(id: &FunctionId) -> Vec<String> {
    vec![
        format!("{FUNCTION_LABEL}={}", id.name),
        format!("{NAMESPACE_LABEL}={}", id.namespace),
    ]
}

/// What the containers of a function have in common with no other's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The network that they are on.
    pub(super) network: String,
    /// The folder of the function's secrets, if it has any.
    pub(super) secrets: Option<PathBuf>,
    /// What it gets of the node.
    pub(super) host: Host,
}

/// A replica of a function as the engine is to make it.
pub(super) fn body(
    id: &FunctionId,
    deployment: &FunctionDeployment,
    index: u32,
    revision: u64,
    surroundings: &Surroundings,
) -> Result<ContainerCreateBody> {
    let (memory, cpu) = bounds(deployment.limits.as_ref()).map_err(Error::Invalid)?;
    let (reservation, _) = bounds(deployment.requests.as_ref()).map_err(Error::Invalid)?;
    let read_only = deployment.read_only_root_filesystem;
    let host = HostConfig {
        network_mode: Some(surroundings.network.clone()),
        mounts: Some(mounts(surroundings)),
        devices: Some(
            surroundings
                .host
                .devices
                .iter()
                .map(|it| device(it))
                .collect(),
        ),
        group_add: Some(
            surroundings
                .host
                .groups
                .iter()
                .map(u32::to_string)
                .collect(),
        ),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(read_only),
        tmpfs: read_only.then(|| HashMap::from([("/tmp".to_owned(), String::new())])),
        memory,
        // No swap on top of it.
        memory_swap: memory,
        memory_reservation: reservation,
        nano_cpus: cpu,
        pids_limit: Some(PIDS),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(deployment.image.clone()),
        env: Some(environment(id, deployment)),
        labels: Some(labels(id, deployment, index, revision)?),
        // The gateway asks the watchdog itself; the image's check would start a
        // process in the container every few seconds.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

fn mounts(surroundings: &Surroundings) -> Vec<Mount> {
    let mount = |source: String, target: &str, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let secrets = surroundings.secrets.iter();
    let secrets = secrets.map(|folder| mount(folder.display().to_string(), SECRETS, true));
    let folders = surroundings.host.folders.iter();
    let folders = folders.map(|it| mount(it.source.clone(), &it.target, it.read_only));
    secrets.chain(folders).collect()
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rw".to_owned()),
    }
}

fn environment(id: &FunctionId, deployment: &FunctionDeployment) -> Vec<String> {
    let mut environment = vec![
        format!("OPENFAAS_NAME={}", id.name),
        format!("OPENFAAS_NAMESPACE={}", id.namespace),
    ];
    if let Some(process) = deployment
        .env_process
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        environment.push(format!("fprocess={process}"));
    }
    environment.extend(
        deployment
            .env_vars
            .iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}")),
    );
    environment
}

fn labels(
    id: &FunctionId,
    deployment: &FunctionDeployment,
    index: u32,
    revision: u64,
) -> Result<HashMap<String, String>> {
    let mut labels: HashMap<String, String> = deployment
        .labels
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    for (key, value) in deployment.annotations.iter().flatten() {
        labels.insert(format!("{ANNOTATION_PREFIX}{key}"), value.clone());
    }
    let whole = serde_json::to_string(deployment)
        .map_err(|error| Error::Failed(format!("cannot store the deployment: {error}")))?;
    labels.extend(
        [
            (FUNCTION_LABEL, id.name.clone()),
            ("faas_function", id.name.clone()),
            ("function", "true".to_owned()),
            (NAMESPACE_LABEL, id.namespace.clone()),
            (INDEX_LABEL, index.to_string()),
            (REVISION_LABEL, revision.to_string()),
            (DEPLOYMENT_LABEL, whole),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    Ok(labels)
}

/// Reads a container of the engine; nothing when it is not ours.
pub(super) fn replica(summary: ContainerSummary) -> Option<Replica> {
    let labels = summary.labels?;
    let state = summary.state?;
    let address = summary
        .network_settings
        .and_then(|settings| settings.networks)
        .and_then(|networks| {
            networks
                .into_values()
                .filter_map(|network| network.ip_address?.parse::<IpAddr>().ok())
                .min()
        });
    Some(Replica {
        container: summary.id?,
        function: FunctionId::new(labels.get(FUNCTION_LABEL)?, labels.get(NAMESPACE_LABEL)?),
        index: labels.get(INDEX_LABEL)?.parse().ok()?,
        revision: labels.get(REVISION_LABEL)?.parse().ok()?,
        deployment: serde_json::from_str(labels.get(DEPLOYMENT_LABEL)?).ok()?,
        created: summary.created.unwrap_or_default(),
        wanted: matches!(
            state,
            ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::RESTARTING
        ),
        endpoint: address
            .filter(|_| state == ContainerSummaryStateEnum::RUNNING)
            .map(|address| SocketAddr::new(address, contract::PORT)),
    })
}

/// Whether a reference names a tag or a digest.
pub(super) fn has_tag(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.contains([':', '@'])
}

/// Whether an image is looked for in its registry although it is there: what
/// `latest` means changes.
pub(super) fn may_have_changed(image: &str) -> bool {
    !has_tag(image) || image.ends_with(":latest")
}

/// The credentials of a deployment: `user:password` in base64.
pub(super) fn credentials(deployment: &FunctionDeployment) -> Result<Option<DockerCredentials>> {
    let Some(encoded) = deployment
        .registry_auth
        .as_deref()
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let wrong = || Error::Invalid("registryAuth is not \"user:password\" in base64".to_owned());
    let plain = STANDARD.decode(encoded).map_err(|_| wrong())?;
    let plain = String::from_utf8(plain).map_err(|_| wrong())?;
    let (user, password) = plain.split_once(':').ok_or_else(wrong)?;
    Ok(Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..DockerCredentials::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::super::host::Folder;
    use super::*;
    use crate::model::Map;
    use bollard::models::{ContainerSummaryNetworkSettings, EndpointSettings};

    fn id() -> FunctionId {
        FunctionId::new("echo", "fn")
    }

    fn map(pairs: &[(&str, &str)]) -> Option<Map> {
        Some(
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
        )
    }

    fn deployment() -> FunctionDeployment {
        FunctionDeployment {
            service: "echo".to_owned(),
            image: "rubus/echoit:1".to_owned(),
            env_process: Some("cat".to_owned()),
            env_vars: map(&[("A", "1")]),
            labels: map(&[("team", "x")]),
            annotations: map(&[("topic", "a\nb")]),
            limits: Some(Resources {
                memory: "32Mi".to_owned(),
                cpu: "100m".to_owned(),
                ..Resources::default()
            }),
            read_only_root_filesystem: true,
            ..FunctionDeployment::default()
        }
    }

    fn around() -> Surroundings {
        Surroundings {
            network: "openfaas".to_owned(),
            secrets: Some("/state/given/fn/echo".into()),
            host: Host {
                devices: vec!["/dev/gpiochip0".to_owned()],
                groups: [997].into(),
                folders: vec![Folder {
                    source: "/mnt/data".to_owned(),
                    target: "/data".to_owned(),
                    read_only: false,
                }],
            },
        }
    }

    #[test]
    fn a_container_is_confined_and_limited() {
        let body = body(&id(), &deployment(), 0, 7, &around()).unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(32 << 20), Some(32 << 20))
        );
        assert_eq!(host.nano_cpus, Some(100_000_000));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert!(host.tmpfs.unwrap().contains_key("/tmp"));
        assert_eq!(host.network_mode.unwrap(), "openfaas");
        let mounts = host.mounts.unwrap();
        assert_eq!(mounts[1].target.as_deref(), Some("/data"));
        let mount = &mounts[0];
        assert_eq!(mount.source.as_deref(), Some("/state/given/fn/echo"));
        assert_eq!(mount.target.as_deref(), Some("/var/openfaas/secrets"));
        assert_eq!(mount.read_only, Some(true));
        let device = &host.devices.unwrap()[0];
        assert_eq!(device.path_on_host.as_deref(), Some("/dev/gpiochip0"));
        assert_eq!(device.cgroup_permissions.as_deref(), Some("rw"));
        assert_eq!(host.group_add.unwrap(), ["997"]);
        let environment = body.env.unwrap();
        assert!(environment.contains(&"fprocess=cat".to_owned()));
        assert!(environment.contains(&"A=1".to_owned()));
    }

    #[test]
    fn the_process_of_the_image_stands_where_none_is_named() {
        let mut deployment = deployment();
        deployment.env_process = Some(String::new());
        let environment = body(&id(), &deployment, 0, 7, &around())
            .unwrap()
            .env
            .unwrap();
        assert!(!environment.iter().any(|line| line.starts_with("fprocess=")));
    }

    #[test]
    fn a_replica_is_read_back_from_its_labels() {
        let labels = body(&id(), &deployment(), 2, 7, &around())
            .unwrap()
            .labels
            .unwrap();
        assert_eq!(labels["com.openfaas.annotations.topic"], "a\nb");
        assert_eq!(labels["faas_function"], "echo");
        assert_eq!(labels["team"], "x");
        let network = EndpointSettings {
            ip_address: Some("172.18.0.2".to_owned()),
            ..EndpointSettings::default()
        };
        let summary = ContainerSummary {
            id: Some("abc".to_owned()),
            labels: Some(labels),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            network_settings: Some(ContainerSummaryNetworkSettings {
                networks: Some(HashMap::from([("openfaas".to_owned(), network)])),
            }),
            ..ContainerSummary::default()
        };
        let read = replica(summary.clone()).unwrap();
        assert_eq!((read.index, read.revision, read.wanted), (2, 7, true));
        assert_eq!(read.deployment, deployment());
        assert_eq!(read.endpoint, Some("172.18.0.2:8080".parse().unwrap()));

        let stopped = ContainerSummary {
            state: Some(ContainerSummaryStateEnum::EXITED),
            ..summary.clone()
        };
        let read = replica(stopped).unwrap();
        assert_eq!((read.wanted, read.endpoint), (false, None));

        let foreign = ContainerSummary {
            labels: Some(HashMap::new()),
            ..summary
        };
        assert_eq!(replica(foreign), None);
    }

    #[test]
    fn impossible_deployments_are_refused() {
        let with = |change: &dyn Fn(&mut FunctionDeployment)| {
            let mut deployment = deployment();
            change(&mut deployment);
            check(&deployment)
        };
        assert_eq!(with(&|_| ()), Ok(()));
        let refused = [
            with(&|d| d.env_vars = map(&[("A=B", "1")])),
            with(&|d| d.labels = map(&[("org.rubus.function.index", "9")])),
            with(&|d| d.labels = map(&[("com.openfaas.annotations.topic", "x")])),
            with(&|d| d.limits.as_mut().unwrap().memory = "much".to_owned()),
        ];
        for result in refused {
            assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
        }
    }

    #[test]
    fn only_what_latest_means_is_looked_for_again() {
        for (image, tag, again) in [
            ("echo", false, true),
            ("registry:5000/echo", false, true),
            ("echo:latest", true, true),
            ("echo:1.0", true, false),
            ("registry:5000/echo:1", true, false),
            ("echo@sha256:00", true, false),
        ] {
            assert_eq!(
                (has_tag(image), may_have_changed(image)),
                (tag, again),
                "{image}"
            );
        }
    }

    #[test]
    fn registry_credentials_are_user_and_password() {
        let with = |text: &str| {
            credentials(&FunctionDeployment {
                registry_auth: Some(text.to_owned()),
                ..FunctionDeployment::default()
            })
        };
        let read = with(&STANDARD.encode("user:pass:word")).unwrap().unwrap();
        assert_eq!(read.username.as_deref(), Some("user"));
        assert_eq!(read.password.as_deref(), Some("pass:word"));
        assert!(with("").unwrap().is_none());
        assert!(with("%").is_err());
        assert!(with(&STANDARD.encode("user")).is_err());
    }
}
