//! Reads disk images: the partition table, and the filesystems in it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use gpt::{GptConfig, disk::LogicalBlockSize, header::read_header_from_arbitrary_device};
use mbrman::MBRHeader;
use serde::Serialize;

use super::{
    disk::{PartitionTable, SECTOR},
    fat,
};
use crate::unpack::decompress;

/// The type that the protective MBR of a GPT disk has.
const PROTECTIVE: u8 = 0xEE;
/// Length of an entry of a GPT.
const GPT_ENTRY: u32 = 128;
/// Entries that a GPT has room for; 128 are usual.
const MOST_GPT_ENTRIES: u32 = 1024;
/// No card of ours has more partitions.
const MOST_PARTITIONS: usize = 16;
/// No image is larger than this when it is unpacked.
const LARGEST_IMAGE: u64 = 64 << 30;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const XZ_MAGIC: [u8; 6] = [0xFD, b'7', b'z', b'X', b'Z', 0];
const HOLE: usize = 64 * 1024;

/// A partition of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionEntry {
    /// Its number on the disk, from 1.
    pub number: u32,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
    /// What Linux calls it.
    pub partuuid: String,
}

/// A partition table as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its kind.
    pub kind: PartitionTable,
    /// The partitions in the order of their numbers.
    pub partitions: Vec<PartitionEntry>,
}

impl Table {
    /// Reads the partition table at the beginning of a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(file: &File) -> Result<Self> {
        let mut reader = file.try_clone()?;
        reader.seek(SeekFrom::Start(0))?;
        let header = MBRHeader::read_from(&mut reader)
            .ok()
            .context("it has no partition table")?;
        let signature = u32::from_le_bytes(header.disk_signature);
        if header.iter().any(|(_, entry)| entry.sys == PROTECTIVE) {
            return Self::read_gpt(reader);
        }
        let partitions = header
            .iter()
            .filter(|(_, entry)| entry.is_used())
            .map(|(number, entry)| PartitionEntry {
                number: number as u32,
                start: u64::from(entry.starting_lba) * SECTOR,
                size: u64::from(entry.sectors) * SECTOR,
                partuuid: format!("{signature:08x}-{number:02x}"),
            })
            .collect();
        Ok(Self {
            kind: PartitionTable::Mbr,
            partitions,
        })
    }

    fn read_gpt(mut file: File) -> Result<Self> {
        // The crate believes a header whose checksum is right, and takes the
        // memory that it asks for.
        let header = read_header_from_arbitrary_device(&mut file, LogicalBlockSize::Lb512)
            .context("its GUID partition table is damaged")?;
        ensure!(
            header.part_size == GPT_ENTRY && header.num_parts <= MOST_GPT_ENTRIES,
            "its GUID partition table has {} entries of {} bytes",
            header.num_parts,
            header.part_size
        );
        let disk = GptConfig::new()
            .writable(false)
            .open_from_device(file)
            .context("its GUID partition table is damaged")?;
        let mut partitions = Vec::new();
        for (number, partition) in disk.partitions() {
            if !partition.is_used() {
                continue;
            }
            let damaged = "its GUID partition table is damaged";
            let sectors = partition
                .last_lba
                .checked_sub(partition.first_lba)
                .and_then(|sectors| sectors.checked_add(1))
                .context(damaged)?;
            partitions.push(PartitionEntry {
                number: *number,
                start: partition.first_lba.checked_mul(SECTOR).context(damaged)?,
                size: sectors.checked_mul(SECTOR).context(damaged)?,
                partuuid: partition.part_guid.to_string(),
            });
        }
        ensure!(
            partitions.len() <= MOST_PARTITIONS,
            "it has {} partitions, more than any image of ours",
            partitions.len()
        );
        Ok(Self {
            kind: PartitionTable::Gpt,
            partitions,
        })
    }

    /// The partition of a number.
    ///
    /// # Errors
    /// When there is none.
    pub fn partition(&self, number: u32) -> Result<&PartitionEntry> {
        self.partitions
            .iter()
            .find(|partition| partition.number == number)
            .with_context(|| format!("it has no partition {number}"))
    }
}

/// A disk image, unpacked where it was compressed.
#[derive(Debug)]
pub struct DiskImage {
    file: File,
    /// Its partition table.
    pub table: Table,
    /// Its length in bytes.
    pub size: u64,
}

impl DiskImage {
    /// Opens `.img`, `.img.zst` or `.img.xz`.
    ///
    /// # Errors
    /// When it is none of them, or cut off.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let file = match unpacker(&file)? {
            None => file,
            Some(packed) => {
                let mut plain = tempfile::tempfile().context("cannot make a temporary file")?;
                unpack(packed, &mut plain)
                    .with_context(|| format!("cannot unpack {}", path.display()))?;
                plain
            }
        };
        let size = file.metadata()?.len();
        let table = Table::read(&file)
            .with_context(|| format!("{} is not a disk image", path.display()))?;
        for partition in &table.partitions {
            ensure!(
                partition
                    .start
                    .checked_add(partition.size)
                    .is_some_and(|end| end <= size),
                "{} is cut off: partition {} ends behind its {size} bytes; \
                 build or download it again",
                path.display(),
                partition.number
            );
        }
        Ok(Self { file, table, size })
    }

    /// The filesystem of a partition.
    ///
    /// # Errors
    /// When there is no such partition, or no FAT in it.
    pub fn fat(&self, number: u32) -> Result<fat::Reader<'_>> {
        let partition = self.table.partition(number)?;
        fat::Reader::open(&self.file, partition.start, partition.size)
            .with_context(|| format!("cannot read partition {number}"))
    }
}

fn open(path: &Path) -> Result<File> {
    match File::open(path) {
        Ok(file) if file.metadata()?.is_dir() => bail!("{} is a folder", path.display()),
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "cannot read {}: no such file; build it with `rubus build`",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Copies an image to where QEMU can use it, when it is compressed. Returns
/// whether it was.
///
/// # Errors
/// When it cannot be read or unpacked.
pub fn unpack_to(path: &Path, to: &Path) -> Result<bool> {
    let Some(packed) = unpacker(&open(path)?)? else {
        return Ok(false);
    };
    let mut plain = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    unpack(packed, &mut plain).with_context(|| format!("cannot unpack {}", path.display()))?;
    Ok(true)
}

/// A reader of what a compressed file holds.
fn unpacker(file: &File) -> Result<Option<Box<dyn Read>>> {
    let mut magic = [0; 6];
    let mut start = file.try_clone()?;
    start.seek(SeekFrom::Start(0))?;
    let count = start.read_at(&mut magic, 0)?;
    let input = BufReader::with_capacity(1 << 20, start);
    Ok(if magic[..count].starts_with(&ZSTD_MAGIC) {
        Some(Box::new(zstd::Decoder::with_buffer(input)?))
    } else if magic[..count].starts_with(&XZ_MAGIC) {
        Some(decompress("xz", input)?)
    } else {
        None
    })
}

/// Copies with holes in place of zeros.
fn unpack(mut from: Box<dyn Read>, to: &mut File) -> Result<()> {
    let mut buffer = vec![0; HOLE];
    let mut length = 0u64;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).context("it is damaged or cut off; get it again");
                }
            }
        }
        if filled == 0 {
            break;
        }
        length += filled as u64;
        ensure!(
            length <= LARGEST_IMAGE,
            "it unpacks to more than {} GiB",
            LARGEST_IMAGE >> 30
        );
        if buffer[..filled].iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(filled as i64))?;
        } else {
            to.write_all(&buffer[..filled])
                .context("cannot write the unpacked image")?;
        }
    }
    to.set_len(length)?;
    to.seek(SeekFrom::Start(0))?;
    Ok(())
}
