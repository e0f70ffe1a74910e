//! Disks and partitions, as the kernel's `/sys/class/block` shows them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::table::{self, SECTOR, Sectors};

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

/// A disk or partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name.
    name: String,
    /// Its number, when it is a partition.
    number: Option<u32>,
    /// The disk of a partition.
    disk: String,
    /// The unique id of a partition.
    uuid: Option<String>,
}

impl Device {
    /// The partition with this unique id, in small letters.
    pub(super) fn as_partition(&self, uuid: &str) -> Option<Partition> {
        let number = self.number?;
        (self.uuid.as_deref() == Some(uuid)).then(|| Partition {
            name: self.name.clone(),
            disk: self.disk.clone(),
            number,
        })
    }

    fn read(name: &str) -> io::Result<Self> {
        let link = Path::new(BLOCK).join(name);
        let number = fs::read_to_string(link.join("uevent")).map(|text| partition_number(&text))?;
        // The folder of a partition lies in that of its disk.
        let folder = fs::canonicalize(&link)?;
        let disk = folder.parent().and_then(Path::file_name);
        Ok(Self {
            name: name.to_owned(),
            number,
            disk: disk.unwrap_or_default().to_string_lossy().into_owned(),
            uuid: None,
        })
    }
}

fn partition_number(uevent: &str) -> Option<u32> {
    uevent
        .lines()
        .find_map(|line| line.strip_prefix("PARTN="))
        .and_then(|number| number.parse().ok())
}

/// All disks and partitions, by name.
pub(super) fn devices() -> Vec<Device> {
    let Ok(entries) = fs::read_dir(BLOCK) else {
        return Vec::new();
    };
    // What goes while it is looked at is not there.
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| Device::read(&entry.file_name().to_string_lossy()).ok())
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    identify(&mut devices);
    devices
}

/// Adds the unique ids of partitions. Not every kernel in use says them, so
/// they are read where the kernel has them from.
fn identify(devices: &mut [Device]) {
    let mut disks: Vec<String> = devices
        .iter()
        .filter(|device| device.number.is_some())
        .map(|device| device.disk.clone())
        .collect();
    disks.dedup();
    for disk in disks {
        let Ok(ids) = Table::open(&format!("/dev/{disk}"))
            .map_err(table::Error::from)
            .and_then(|table| table::unique_ids(&table))
        else {
            continue;
        };
        for device in devices.iter_mut().filter(|device| device.disk == disk) {
            device.uuid = ids
                .iter()
                .find(|(number, _)| Some(*number) == device.number)
                .map(|(_, id)| id.clone());
        }
    }
}

/// A disk, for its partition table.
pub(super) struct Table(File);

impl Table {
    /// Opens the disk at `node`.
    pub(super) fn open(node: &str) -> io::Result<Self> {
        File::open(node).map(Self)
    }
}

impl Sectors for Table {
    fn read(&self, first: u64, count: u64) -> io::Result<Vec<u8>> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let offset = first.checked_mul(SECTOR).ok_or_else(invalid)?;
        let length = usize::try_from(count * SECTOR).map_err(|_| invalid())?;
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
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
    use super::{Device, describe, partition_number};

    fn device(name: &str, number: Option<u32>, uuid: Option<&str>) -> Device {
        Device {
            name: name.to_owned(),
            number,
            disk: "vda".to_owned(),
            uuid: uuid.map(str::to_owned),
        }
    }

    #[test]
    fn a_partition_is_known_by_its_uevent() {
        let partition = "MAJOR=179\nMINOR=2\nDEVNAME=mmcblk0p2\nDEVTYPE=partition\nPARTN=2\n";
        let disk = "MAJOR=179\nMINOR=0\nDEVNAME=mmcblk0\nDEVTYPE=disk\n";
        assert_eq!(partition_number(partition), Some(2));
        assert_eq!(partition_number(disk), None);
    }

    #[test]
    fn a_partition_is_found_by_its_unique_id() {
        let partition = device("vda2", Some(2), Some("1badcafe-02"));
        let found = partition.as_partition("1badcafe-02").unwrap();
        assert_eq!(
            (found.node(), found.disk_node()),
            ("/dev/vda2".into(), "/dev/vda".into())
        );
        assert_eq!(partition.as_partition("1badcafe-03"), None);
        assert_eq!(device("vda", None, None).as_partition(""), None);
    }

    #[test]
    fn an_error_lists_what_there_is() {
        let disk = device("vda", None, None);
        let part = device("vda1", Some(1), Some("1badcafe-01"));
        let empty = device("loop0", None, None);
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
