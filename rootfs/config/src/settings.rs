//! The configuration of a device.
//!
//! Layers, later wins: the defaults here, what the image was built with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configuration tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of the node. Default: `rubus-` and the end of the machine id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Login over ssh.
    pub ssh: Ssh,
    /// Which services run, by name; one that is not named keeps the default of
    /// its `service.toml`.
    pub services: BTreeMap<String, bool>,
}

/// Login over ssh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// Public keys that may log in as `rubus`, as in `authorized_keys`.
    pub authorized_keys: Vec<String>,
}
