//! Disks and partitions, as the kernel's `/sys/class/block` shows them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::table::SECTOR;

const BLOCK: &str = "/sys/class/block";

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its name, such as `mmcblk0p2`.
    pub(super) name: String,
    /// The name of its disk.
    pub(super) disk: String,
    /// Its number on the disk, from 1.
    pub(super) number: u32,
}

impl Partition {
    /// The path of its node.
    pub(super) fn node(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// The path of the node of its disk.
    pub(super) fn disk_node(&self) -> String {
        format!("/dev/{}", self.disk)
    }

    /// Another partition of the same disk.
    pub(super) fn sibling(&self, number: u32) -> Result<Option<Self>> {
        let folder = Path::new(BLOCK).join(&self.disk);
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("cannot list the partitions of {}", self.disk))?
        {
            let entry = entry?;
            let Ok(text) = fs::read_to_string(entry.path().join("partition")) else {
                continue;
            };
            if text.trim().parse() == Ok(number) {
                return Ok(Some(Self {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    disk: self.disk.clone(),
                    number,
                }));
            }
        }
        Ok(None)
    }
}

/// The number of sectors of a disk or partition.
pub(super) fn sectors(name: &str) -> Result<u64> {
    let file = Path::new(BLOCK).join(name).join("size");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.trim()
        .parse()
        .with_context(|| format!("{} holds no number: {text:?}", file.display()))
}

/// What the kernel says of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name.
    pub(super) name: String,
    /// The unique id of a partition.
    pub(super) uuid: Option<String>,
    /// Its number, when it is a partition.
    number: Option<u32>,
}

impl Device {
    fn parse(uevent: &str) -> Self {
        let mut device = Self::default();
        for (key, value) in uevent.lines().filter_map(|l| l.split_once('=')) {
            match key {
                "DEVNAME" => value.clone_into(&mut device.name),
                "PARTUUID" => device.uuid = Some(value.to_lowercase()),
                "PARTN" => device.number = value.parse().ok(),
                _ => {}
            }
        }
        device
    }

    /// The partition with its disk; none when this is a disk.
    pub(super) fn partition(&self) -> Result<Option<Partition>> {
        let Some(number) = self.number else {
            return Ok(None);
        };
        // The folder of a partition lies in that of its disk.
        let link = Path::new(BLOCK).join(&self.name);
        let folder =
            fs::canonicalize(&link).with_context(|| format!("cannot follow {}", link.display()))?;
        let disk = folder
            .parent()
            .and_then(Path::file_name)
            .with_context(|| format!("{} has no disk", self.name))?;
        Ok(Some(Partition {
            name: self.name.clone(),
            disk: disk.to_string_lossy().into_owned(),
            number,
        }))
    }
}

/// All disks and partitions that hold something, by name.
pub(super) fn devices() -> Vec<Device> {
    let Ok(entries) = fs::read_dir(BLOCK) else {
        return Vec::new();
    };
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("uevent")).ok())
        .map(|uevent| Device::parse(&uevent))
        .filter(|device| !device.name.is_empty())
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

/// Says which disks and partitions there are.
pub(super) fn describe(devices: &[Device], size: impl Fn(&str) -> Option<u64>) -> String {
    let described: Vec<String> = devices
        .iter()
        .filter_map(|device| {
            let mib = (size(&device.name)? * SECTOR) >> 20;
            // Loop devices and the like, before anything is in them.
            (mib > 0).then(|| match &device.uuid {
                Some(uuid) => format!("{} ({mib} MiB, PARTUUID={uuid})", device.name),
                None => format!("{} ({mib} MiB)", device.name),
            })
        })
        .collect();
    if described.is_empty() {
        "no disk at all".to_owned()
    } else {
        described.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, describe};

    #[test]
    fn a_partition_is_known_by_its_uevent() {
        let uevent = "MAJOR=179\nMINOR=2\nDEVNAME=mmcblk0p2\nDEVTYPE=partition\n\
                      DISKSEQ=1\nPARTN=2\nPARTUUID=1BADCAFE-02\n";
        let device = Device::parse(uevent);
        assert_eq!(device.name, "mmcblk0p2");
        assert_eq!(device.number, Some(2));
        assert_eq!(device.uuid.as_deref(), Some("1badcafe-02"));
    }

    #[test]
    fn an_error_lists_what_there_is() {
        let disk = Device::parse("DEVNAME=vda\nDEVTYPE=disk\n");
        let part = Device::parse("DEVNAME=vda1\nPARTN=1\nPARTUUID=1badcafe-01\n");
        let empty = Device::parse("DEVNAME=loop0\n");
        let size = |name: &str| match name {
            "vda" => Some(2 * 131_072),
            "vda1" => Some(131_072),
            _ => Some(0),
        };
        assert_eq!(
            describe(&[disk, part, empty.clone()], size),
            "vda (128 MiB), vda1 (64 MiB, PARTUUID=1badcafe-01)"
        );
        assert_eq!(describe(&[empty], size), "no disk at all");
    }
}
