//! The partition table of a PC: four entries at the end of the first sector.
//! Completing it is one write of one sector.

use super::{
    COUNT, DATA, Error, Extent, Found, Plan, SECTOR, SLOT_B, Write, place, put_u32, u32_at,
};

const DISK_ID: usize = 440;
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: usize = 510;
/// FAT32, addressed by sector.
const TYPE_FAT: u8 = 0x0C;
const TYPE_LINUX: u8 = 0x83;
const TYPE_GPT: u8 = 0xEE;

/// The first sector of a disk.
#[derive(Clone)]
pub(super) struct Mbr(Vec<u8>);

impl Mbr {
    pub(super) fn parse(sector: &[u8]) -> Result<Self, Error> {
        if sector.len() as u64 != SECTOR || sector[SIGNATURE..] != [0x55, 0xAA] {
            return Err(Error::Damaged("the first sector has no signature"));
        }
        Ok(Self(sector.to_owned()))
    }

    /// Whether it only guards a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.guard().is_some()
    }

    /// The same sector with a guard that spans the whole disk.
    pub(super) fn guarding(mut self, size: u64) -> Vec<u8> {
        if let Some(index) = self.guard() {
            let sectors = u32::try_from(size - 1).unwrap_or(u32::MAX);
            put_u32(&mut self.0, entry(index) + 12, sectors);
        }
        self.0
    }

    /// The id of the disk and the number of the partition.
    pub(super) fn unique_ids(&self) -> Vec<(u32, String)> {
        let disk = u32_at(&self.0, DISK_ID);
        (1..)
            .zip(self.found())
            .filter(|(_, extent)| extent.is_some())
            .map(|(number, _)| (number, format!("{disk:08x}-{number:02x}")))
            .collect()
    }

    fn found(&self) -> Found {
        std::array::from_fn(|index| {
            let at = entry(index);
            let extent = Extent {
                start: u64::from(u32_at(&self.0, at + 8)),
                sectors: u64::from(u32_at(&self.0, at + 12)),
            };
            (self.0[at + 4] != 0 && extent.sectors != 0).then_some(extent)
        })
    }

    pub(super) fn plan(&self, size: u64) -> Result<Plan, Error> {
        let found = self.found();
        // Addresses have 32 bits: what lies behind 2 TiB stays unused.
        let usable_end = size.min(u64::from(u32::MAX));
        let Some((slot_b, data)) = place(&found, usable_end, size)? else {
            return complete(&found);
        };
        let mut sector = self.0.clone();
        if found[SLOT_B].is_none() {
            write_entry(&mut sector, SLOT_B, TYPE_FAT, slot_b)?;
        }
        write_entry(&mut sector, DATA, TYPE_LINUX, data)?;
        Ok(Plan {
            writes: vec![Write::at_sector(0, sector)],
            slot_b,
            data,
        })
    }

    fn guard(&self) -> Option<usize> {
        (0..COUNT).find(|&index| self.0[entry(index) + 4] == TYPE_GPT)
    }
}

fn complete(found: &Found) -> Result<Plan, Error> {
    match (found[SLOT_B], found[DATA]) {
        (Some(slot_b), Some(data)) => Ok(Plan {
            writes: Vec::new(),
            slot_b,
            data,
        }),
        _ => Err(Error::Strange("partition 3 or 4 is missing".to_owned())),
    }
}

const fn entry(index: usize) -> usize {
    ENTRIES + index * ENTRY
}

fn write_entry(sector: &mut [u8], index: usize, kind: u8, extent: Extent) -> Result<(), Error> {
    let number = |value: u64| {
        u32::try_from(value).map_err(|_| Error::Strange("a partition lies behind 2 TiB".to_owned()))
    };
    let at = entry(index);
    // Cylinder, head and sector in the value that means "see the sector number".
    const NO_GEOMETRY: [u8; 3] = [0xFE, 0xFF, 0xFF];
    sector[at] = 0;
    sector[at + 1..at + 4].copy_from_slice(&NO_GEOMETRY);
    sector[at + 4] = kind;
    sector[at + 5..at + 8].copy_from_slice(&NO_GEOMETRY);
    put_u32(sector, at + 8, number(extent.start)?);
    put_u32(sector, at + 12, number(extent.sectors)?);
    Ok(())
}
