//! The lines of the settings in `config.txt` of the slot that runs.
//!
//! The slot is mounted read-only and stays so. The lines are in the last sector
//! of the file, and a sector is written as a whole or not at all: that one is
//! replaced on the partition itself. What the filesystem knows of the file, its
//! length and its place, does not change.

use std::ffi::c_int;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::ioctl;

use super::Node;
use crate::files;
use crate::firmware::{SECTOR, fill, is_place};
use crate::paths;
use crate::settings::Firmware;

/// What was written last, beside the settings: what stands in the slot may have
/// been changed by a person since, whose word counts.
const WRITTEN: &str = "firmware.txt";
/// `FIBMAP` of `linux/fs.h`: which block of the device a block of a file is.
const FIBMAP: ioctl::Opcode = ioctl::opcode::none(0, 1);
/// `FIGETBSZ`: how large a block is.
const FIGETBSZ: ioctl::Opcode = ioctl::opcode::none(0, 2);

/// A sector at an address that the device can be read to and written from
/// without the kernel's cache.
#[repr(C, align(4096))]
struct Aligned([u8; SECTOR]);

impl Node {
    /// Whether this board's firmware reads lines of the settings.
    pub(super) fn has_firmware(&self) -> bool {
        self.config_txt().is_file()
    }

    /// Writes the lines into the slot, unless they are what was written last:
    /// one that was taken out by hand because the board did not start stays
    /// out.
    ///
    /// # Errors
    /// When the slot cannot be written, or its `config.txt` has no place for
    /// lines.
    pub fn write_firmware(&self, settings: &Firmware) -> io::Result<()> {
        if !self.has_firmware() {
            return Ok(());
        }
        let written = self.inside(paths::USER_CONFIG_FOLDER).join(WRITTEN);
        let last = match fs::read_to_string(&written) {
            Ok(text) => text,
            // Nothing was written so far: the image has no lines, or its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let lines = settings.lines().join("\n");
        if lines == last {
            return Ok(());
        }
        self.replace_last_sector(&settings.lines())?;
        fs::create_dir_all(self.inside(paths::USER_CONFIG_FOLDER))?;
        files::replace(&written, lines.as_bytes(), 0o600)
    }

    fn config_txt(&self) -> PathBuf {
        self.inside(paths::SLOT).join("config.txt")
    }

    fn replace_last_sector(&self, lines: &[&str]) -> io::Result<()> {
        let file = File::open(self.config_txt())?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(1) / SECTOR as u64 * SECTOR as u64;
        let mut last = vec![0; usize::try_from(length - start).unwrap_or(0)];
        file.read_exact_at(&mut last, start)?;
        let wanted = fill(lines, last.len()).filter(|_| is_place(&last));
        let wanted = wanted.ok_or_else(no_place)?.into_bytes();
        if last == wanted {
            return Ok(());
        }
        let offset = offset_on_device(&file, start)?;
        replace(&self.device(&file)?, offset, &last, &wanted)?;
        // The filesystem has the old content in memory.
        fadvise(&file, 0, None, Advice::DontNeed)?;
        file.read_exact_at(&mut last, start)?;
        if last == wanted {
            Ok(())
        } else {
            Err(io::Error::other("it was written, and is not there"))
        }
    }

    /// The partition that a file is on, without the kernel's cache: the sector
    /// is written and not those around it.
    fn device(&self, file: &File) -> io::Result<File> {
        let number = file.metadata()?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let about = format!("/sys/dev/block/{major}:{minor}/uevent");
        let about = fs::read_to_string(self.inside(&about))?;
        let name = about
            .lines()
            .find_map(|line| line.strip_prefix("DEVNAME="))
            .ok_or_else(|| io::Error::other("its partition has no name"))?;
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.inside("/dev").join(Path::new(name)))
    }
}

fn no_place() -> io::Error {
    io::Error::other("it has no place left for these lines; write the image to the card anew")
}

/// Where on its partition a place in a file is.
fn offset_on_device(file: &File, start: u64) -> io::Result<u64> {
    let size = u64::try_from(ask::<FIGETBSZ>(file, 0)?).unwrap_or(0);
    if size == 0 {
        return Err(io::Error::other("its filesystem has no blocks"));
    }
    let number = c_int::try_from(start / size).map_err(io::Error::other)?;
    let block = u64::try_from(ask::<FIBMAP>(file, number)?).unwrap_or(0);
    if block == 0 {
        return Err(io::Error::other("its place on the card is not known"));
    }
    Ok(block * size + start % size)
}

/// Asks the filesystem of a file: a number goes there, another comes back.
fn ask<const OPCODE: ioctl::Opcode>(file: &File, mut number: c_int) -> io::Result<c_int> {
    // SAFETY: FIBMAP and FIGETBSZ take a pointer to an int, which they read and
    // write while the call lasts.
    unsafe {
        let question = ioctl::Updater::<OPCODE, c_int>::new(&mut number);
        ioctl::ioctl(file, question)?;
    }
    Ok(number)
}

/// Replaces what a file has of a sector of a device, if it is the one that is
/// meant.
fn replace(device: &File, offset: u64, old: &[u8], new: &[u8]) -> io::Result<()> {
    let mut sector = Aligned([0; SECTOR]);
    device.read_exact_at(&mut sector.0, offset)?;
    let of_file = &mut sector.0[..old.len()];
    if of_file != old {
        return Err(io::Error::other("its place on the card is another"));
    }
    of_file.copy_from_slice(new);
    device.write_all_at(&sector.0, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::{config_txt, sector};

    #[test]
    fn only_the_sector_that_is_meant_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device");
        let old = sector(&["gpu_mem=32"]).unwrap();
        let new = sector(&["gpu_mem=64"]).unwrap();
        let before = ["x".repeat(SECTOR), old.clone(), "y".repeat(SECTOR)].concat();
        fs::write(&path, &before).unwrap();
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let replace = |offset| replace(&device, offset, old.as_bytes(), new.as_bytes());
        assert!(replace(0).is_err() && replace(1024).is_err() && replace(4096).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        replace(512).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert_eq!(after, before.replace("gpu_mem=32", "gpu_mem=64"));
        // Of a shorter file the rest of the sector is nobody's.
        super::replace(&device, 1024, b"yyy", b"zzz").unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert!(after.ends_with(&format!("zzz{}", "y".repeat(SECTOR - 3))));
    }

    #[test]
    fn a_board_without_config_txt_or_a_place_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::new(folder.path());
        let settings = Firmware {
            config: vec!["gpu_mem=64".try_into().unwrap()],
        };
        assert!(!node.has_firmware());
        node.write_firmware(&settings).unwrap();
        let slot = node.inside(paths::SLOT);
        fs::create_dir_all(&slot).unwrap();
        for text in ["arm_64bit=1\n".to_owned(), "\n".repeat(2 * SECTOR)] {
            fs::write(slot.join("config.txt"), text).unwrap();
            let error = node.write_firmware(&settings).unwrap_err();
            assert!(error.to_string().contains("no place"), "{error}");
        }
        // The image has these lines already.
        let text = config_txt("arm_64bit=1\n", &settings.lines()).unwrap();
        fs::write(slot.join("config.txt"), &text).unwrap();
        node.write_firmware(&settings).unwrap();
        // Taken out by a person: they stay out until they change.
        let text = text.replace("gpu_mem=64\n", "");
        fs::write(slot.join("config.txt"), &text).unwrap();
        node.write_firmware(&settings).unwrap();
        assert_eq!(fs::read_to_string(slot.join("config.txt")).unwrap(), text);
    }
}
