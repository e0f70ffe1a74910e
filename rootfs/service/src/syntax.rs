//! The small languages inside `service.toml`: mounts, devices, folders in
//! memory, and addresses of health checks.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use crate::Service;

/// A bind mount, `/on/the/host:/inside:options`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the node.
    pub source: String,
    /// The path inside the service.
    pub target: String,
    /// Options of mount(8), without `bind`.
    pub options: Vec<String>,
}

/// Options that a bind mount may have.
const MOUNT_OPTIONS: [&str; 17] = [
    "ro", "rw", "rbind", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime",
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

impl FromStr for Mount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(source), Some(target), options, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!(
                "\"{text}\" is not a mount; write it as \"/on/the/host:/inside:ro\""
            ));
        };
        absolute(source)?;
        absolute(target)?;
        let options: Vec<String> = options
            .into_iter()
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect();
        if let Some(wrong) = options
            .iter()
            .find(|it| !MOUNT_OPTIONS.contains(&it.as_str()))
        {
            let hint = crate::suggest::hint(wrong, MOUNT_OPTIONS);
            return Err(format!("\"{wrong}\" is not an option of a mount{hint}"));
        }
        Ok(Mount {
            source: source.to_owned(),
            target: target.to_owned(),
            options,
        })
    }
}

/// A device node, `/dev/name` or `/dev/name:rwm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its path, the same on the node and inside.
    pub path: String,
    /// What may be done: letters of `rwm`.
    pub access: String,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, access) = text.split_once(':').unwrap_or((text, "rw"));
        absolute(path)?;
        let known = !access.is_empty() && access.chars().all(|c| "rwm".contains(c));
        if !path.starts_with("/dev/") || !known {
            return Err(format!(
                "\"{text}\" is not a device; write it as \"/dev/rtc0\" or \"/dev/rtc0:r\""
            ));
        }
        Ok(Device {
            path: path.to_owned(),
            access: access.to_owned(),
        })
    }
}

/// A folder in memory, `/inside` or `/inside:size=1M,mode=0755`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// The path inside the service.
    pub target: String,
    /// Options of tmpfs(5).
    pub options: Vec<String>,
}

impl FromStr for Tmpfs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        absolute(target)?;
        let options: Vec<String> = options
            .split(',')
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect();
        for option in &options {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let good = match key {
                "size" => value.parse::<crate::units::Size>().is_ok(),
                "mode" => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
                "uid" | "gid" | "nr_inodes" => value.parse::<u32>().is_ok(),
                "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "ro" | "rw" => {
                    value.is_empty()
                }
                _ => false,
            };
            if !good {
                return Err(format!(
                    "\"{option}\" is not an option of a folder in memory; write it as \"size=1M\", \"mode=0755\", \"uid=100\" or \"noexec\""
                ));
            }
        }
        Ok(Tmpfs {
            target: target.to_owned(),
            options,
        })
    }
}

/// Where an HTTP health check asks: `http://127.0.0.1:8080/healthz`, or
/// `http://unix:/run/docker.sock:/_ping` for a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// The socket that it connects to.
    pub address: Address,
    /// The `Host` header.
    pub host: String,
    /// The path of the request.
    pub path: String,
}

/// The address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix socket on the node.
    Unix(PathBuf),
}

impl FromStr for HttpTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not an address of a health check; write it as \"http://127.0.0.1:8080/path\" or \"http://unix:/run/name.sock:/path\""
            )
        };
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        if let Some(rest) = rest.strip_prefix("unix:") {
            let (socket, path) = rest.split_once(':').ok_or_else(wrong)?;
            absolute(socket)?;
            absolute(path)?;
            return Ok(HttpTarget {
                address: Address::Unix(PathBuf::from(socket)),
                host: "localhost".to_owned(),
                path: path.to_owned(),
            });
        }
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let numeric = match host.strip_prefix("localhost") {
            Some(port) => format!("127.0.0.1{port}"),
            None => host.to_owned(),
        };
        let address = numeric
            .parse()
            .or_else(|_| format!("{numeric}:80").parse())
            .map_err(|_| wrong())?;
        Ok(HttpTarget {
            address: Address::Tcp(address),
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Refuses a path that is relative, climbs, or is not written plainly.
fn absolute(path: &str) -> Result<(), String> {
    let plain = path == "/"
        || path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
        });
    if plain {
        Ok(())
    } else {
        Err(format!(
            "\"{path}\" is not an absolute path without `.`, `..` or double slashes"
        ))
    }
}

impl Service {
    /// Its bind mounts; one that [`Service::parse`] would refuse is left out.
    pub fn mounts(&self) -> impl Iterator<Item = Mount> + '_ {
        self.mounts.iter().filter_map(|it| it.parse().ok())
    }

    /// Its device nodes.
    pub fn devices(&self) -> impl Iterator<Item = Device> + '_ {
        self.devices.iter().filter_map(|it| it.parse().ok())
    }

    /// Its folders in memory.
    pub fn tmpfs(&self) -> impl Iterator<Item = Tmpfs> + '_ {
        self.tmpfs.iter().filter_map(|it| it.parse().ok())
    }

    /// The number of the signal that makes it read its settings anew.
    pub fn reload_signal_number(&self) -> Option<i32> {
        crate::signals::number(self.reload_signal.as_deref()?)
    }

    /// Who it runs as, in the words of [`Identity::lookup`](crate::Identity::lookup).
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }

    /// The number of the signal that asks it to stop.
    pub fn stop_signal_number(&self) -> i32 {
        crate::signals::number(&self.stop_signal).unwrap_or(15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_name_both_paths_and_options() {
        let mount: Mount = "/var/lib/rubus/ntp:/var/lib/chrony:rw,rshared"
            .parse()
            .unwrap();
        assert_eq!(mount.source, "/var/lib/rubus/ntp");
        assert_eq!(mount.target, "/var/lib/chrony");
        assert_eq!(mount.options, ["rw", "rshared"]);
        assert!("/a:/b".parse::<Mount>().unwrap().options.is_empty());
        for wrong in [
            "/a",
            "a:/b",
            "/a:b",
            "/a:/b:ro:x",
            "/a/../b:/c",
            "/a//b:/c",
            "",
        ] {
            assert!(wrong.parse::<Mount>().is_err(), "{wrong}");
        }
        let error = "/a:/b:rshred".parse::<Mount>().unwrap_err();
        assert!(error.ends_with("did you mean `rshared`?"), "{error}");
    }

    #[test]
    fn devices_lie_below_dev() {
        let device: Device = "/dev/rtc0:r".parse().unwrap();
        assert_eq!(
            (device.path.as_str(), device.access.as_str()),
            ("/dev/rtc0", "r")
        );
        assert_eq!("/dev/rtc0".parse::<Device>().unwrap().access, "rw");
        for wrong in [
            "/etc/passwd",
            "rtc0",
            "/dev/rtc0:x",
            "/dev/rtc0:",
            "/dev/../etc",
        ] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn folders_in_memory_take_known_options() {
        let tmpfs: Tmpfs = "/var/log:size=1M,mode=0755".parse().unwrap();
        assert_eq!(tmpfs.options, ["size=1M", "mode=0755"]);
        for wrong in ["/a:size=x", "/a:mode=9", "/a:colour=red", "a"] {
            assert!(wrong.parse::<Tmpfs>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn health_addresses_are_numeric_or_unix_sockets() {
        let target: HttpTarget = "http://127.0.0.1:8080/healthz".parse().unwrap();
        assert_eq!(target.address, Address::Tcp(([127, 0, 0, 1], 8080).into()));
        assert_eq!(
            (target.host.as_str(), target.path.as_str()),
            ("127.0.0.1:8080", "/healthz")
        );
        let target: HttpTarget = "http://localhost".parse().unwrap();
        assert_eq!(target.address, Address::Tcp(([127, 0, 0, 1], 80).into()));
        assert_eq!(target.path, "/");
        assert!("http://[::1]:80/".parse::<HttpTarget>().is_ok());
        let target: HttpTarget = "http://unix:/run/docker.sock:/_ping".parse().unwrap();
        assert_eq!(target.address, Address::Unix("/run/docker.sock".into()));
        assert_eq!(target.path, "/_ping");
        for wrong in [
            "https://127.0.0.1/",
            "http://example.org/",
            "http://127.0.0.1:99999/",
            "http://unix:/run/docker.sock",
            "http://127.0.0.1/a b",
            "http://127.0.0.1/\r\nX: y",
        ] {
            assert!(wrong.parse::<HttpTarget>().is_err(), "{wrong}");
        }
    }
}
