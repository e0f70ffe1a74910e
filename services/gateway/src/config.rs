//! What the environment tells the gateway.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use watchdog::duration;

use crate::provider::docker::{self, Allowed, Pull};

/// Most bytes of a request's body: the classic watchdog holds all of it in
/// memory, and a small board has a gigabyte.
const MAX_BODY: u64 = 32 << 20;
/// Most requests at a time. Each takes some ten kilobytes here, and a process in
/// a function of the classic kind.
const MAX_REQUESTS: u32 = 500;

/// The folder of the functions' secrets in the gateway's state.
const SECRETS: &str = "function-secrets";

/// The settings of one gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that it listens on; without one, all.
    pub address: Option<IpAddr>,
    /// The port of the API and of the functions.
    pub port: u16,
    /// The port of the metrics.
    pub metrics_port: u16,
    /// How long the head of a request may take to arrive.
    pub read_timeout: Duration,
    /// How long a function may take to answer, all of it.
    pub upstream_timeout: Duration,
    /// Most bytes of a request's body; zero for no bound.
    pub max_body: u64,
    /// Most requests to functions at a time; zero for no bound.
    pub max_requests: u32,
    /// Most requests of one caller in a second; zero for no bound.
    pub rate_limit: u32,
    /// Whether `/system` and `/ui` ask for a password.
    pub basic_auth: bool,
    /// The folder of the credentials.
    pub secrets: PathBuf,
    /// Whether a request starts a function that has no replicas.
    pub scale_from_zero: bool,
    /// Whether functions scale by what they have to do.
    pub autoscale: bool,
    /// The namespace of functions that name none.
    pub namespace: String,
    /// The engine, and what it may give to functions.
    pub docker: docker::Options,
    /// The functions that the image carries.
    pub functions: PathBuf,
    /// The gateway's own state.
    pub state: PathBuf,
    /// The socket where the supervisor asks how it is, if any: the port is
    /// anybody's choice.
    pub health_socket: Option<PathBuf>,
}

impl Config {
    /// Reads the settings through `get`, which looks a variable up. What cannot
    /// be read counts as not set, as upstream has it.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| get(name).filter(|value| !value.is_empty());
        let period = |name, default| {
            text(name)
                .and_then(|value| duration::parse(&value))
                .filter(|period| !period.is_zero())
                .unwrap_or(Duration::from_secs(default))
        };
        let number = |name, default: u32| {
            let number = text(name).and_then(|value| value.parse().ok());
            number.unwrap_or(default)
        };
        let port = |name, default| {
            text(name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };
        let path = |name, default: &str| PathBuf::from(text(name).unwrap_or(default.to_owned()));
        let list = |name| {
            let all = text(name).unwrap_or_default();
            all.split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let state = path("state_path", "/var/lib/rubus/gateway");
        Self {
            address: text("address").and_then(|value| value.parse().ok()),
            port: port("port", 8080),
            metrics_port: port("metrics_port", 8082),
            read_timeout: period("read_timeout", 60),
            upstream_timeout: period("upstream_timeout", 60),
            max_body: text("max_body")
                .and_then(|value| value.parse().ok())
                .unwrap_or(MAX_BODY),
            max_requests: number("max_requests", MAX_REQUESTS),
            rate_limit: number("rate_limit", 0),
            // Unlike upstream's, this gateway is open only when told to be.
            basic_auth: text("basic_auth").is_none_or(|value| value == "true"),
            secrets: path("secret_mount_path", "/run/secrets"),
            scale_from_zero: text("scale_from_zero").is_some_and(|value| value == "true"),
            autoscale: text("autoscale").is_none_or(|value| value == "true"),
            namespace: text("function_namespace").unwrap_or_else(|| "openfaas-fn".to_owned()),
            docker: docker::Options {
                socket: path("DOCKER_SOCKET", rubus_config::paths::ENGINE_SOCKET),
                secrets: state.join(SECRETS),
                // In the words of Kubernetes, as upstream.
                pull: match text("image_pull_policy").as_deref() {
                    Some("Always") => Pull::Always,
                    Some("Never") => Pull::Never,
                    _ => Pull::Missing,
                },
                allowed: Allowed {
                    devices: list("devices"),
                    folders: list("folders"),
                    dev: path("device_path", "/dev"),
                },
            },
            functions: path("functions_path", rubus_config::paths::FUNCTIONS),
            state,
            health_socket: text("health_socket").map(PathBuf::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Config {
        Config::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_defaults_are_closed_and_those_of_the_contract() {
        let config = read(&[]);
        assert_eq!((config.port, config.metrics_port), (8080, 8082));
        assert_eq!(config.upstream_timeout, Duration::from_secs(60));
        assert!(config.basic_auth);
        assert!(!config.scale_from_zero);
        assert_eq!(config.namespace, "openfaas-fn");
    }

    #[test]
    fn durations_and_switches_follow_the_rules_of_go() {
        let config = read(&[
            ("upstream_timeout", "5m"),
            ("read_timeout", "soon"),
            ("basic_auth", "false"),
            ("scale_from_zero", "True"),
        ]);
        assert_eq!(config.upstream_timeout, Duration::from_secs(300));
        assert_eq!(config.read_timeout, Duration::from_secs(60));
        assert!(!config.basic_auth && !config.scale_from_zero);
    }
}
