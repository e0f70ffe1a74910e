//! The kernel, the firmware, and what happens at boot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{
    AbsolutePath, FirmwareLine, Mode, ModuleName, Owner, SysctlName, SysctlValue, SyslogServer,
    Within,
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

/// What the firmware of the board reads from `config.txt`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-applies" = "reboot"))
)]
#[serde(deny_unknown_fields, default)]
pub struct Firmware {
    /// Memory of the graphics unit in MiB (`gpu_mem`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_mem: Option<Within<16, 944>>,
    /// Device tree overlays with their parameters, such as `disable-bt` or
    /// `i2c-rtc,ds3231` (`dtoverlay`).
    pub overlays: Vec<FirmwareLine>,
    /// Device tree parameters, such as `i2c_arm=on` (`dtparam`).
    pub params: Vec<FirmwareLine>,
    /// Further lines of `config.txt`, such as `arm_boost=1`.
    pub lines: Vec<FirmwareLine>,
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

/// Where logs go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Whether logs of services are kept on the card, which wears it.
    pub persist: bool,
    /// A syslog server that gets them too, such as `udp://logs.lan:514`.
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
