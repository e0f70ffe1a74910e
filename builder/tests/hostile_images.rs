//! Images that are damaged or made to harm: they are refused or read, and
//! nothing panics, runs for ever or takes all memory.

#[path = "support/mutate.rs"]
mod mutate;
#[path = "support/pack.rs"]
mod pack;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use mutate::{bound_memory, each};
use pack::pack;
use rubus::{
    image::{
        disk::PartitionTable,
        fat::{self, Files, Volume},
        output::Compression,
        reader::DiskImage,
    },
    inspect::inspect,
    manifest::Manifest,
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// The pages of a file that are not zero, end to end, for damaging them in
/// place: the file stays as sparse as it is.
struct Pages {
    offsets: Vec<u64>,
    bytes: Vec<u8>,
}

impl Pages {
    const SIZE: usize = 512;

    fn of(file: &File) -> Self {
        let length = file.metadata().unwrap().len();
        let mut pages = Self {
            offsets: Vec::new(),
            bytes: Vec::new(),
        };
        let mut buffer = vec![0; MIB as usize];
        for start in (0..length).step_by(buffer.len()) {
            let count = file.read_at(&mut buffer, start).unwrap();
            for (at, page) in buffer[..count].chunks(Self::SIZE).enumerate() {
                if page.len() == Self::SIZE && page.iter().any(|byte| *byte != 0) {
                    pages.offsets.push(start + (at * Self::SIZE) as u64);
                    pages.bytes.extend(page);
                }
            }
        }
        pages
    }

    fn write(&self, bytes: &[u8], file: &File) {
        let mut bytes = bytes.to_vec();
        bytes.resize(self.bytes.len(), 0);
        for (offset, page) in self.offsets.iter().zip(bytes.chunks(Self::SIZE)) {
            file.write_all_at(page, *offset).unwrap();
        }
    }
}

/// An image with a manifest in its slot; opened for writing.
fn small_image(folder: &Path, table: PartitionTable, compression: Compression) -> File {
    let manifest = Manifest {
        format: 1,
        board: "rpi4".into(),
        version: "1".into(),
        build_id: "0123".into(),
        timestamp: 1_700_000_000,
        kernel: "6".into(),
        files: BTreeMap::new(),
        services: BTreeMap::new(),
        sizes: BTreeMap::new(),
    };
    let slot = Files::from([
        ("cmdline.txt".to_owned(), "quiet".into()),
        ("a long name of a file.bin".to_owned(), vec![7; 3000].into()),
        (
            "manifest.json".to_owned(),
            manifest.to_json().unwrap().into(),
        ),
    ]);
    let image = pack(folder, table, &slot, compression);
    File::options().read(true).write(true).open(image).unwrap()
}

#[test]
fn disk_images() {
    bound_memory();
    for table in [PartitionTable::Mbr, PartitionTable::Gpt] {
        let folder = TempDir::new().unwrap();
        let file = small_image(folder.path(), table, Compression::None);
        let path = folder.path().join("x.img");
        inspect(&path).unwrap();
        let pages = Pages::of(&file);
        each("image", &[&pages.bytes], 150, |bytes| {
            pages.write(bytes, &file);
            let _ = inspect(&path);
        });
    }
}

#[test]
fn compressed_images() {
    bound_memory();
    for (compression, ending) in [(Compression::Zstd(3), "zst"), (Compression::Xz(1), "xz")] {
        let folder = TempDir::new().unwrap();
        small_image(folder.path(), PartitionTable::Mbr, compression);
        let path = folder.path().join(format!("x.img.{ending}"));
        let packed = fs::read(&path).unwrap();
        each("compressed image", &[&packed], 5, |bytes| {
            fs::write(&path, bytes).unwrap();
            let _ = DiskImage::open(&path);
        });
    }
}

#[test]
fn a_filesystem_without_an_end() {
    bound_memory();
    let file = tempfile::tempfile().unwrap();
    let size = pack::SIZE;
    file.set_len(size).unwrap();
    let volume = Volume {
        label: "X",
        id: 1,
        start: 0,
        size,
        timestamp: 1_700_000_000,
    };
    fat::write(&file, &volume, &Files::from([("a".to_owned(), "a".into())])).unwrap();
    let number = |at: u64, width: usize| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes[..width], at).unwrap();
        u64::from(u32::from_le_bytes(bytes))
    };
    // The fields of the first sector, as Microsoft's specification of FAT has them.
    let (sector, cluster) = (number(11, 2), number(13, 1));
    let (reserved, fats, fat_sectors, root) =
        (number(14, 2), number(16, 1), number(36, 4), number(44, 4));
    let data = (reserved + fats * fat_sectors) * sector;
    let at = data + (root - 2) * cluster * sector;
    // A folder of removed names, or of pieces of a long one, whose only cluster
    // comes after itself.
    file.write_all_at(&(root as u32).to_le_bytes(), reserved * sector + root * 4)
        .unwrap();
    for attributes in [0, 0x0f] {
        let mut entry = [b'x'; 32];
        entry[0] = if attributes == 0 { 0xe5 } else { 1 };
        entry[11] = attributes;
        let folder = entry.repeat((cluster * sector / 32) as usize);
        file.write_all_at(&folder, at).unwrap();
        let start = Instant::now();
        let reader = fat::Reader::open(&file, 0, size).unwrap();
        assert!(reader.files().is_err());
        assert!(reader.copy("a", &mut Vec::new()).is_err());
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_partition_table_that_asks_for_all_memory() {
    bound_memory();
    let folder = TempDir::new().unwrap();
    let file = small_image(folder.path(), PartitionTable::Gpt, Compression::None);
    let checksum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let mut header = [0; 92];
    file.read_exact_at(&mut header, 512).unwrap();
    let good = header;
    for (entries, length) in [(u32::MAX, 128), (128, 256), (128, 0), (0, 128)] {
        let mut header = good;
        header[80..84].copy_from_slice(&u32::to_le_bytes(entries));
        header[84..88].copy_from_slice(&u32::to_le_bytes(length));
        header[16..20].fill(0);
        let sum = checksum(&header);
        header[16..20].copy_from_slice(&sum);
        file.write_all_at(&header, 512).unwrap();
        assert!(DiskImage::open(&folder.path().join("x.img")).is_err());
    }
}
