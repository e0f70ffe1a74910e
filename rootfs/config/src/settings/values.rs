//! The forms that values of settings have. Each is a type that can only be made
//! from a valid value, so that whoever reads settings need not check again.

mod checks;
mod numbers;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use numbers::{Cidr, SysctlValue, Within};

/// Defines a type for text of a certain form: its name, what it is called, the
/// check, and the rule that an error states. One that is `secret` shows its
/// content nowhere but where it is asked for.
macro_rules! text {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $check:expr, $rule:literal $(, $secret:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A default; the tests check that it has the right form.
            #[allow(dead_code, reason = "not every type has a default")]
            pub(crate) fn known(text: &str) -> Self {
                debug_assert!($check(text), "{text}");
                Self(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                if $check(&text) {
                    return Ok(Self(text));
                }
                #[allow(unused_mut, unused_assignments, reason = "only secrets change it")]
                let mut shown = format!("{text:?}");
                $(shown = text!(@hidden $secret);)?
                Err(format!("{shown} is not a {}; {}", $kind, $rule))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = String;

            fn try_from(text: &str) -> Result<Self, String> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(return f.write_str(&text!(@hidden $secret));)?
                #[allow(unreachable_code, reason = "reached when it is no secret")]
                fmt::Debug::fmt(&self.0, f)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                #[allow(unused_mut, reason = "only secrets change it")]
                let mut schema = schemars::json_schema!({ "type": "string", "format": $kind });
                $(schema.insert(text!(@mark $secret).to_owned(), true.into());)?
                schema
            }
        }
    )*};
    (@hidden secret) => { String::from("what is given") };
    (@mark secret) => { "x-secret" };
}

text! {
    /// One label of a domain name (RFC 1123).
    Hostname: "host name", checks::hostname, "use letters, digits and -, at most 63";
    /// A zone of the time zone database, such as `Europe/Berlin`.
    Timezone: "time zone", checks::timezone, "write it as in \"Europe/Berlin\" or \"UTC\"";
    /// A login name, as `useradd` takes it.
    UserName: "user name", checks::user_name, "use small letters, digits, - and _, at most 32";
    /// The name of a group.
    GroupName: "group name", checks::user_name, "use small letters, digits, - and _, at most 32";
    /// One line of `authorized_keys(5)`.
    SshKey: "public ssh key", checks::ssh_key, "give one line as in \"ssh-ed25519 AAAA... you@home\"";
    /// The hash of a password in the form of `crypt(5)`.
    PasswordHash: "password hash", checks::password_hash,
        "make one with `mkpasswd -m yescrypt`", secret;
    /// A path from the root.
    AbsolutePath: "absolute path", checks::absolute_path, "it starts with / and has no . or .. in it";
    /// A device or a folder that functions may have.
    FunctionPath: "path", checks::function_path,
        "it starts with / and has no . or .. and no comma or colon in it";
    /// The program that a login starts; `:` ends a field of `passwd`.
    Shell: "login shell", checks::shell, "it is an absolute path without a colon";
    /// A folder of the data partition that is nobody else's.
    DataFolder: "folder for data", checks::data_folder,
        "it lies below /data, and not in /data/rubus or /data/home";
    /// The name of a network interface.
    InterfaceName: "name of an interface", checks::interface, "it has 15 characters at most, and no / or space";
    /// The name of a wireless network.
    Ssid: "name of a wireless network", checks::ssid, "it has 1 to 32 bytes";
    /// A password of a wireless network, or the key derived from it.
    WifiPassword: "Wi-Fi password", checks::wifi_password,
        "it has 8 to 63 characters, or 64 hexadecimal digits", secret;
    /// A country of ISO 3166.
    Country: "country", checks::country, "write two capital letters as in \"DE\"";
    /// A domain name.
    Domain: "domain", checks::domain, "write it as in \"lan\" or \"example.org\"";
    /// A host, by name or address.
    TimeServer: "time server", checks::host, "give a name or an address";
    /// An address of the web without a password in it.
    WebAddress: "web address", checks::web_address, "write it as in \"https://host:port\"";
    /// The address of a proxy, which may hold a password.
    ProxyAddress: "proxy", checks::proxy_address, "write it as in \"http://host:3128\"", secret;
    /// A host, a domain or a network that is reached without a proxy.
    ProxyException: "host, domain or network", checks::proxy_exception, "write one an entry";
    /// A registry of images.
    Registry: "registry", checks::registry, "write it as in \"registry.lan:5000\" or \"10.0.0.0/8\"";
    /// A syslog server: how it is spoken to, host and port.
    SyslogServer: "syslog server", checks::syslog_server, "write it as in \"udp://10.0.0.1\" or \"tcp://logs.lan:601\"";
    /// A line of the firmware's `config.txt`.
    FirmwareLine: "line of config.txt", checks::firmware_line, "write it as in \"gpu_mem=32\", at most 96 characters";
    /// A module of the kernel.
    ModuleName: "kernel module", checks::module, "use letters, digits, - and _";
    /// The name of a kernel parameter, as in `sysctl(8)`.
    SysctlName: "kernel parameter", checks::sysctl, "write it as in \"vm.swappiness\"";
    /// A number of bytes, in powers of 1024.
    Size: "size", checks::size, "write it as in \"64M\" or \"1G\"";
    /// A length of time.
    Period: "duration", checks::period, "write it as in \"10s\", \"500ms\" or \"2m\"";
    /// Permissions of a file in octal.
    Mode: "file mode", checks::mode, "write it as in \"0644\"";
    /// Owner and group of a file.
    Owner: "owner", checks::owner, "write it as in \"root:root\"";
}

impl Default for Timezone {
    fn default() -> Self {
        Self::known("UTC")
    }
}
