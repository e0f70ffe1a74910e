//! What of the node itself a function gets: devices and folders. Its annotations
//! say what it wants, the owner of the node what it may have.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    model::FunctionDeployment,
    provider::{Error, Result},
};

/// Devices, with commas between them.
const DEVICES: &str = "org.rubus.devices";
/// Folders as `/on/the/node:/in/the/function`, or with `:ro`, with commas
/// between them.
const FOLDERS: &str = "org.rubus.folders";

/// What functions of this node may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Devices; one that ends with `*` stands for all that begin like it.
    pub devices: Vec<String>,
    /// Folders, each for itself: what is below one can be a link that a function
    /// made.
    pub folders: Vec<String>,
    /// Where the node's `/dev` is seen, to learn whose a device is.
    pub dev: PathBuf,
}

/// What one function gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    /// Paths of devices.
    pub(super) devices: Vec<String>,
    /// Groups that may open them.
    pub(super) groups: BTreeSet<u32>,
    pub(super) folders: Vec<Folder>,
}

/// A folder of the node in a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) read_only: bool,
}

impl Allowed {
    /// What a function gets, if it may have what it wants.
    ///
    /// # Errors
    /// When it may not, or an annotation cannot be understood.
    pub(super) fn grant(&self, deployment: &FunctionDeployment) -> Result<Host> {
        let wanted = |key: &str| {
            let all = deployment.annotations.as_ref().and_then(|map| map.get(key));
            let all = all.map(String::as_str).unwrap_or_default();
            all.split(',').map(str::trim).filter(|it| !it.is_empty())
        };
        let mut host = Host::default();
        for device in wanted(DEVICES) {
            if !is_plain(device) || !self.devices.iter().any(|it| matches(it, device)) {
                return Err(refused(DEVICES, device, "gateway.devices"));
            }
            host.groups.extend(self.group(device)?);
            host.devices.push(device.to_owned());
        }
        for text in wanted(FOLDERS) {
            let folder = folder(text).ok_or_else(|| {
                Error::Invalid(format!(
                    "annotations: {FOLDERS}: \"{text}\" is not a folder; write it as \"/home/rubus/photos:/photos\" or with \":ro\" behind"
                ))
            })?;
            if !self.folders.contains(&folder.source) {
                return Err(refused(FOLDERS, &folder.source, "gateway.folders"));
            }
            host.folders.push(folder);
        }
        Ok(host)
    }

    /// The group of a device: functions run as users who own none.
    fn group(&self, device: &str) -> Result<Option<u32>> {
        let path = self.dev.join(device.trim_start_matches("/dev/"));
        let wrong = |reason: &dyn std::fmt::Display| {
            Error::Invalid(format!("annotations: {DEVICES}: {device}: {reason}"))
        };
        let metadata = fs::metadata(&path).map_err(|error| wrong(&error))?;
        let kind = metadata.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(wrong(&"it is not a device"));
        }
        Ok((metadata.gid() != 0).then_some(metadata.gid()))
    }
}

fn refused(key: &str, what: &str, setting: &str) -> Error {
    Error::Invalid(format!(
        "annotations: {key}: {what} is not for functions; the node's owner allows it in {setting}"
    ))
}

/// Whether a path of a device is below `/dev`, without detours.
fn is_plain(device: &str) -> bool {
    let parts = device.strip_prefix("/dev/");
    parts.is_some_and(|parts| parts.split('/').all(|it| !matches!(it, "" | "." | "..")))
}

fn matches(pattern: &str, device: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => device.starts_with(begin),
        None => device == pattern,
    }
}

fn folder(text: &str) -> Option<Folder> {
    let mut parts = text.split(':');
    let (source, target) = (parts.next()?, parts.next()?);
    let read_only = match (parts.next(), parts.next()) {
        (None, None) | (Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return None,
    };
    let absolute = |path: &str| Path::new(path).is_absolute() && path.len() > 1;
    (absolute(source) && absolute(target)).then(|| Folder {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(allowed: &Allowed, key: &str, value: &str) -> Result<Host> {
        let annotations = [(key.to_owned(), value.to_owned())];
        allowed.grant(&FunctionDeployment {
            annotations: Some(annotations.into()),
            ..FunctionDeployment::default()
        })
    }

    fn allowed() -> Allowed {
        let own = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Allowed {
            devices: own(&["/dev/null", "/dev/z*"]),
            folders: own(&["/home/rubus/photos", "/mnt/data"]),
            dev: "/dev".into(),
        }
    }

    #[test]
    fn nothing_is_given_that_is_not_wanted() {
        let none = allowed().grant(&FunctionDeployment::default());
        assert_eq!(none, Ok(Host::default()));
        assert_eq!(grant(&allowed(), DEVICES, " , "), Ok(Host::default()));
    }

    #[test]
    fn devices_are_those_that_the_owner_allows() {
        let host = grant(&allowed(), DEVICES, "/dev/null, /dev/zero").unwrap();
        assert_eq!(host.devices, ["/dev/null", "/dev/zero"]);
        for wrong in [
            "/dev/full",
            "/dev/nullx",
            "null",
            "/dev/../dev/null",
            "/dev/z/../mem",
            "/etc/passwd",
            "/dev/",
        ] {
            let refused = grant(&allowed(), DEVICES, wrong).unwrap_err().to_string();
            assert!(refused.contains("gateway.devices"), "{wrong}: {refused}");
        }
        // Allowed, but not there, or not a device.
        assert!(grant(&allowed(), DEVICES, "/dev/zzz").is_err());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("null"), "").unwrap();
        let elsewhere = Allowed {
            dev: folder.path().to_owned(),
            ..allowed()
        };
        assert!(grant(&elsewhere, DEVICES, "/dev/null").is_err());
        assert!(grant(&Allowed::default(), DEVICES, "/dev/null").is_err());
    }

    #[test]
    fn folders_are_those_that_the_owner_allows_and_not_what_is_below() {
        let host = grant(
            &allowed(),
            FOLDERS,
            "/home/rubus/photos:/photos:ro,/mnt/data:/data",
        );
        let folders = host.unwrap().folders;
        let seen: Vec<_> = folders
            .iter()
            .map(|it| (it.source.as_str(), it.target.as_str(), it.read_only))
            .collect();
        let expected = [
            ("/home/rubus/photos", "/photos", true),
            ("/mnt/data", "/data", false),
        ];
        assert_eq!(seen, expected);
        for wrong in [
            "/mnt/data/below:/data",
            "/mnt/data/../..:/data",
            "/etc:/host",
            "/mnt:/data",
        ] {
            let refused = grant(&allowed(), FOLDERS, wrong).unwrap_err().to_string();
            assert!(refused.contains("gateway.folders"), "{wrong}: {refused}");
        }
        for wrong in [
            "/mnt/data",
            "/mnt/data:",
            "/mnt/data:data",
            "/mnt/data:/d:x",
            "a:/b",
            "/:/host",
        ] {
            let refused = grant(&allowed(), FOLDERS, wrong).unwrap_err().to_string();
            assert!(refused.contains("write it as"), "{wrong}: {refused}");
        }
    }
}
