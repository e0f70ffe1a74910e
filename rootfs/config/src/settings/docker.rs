//! The Docker engine and the functions on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::values::{DataFolder, Period, Registry, Size, WebAddress, Within};

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
            daemon: BTreeMap::new(),
        }
    }
}

/// The functions gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Whether the API asks for the password in
    /// `/var/lib/rubus/gateway/secrets`.
    pub basic_auth: bool,
    /// Whether a function with no replicas is started by a call.
    pub scale_from_zero: bool,
    /// How long a call of a function may take, such as `60s`.
    pub timeout: Period,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            basic_auth: true,
            scale_from_zero: true,
            timeout: Period::known("60s"),
        }
    }
}
