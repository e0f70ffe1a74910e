//! The GUID partition table.
//!
//! Header (sector 1) and entries (sectors 2 to 33) are tied by a checksum, and
//! the kernel takes the primary table or none, so they cannot be changed in
//! place: a power cut between the two would leave a disk without partitions.
//! The entries are therefore written to free sectors first, and the header,
//! one sector, then points there; after that the entries at their usual place
//! are brought up to date, and the header points back. A boot loader that only
//! ever looks at sector 2 sees p1 and p2 at every moment.

use super::{
    COUNT, DATA, Error, Extent, Found, Plan, SECTOR, SLOT_B, Sectors, Write, mbr::Mbr, place,
    put_u32, put_u64, u32_at, u64_at,
};

const HEADER_SECTOR: u64 = 1;
const HEADER_SIZE: usize = 92;
const ENTRY: usize = 128;
/// Sectors of the entries: the format asks for 16 KiB, and all tools make
/// exactly that.
const ENTRIES: u64 = 32;
/// Where the entries are.
const HOME: u64 = 2;
/// Where they are while those at [`HOME`] change.
const DETOUR: u64 = HOME + ENTRIES;

/// Offsets in a header.
mod field {
    pub(super) const SIZE: usize = 12;
    pub(super) const CHECKSUM: usize = 16;
    pub(super) const OWN: usize = 24;
    pub(super) const OTHER: usize = 32;
    pub(super) const FIRST_USABLE: usize = 40;
    pub(super) const LAST_USABLE: usize = 48;
    pub(super) const ENTRIES_START: usize = 72;
    pub(super) const ENTRIES_COUNT: usize = 80;
    pub(super) const ENTRY_SIZE: usize = 84;
    pub(super) const ENTRIES_CHECKSUM: usize = 88;
}

/// The type "Linux filesystem data", 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
const TYPE_LINUX: [u8; 16] = [
    0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D, 0xE4,
];

/// Works out how to complete a GPT behind the guard `mbr`.
pub(super) fn plan(
    disk: &dyn Sectors,
    mbr: Mbr,
    size: u64,
    ids: [[u8; 16]; 2],
) -> Result<Plan, Error> {
    let (header, mut entries) = read(disk)?;
    let found: Found = std::array::from_fn(|index| extent(&entries, index));
    let backup = size.saturating_sub(1);
    let backup_entries = backup.saturating_sub(ENTRIES);
    let placed = place(&found, backup_entries, size)?;

    let (slot_b, data, new) = match (placed, found[SLOT_B], found[DATA]) {
        (Some((slot_b, data)), ..) => (slot_b, data, true),
        (None, Some(slot_b), Some(data)) => (slot_b, data, false),
        (None, ..) => return Err(Error::Strange("partition 3 or 4 is missing".to_owned())),
    };
    let mut writes = Vec::new();
    let mut complete = header.clone();
    if new {
        if header.entries() != HOME {
            return Err(Error::Strange(
                "the entries are not where they belong".to_owned(),
            ));
        }
        room_for_detour(&found)?;
        if found[SLOT_B].is_none() {
            copy_type(&mut entries);
            write_entry(&mut entries, SLOT_B, None, ids[0], "slot-b", slot_b);
        }
        write_entry(&mut entries, DATA, Some(TYPE_LINUX), ids[1], "data", data);
        complete.set(field::FIRST_USABLE, DETOUR);
        complete.set(field::OTHER, backup);
        complete.set(field::LAST_USABLE, backup_entries - 1);
        writes.push(Write::at_sector(backup_entries, entries.clone()));
        writes.push(Write::at_sector(
            backup,
            complete.as_backup(backup, backup_entries).sealed(&entries),
        ));
        writes.push(Write::at_sector(DETOUR, entries.clone()));
        let mut detour = complete.clone();
        detour.set(field::ENTRIES_START, DETOUR);
        detour.set(field::FIRST_USABLE, DETOUR + ENTRIES);
        writes.push(Write::at_sector(HEADER_SECTOR, detour.sealed(&entries)));
    } else if header.entries() != DETOUR {
        return Ok(Plan {
            writes,
            slot_b,
            data,
        });
    } else {
        complete.set(field::FIRST_USABLE, DETOUR);
    }
    complete.set(field::ENTRIES_START, HOME);
    writes.push(Write::at_sector(HOME, entries.clone()));
    writes.push(Write::at_sector(0, mbr.guarding(size)));
    writes.push(Write::at_sector(HEADER_SECTOR, complete.sealed(&entries)));
    Ok(Plan {
        writes,
        slot_b,
        data,
    })
}

/// The ids that the entries carry.
pub(super) fn unique_ids(disk: &dyn Sectors) -> Result<Vec<(u32, String)>, Error> {
    let (_, entries) = read(disk)?;
    Ok((1..)
        .zip(0..COUNT)
        .filter(|&(_, index)| extent(&entries, index).is_some())
        .map(|(number, index)| {
            let at = index * ENTRY + 16;
            (number, guid_text(&entries[at..at + 16]))
        })
        .collect())
}

/// The first three groups of a GUID are stored as little-endian numbers.
fn guid_text(id: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (position, byte) in ORDER.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", id[byte]));
    }
    text
}

/// The primary header and the entries that it points to.
fn read(disk: &dyn Sectors) -> Result<(Header, Vec<u8>), Error> {
    let header = Header::parse(disk.read(HEADER_SECTOR, 1)?)?;
    let entries = disk.read(header.entries(), ENTRIES)?;
    if crc32fast::hash(&entries) != u32_at(&header.0, field::ENTRIES_CHECKSUM) {
        return Err(Error::Damaged("the checksum of the entries is wrong"));
    }
    Ok((header, entries))
}

/// A header, in its sector.
#[derive(Clone)]
struct Header(Vec<u8>);

impl Header {
    fn parse(sector: Vec<u8>) -> Result<Self, Error> {
        if sector.len() as u64 != SECTOR || &sector[..8] != b"EFI PART" {
            return Err(Error::Damaged("there is no GPT header"));
        }
        let size = u32_at(&sector, field::SIZE) as usize;
        if size != HEADER_SIZE || u32_at(&sector, field::CHECKSUM) != checksum(&sector) {
            return Err(Error::Damaged("the checksum of the GPT header is wrong"));
        }
        let count = u32_at(&sector, field::ENTRIES_COUNT) as usize;
        let entry = u32_at(&sector, field::ENTRY_SIZE) as usize;
        if entry != ENTRY || count.checked_mul(ENTRY) != Some((ENTRIES * SECTOR) as usize) {
            return Err(Error::Strange("it has no 128 entries".to_owned()));
        }
        Ok(Self(sector))
    }

    fn entries(&self) -> u64 {
        u64_at(&self.0, field::ENTRIES_START)
    }

    fn set(&mut self, field: usize, value: u64) {
        put_u64(&mut self.0, field, value);
    }

    /// The same header as it stands at the end of the disk.
    fn as_backup(&self, own: u64, entries: u64) -> Self {
        let mut backup = self.clone();
        backup.set(field::OWN, own);
        backup.set(field::OTHER, HEADER_SECTOR);
        backup.set(field::ENTRIES_START, entries);
        backup
    }

    /// The sector, with the checksums that belong to it and `entries`.
    fn sealed(&self, entries: &[u8]) -> Vec<u8> {
        let mut sector = self.0.clone();
        put_u32(
            &mut sector,
            field::ENTRIES_CHECKSUM,
            crc32fast::hash(entries),
        );
        let checksum = checksum(&sector);
        put_u32(&mut sector, field::CHECKSUM, checksum);
        sector
    }
}

/// The checksum of a header counts its own field as zero.
fn checksum(sector: &[u8]) -> u32 {
    let mut header = sector[..HEADER_SIZE].to_vec();
    put_u32(&mut header, field::CHECKSUM, 0);
    crc32fast::hash(&header)
}

fn extent(entries: &[u8], index: usize) -> Option<Extent> {
    let entry = &entries[index * ENTRY..(index + 1) * ENTRY];
    let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
    (entry[..16] != [0; 16] && first <= last).then(|| Extent {
        start: first,
        sectors: last.saturating_sub(first).saturating_add(1),
    })
}

/// Nothing but the table may lie where the entries make their detour.
fn room_for_detour(found: &Found) -> Result<(), Error> {
    match found.iter().flatten().map(|e| e.start).min() {
        Some(first) if first < DETOUR + ENTRIES => Err(Error::Strange(format!(
            "a partition begins at sector {first}, and the first {} belong to the table",
            DETOUR + ENTRIES
        ))),
        _ => Ok(()),
    }
}

/// Slot B is what slot A is.
fn copy_type(entries: &mut [u8]) {
    let slot_a = (SLOT_B - 1) * ENTRY;
    entries.copy_within(slot_a..slot_a + 16, SLOT_B * ENTRY);
}

fn write_entry(
    entries: &mut [u8],
    index: usize,
    kind: Option<[u8; 16]>,
    id: [u8; 16],
    name: &str,
    extent: Extent,
) {
    let entry = &mut entries[index * ENTRY..(index + 1) * ENTRY];
    if let Some(kind) = kind {
        entry[..16].copy_from_slice(&kind);
    }
    entry[16..32].copy_from_slice(&id);
    put_u64(entry, 32, extent.start);
    put_u64(entry, 40, extent.end() - 1);
    entry[48..].fill(0);
    for (unit, place) in name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
}

const _: () = assert!(COUNT * ENTRY == SECTOR as usize);
