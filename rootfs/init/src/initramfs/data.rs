//! The data partition: makes its filesystem on first boot, checks it when
//! there is reason to, and mounts it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::MsFlags;
use rubus_config::paths;

use super::SYSTEM;
use super::decision::{self, Mode, Next};
use super::disk::{self, Partition};
use super::ext4::{HEAD, Head, LABEL, MARKER};
use crate::steps::Outcome;
use crate::table::SECTOR;
use crate::{log, mounts, program};

/// The number of the data partition.
const NUMBER: u32 = 4;

/// Mounts the data partition below the system root, by way of whatever is
/// needed before.
pub(super) fn make_ready(slot: &Partition) -> Outcome {
    let data = slot
        .sibling(NUMBER)?
        .with_context(|| format!("{} has no partition {NUMBER}", slot.disk))?;
    let node = data.node();
    let size = disk::sectors(&data.name)? * SECTOR;
    let head = read_head(&node, 0).map_err(|error| {
        anyhow!("cannot read {node}: {error}; replace the card if that persists")
    })?;

    let mut next = decision::first(&head, size);
    let mut marked = head.marked;
    let mut checked = None;
    let mut notes = Vec::new();
    loop {
        next = match next {
            Next::Make => {
                make(&node)?;
                notes.push("made the filesystem".to_owned());
                Next::Mount
            }
            Next::Check(mode) => {
                checked = Some(mode);
                log::error(&format!("{node} is being checked; do not switch off"));
                let output = check(&node, mode)?;
                notes.push(format!("checked: {}", output.said));
                decision::after_check(mode, output.code)
            }
            Next::Mount => {
                if !marked {
                    mark(&node).with_context(|| format!("cannot write {node}"))?;
                    marked = true;
                }
                match mount(&node) {
                    Ok(()) => break,
                    Err(error) => {
                        notes.push(format!("not mounted: {error}"));
                        decision::after_failed_mount(checked)
                    }
                }
            }
            Next::Refuse(why) => {
                if !notes.is_empty() {
                    log::error(&notes.join("; "));
                }
                bail!("the data partition {node} is left alone: {why}");
            }
        };
    }
    Ok((!notes.is_empty()).then(|| notes.join("; ")))
}

/// Reads what begins at `offset` of a disk or partition as the beginning of a
/// data partition.
pub(super) fn read_head(node: &str, offset: u64) -> io::Result<Head> {
    let mut head = [0; HEAD];
    File::open(node)?.read_exact_at(&mut head, offset)?;
    Ok(Head::parse(&head))
}

fn mount(node: &str) -> io::Result<()> {
    mounts::device(
        node,
        &format!("{SYSTEM}{}", paths::DATA),
        "ext4",
        MsFlags::MS_NOATIME,
        Some("errors=remount-ro"),
    )
}

/// Makes the filesystem. The inode tables and the journal are zeroed later, by
/// the kernel in the background; nothing is discarded, which takes minutes on
/// some cards; the block size is that of a page whatever the size of the card.
fn make(node: &str) -> Result<()> {
    let output = in_system(
        "/usr/sbin/mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            LABEL,
            "-b",
            "4096",
            "-m",
            "1",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            node,
        ],
    )?;
    if output.code != Some(0) {
        bail!(
            "cannot make the filesystem on {node}: {}; try another card",
            output.said
        );
    }
    Ok(())
}

fn check(node: &str, mode: Mode) -> Result<program::Output> {
    let how = match mode {
        Mode::Preen => "-p",
        Mode::Thorough => "-fy",
    };
    in_system("/usr/sbin/e2fsck", &[how, node])
}

/// Says on the partition that its filesystem was whole once.
fn mark(node: &str) -> io::Result<()> {
    let partition = OpenOptions::new().write(true).open(node)?;
    // What mke2fs wrote is on the card before the marker is.
    partition.sync_all()?;
    partition.write_all_at(MARKER, 0)?;
    partition.sync_all()
}

/// Runs a program of the system image, with the devices and processes that it
/// expects to see.
fn in_system(path: &str, arguments: &[&str]) -> Result<program::Output> {
    const NEEDED: [&str; 2] = ["/dev", "/proc"];
    let places = NEEDED.map(|folder| format!("{SYSTEM}{folder}"));
    for (folder, place) in NEEDED.iter().zip(&places) {
        mounts::bind(folder, place)?;
    }
    let output = program::run_in(SYSTEM, path, arguments);
    for place in &places {
        mounts::detach(place);
    }
    output
}
