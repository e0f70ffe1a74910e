//! Completing the partition table on first boot.
//!
//! The image holds p1 and p2. [`plan`] works out what has to be written so that
//! p3 (slot B, the size of p2) and p4 (data, up to the end of the card) exist.
//! It only reads; the writes that it returns are made one after the other, each
//! on the card before the next begins. A power cut before, between or within
//! any of them leaves a table in which the kernel finds p1 and p2, and the next
//! boot plans what is left. That a single sector is written whole or not at all
//! is what this rests on.

mod gpt;
mod mbr;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

/// Bytes in a sector. A table that was written for this size is not found by
/// the kernel on a disk with another.
pub(crate) const SECTOR: u64 = 512;
/// Partitions begin at multiples of this many sectors (1 MiB).
const ALIGNMENT: u64 = 2048;
/// Sectors that the data partition needs at least (64 MiB).
const DATA_MINIMUM: u64 = 64 * 2048;
/// The other slot.
const SLOT_B: usize = 2;
/// The data partition.
const DATA: usize = 3;
/// Partitions that Rubus uses.
const COUNT: usize = 4;

/// Where sectors are read from.
pub(crate) trait Sectors {
    /// Reads `count` sectors from `first` on.
    fn read(&self, first: u64, count: u64) -> io::Result<Vec<u8>>;
}

/// A run of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first one.
    pub(crate) start: u64,
    /// How many.
    pub(crate) sectors: u64,
}

impl Extent {
    /// The sector behind the last.
    fn end(self) -> u64 {
        self.start.saturating_add(self.sectors)
    }
}

/// A write to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// Where, in bytes.
    pub(crate) offset: u64,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

impl Write {
    fn at_sector(sector: u64, bytes: Vec<u8>) -> Self {
        Self {
            offset: sector * SECTOR,
            bytes,
        }
    }
}

/// What completes a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The writes, in order; none when the table is complete.
    pub(crate) writes: Vec<Write>,
    /// Slot B as it will be.
    pub(crate) slot_b: Extent,
    /// The data partition as it will be.
    pub(crate) data: Extent,
}

/// Why a table cannot be completed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The disk cannot be read.
    Read(io::Error),
    /// What should be a partition table is none.
    Damaged(&'static str),
    /// The table is sound, but not what an image of Rubus has.
    Strange(String),
    /// There is no room for slot B and the data.
    TooSmall {
        /// What the disk would have to hold, in MiB.
        needed: u64,
        /// What it holds, in MiB.
        size: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read the partition table: {error}"),
            Self::Damaged(what) => write!(
                f,
                "the partition table is damaged: {what}; write the image to the card again"
            ),
            Self::Strange(what) => write!(
                f,
                "the partition table is not that of a Rubus image: {what}; \
                 write the image to the card again"
            ),
            Self::TooSmall { needed, size } => write!(
                f,
                "the card is too small: it holds {size} MiB, and a second slot and the data \
                 need {needed} MiB; use a larger card or an image with smaller slots"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Works out how to complete the table of a disk of `size` sectors. `ids` are
/// used for the new partitions where the table gives them some (GPT).
pub(crate) fn plan(disk: &dyn Sectors, size: u64, ids: [[u8; 16]; 2]) -> Result<Plan, Error> {
    let first = disk.read(0, 1)?;
    let table = mbr::Mbr::parse(&first)?;
    if table.is_protective() {
        gpt::plan(disk, table, size, ids)
    } else {
        table.plan(size)
    }
}

/// The unique ids of the first four partitions, as the kernel writes them
/// (`PARTUUID`), with their numbers.
pub(crate) fn unique_ids(disk: &dyn Sectors) -> Result<Vec<(u32, String)>, Error> {
    let table = mbr::Mbr::parse(&disk.read(0, 1)?)?;
    if table.is_protective() {
        gpt::unique_ids(disk)
    } else {
        Ok(table.unique_ids())
    }
}

/// The first four partitions of a table, as its kind of table sees them.
type Found = [Option<Extent>; COUNT];

/// Finds room for the partitions that are missing. `usable_end` is the sector
/// behind the last that partitions may have. None when nothing is missing.
fn place(found: &Found, usable_end: u64, size: u64) -> Result<Option<(Extent, Extent)>, Error> {
    let (Some(_), Some(slot_a)) = (found[0], found[1]) else {
        return Err(Error::Strange("partition 1 or 2 is missing".to_owned()));
    };
    for (number, extent) in (1..).zip(found) {
        if extent.is_some_and(|e| e.end() > size) {
            return Err(Error::Strange(format!(
                "partition {number} ends behind the end of the card"
            )));
        }
    }
    let behind = |extent: Extent| extent.end().next_multiple_of(ALIGNMENT);
    let slot_b = match (found[SLOT_B], found[DATA]) {
        (Some(_), Some(_)) => return Ok(None),
        (None, Some(_)) => {
            return Err(Error::Strange(
                "there is a partition 4, but no partition 3".to_owned(),
            ));
        }
        (Some(slot_b), None) => slot_b,
        (None, None) => Extent {
            start: behind(slot_a),
            sectors: slot_a.sectors,
        },
    };
    for (number, extent) in (1..).zip(found.iter().take(2).flatten()) {
        if extent.start < slot_b.end() && slot_b.start < extent.end() {
            return Err(Error::Strange(format!(
                "partition {number} lies where partition 3 belongs"
            )));
        }
    }
    let start = behind(slot_b);
    let end = usable_end / ALIGNMENT * ALIGNMENT;
    if end < start.saturating_add(DATA_MINIMUM) {
        // What lies behind the last usable sector is less than one alignment.
        return Err(Error::TooSmall {
            needed: (start + DATA_MINIMUM + ALIGNMENT).div_ceil(ALIGNMENT),
            size: size / ALIGNMENT,
        });
    }
    Ok(Some((
        slot_b,
        Extent {
            start,
            sectors: end - start,
        },
    )))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}
