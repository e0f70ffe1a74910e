//! Who may log in, and how.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::values::{GroupName, PasswordHash, Shell, SshKey};

/// A person who may log in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// Public keys that may log in over ssh, as in `authorized_keys`.
    pub ssh_authorized_keys: Vec<SshKey>,
    /// The hash of the password, as in `shadow(5)` (`mkpasswd -m yescrypt`).
    /// Without one no password is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<PasswordHash>,
    /// Further groups, such as `docker`.
    pub groups: Vec<GroupName>,
    /// Whether the user may become root. Without this key `rubus` may without
    /// being asked, and nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
    /// The program that a login starts.
    pub shell: Shell,
}

impl Default for User {
    fn default() -> Self {
        Self {
            ssh_authorized_keys: Vec::new(),
            password_hash: None,
            groups: Vec::new(),
            sudo: None,
            shell: Shell::known("/bin/bash"),
        }
    }
}

/// Whether a user may become root by `sudo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// No.
    No,
    /// Yes, with the password of the user.
    WithPassword,
    /// Yes, without being asked.
    WithoutPassword,
}

/// Login over ssh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// Public keys that may log in as `rubus`, as in `authorized_keys`.
    pub authorized_keys: Vec<SshKey>,
    /// The port of the server.
    pub port: NonZeroU16,
    /// Whether a password is enough to log in; it takes a user with one.
    pub password_authentication: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            authorized_keys: Vec::new(),
            port: NonZeroU16::MIN.saturating_add(21),
            password_authentication: false,
        }
    }
}
