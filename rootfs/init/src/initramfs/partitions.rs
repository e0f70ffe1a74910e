//! Completes the partition table on the disk of the slot.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, anyhow};

use super::data::read_head;
use super::disk::{self, Partition, Table};
use super::ext4::{Content, HEAD};
use crate::steps::Outcome;
use crate::sys;
use crate::table::{self, Extent, Plan, SECTOR, Write};

/// Adds slot B and the data partition where they are missing, in the table and
/// in the kernel.
pub(super) fn complete(slot: &Partition) -> Outcome {
    let node = slot.disk_node();
    let size = disk::sectors(&slot.disk)?;
    let reader = Table::open(&node).with_context(|| format!("cannot open {node}"))?;
    let random: [u8; 32] = sys::random::bytes_now().context("cannot get random bytes")?;
    let mut plan = table::plan(&reader, size, ids(random)).with_context(|| node.clone())?;
    if !plan.writes.is_empty() {
        plan.writes.splice(0..0, wipe(&node, plan.data)?);
        apply(&node, &plan).map_err(|error| {
            anyhow!("cannot write the partition table of {node}: {error}; try another card")
        })?;
    }
    for (number, extent) in [(3, plan.slot_b), (4, plan.data)] {
        announce(slot, number, extent)?;
    }
    Ok((!plan.writes.is_empty()).then(|| {
        format!(
            "slot B has {} MiB, data {} MiB",
            (plan.slot_b.sectors * SECTOR) >> 20,
            (plan.data.sectors * SECTOR) >> 20
        )
    }))
}

/// Where the new data partition begins, an earlier use of the card may have
/// left a filesystem that must not be taken for data. What is ours stays: the
/// image was written again to a card that was in use.
fn wipe(node: &str, data: Extent) -> Result<Option<Write>> {
    let offset = data.start * SECTOR;
    let head = read_head(node, offset).with_context(|| format!("cannot read {node}"))?;
    Ok(match head.content {
        Content::Ours { .. } => None,
        Content::Foreign(_) | Content::Nothing => Some(Write {
            offset,
            bytes: vec![0; HEAD],
        }),
    })
}

/// Tells the kernel of a partition that it does not know yet.
fn announce(slot: &Partition, number: u32, extent: Extent) -> Result<()> {
    if slot.sibling(number)?.is_some() {
        return Ok(());
    }
    sys::block::add_partition(
        &slot.disk_node(),
        number,
        extent.start * SECTOR,
        extent.sectors * SECTOR,
    )
    .with_context(|| format!("the kernel refuses partition {number} of {}", slot.disk))
}

/// Makes the writes of a plan, each on the card before the next.
fn apply(node: &str, plan: &Plan) -> io::Result<()> {
    let disk = OpenOptions::new().write(true).open(node)?;
    for write in &plan.writes {
        disk.write_all_at(&write.bytes, write.offset)?;
        disk.sync_all()?;
    }
    Ok(())
}

/// Unique ids for two partitions: random ones, marked as such.
fn ids(random: [u8; 32]) -> [[u8; 16]; 2] {
    std::array::from_fn(|n| {
        let mut id = [0; 16];
        id.copy_from_slice(&random[n * 16..(n + 1) * 16]);
        // Version 4; the table stores the third group with its bytes swapped.
        id[7] = id[7] & 0x0F | 0x40;
        id[8] = id[8] & 0x3F | 0x80;
        id
    })
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_differ_and_are_marked_as_random() {
        let mut random = [0xFF; 32];
        random[16] = 0;
        let [one, two] = ids(random);
        assert_ne!(one, two);
        for id in [one, two] {
            assert_eq!((id[7] >> 4, id[8] >> 6), (4, 2));
        }
    }
}
