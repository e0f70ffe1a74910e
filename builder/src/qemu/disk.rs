//! The disk of the guest: an overlay that is thrown away, or a file that is
//! kept; and what the firmware would load from it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Machine, dtb, tools};
use crate::image::{
    fat,
    reader::{PartitionEntry, Table},
};

const MIB: u64 = 1 << 20;
const LARGEST_TEXT: u64 = 64 * 1024;
const LARGEST_DEVICE_TREE: u64 = 4 * MIB;
const DEFAULT_SLOT: u32 = 2;

/// The guest's disk, a qcow2 file.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
}

/// What the firmware loads from a slot.
#[derive(Debug)]
pub(super) struct BootFiles {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) device_tree: Option<PathBuf>,
    pub(super) cmdline: String,
}

impl Disk {
    /// A disk that keeps the image as it is and goes away with the folder.
    pub(super) fn overlay(
        image: &Path,
        machine: Machine,
        size: Option<u64>,
        folder: &Path,
    ) -> Result<Self> {
        let size = machine.disk(size, fs::metadata(image)?.len())?;
        let path = folder.join("disk.qcow2");
        // A name that is relative would be looked for beside the overlay.
        let image = fs::canonicalize(image)?;
        let mut arguments: Vec<_> = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
            .map(Into::into)
            .to_vec();
        arguments.push(image.into_os_string());
        arguments.push(path.clone().into_os_string());
        arguments.push(size.to_string().into());
        tools::run(tools::IMG, arguments)?;
        Ok(Self { path })
    }

    /// A disk that is kept: made from the image on first use, a copy, so that
    /// the image can be built again; afterwards used as it is.
    pub(super) fn kept(
        path: &Path,
        image: &Path,
        machine: Machine,
        size: Option<u64>,
    ) -> Result<Self> {
        if !path.try_exists()? {
            let size = machine.disk(size, fs::metadata(image)?.len())?;
            let mut partial = path.as_os_str().to_owned();
            partial.push(".partial");
            let partial = PathBuf::from(partial);
            let convert = ["convert", "-q", "-f", "raw", "-O", "qcow2"].map(AsRef::as_ref);
            let files = [image.as_os_str(), partial.as_os_str()];
            tools::run(tools::IMG, convert.iter().chain(&files))
                .and_then(|_| resize(&partial, size))
                .inspect_err(|_| {
                    // What cannot be removed is written over by the next run.
                    let _ = fs::remove_file(&partial);
                })?;
            fs::rename(&partial, path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let present = virtual_size(path)?;
        let size = machine
            .disk(size.or(Some(present)), present)
            .with_context(|| format!("cannot use the disk {}", path.display()))?;
        if size > present {
            resize(path, size)?;
        }
        Ok(Self {
            path: fs::canonicalize(path)?,
        })
    }

    /// Takes kernel, initramfs, device tree and command line out of the slot
    /// that the firmware would choose now.
    pub(super) fn boot_files(&self, machine: Machine, folder: &Path) -> Result<BootFiles> {
        let piece = folder.join("piece");
        let table = {
            let (file, _) = self.extract(0, MIB, &piece)?;
            Table::read(&file).context("the disk is damaged")?
        };
        let boot = table.partition(1)?;
        let (file, start) = self.extract(boot.start, boot.size, &piece)?;
        let autoboot = fat::Reader::open(&file, start, boot.size)
            .and_then(|reader| reader.read("autoboot.txt", LARGEST_TEXT))
            .context("cannot read partition 1 of the disk")?
            .unwrap_or_default();
        let number = boot_partition(&String::from_utf8_lossy(&autoboot));
        let slot = table.partition(number).context("autoboot.txt is wrong")?;
        let (file, start) = self.extract(slot.start, slot.size, &piece)?;
        let files = read_slot(&file, start, slot, machine, folder)
            .with_context(|| format!("cannot boot from partition {number} of the disk"));
        fs::remove_file(&piece)?;
        files
    }

    /// Copies a range of the guest's disk into a file. The copy begins at a
    /// whole MiB; returns where in it the range begins.
    fn extract(&self, start: u64, size: u64, to: &Path) -> Result<(File, u64)> {
        let skip = start / MIB;
        let end = start.checked_add(size).context("a partition has no end")?;
        let count = end.div_ceil(MIB) - skip;
        ensure!(
            end <= virtual_size(&self.path)?,
            "the disk is damaged: a partition ends behind its end"
        );
        let with = |name: &str, path: &Path| {
            let mut word = std::ffi::OsString::from(name);
            word.push(path);
            word
        };
        let mut arguments: Vec<_> = ["dd", "-f", "qcow2", "-O", "raw", "bs=1M"]
            .map(Into::into)
            .to_vec();
        arguments.push(format!("skip={skip}").into());
        arguments.push(format!("count={}", skip + count).into());
        arguments.push(with("if=", &self.path));
        arguments.push(with("of=", to));
        tools::run(tools::IMG, arguments)?;
        Ok((File::open(to)?, start - skip * MIB))
    }
}

fn read_slot(
    file: &File,
    start: u64,
    slot: &PartitionEntry,
    machine: Machine,
    folder: &Path,
) -> Result<BootFiles> {
    let reader = fat::Reader::open(file, start, slot.size)?;
    let copy = |name: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        let mut out = File::create(&path)?;
        reader.copy(name, &mut out)?;
        out.flush()?;
        Ok(path)
    };
    let cmdline = reader
        .read("cmdline.txt", LARGEST_TEXT)?
        .context("there is no cmdline.txt")?;
    let mut device_tree = None;
    for name in machine.device_trees() {
        if let Some(bytes) = reader.read(name, LARGEST_DEVICE_TREE)? {
            let bytes = match machine {
                Machine::Virt => Ok(bytes),
                Machine::Raspi3b => dtb::for_raspi3b(&bytes),
                Machine::Raspi4b => dtb::for_raspi4b(&bytes),
            }
            .with_context(|| format!("cannot use {name}"))?;
            let path = folder.join("board.dtb");
            fs::write(&path, bytes)?;
            device_tree = Some(path);
            break;
        }
    }
    ensure!(
        device_tree.is_some() || machine.device_trees().is_empty(),
        "there is no {}; the image is not for {}",
        machine.device_trees().join(" or "),
        machine.name()
    );
    Ok(BootFiles {
        kernel: copy("vmlinuz")?,
        initramfs: copy("initrd.img")?,
        device_tree,
        cmdline: String::from_utf8(cmdline).context("cmdline.txt is not text")?,
    })
}

/// The partition that `autoboot.txt` names for a normal boot.
fn boot_partition(autoboot: &str) -> u32 {
    let mut applies = true;
    let mut number = DEFAULT_SLOT;
    for line in autoboot.lines().map(str::trim) {
        if line.starts_with('[') {
            applies = line == "[all]";
        } else if applies
            && let Some(value) = line.strip_prefix("boot_partition=")
            && let Ok(value) = value.trim().parse()
        {
            number = value;
        }
    }
    number
}

fn resize(path: &Path, size: u64) -> Result<()> {
    let words = ["resize", "-q", "-f", "qcow2"].map(AsRef::as_ref);
    let size = size.to_string();
    tools::run(
        tools::IMG,
        words.iter().chain(&[path.as_os_str(), size.as_ref()]),
    )?;
    Ok(())
}

/// The size that the guest sees.
fn virtual_size(path: &Path) -> Result<u64> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "virtual-size")]
        virtual_size: u64,
    }
    let words = ["info", "--output=json", "-f", "qcow2"].map(AsRef::as_ref);
    let text = tools::run(tools::IMG, words.iter().chain(&[path.as_os_str()]))
        .with_context(|| format!("{} is not a disk that `rubus run` made", path.display()))?;
    let info: Info = serde_json::from_str(&text).context("cannot understand qemu-img")?;
    Ok(info.virtual_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autoboot_names_the_slot_for_a_normal_boot() {
        let both = "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n";
        assert_eq!(boot_partition(both), 3);
        assert_eq!(boot_partition("[tryboot]\nboot_partition=3\n"), 2);
        assert_eq!(boot_partition("boot_partition=3"), 3);
        assert_eq!(boot_partition("[all]\nboot_partition=x\n"), 2);
        assert_eq!(boot_partition(""), 2);
    }
}
