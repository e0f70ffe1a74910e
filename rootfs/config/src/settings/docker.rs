//! The Docker engine and the functions on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::Ssh;
use super::values::{DataFolder, FunctionPath, Period, Registry, Size, WebAddress, Within};

/// The Docker engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// Mirrors of Docker Hub that are asked first, such as
    /// `http://registry.lan:5000`.
    pub registry_mirrors: Vec<WebAddress>,
    /// Registries that are spoken to without TLS or with a certificate of their
    /// own, such as `registry.lan:5000`.
    pub insecure_registries: Vec<Registry>,
    /// How large the log file of a container may become, such as `10M`.
    pub log_max_size: Size,
    /// How many log files of a container are kept.
    pub log_max_files: Within<1, 1000>,
    /// Where images, containers and volumes are kept: a folder below `/data`.
    pub data_root: DataFolder,
    /// Whether the engine is also reached over the network, on port 2376, by
    /// clients with a certificate that `ros tls generate` made.
    pub tcp: bool,
    /// Further settings of the engine, as in its `daemon.json`.
    pub daemon: BTreeMap<String, Value>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            registry_mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            log_max_size: Size::known("10M"),
            log_max_files: Within::known(3),
            data_root: DataFolder::known("/data/docker"),
            tcp: false,
            daemon: BTreeMap::new(),
        }
    }
}

/// When the image of a function is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ImagePull {
    /// At every deployment.
    Always,
    /// When it is not there, or is called `latest`.
    #[default]
    Missing,
    /// Never: deployments of images that are not there are refused.
    Never,
}

/// Where the gateway's metrics are, whatever its own port is.
const METRICS_PORT: u16 = 8082;

/// The functions gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// The address that it listens on, such as `127.0.0.1`; without one, all of
    /// the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port of the API and of functions.
    pub port: NonZeroU16,
    /// Whether the API asks for the password in
    /// `/var/lib/rubus/gateway/secrets`.
    pub basic_auth: bool,
    /// Whether a function with no replicas is started by a call.
    pub scale_from_zero: bool,
    /// Whether functions get more replicas when they have more to do, and fewer
    /// when less; labels of a function say how.
    pub autoscale: bool,
    /// How long a call of a function may take, such as `60s`.
    pub timeout: Period,
    /// How large the body of a call may be, such as `32M`; `0` for any size.
    pub max_body: Size,
    /// How many calls may be under way at a time.
    pub max_requests: Within<1, 100_000>,
    /// How many requests an address may send in a second; `0` for any number.
    pub rate_limit: u32,
    /// When images of functions are fetched.
    pub pull: ImagePull,
    /// Devices that functions may have, such as `/dev/gpiochip0`, or `/dev/i2c-*`
    /// for all that begin like it.
    pub devices: Vec<FunctionPath>,
    /// Folders that functions may have, such as `/home/rubus/photos`.
    pub folders: Vec<FunctionPath>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            address: None,
            port: NonZeroU16::MIN.saturating_add(8079),
            basic_auth: true,
            scale_from_zero: true,
            autoscale: true,
            timeout: Period::known("60s"),
            max_body: Size::known("32M"),
            max_requests: Within::known(500),
            rate_limit: 0,
            pull: ImagePull::default(),
            devices: Vec::new(),
            folders: Vec::new(),
        }
    }
}

impl Gateway {
    /// Checks that nothing else has its port.
    pub(super) fn check(&self, ssh: &Ssh) -> Result<(), (String, String)> {
        let taken_by = if self.port == ssh.port {
            "ssh"
        } else if self.port.get() == METRICS_PORT {
            "the gateway's metrics"
        } else {
            return Ok(());
        };
        let message = format!("port {} is that of {taken_by}; choose another", self.port);
        Err(("gateway.port".to_owned(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_has_a_port_of_its_own() {
        let ssh = Ssh::default();
        let mut gateway = Gateway::default();
        assert_eq!((gateway.port.get(), gateway.check(&ssh)), (8080, Ok(())));
        for (port, words) in [(22, "ssh"), (8082, "metrics")] {
            gateway.port = NonZeroU16::new(port).unwrap();
            let (key, message) = gateway.check(&ssh).unwrap_err();
            assert_eq!(key, "gateway.port");
            assert!(message.contains(words), "{message}");
        }
    }
}
