//! `rubus inspect`: what is in an image.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    digest::Hasher,
    image::{
        disk::PartitionTable,
        fat,
        reader::{DiskImage, PartitionEntry},
    },
    manifest::{self, Manifest, ServiceEntry},
};

const LARGEST_MANIFEST: u64 = 4 << 20;

/// The partitions that can hold a version, and what people call them.
const SLOTS: [(u32, &str); 2] = [(2, "A"), (3, "B")];

/// What is in an image.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub image: String,
    /// Length of the image in bytes, unpacked.
    pub size: u64,
    /// Kind of partition table.
    pub partition_table: PartitionTable,
    /// The partitions.
    pub partitions: Vec<PartitionEntry>,
    /// The slots that hold a version.
    pub slots: Vec<Slot>,
}

/// A slot that holds a version.
#[derive(Clone, Debug, Serialize)]
pub struct Slot {
    /// `A` or `B`.
    pub name: String,
    /// Number of its partition.
    pub partition: u32,
    /// What it holds.
    pub manifest: Manifest,
    /// Lengths of its files.
    pub files: BTreeMap<String, u64>,
}

/// Looks into an image, `.img`, `.img.zst` or `.img.xz`, and compares each
/// file of a slot with the hash in its manifest.
///
/// # Errors
/// When it is no image of ours, cut off, or damaged.
pub fn inspect(path: &Path) -> Result<Report> {
    let disk = DiskImage::open(path)?;
    let mut slots = Vec::new();
    for (number, name) in SLOTS {
        if disk.table.partition(number).is_err() {
            continue;
        }
        let filesystem = disk
            .fat(number)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if let Some(slot) = read_slot(&filesystem, number, name)
            .with_context(|| format!("{} is damaged in slot {name}", path.display()))?
        {
            slots.push(slot);
        }
    }
    ensure!(
        !slots.is_empty(),
        "{} is not an image of Rubus: no slot has a {}",
        path.display(),
        manifest::FILE_NAME
    );
    Ok(Report {
        image: path.display().to_string(),
        size: disk.size,
        partition_table: disk.table.kind,
        partitions: disk.table.partitions.clone(),
        slots,
    })
}

/// The manifest of a slot, if it has one.
///
/// # Errors
/// When the slot cannot be read.
pub fn read_manifest(filesystem: &fat::Reader<'_>) -> Result<Option<Manifest>> {
    filesystem
        .read(manifest::FILE_NAME, LARGEST_MANIFEST)?
        .map(|bytes| Manifest::from_json(&bytes))
        .transpose()
}

fn read_slot(filesystem: &fat::Reader<'_>, number: u32, name: &str) -> Result<Option<Slot>> {
    let Some(manifest) = read_manifest(filesystem)? else {
        return Ok(None);
    };
    for (file, entry) in &manifest.files {
        let mut hasher = Hasher::default();
        filesystem.copy(file, &mut hasher)?;
        let found = hasher.finish().to_string();
        ensure!(
            found == entry.sha256,
            "{file} has the SHA-256 {found}, but the manifest says {}; \
             build or download the image again",
            entry.sha256
        );
    }
    Ok(Some(Slot {
        name: name.to_owned(),
        partition: number,
        files: filesystem.files()?,
        manifest,
    }))
}

/// For people; the alternate form (`{:#}`) lists the packages of each service.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.partition_table {
            PartitionTable::Mbr => "MBR",
            PartitionTable::Gpt => "GPT",
        };
        writeln!(f, "{}: {}, {table}", self.image, human(self.size))?;
        writeln!(f, "\nPartitions")?;
        let rows = self.partitions.iter().map(|partition| {
            [
                partition.number.to_string(),
                format!("at {}", human(partition.start)),
                human(partition.size),
                format!("PARTUUID={}", partition.partuuid),
            ]
        });
        write_table(
            f,
            "  ",
            [Align::Right, Align::Right, Align::Right, Align::Left],
            rows,
        )?;
        self.slots.iter().try_for_each(|slot| slot.fmt(f))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = &self.manifest;
        writeln!(
            f,
            "\nSlot {}: Rubus {} for {}, kernel {}, build {}",
            self.name, manifest.version, manifest.board, manifest.kernel, manifest.build_id
        )?;
        writeln!(f, "\n  Files")?;
        write_sizes(f, &self.files)?;
        if !manifest.sizes.is_empty() {
            writeln!(f, "\n  Space in the image, compressed")?;
            write_sizes(f, &manifest.sizes)?;
        }
        writeln!(f, "\n  Services")?;
        let rows = manifest.services.iter().map(|(name, service)| {
            let state = if service.enabled { "on" } else { "off" };
            // Their names fill a screen.
            let packages = match service.packages.len() {
                0 if service.image.is_some() => "an image".to_owned(),
                0 => String::new(),
                1 => "1 package".to_owned(),
                count => format!("{count} packages"),
            };
            [
                name.clone(),
                state.to_owned(),
                packages,
                service.description.clone(),
            ]
        });
        write_table(f, "    ", [Align::Left; 4], rows)?;
        let variants: Vec<_> = manifest.services.iter().flat_map(variants).collect();
        if !variants.is_empty() {
            writeln!(f, "\n  Variants")?;
            write_table(f, "    ", [Align::Left; 4], variants.into_iter())?;
        }
        let images: Vec<_> = manifest.services.iter().flat_map(images).collect();
        if !images.is_empty() {
            writeln!(f, "\n  Images of registries")?;
            write_table(f, "    ", [Align::Left; 2], images.into_iter())?;
        }
        if f.alternate() {
            for (name, service) in &manifest.services {
                write_packages(f, name, &service.packages)?;
                for (variant, entry) in &service.variants {
                    write_packages(f, &format!("{name}, {variant}"), &entry.packages)?;
                }
            }
        }
        Ok(())
    }
}

/// The variants of a service, the one that the image starts with first.
fn variants((name, service): (&String, &ServiceEntry)) -> Vec<[String; 4]> {
    let row = |variant: &str, version: &Option<String>, when: &str| {
        let version = version.clone().unwrap_or_default();
        [name.clone(), variant.to_owned(), version, when.to_owned()]
    };
    let first = service.variant.iter();
    let first = first.map(|variant| row(variant, &service.version, "starts"));
    let others = service.variants.iter();
    let others = others.map(|(variant, entry)| row(variant, &entry.version, ""));
    first.chain(others).collect()
}

/// The images of registries that a service and its variants are made from.
fn images((name, service): (&String, &ServiceEntry)) -> Vec<[String; 2]> {
    let own = service.image.iter();
    let own = own.map(|image| [name.clone(), image.clone()]);
    let others = service.variants.iter().filter_map(|(variant, entry)| {
        let image = entry.image.clone()?;
        Some([format!("{name}, {variant}"), image])
    });
    own.chain(others).collect()
}

fn write_packages(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    packages: &BTreeMap<String, String>,
) -> fmt::Result {
    if packages.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n  Packages of {name}")?;
    let rows = packages
        .iter()
        .map(|(name, version)| [name.clone(), version.clone()]);
    write_table(f, "    ", [Align::Left; 2], rows)
}

/// Sizes by name, the largest first.
fn write_sizes(f: &mut fmt::Formatter<'_>, sizes: &BTreeMap<String, u64>) -> fmt::Result {
    let mut sizes: Vec<_> = sizes.iter().collect();
    sizes.sort_by_key(|(name, size)| (std::cmp::Reverse(**size), name.as_str()));
    let rows = sizes
        .into_iter()
        .map(|(name, size)| [human(*size), name.clone()]);
    write_table(f, "    ", [Align::Right, Align::Left], rows)
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    columns: [Align; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = indent.to_owned();
        for ((cell, width), align) in row.iter().zip(widths).zip(columns) {
            match align {
                Align::Left => write!(line, "{cell:<width$}  ")?,
                Align::Right => write!(line, "{cell:>width$}  ")?,
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A length for people.
fn human(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{:.1} KiB", bytes as f64 / f64::from(1 << 10))
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}
