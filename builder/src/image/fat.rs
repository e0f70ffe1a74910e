//! FAT32 filesystems with a flat set of files.
//!
//! Files are laid down one after the other in the order of their names, so
//! the same files give the same bytes, and everything behind the last file is
//! free space that no one needs to write to a card.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read, Write},
};

use anyhow::{Context, Result, bail, ensure};
use chrono::{Datelike, Timelike};
use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
};

use super::block_cache::BlockCache;
use crate::tree::Content;

/// Files by name.
pub type Files = BTreeMap<String, Content>;

/// FAT32 has at least this many clusters; with fewer it is another FAT.
const FEWEST_CLUSTERS: u64 = 65525;
const LARGEST_CLUSTER: u64 = 32 * 1024;
const DIRECTORY_ENTRY: u64 = 32;
/// Characters of a long name that one entry of a folder holds.
const NAME_PER_ENTRY: usize = 13;
const LARGEST_FILE: u64 = u32::MAX as u64;
/// More files than this are no slot of ours.
const MOST_FILES: usize = 4096;

/// Where a filesystem lies and how it is called.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// Up to 11 characters, in capitals.
    pub label: &'a str,
    /// The serial number of the volume.
    pub id: u32,
    /// Time of every file, in seconds since 1970.
    pub timestamp: i64,
    /// Where it begins in the image.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// The files need more than the volume has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit {
    /// The least size of a volume that holds them.
    pub needed: u64,
    /// The size of the volume.
    pub size: u64,
}

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the files need {} MiB, but there are {} MiB",
            self.needed.div_ceil(1 << 20),
            self.size >> 20
        )
    }
}

impl std::error::Error for DoesNotFit {}

/// Makes a filesystem in a range of `out`, which has zeros there. Returns how
/// many bytes from the beginning of the range are in use.
///
/// # Errors
/// [`DoesNotFit`]; names that FAT cannot hold; a content that cannot be read;
/// a file that cannot be written.
pub fn write(out: &File, volume: &Volume<'_>, files: &Files) -> Result<u64> {
    check_names(files)?;
    let cluster = cluster_size(volume.size).with_context(|| {
        format!(
            "a FAT32 filesystem of {} MiB is not possible; 34 MiB or more are",
            volume.size >> 20
        )
    })?;
    let mut cache = BlockCache::new(out, volume.start, volume.size);
    fatfs::format_volume(
        &mut cache,
        FormatVolumeOptions::new()
            .fat_type(FatType::Fat32)
            .bytes_per_cluster(cluster as u32)
            .volume_id(volume.id)
            .volume_label(label(volume.label)?),
    )?;
    let options = FsOptions::new().time_provider(clock(volume.timestamp)?);
    let filesystem = FileSystem::new(&mut cache, options)?;
    // Asking for the free space also stores it, so that no one has to count.
    let free = u64::from(filesystem.stats()?.free_clusters());
    let needed = clusters(files, cluster);
    if needed > free {
        bail!(DoesNotFit {
            needed: volume.size + (needed - free) * (cluster + 8),
            size: volume.size,
        });
    }
    for (name, content) in files {
        write_file(&filesystem, name, content)
            .with_context(|| format!("cannot write {name} into the image"))?;
    }
    let free = u64::from(filesystem.stats()?.free_clusters());
    filesystem.unmount()?;
    cache.flush()?;
    Ok(volume.size - free * cluster)
}

fn write_file(
    filesystem: &FileSystem<&mut BlockCache<'_>>,
    name: &str,
    content: &Content,
) -> io::Result<()> {
    let mut file = filesystem.root_dir().create_file(name)?;
    let mut reader = content.reader();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count])?;
    }
    file.flush()
}

/// The largest cluster with which a volume of a size still is FAT32.
fn cluster_size(size: u64) -> Option<u64> {
    let mut cluster = LARGEST_CLUSTER;
    while cluster >= 512 {
        // Each cluster costs itself and its entry in two tables; a few sectors
        // are reserved.
        if size.saturating_sub(64 * 1024) / (cluster + 8) > FEWEST_CLUSTERS + 16 {
            return Some(cluster);
        }
        cluster /= 2;
    }
    None
}

/// Clusters that files take, and the root folder with their names beyond its
/// first cluster.
fn clusters(files: &Files, cluster: u64) -> u64 {
    let content: u64 = files
        .values()
        .map(|content| content.len().div_ceil(cluster))
        .sum();
    let entries: usize = files
        .keys()
        .map(|name| name.encode_utf16().count().div_ceil(NAME_PER_ENTRY) + 1)
        .sum();
    let folder = (entries as u64 + 1) * DIRECTORY_ENTRY;
    content + folder.div_ceil(cluster) - 1
}

fn check_names(files: &Files) -> Result<()> {
    let mut seen = BTreeSet::new();
    ensure!(
        files.len() <= MOST_FILES,
        "{} files are too many for one folder of the image",
        files.len()
    );
    for (name, content) in files {
        ensure!(
            !name.contains('/'),
            "{name:?} names a folder, but the partition is flat"
        );
        let allowed = |c: char| c.is_ascii_graphic() && !"\"*/:<>?\\|".contains(c) || c == ' ';
        ensure!(
            (1..=255).contains(&name.len())
                && name.chars().all(allowed)
                && !name.ends_with(['.', ' '])
                && !name.starts_with(' '),
            "{name:?} is not a possible name on a FAT filesystem"
        );
        ensure!(
            seen.insert(name.to_ascii_lowercase()),
            "{name} is there twice: FAT does not tell capitals from small letters"
        );
        ensure!(
            content.len() <= LARGEST_FILE,
            "{name} is too large for FAT: less than 4 GiB is possible"
        );
    }
    Ok(())
}

fn label(text: &str) -> Result<[u8; 11]> {
    ensure!(
        text.len() <= 11 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
        "{text:?} is not a possible label of a FAT filesystem"
    );
    let mut label = [b' '; 11];
    label[..text.len()].copy_from_slice(text.as_bytes());
    Ok(label)
}

/// A clock that stands still.
#[derive(Debug)]
struct Clock(DateTime);

impl TimeProvider for Clock {
    fn get_current_date(&self) -> Date {
        self.0.date
    }

    fn get_current_date_time(&self) -> DateTime {
        self.0
    }
}

/// fatfs takes only clocks that live for ever, so one of 12 bytes is leaked
/// for each filesystem.
fn clock(timestamp: i64) -> Result<&'static Clock> {
    let time = chrono::DateTime::from_timestamp(timestamp, 0)
        .filter(|time| (1980..=2107).contains(&time.year()))
        .with_context(|| format!("the time {timestamp} is not between 1980 and 2107"))?;
    Ok(Box::leak(Box::new(Clock(DateTime {
        date: Date {
            year: time.year() as u16,
            month: time.month() as u16,
            day: time.day() as u16,
        },
        time: Time {
            hour: time.hour() as u16,
            min: time.minute() as u16,
            sec: time.second() as u16,
            millis: 0,
        },
    }))))
}

/// Reads the root folder of a FAT filesystem.
pub struct Reader<'f> {
    filesystem: FileSystem<BlockCache<'f>>,
}

impl<'f> Reader<'f> {
    /// Opens the filesystem in a range of a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(file: &'f File, start: u64, size: u64) -> Result<Self> {
        let end = file.metadata()?.len();
        ensure!(
            start.checked_add(size).is_some_and(|wanted| wanted <= end),
            "the image is cut off: a partition ends behind its end"
        );
        let cache = BlockCache::for_reading(file, start, size);
        let filesystem = FileSystem::new(cache, FsOptions::new())
            .context("the partition holds no FAT filesystem")?;
        Ok(Self { filesystem })
    }

    /// The files of the root folder and their lengths.
    ///
    /// # Errors
    /// When the folder cannot be read or does not end.
    pub fn files(&self) -> Result<BTreeMap<String, u64>> {
        let mut files = BTreeMap::new();
        for (count, entry) in self.filesystem.root_dir().iter().enumerate() {
            ensure!(count < MOST_FILES, "the folder of the partition is damaged");
            let entry = entry?;
            if entry.is_file() {
                files.insert(entry.file_name(), entry.len());
            }
        }
        Ok(files)
    }

    /// Copies a file of the root folder; returns its length.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be copied whole.
    pub fn copy(&self, name: &str, out: &mut impl Write) -> Result<u64> {
        for (count, entry) in self.filesystem.root_dir().iter().enumerate() {
            ensure!(count < MOST_FILES, "the folder of the partition is damaged");
            let entry = entry?;
            if entry.is_file() && entry.file_name().eq_ignore_ascii_case(name) {
                let mut buffer = vec![0; 256 * 1024];
                let mut file = entry.to_file();
                let mut copied = 0;
                loop {
                    let count = file
                        .read(&mut buffer)
                        .with_context(|| format!("cannot read {name}"))?;
                    if count == 0 {
                        break;
                    }
                    out.write_all(&buffer[..count])?;
                    copied += count as u64;
                }
                ensure!(
                    copied == entry.len(),
                    "{name} is cut off: {copied} of {} bytes are there",
                    entry.len()
                );
                return Ok(copied);
            }
        }
        bail!("there is no {name}")
    }

    /// Reads a file of the root folder, if it is there and not larger than
    /// `limit`.
    ///
    /// # Errors
    /// When it cannot be read or is larger.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let files = self.files()?;
        let Some(len) = files
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, len)| *len)
        else {
            return Ok(None);
        };
        ensure!(
            len <= limit,
            "{name} has {len} bytes, more than it can have"
        );
        let mut bytes = Vec::new();
        self.copy(name, &mut bytes)?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn volume(size: u64) -> (File, Volume<'static>) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size + MIB).unwrap();
        let volume = Volume {
            label: "TEST",
            id: 0x1234_5678,
            timestamp: 1_700_000_000,
            start: MIB,
            size,
        };
        (file, volume)
    }

    fn files(list: &[(&str, &[u8])]) -> Files {
        list.iter()
            .map(|(name, bytes)| ((*name).to_owned(), Content::from(bytes.to_vec())))
            .collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let (file, volume) = volume(64 * MIB);
        let long = vec![7; 3_000_001];
        let files = files(&[
            ("autoboot.txt", b"[all]\n"),
            ("bcm2711-rpi-4-b.dtb", &long),
            ("user-data", b""),
        ]);
        let used = write(&file, &volume, &files).unwrap();
        assert!(used > 3_000_001 && used < 6 * MIB, "{used}");
        let reader = Reader::open(&file, volume.start, volume.size).unwrap();
        let lengths: Vec<_> = reader.files().unwrap().into_iter().collect();
        assert_eq!(
            lengths,
            [
                ("autoboot.txt".to_owned(), 6),
                ("bcm2711-rpi-4-b.dtb".to_owned(), 3_000_001),
                ("user-data".to_owned(), 0)
            ]
        );
        let bytes = reader.read("BCM2711-rpi-4-b.dtb", 1 << 30).unwrap();
        assert_eq!(bytes.unwrap(), long);
        assert_eq!(reader.read("absent", 10).unwrap(), None);
        assert!(reader.read("autoboot.txt", 5).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_size_that_would() {
        let (file, small) = volume(64 * MIB);
        let files = files(&[("big", &vec![1; 70 << 20])]);
        let error = write(&file, &small, &files).unwrap_err();
        let error = *error.downcast_ref::<DoesNotFit>().unwrap();
        let (file, larger) = volume(error.needed.next_multiple_of(MIB));
        write(&file, &larger, &files).unwrap();
        assert!(error.needed < 72 * MIB, "{error}");
    }

    #[test]
    fn names_that_fat_cannot_hold_are_refused() {
        for names in [
            &["a/b"][..],
            &[""],
            &["a:b"],
            &["end."],
            &["end "],
            &["umlaut-ä"],
            &["same", "SAME"],
        ] {
            let list: Vec<_> = names.iter().map(|name| (*name, &b"x"[..])).collect();
            assert!(check_names(&files(&list)).is_err(), "{names:?}");
        }
        check_names(&files(&[("overlay_map.dtb", b"x"), ("user-data", b"")])).unwrap();
    }

    #[test]
    fn every_size_of_a_slot_is_fat32() {
        for mib in [34, 64, 100, 128, 256, 512, 1000, 2048, 4096] {
            let (file, volume) = volume(mib * MIB);
            write(&file, &volume, &files(&[("a", b"x")])).unwrap();
        }
        assert_eq!(cluster_size(64 * MIB), Some(512));
        assert_eq!(cluster_size(256 * MIB), Some(2048));
        assert_eq!(cluster_size(16 * MIB), None);
    }

    #[test]
    fn a_damaged_partition_is_an_error() {
        let (file, volume) = volume(64 * MIB);
        assert!(Reader::open(&file, volume.start, volume.size).is_err());
        assert!(Reader::open(&file, volume.start, u64::MAX).is_err());
    }
}
