//! The disk: a partition table, the boot partition and the first slot.
//!
//! The other slot and the data partition are made on the device, behind these.

use std::{collections::BTreeMap, fs::File, ops::Range};

use anyhow::{Context, Result, anyhow, ensure};
use gpt::{GptConfig, mbr::ProtectiveMBR, partition_types};
use mbrman::{CHS, MBR, MBRPartitionEntry};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fat::{self, DoesNotFit, Files, Volume};

/// Bytes of a sector, on every card and disk that we write.
pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Partitions begin at a multiple of this, which suits the erase blocks of
/// cards.
const ALIGNMENT: u64 = 4 * MIB;
const BOOT_SIZE: u64 = 64 * MIB;
/// Size of a slot when nothing else is said.
pub const DEFAULT_SLOT_SIZE: u64 = 256 * MIB;
const SLOT_SIZES: Range<u64> = 64 * MIB..8192 * MIB + 1;
/// FAT32 with LBA, the type that the mask ROM of every Pi knows.
const FAT32_LBA: u8 = 0x0C;
/// Room for the second copy of a GPT.
const GPT_BACKUP: u64 = MIB;
const GPT_BACKUP_USED: u64 = 33 * SECTOR;
const GPT_ENTRIES: u32 = 128;

/// Label of the boot partition.
pub const BOOT_LABEL: &str = "RUBUS";
const SLOT_LABEL: &str = "RUBUS_A";

/// Kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PartitionTable {
    /// Master boot record, which every board knows.
    Mbr,
    /// GUID partition table, for boards whose firmware is an EEPROM.
    Gpt,
}

/// A partition of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
    /// What Linux calls it, for `PARTUUID=` in the command line.
    pub partuuid: String,
    guid: Uuid,
    volume_id: u32,
}

impl Partition {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.size
    }
}

/// Where everything is, and how it is called. Depends on nothing but the
/// arguments of [`Layout::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Kind of partition table.
    pub table: PartitionTable,
    /// Partition 1: what the first stage of the boot reads.
    pub boot: Partition,
    /// Partition 2: the slot that the image fills.
    pub slot: Partition,
    /// Length of the image in bytes.
    pub size: u64,
    signature: u32,
    guid: Uuid,
}

impl Layout {
    /// Plans a disk. Identifiers are derived from the build id, so that two
    /// different builds never share one, and a build has the same ones again.
    ///
    /// # Errors
    /// When the size of a slot is not a multiple of 4 MiB between 64 MiB and
    /// 8 GiB.
    pub fn new(table: PartitionTable, build_id: &str, slot_size: u64) -> Result<Self> {
        ensure!(
            SLOT_SIZES.contains(&slot_size) && slot_size.is_multiple_of(ALIGNMENT),
            "`slot_size` is {:.1} MiB; it must be a multiple of 4 MiB between 64 MiB and 8192 MiB",
            slot_size as f64 / MIB as f64
        );
        let signature = number(build_id, "disk");
        let partition = |number_on_disk: u32, start: u64, size: u64| {
            let guid = guid(build_id, &format!("partition {number_on_disk}"));
            Partition {
                start,
                size,
                partuuid: match table {
                    PartitionTable::Mbr => format!("{signature:08x}-{number_on_disk:02x}"),
                    PartitionTable::Gpt => guid.to_string(),
                },
                guid,
                volume_id: number(build_id, &format!("volume {number_on_disk}")),
            }
        };
        let boot = partition(1, ALIGNMENT, BOOT_SIZE);
        let slot = partition(2, ALIGNMENT + BOOT_SIZE, slot_size);
        let end = slot.start + slot.size;
        Ok(Self {
            table,
            boot,
            slot,
            size: match table {
                PartitionTable::Mbr => end,
                PartitionTable::Gpt => end + GPT_BACKUP,
            },
            signature,
            guid: guid(build_id, "disk"),
        })
    }
}

/// Writes the image into `out`, whose old content is dropped. Returns the
/// ranges that a card needs; everything else is free space.
///
/// # Errors
/// When the files do not fit, a content cannot be read, or `out` cannot be
/// written.
pub fn write(
    layout: &Layout,
    timestamp: i64,
    boot_files: &Files,
    slot_files: &Files,
    out: &File,
) -> Result<Vec<Range<u64>>> {
    out.set_len(0)
        .and_then(|()| out.set_len(layout.size))
        .context("cannot make the image file")?;
    match layout.table {
        PartitionTable::Mbr => write_mbr(layout, out),
        PartitionTable::Gpt => write_gpt(layout, out),
    }
    .context("cannot write the partition table")?;

    let boot = fill(&layout.boot, BOOT_LABEL, timestamp, boot_files, out)
        .map_err(|error| explain(error, "the boot partition is too small", ""))?;
    let slot = fill(&layout.slot, SLOT_LABEL, timestamp, slot_files, out).map_err(|error| {
        explain(
            error,
            "the slot is too small",
            "; raise `slot_size` in rubus.toml",
        )
    })?;
    // All of the space before the first partition is written, so that nothing
    // of what a card had before is taken for a part of this.
    let mut ranges = vec![
        0..layout.boot.start + boot,
        layout.slot.start..layout.slot.start + slot,
    ];
    if layout.table == PartitionTable::Gpt {
        ranges.push(layout.size - GPT_BACKUP_USED..layout.size);
    }
    Ok(ranges)
}

fn fill(
    partition: &Partition,
    label: &str,
    timestamp: i64,
    files: &Files,
    out: &File,
) -> Result<u64> {
    let volume = Volume {
        label,
        id: partition.volume_id,
        timestamp,
        start: partition.start,
        size: partition.size,
    };
    fat::write(out, &volume, files)
}

/// Says of a partition that is too small which one, and what to do.
fn explain(error: anyhow::Error, what: &str, way_out: &str) -> anyhow::Error {
    match error.downcast::<DoesNotFit>() {
        Ok(reason) => anyhow!("{what}: {reason}{way_out}"),
        Err(error) => error,
    }
}

fn write_mbr(layout: &Layout, mut out: &File) -> Result<()> {
    let mut table = MBR::new_from(&mut out, SECTOR as u32, layout.signature.to_le_bytes())?;
    for (index, partition) in [&layout.boot, &layout.slot].into_iter().enumerate() {
        table[index + 1] = MBRPartitionEntry {
            boot: mbrman::BOOT_INACTIVE,
            // Cylinders are not used with this type; these values say so.
            first_chs: CHS::new(1023, 254, 63),
            sys: FAT32_LBA,
            last_chs: CHS::new(1023, 254, 63),
            starting_lba: u32::try_from(partition.start / SECTOR)?,
            sectors: u32::try_from(partition.size / SECTOR)?,
        };
    }
    table.write_into(&mut out)?;
    Ok(())
}

fn write_gpt(layout: &Layout, out: &File) -> Result<()> {
    let sectors = layout.size / SECTOR;
    let mut device = out.try_clone()?;
    let mut protective =
        ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX));
    protective.set_disk_signature(layout.signature.to_le_bytes());
    protective.overwrite_lba0(&mut device)?;
    let mut table = GptConfig::new()
        .writable(true)
        .create_from_device(device, Some(layout.guid))?;
    let partition = |partition: &Partition, name: &str| gpt::partition::Partition {
        part_type_guid: partition_types::BASIC,
        part_guid: partition.guid,
        first_lba: partition.range().start / SECTOR,
        last_lba: partition.range().end / SECTOR - 1,
        flags: 0,
        name: name.to_owned(),
    };
    table.update_partitions(BTreeMap::from([
        (1, partition(&layout.boot, "rubus")),
        (2, partition(&layout.slot, "slot-a")),
    ]))?;
    debug_assert_eq!(table.header().num_parts, GPT_ENTRIES);
    table.write()?;
    Ok(())
}

fn digest(build_id: &str, what: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update("rubus ")
        .chain_update(build_id)
        .chain_update(" ")
        .chain_update(what)
        .finalize()
        .into()
}

fn guid(build_id: &str, what: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(build_id, what)[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A number that is not zero.
fn number(build_id: &str, what: &str) -> u32 {
    let [a, b, c, d, ..] = digest(build_id, what);
    u32::from_le_bytes([a, b, c, d]).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

    #[test]
    fn identifiers_come_from_the_build_id_alone() {
        for table in [PartitionTable::Mbr, PartitionTable::Gpt] {
            let one = Layout::new(table, "abc", DEFAULT_SLOT_SIZE).unwrap();
            assert_eq!(one, Layout::new(table, "abc", DEFAULT_SLOT_SIZE).unwrap());
            let other = Layout::new(table, "abd", DEFAULT_SLOT_SIZE).unwrap();
            assert_ne!(one.slot.partuuid, other.slot.partuuid);
            assert_ne!(one.slot.partuuid, one.boot.partuuid);
        }
    }

    #[test]
    fn linux_names_the_partitions_of_an_mbr_by_signature_and_number() {
        let layout = Layout::new(PartitionTable::Mbr, "abc", DEFAULT_SLOT_SIZE).unwrap();
        let (disk, number) = layout.slot.partuuid.split_once('-').unwrap();
        assert_eq!((disk.len(), number), (8, "02"));
        assert_ne!(disk, "00000000");
    }

    #[test]
    fn sizes_of_a_slot_are_bounded() {
        for size in [0, 60 * MIB, 65 * MIB, 64 * MIB + 1, 9000 * MIB, u64::MAX] {
            let error = Layout::new(PartitionTable::Mbr, "abc", size).unwrap_err();
            assert!(error.to_string().contains("slot_size"), "{error}");
        }
        Layout::new(PartitionTable::Mbr, "abc", 64 * MIB).unwrap();
    }

    #[test]
    fn a_slot_that_is_too_small_names_the_setting() {
        let layout = Layout::new(PartitionTable::Mbr, "abc", 64 * MIB).unwrap();
        let files = Files::from([(
            "system.squashfs".to_owned(),
            Content::from(vec![1; 65 << 20]),
        )]);
        let out = tempfile::tempfile().unwrap();
        let error = write(&layout, 1_700_000_000, &Files::new(), &files, &out).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("67 MiB") && text.contains("slot_size"),
            "{text}"
        );
    }
}
