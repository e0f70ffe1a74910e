//! Power is cut before and within every write, and the kernel looks at what
//! is left. Images are made and read here by code of its own, so that a wrong
//! offset in the planner does not cancel itself out.

use std::collections::BTreeMap;
use std::io;

use super::*;

const MIB: u64 = 2048;
const IDS: [[u8; 16]; 2] = [[0xB; 16], [0xD; 16]];
const SLOT_A: Extent = Extent {
    start: 65 * MIB,
    sectors: 100 * MIB,
};

/// A disk of zeros and what was written to it.
#[derive(Clone, PartialEq, Debug)]
struct Disk {
    size: u64,
    sectors: BTreeMap<u64, Vec<u8>>,
}

impl Sectors for Disk {
    fn read(&self, first: u64, count: u64) -> io::Result<Vec<u8>> {
        if first.checked_add(count).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((first..first + count)
            .flat_map(|n| {
                self.sectors
                    .get(&n)
                    .cloned()
                    .unwrap_or_else(|| vec![0; 512])
            })
            .collect())
    }
}

impl Disk {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        assert_eq!(offset % SECTOR, 0);
        for (n, sector) in (offset / SECTOR..).zip(bytes.chunks(512)) {
            assert!(n < self.size, "a write behind the end of the disk");
            assert_eq!(sector.len(), 512);
            self.sectors.insert(n, sector.to_vec());
        }
    }

    fn sector(&self, n: u64) -> Vec<u8> {
        self.read(n, 1).unwrap()
    }

    /// As the builder makes it: p1 and p2, on a card larger than the image.
    fn mbr(size: u64) -> Self {
        let mut sector = vec![0; 512];
        for (index, (start, length)) in [(MIB, 64 * MIB), (SLOT_A.start, SLOT_A.sectors)]
            .into_iter()
            .enumerate()
        {
            let at = 446 + index * 16;
            sector[at + 4] = 0x0C;
            put_u32(&mut sector, at + 8, start as u32);
            put_u32(&mut sector, at + 12, length as u32);
        }
        sector[440..444].copy_from_slice(&[1, 2, 3, 4]);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        let mut disk = Self {
            size,
            sectors: BTreeMap::new(),
        };
        disk.write(0, &sector);
        disk
    }

    fn gpt(size: u64) -> Self {
        let image_end = SLOT_A.end() + MIB;
        let mut guard = vec![0; 512];
        guard[450] = 0xEE;
        put_u32(&mut guard, 454, 1);
        put_u32(&mut guard, 458, image_end as u32 - 1);
        guard[510..].copy_from_slice(&[0x55, 0xAA]);

        let mut entries = vec![0; 32 * 512];
        for (index, (start, last)) in [(MIB, 65 * MIB - 1), (SLOT_A.start, SLOT_A.end() - 1)]
            .into_iter()
            .enumerate()
        {
            let at = index * 128;
            entries[at..at + 16].copy_from_slice(&[0xA2; 16]);
            entries[at + 16..at + 32].copy_from_slice(&[index as u8 + 1; 16]);
            put_u64(&mut entries, at + 32, start);
            put_u64(&mut entries, at + 40, last);
        }
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        put_u32(&mut header, 8, 0x10000);
        put_u32(&mut header, 12, 92);
        put_u64(&mut header, 24, 1);
        put_u64(&mut header, 32, image_end - 1);
        put_u64(&mut header, 40, 34);
        put_u64(&mut header, 48, image_end - 34);
        put_u64(&mut header, 72, 2);
        put_u32(&mut header, 80, 128);
        put_u32(&mut header, 84, 128);
        put_u32(&mut header, 88, crc32fast::hash(&entries));
        let crc = crc32fast::hash(&header[..92]);
        put_u32(&mut header, 16, crc);

        let mut disk = Self {
            size,
            sectors: BTreeMap::new(),
        };
        disk.write(0, &guard);
        disk.write(512, &header);
        disk.write(1024, &entries);
        disk
    }

    fn plan(&self) -> Result<Plan, Error> {
        plan(self, self.size, IDS)
    }

    fn complete(&mut self) -> Plan {
        let plan = self.plan().unwrap();
        for write in &plan.writes {
            self.write(write.offset, &write.bytes);
        }
        plan
    }

    /// The partitions that the kernel finds (block/partitions/{msdos,efi}.c).
    fn kernel_view(&self) -> Option<BTreeMap<usize, Extent>> {
        let first = self.sector(0);
        if first[510..] != [0x55, 0xAA] {
            return None;
        }
        let guarded = (0..4).any(|i| first[450 + i * 16] == 0xEE);
        if !guarded {
            return Some(
                (0..4)
                    .filter(|i| u32_at(&first, 458 + i * 16) != 0)
                    .map(|i| {
                        let extent = Extent {
                            start: u64::from(u32_at(&first, 454 + i * 16)),
                            sectors: u64::from(u32_at(&first, 458 + i * 16)),
                        };
                        (i + 1, extent)
                    })
                    .collect(),
            );
        }
        assert_eq!(u32_at(&first, 454), 1, "the guard begins at sector 1");
        self.valid_gpt(1)
    }

    /// `is_gpt_valid` of the kernel, and what specification and `sgdisk -v`
    /// ask for beyond it.
    fn valid_gpt(&self, at: u64) -> Option<BTreeMap<usize, Extent>> {
        let header = self.sector(at);
        let mut zeroed = header[..92].to_vec();
        zeroed[16..20].fill(0);
        if &header[..8] != b"EFI PART" || crc32fast::hash(&zeroed) != u32_at(&header, 16) {
            return None;
        }
        let (first_usable, last_usable) = (u64_at(&header, 40), u64_at(&header, 48));
        if u64_at(&header, 24) != at || last_usable >= self.size || first_usable > last_usable {
            return None;
        }
        let table = Extent {
            start: u64_at(&header, 72),
            sectors: 32,
        };
        let entries = self.read(table.start, table.sectors).ok()?;
        if crc32fast::hash(&entries) != u32_at(&header, 88) {
            return None;
        }
        assert!(
            table.end() <= first_usable || table.start > last_usable,
            "entries lie among the partitions"
        );
        let partitions: BTreeMap<usize, Extent> = entries
            .chunks(128)
            .enumerate()
            .filter(|(_, e)| e[..16] != [0; 16])
            .map(|(i, e)| {
                let extent = Extent {
                    start: u64_at(e, 32),
                    sectors: u64_at(e, 40) - u64_at(e, 32) + 1,
                };
                (i + 1, extent)
            })
            .collect();
        for extent in partitions.values() {
            assert!(extent.start >= first_usable && extent.end() <= last_usable + 1);
        }
        Some(partitions)
    }
}

fn both_kinds(size: u64) -> [(&'static str, Disk); 2] {
    [("MBR", Disk::mbr(size)), ("GPT", Disk::gpt(size))]
}

/// Every disk that a power cut during `writes` can leave: whole writes up to
/// some point, and of the next one its first or last sectors.
fn cuts(start: &Disk, writes: &[Write]) -> Vec<(String, Disk)> {
    let mut disk = start.clone();
    let mut cuts = Vec::new();
    for (n, write) in writes.iter().enumerate() {
        let sectors: Vec<&[u8]> = write.bytes.chunks(512).collect();
        for kept in 0..sectors.len() {
            let mut torn = disk.clone();
            torn.write(write.offset, &sectors[..kept].concat());
            cuts.push((format!("write {n}, first {kept} sectors"), torn));
            let mut torn = disk.clone();
            let skipped = sectors.len() - kept;
            torn.write(
                write.offset + skipped as u64 * 512,
                &sectors[skipped..].concat(),
            );
            cuts.push((format!("write {n}, last {kept} sectors"), torn));
        }
        disk.write(write.offset, &write.bytes);
    }
    cuts
}

#[test]
fn slot_b_follows_slot_a_and_data_fills_the_card() {
    for (kind, mut disk) in both_kinds(1000 * MIB) {
        let plan = disk.complete();
        assert_eq!(
            plan.slot_b,
            Extent {
                start: 165 * MIB,
                sectors: 100 * MIB
            },
            "{kind}"
        );
        assert_eq!(plan.data.start, 265 * MIB, "{kind}");
        let free = disk.size - plan.data.end();
        assert!(free < 2 * MIB, "{kind}: {free} sectors are left over");
        let seen = disk.kernel_view().unwrap();
        assert_eq!(seen[&2], SLOT_A, "{kind}");
        assert_eq!(seen[&3], plan.slot_b, "{kind}");
        assert_eq!(seen[&4], plan.data, "{kind}");
        assert_eq!(seen.len(), 4);
    }
}

#[test]
fn after_a_power_cut_at_any_moment_the_next_boot_finds_slot_a_and_completes() {
    for (kind, start) in both_kinds(1000 * MIB) {
        let mut whole = start.clone();
        let wanted = whole.complete();
        let cuts = cuts(&start, &wanted.writes);
        assert!(!cuts.is_empty());
        for (cut, mut disk) in cuts {
            let seen = disk
                .kernel_view()
                .unwrap_or_else(|| panic!("{kind}, {cut}: no partitions"));
            assert_eq!(seen.get(&2), Some(&SLOT_A), "{kind}, {cut}");
            let plan = disk.complete();
            assert_eq!((plan.slot_b, plan.data), (wanted.slot_b, wanted.data));
            assert!(disk == whole, "{kind}, {cut}: the end differs");
        }
    }
}

#[test]
fn a_second_power_cut_in_the_completion_does_no_harm_either() {
    let start = Disk::gpt(1000 * MIB);
    let mut whole = start.clone();
    let writes = whole.complete().writes;
    for (first, disk) in cuts(&start, &writes) {
        // Whole writes only: the torn ones are in the test above.
        if !first.ends_with("first 0 sectors") {
            continue;
        }
        let plan = disk.plan().unwrap();
        for (second, mut disk) in cuts(&disk, &plan.writes) {
            assert_eq!(
                disk.kernel_view().and_then(|seen| seen.get(&2).copied()),
                Some(SLOT_A),
                "{first}, then {second}"
            );
            disk.complete();
            assert!(disk == whole, "{first}, then {second}");
        }
    }
}

#[test]
fn a_boot_loader_that_reads_sector_2_only_always_finds_slot_a() {
    let start = Disk::gpt(1000 * MIB);
    for (cut, disk) in cuts(&start, &start.plan().unwrap().writes) {
        let entries = disk.sector(2);
        assert_eq!(u64_at(&entries, 128 + 32), SLOT_A.start, "{cut}");
        assert_eq!(u64_at(&entries, 128 + 40), SLOT_A.end() - 1, "{cut}");
    }
}

#[test]
fn a_complete_table_is_left_alone() {
    for (kind, mut disk) in both_kinds(1000 * MIB) {
        let first = disk.complete();
        let second = disk.plan().unwrap();
        assert_eq!(second.writes, [], "{kind}");
        assert_eq!((second.slot_b, second.data), (first.slot_b, first.data));
        // The card was copied to a larger one.
        disk.size *= 2;
        assert_eq!(disk.plan().unwrap().writes, [], "{kind}");
    }
}

#[test]
fn the_finished_gpt_is_as_the_specification_wants_it() {
    let mut disk = Disk::gpt(1000 * MIB);
    disk.complete();
    let last = disk.size - 1;
    let header = disk.sector(1);
    assert_eq!(u64_at(&header, 32), last);
    assert_eq!(u64_at(&header, 72), 2);
    assert_eq!(u64_at(&header, 40), 34);
    assert_eq!(u64_at(&disk.sector(last), 32), 1);
    assert_eq!(disk.valid_gpt(last), disk.valid_gpt(1));
    assert_eq!(u64::from(u32_at(&disk.sector(0), 458)), last);
    let entries = disk.sector(2);
    assert_eq!(
        entries[256..272],
        entries[128..144],
        "slot B has the type of A"
    );
    assert_eq!(entries[272..288], IDS[0]);
    assert_eq!(entries[400..416], IDS[1]);
}

#[test]
fn the_finished_mbr_keeps_its_signature_and_has_the_right_types() {
    let mut disk = Disk::mbr(1000 * MIB);
    disk.complete();
    let sector = disk.sector(0);
    assert_eq!(sector[440..444], [1, 2, 3, 4]);
    assert_eq!((sector[482], sector[498]), (0x0C, 0x83));
}

#[test]
fn data_on_an_mbr_disk_ends_at_two_tebibytes() {
    let plan = Disk::mbr(3 << 32).plan().unwrap();
    assert!(plan.data.end() <= 1 << 32);
    assert!(plan.data.end() > (1 << 32) - 2 * MIB);
}

#[test]
fn a_card_too_small_is_refused_without_a_write_and_says_how_large_it_must_be() {
    let smallest = (265 + 64 + 1) * MIB;
    for (kind, disk) in both_kinds(smallest) {
        assert!(disk.plan().is_ok(), "{kind}");
    }
    for (kind, disk) in both_kinds(300 * MIB) {
        let error = disk.plan().unwrap_err().to_string();
        assert!(error.contains("holds 300 MiB"), "{kind}: {error}");
        assert!(error.contains("need 330 MiB"), "{kind}: {error}");
    }
}

#[test]
fn a_table_with_slot_b_already_there_gets_data_behind_it() {
    let mut disk = Disk::mbr(1000 * MIB);
    let mut sector = disk.sector(0);
    sector[482] = 0x0C;
    put_u32(&mut sector, 486, 200 * 2048);
    put_u32(&mut sector, 490, 10 * 2048);
    disk.write(0, &sector);
    let plan = disk.complete();
    assert_eq!(plan.slot_b.start, 200 * MIB);
    assert_eq!(plan.data.start, 210 * MIB);
}

#[test]
fn unique_ids_are_those_of_the_kernel() {
    let ids = |disk: &Disk| unique_ids(disk).unwrap();
    assert_eq!(
        ids(&Disk::mbr(1000 * MIB)),
        [(1, "04030201-01".into()), (2, "04030201-02".into())]
    );
    let mut disk = Disk::gpt(1000 * MIB);
    assert_eq!(
        ids(&disk)[1],
        (2, "02020202-0202-0202-0202-020202020202".into())
    );
    // Sector 2 as sgdisk writes 00112233-4455-6677-8899-aabbccddeeff.
    let mut entries = disk.read(2, 32).unwrap();
    entries[144..160].copy_from_slice(&[
        0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE,
        0xFF,
    ]);
    let mut header = disk.sector(1);
    put_u32(&mut header, 88, crc32fast::hash(&entries));
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header[..92]);
    put_u32(&mut header, 16, crc);
    disk.write(512, &header);
    disk.write(1024, &entries);
    assert_eq!(ids(&disk)[1].1, "00112233-4455-6677-8899-aabbccddeeff");
}

#[test]
fn strange_tables_are_refused() {
    let mut no_slot = Disk::mbr(1000 * MIB);
    let mut sector = no_slot.sector(0);
    sector[462..478].fill(0);
    no_slot.write(0, &sector);

    let mut data_only = Disk::mbr(1000 * MIB);
    let mut sector = data_only.sector(0);
    sector[498] = 0x83;
    put_u32(&mut sector, 502, 500 * 2048);
    put_u32(&mut sector, 506, 2048);
    data_only.write(0, &sector);

    let mut behind_the_end = Disk::mbr(1000 * MIB);
    let mut sector = behind_the_end.sector(0);
    put_u32(&mut sector, 474, u32::MAX);
    behind_the_end.write(0, &sector);

    let mut no_room = Disk::gpt(1000 * MIB);
    let mut entries = no_room.read(2, 32).unwrap();
    put_u64(&mut entries, 32, 40);
    let mut header = no_room.sector(1);
    put_u32(&mut header, 88, crc32fast::hash(&entries));
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header[..92]);
    put_u32(&mut header, 16, crc);
    no_room.write(512, &header);
    no_room.write(1024, &entries);

    for (disk, why) in [
        (no_slot, "partition 1 or 2 is missing"),
        (data_only, "a partition 4, but no partition 3"),
        (
            behind_the_end,
            "partition 2 ends behind the end of the card",
        ),
        (no_room, "a partition begins at sector 40"),
    ] {
        let error = disk.plan().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn damaged_tables_are_refused() {
    let mut blank = Disk::mbr(1000 * MIB);
    blank.write(0, &[0; 512]);
    let mut header = Disk::gpt(1000 * MIB);
    let mut sector = header.sector(1);
    sector[48] ^= 1;
    header.write(512, &sector);
    let mut entries = Disk::gpt(1000 * MIB);
    entries.write(33 * 512, &[1; 512]);
    let mut far = Disk::gpt(1000 * MIB);
    let mut sector = far.sector(1);
    put_u64(&mut sector, 72, u64::MAX - 3);
    sector[16..20].fill(0);
    let crc = crc32fast::hash(&sector[..92]);
    put_u32(&mut sector, 16, crc);
    far.write(512, &sector);

    assert!(matches!(blank.plan(), Err(Error::Damaged(_))));
    assert!(matches!(header.plan(), Err(Error::Damaged(_))));
    assert!(matches!(entries.plan(), Err(Error::Damaged(_))));
    assert!(matches!(far.plan(), Err(Error::Read(_))));
}
