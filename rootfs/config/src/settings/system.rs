//! The kernel, the watchdog, and what happens at boot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{
    AbsolutePath, Mode, ModuleName, Owner, SysctlName, SysctlValue, SyslogServer, Within,
};

/// Modules and parameters of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Modules to load at boot, beside those that the hardware asks for.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub modules: Vec<ModuleName>,
    /// Values below `/proc/sys`, by name as in `sysctl(8)`.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub sysctl: BTreeMap<SysctlName, SysctlValue>,
}

/// The hardware watchdog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-applies" = "reboot"))
)]
#[serde(deny_unknown_fields, default)]
pub struct Watchdog {
    /// Whether the board restarts when the system hangs.
    pub enabled: bool,
    /// After how many seconds; the boards take 15 at most.
    pub timeout: Within<2, 15>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Within::known(15),
        }
    }
}

/// What becomes of the logs of services, besides the memory that they lie in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Whether they are kept on the data partition over boots: written every
    /// five minutes and before a reboot, 1 MiB a service.
    pub persist: bool,
    /// A syslog server that gets every line (RFC 5424), such as
    /// `udp://10.0.0.1` or `tcp://logs.lan:601`; the port is 514 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SyslogServer>,
}

/// A file to write at boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// Where, as the console sees it.
    pub path: AbsolutePath,
    /// What is in it, in the form that `encoding` names.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(extend("x-secret" = true)))]
    pub content: String,
    /// The form of `content`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Its mode, in octal.
    #[serde(default = "default_mode")]
    pub permissions: Mode,
    /// User and group, such as `rubus:rubus`.
    #[serde(default = "default_owner")]
    pub owner: Owner,
    /// Whether the content goes to the end of a file that is there.
    #[serde(default)]
    pub append: bool,
}

fn default_mode() -> Mode {
    Mode::known("0644")
}

fn default_owner() -> Owner {
    Owner::known("root:root")
}

/// How the content of a file is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Encoding {
    /// As it is.
    #[default]
    #[serde(rename = "text")]
    Text,
    /// Base64.
    #[serde(rename = "b64")]
    Base64,
    /// Compressed by gzip, then base64.
    #[serde(rename = "gz+b64")]
    GzipBase64,
}

/// A command: a line for the shell, or a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Command {
    /// A line for `sh -c`.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
}
