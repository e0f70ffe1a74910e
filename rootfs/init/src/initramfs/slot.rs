//! The slot: the FAT partition that holds one version of the system.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::MsFlags;
use rubus_config::paths;

use super::disk::{self, Partition};
use crate::steps::Outcome;
use crate::sys::uevent::Uevents;
use crate::{log, mounts};

/// How long a disk may take to appear; USB disks are slow.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// When a person in front of the screen is told what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(5);
/// An announcement may be lost, so the devices are looked at this often anyway.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the partition with this unique id is there.
pub(super) fn wait_for(uuid: &str) -> Result<Partition> {
    // Listening begins before the first look, so that nothing falls between.
    let uevents = Uevents::open().context("cannot listen for devices")?;
    let begin = Instant::now();
    let mut said = false;
    loop {
        let devices = disk::devices();
        if let Some(partition) = devices.iter().find_map(|d| d.as_partition(uuid)) {
            return Ok(partition);
        }
        let waited = begin.elapsed();
        if waited >= LONGEST_WAIT {
            bail!(
                "no partition has PARTUUID={uuid}, there is {}; check that the card is seated, \
                 or correct rubus.slot in cmdline.txt of the slot",
                disk::describe(&devices, |name| disk::sectors(name).ok())
            );
        }
        if waited >= SAY_AFTER && !said {
            log::error(&format!("still waiting for partition PARTUUID={uuid}"));
            said = true;
        }
        uevents.wait(LOOK_EVERY.min(LONGEST_WAIT - waited));
    }
}

/// The letter of the slot that is on partition `number`.
pub(super) fn letter(number: u32) -> Result<char> {
    match number {
        2 => Ok('A'),
        3 => Ok('B'),
        _ => bail!(
            "rubus.slot names partition {number}, and slots are partitions 2 and 3; \
             correct it in cmdline.txt of the slot"
        ),
    }
}

/// Mounts the slot, read-only.
pub(super) fn mount(slot: &Partition) -> Outcome {
    mounts::make_folder(paths::SLOT)?;
    mounts::device(
        &slot.node(),
        paths::SLOT,
        "vfat",
        mounts::NO_SUID_DEV_EXEC | MsFlags::MS_RDONLY,
        Some("fmask=0133,dmask=0022"),
    )
    .map_err(|error| {
        anyhow!(
            "cannot mount slot {} ({}): {error}; write the image to the card again",
            letter(slot.number).unwrap_or('?'),
            slot.name
        )
    })?;
    Ok(None)
}

/// Mounts the first partition, read-only, for the first-boot files on it.
pub(super) fn mount_first_boot(slot: &Partition) -> Outcome {
    let Some(first) = slot.sibling(1)? else {
        return Ok(Some("there is no first partition".to_owned()));
    };
    mounts::make_folder(paths::FIRST_BOOT)?;
    // People put passwords there.
    mounts::device(
        &first.node(),
        paths::FIRST_BOOT,
        "vfat",
        mounts::NO_SUID_DEV_EXEC | MsFlags::MS_RDONLY,
        Some("fmask=0177,dmask=0077"),
    )
    .map_err(|error| anyhow!("cannot mount {}: {error}", first.name))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::letter;

    #[test]
    fn slots_are_partitions_two_and_three() {
        assert_eq!(letter(2).unwrap(), 'A');
        assert_eq!(letter(3).unwrap(), 'B');
        assert!(letter(1).is_err());
        assert!(letter(4).is_err());
    }
}
