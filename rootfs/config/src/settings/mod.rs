//! The configuration of a device: every setting, its type, its default and what
//! it means. The parser, the validation, the JSON Schema, the reference page and
//! the completions all come from here.
//!
//! A value that parses is valid: what has a form is a type of [`values`]. What
//! concerns several keys at once is checked by [`Settings::check`].
//!
//! Two extensions of JSON Schema carry what a type cannot say: `x-secret` (the
//! value is hidden when settings are shown) and `x-applies` (`"reboot"` where a
//! change waits for the next boot).

mod access;
mod docker;
mod firmware;
mod network;
mod system;
pub mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use access::{Ssh, Sudo, User};
pub use docker::{Docker, Gateway, ImagePull};
pub use firmware::Firmware;
pub use network::{Interface, Ipv6, Network, Ntp, Proxy, Route, Vlan, Wifi, WifiNetwork};
pub use system::{Command, Encoding, Kernel, Logging, Watchdog, WriteFile};
use values::{Hostname, Timezone, UserName};

/// Every setting of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of the node. Without one it is `rubus-` and the end of the
    /// machine id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// The time zone of programs that start from now on, as in
    /// `/usr/share/zoneinfo`.
    pub timezone: Timezone,
    /// Who may log in, by name.
    pub users: BTreeMap<UserName, User>,
    /// Login over ssh.
    pub ssh: Ssh,
    /// Interfaces, addresses and Wi-Fi.
    pub network: Network,
    /// Network time.
    pub ntp: Ntp,
    /// How to reach the web from behind a proxy.
    pub proxy: Proxy,
    /// The Docker engine.
    pub docker: Docker,
    /// The functions gateway.
    pub gateway: Gateway,
    /// Modules and parameters of the kernel.
    pub kernel: Kernel,
    /// The firmware of a Raspberry Pi.
    pub firmware: Firmware,
    /// The hardware watchdog.
    pub watchdog: Watchdog,
    /// Logs of services.
    pub logging: Logging,
    /// Which services run, by name; one that is not named keeps the default of
    /// its `service.toml`.
    pub services: BTreeMap<String, bool>,
    /// Files to write at boot, once until they change.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub write_files: Vec<WriteFile>,
    /// Commands to run at every boot, in the console.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub bootcmd: Vec<Command>,
    /// Commands to run at boot, once until they change, after the files are
    /// written.
    #[cfg_attr(feature = "schema", schemars(extend("x-applies" = "reboot")))]
    pub runcmd: Vec<Command>,
}

impl Settings {
    /// What differs from the defaults: a layer that says the same.
    ///
    /// # Errors
    /// When a value of `docker.daemon` cannot be written as JSON.
    pub fn layer(&self) -> serde_json::Result<Value> {
        let defaults = serde_json::to_value(Self::default())?;
        Ok(difference(serde_json::to_value(self)?, &defaults))
    }

    /// Checks what concerns several keys at once.
    ///
    /// # Errors
    /// The key, with dots between the levels, and what is wrong with it.
    pub fn check(&self) -> Result<(), (String, String)> {
        self.network.check()?;
        self.firmware.check()?;
        self.gateway.check(&self.ssh)
    }
}

/// A value without what another one says too.
fn difference(value: Value, other: &Value) -> Value {
    match value {
        Value::Object(table) => {
            let differs = |(key, value): (String, Value)| match other.get(&key) {
                Some(same) if *same == value => None,
                Some(other) => Some((key, difference(value, other))),
                None => Some((key, value)),
            };
            Value::Object(table.into_iter().filter_map(differs).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn a_layer_says_only_what_differs_from_the_defaults() {
        assert_eq!(Settings::default().layer().unwrap(), serde_json::json!({}));
        let said = serde_json::json!({
            "hostname": "node1",
            "ssh": {"port": 2222},
            "users": {"anna": {
                "groups": [], "shell": "/bin/bash", "ssh_authorized_keys": [], "sudo": "no"
            }},
        });
        let settings: Settings = serde_json::from_value(said.clone()).unwrap();
        assert_eq!(settings.layer().unwrap(), said);
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        let settings: Settings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(settings.check().is_ok());
        assert_eq!(settings.timezone.as_str(), "UTC");
        assert_eq!(settings.ssh.port.get(), 22);
        assert!(!settings.ssh.password_authentication);
        assert_eq!(settings.watchdog.timeout.get(), 15);
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let text = r#"{
          "hostname": "node1", "timezone": "Europe/Berlin",
          "users": {"anna": {"groups": ["docker"], "sudo": "without-password"}},
          "network": {
            "interfaces": {
              "eth0": {"addresses": ["192.168.1.5/24", "fd00::5/64"], "gateway4": "192.168.1.1",
                       "dns": ["1.1.1.1"], "routes": [{"to": "10.0.0.0/8", "via": "192.168.1.2"}]},
              "eth0.7": {"vlan": {"id": 7, "link": "eth0"}}},
            "wifi": {"country": "DE", "networks": {"home": {"password": "correct horse"}}}},
          "kernel": {"sysctl": {"vm.swappiness": 10, "net.ipv4.ip_forward": "1"}},
          "runcmd": ["echo hello", ["echo", "hello"]],
          "write_files": [{"path": "/home/rubus/x", "content": "aGk=", "encoding": "b64"}]
        }"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert!(settings.check().is_ok());
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<Settings>(&written).unwrap(),
            settings
        );
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        for text in [
            r#"{"hostnam": "a"}"#,
            r#"{"ssh": {"prot": 22}}"#,
            r#"{"users": {"anna": {"group": []}}}"#,
            r#"{"network": {"interfaces": {"eth0": {"adresses": []}}}}"#,
        ] {
            assert!(serde_json::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
