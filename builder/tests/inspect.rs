//! What `inspect` says of good images and of bad ones.

#[path = "support/pack.rs"]
mod pack;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use pack::pack;
use rubus::{
    image::{
        disk::{self, Layout, PartitionTable},
        fat::Files,
        output::Compression,
    },
    inspect::inspect,
    manifest::{FORMAT, FileEntry, Manifest, ServiceEntry, VariantEntry},
    tree::Content,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn manifest(files: &Files) -> Manifest {
    let entry = |content: &Content| {
        let hash = Sha256::digest(content.read().unwrap());
        FileEntry {
            size: content.len(),
            sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    };
    Manifest {
        format: FORMAT,
        board: "rpi4".into(),
        version: "0.1.0".into(),
        build_id: "0123".into(),
        timestamp: 1_700_000_000,
        kernel: "6.12.94".into(),
        files: files
            .iter()
            .map(|(name, content)| (name.clone(), entry(content)))
            .collect(),
        services: BTreeMap::from([
            (
                "broker".into(),
                ServiceEntry {
                    description: "Messages".into(),
                    image: Some("registry.example/broker@sha256:12".into()),
                    ..ServiceEntry::default()
                },
            ),
            (
                "ntp".into(),
                ServiceEntry {
                    description: "Network time".into(),
                    enabled: true,
                    packages: BTreeMap::from([("chrony".into(), "4.6".into())]),
                    ..ServiceEntry::default()
                },
            ),
        ]),
        sizes: BTreeMap::from([("modules".into(), 3 * MIB), ("service ntp".into(), 9 * MIB)]),
    }
}

fn build(folder: &Path, table: PartitionTable, compression: Compression) -> PathBuf {
    let mut slot = Files::from([
        ("cmdline.txt".to_owned(), Content::from("console=tty0\n")),
        (
            "system.squashfs".to_owned(),
            Content::from(vec![7; 5 << 20]),
        ),
    ]);
    let text = manifest(&slot).to_json().unwrap();
    slot.insert("manifest.json".into(), text.into());
    pack(folder, table, &slot, compression)
}

fn complaint(path: &Path) -> String {
    format!("{:#}", inspect(path).unwrap_err())
}

#[test]
fn a_report_says_what_is_in_the_image_however_it_is_packed() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path();
    for (table, compression, extension) in [
        (PartitionTable::Mbr, Compression::None, ""),
        (PartitionTable::Gpt, Compression::Zstd(1), ".zst"),
        (PartitionTable::Mbr, Compression::Xz(0), ".xz"),
    ] {
        let image = build(folder, table, compression);
        let report = inspect(&PathBuf::from(format!("{}{extension}", image.display()))).unwrap();
        assert_eq!(report.partition_table, table);
        assert_eq!(report.size, fs::metadata(&image).unwrap().len());
        let layout = Layout::new(table, "0123", 64 * MIB).unwrap();
        let found: Vec<_> = report
            .partitions
            .iter()
            .map(|p| (p.start, p.size, p.partuuid.as_str()))
            .collect();
        let expected = [&layout.boot, &layout.slot].map(|p| (p.start, p.size, p.partuuid.as_str()));
        assert_eq!(found, expected);
        let [slot] = report.slots.as_slice() else {
            panic!("{report}");
        };
        assert_eq!((slot.name.as_str(), slot.partition), ("A", 2));
        assert_eq!(slot.files["system.squashfs"], 5 * MIB);
        assert_eq!(slot.manifest.kernel, "6.12.94");
        serde_json::to_string(&report).unwrap();
    }
}

#[test]
fn a_person_reads_it_as_aligned_text() {
    let directory = TempDir::new().unwrap();
    let image = build(directory.path(), PartitionTable::Mbr, Compression::None);
    let report = inspect(&image).unwrap();
    let uuid = |index: usize| &report.partitions[index].partuuid;
    let manifest_size = report.slots[0].files["manifest.json"];
    let expected = format!(
        "\
{}: 132.0 MiB, MBR

Partitions
  1   at 4.0 MiB  64.0 MiB  PARTUUID={}
  2  at 68.0 MiB  64.0 MiB  PARTUUID={}

Slot A: Rubus 0.1.0 for rpi4, kernel 6.12.94, build 0123

  Files
    5.0 MiB  system.squashfs
    {:.1} KiB  manifest.json
    0.0 KiB  cmdline.txt

  Space in the image, compressed
    9.0 MiB  service ntp
    3.0 MiB  modules

  Services
    broker  off  an image   Messages
    ntp     on   1 package  Network time

  Images of registries
    broker  registry.example/broker@sha256:12
",
        image.display(),
        uuid(0),
        uuid(1),
        manifest_size as f64 / 1024.0
    );
    assert_eq!(report.to_string(), expected);
}

#[test]
fn variants_are_listed_with_versions_and_packages() {
    let mut manifest = manifest(&Files::new());
    let packages = |version: &str| BTreeMap::from([("docker.io".to_owned(), version.to_owned())]);
    let reference = "registry.example/engine@sha256:34";
    let docker = ServiceEntry {
        description: "Engine".into(),
        enabled: true,
        variant: Some("docker-28".into()),
        version: Some("28.5.2-1".into()),
        packages: packages("28.5.2-1"),
        variants: BTreeMap::from([
            (
                "docker-20.10.24".into(),
                VariantEntry {
                    version: Some("20.10.24-1".into()),
                    packages: packages("20.10.24-1"),
                    image: None,
                },
            ),
            (
                "mine".into(),
                VariantEntry {
                    image: Some(reference.into()),
                    ..VariantEntry::default()
                },
            ),
        ]),
        ..ServiceEntry::default()
    };
    manifest.services = BTreeMap::from([("docker".into(), docker)]);
    let text = manifest.to_json().unwrap();
    assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), manifest);

    let directory = TempDir::new().unwrap();
    let image = directory.path().join("x.img");
    let slot = Files::from([("manifest.json".to_owned(), text.into())]);
    let layout = Layout::new(PartitionTable::Mbr, "0123", 64 * MIB).unwrap();
    let out = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&image)
        .unwrap();
    disk::write(&layout, 1_700_000_000, &Files::new(), &slot, &out).unwrap();
    let report = inspect(&image).unwrap();
    let said = report.to_string();
    let (_, said) = said.split_once("\n  Services\n").unwrap();
    assert_eq!(
        said,
        "    docker  on  1 package  Engine

  Variants
    docker  docker-28        28.5.2-1    starts
    docker  docker-20.10.24  20.10.24-1
    docker  mine

  Images of registries
    docker, mine  registry.example/engine@sha256:34
"
    );
    let said = format!("{report:#}");
    for lines in [
        "  Packages of docker\n    docker.io  28.5.2-1\n",
        "  Packages of docker, docker-20.10.24\n    docker.io  20.10.24-1\n",
    ] {
        assert!(said.contains(lines), "{said}");
    }
}

#[test]
fn bad_input_is_refused_in_one_clear_sentence() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path();
    let image = build(folder, PartitionTable::Mbr, Compression::Zstd(1));

    assert!(complaint(&folder.join("absent.img")).contains("rubus build"));
    assert!(complaint(folder).contains("is a folder"));
    let text = folder.join("text");
    fs::write(&text, "not an image").unwrap();
    assert!(complaint(&text).contains("is not a disk image"));
    fs::write(&text, "").unwrap();
    assert!(complaint(&text).contains("is not a disk image"));

    let packed = fs::read(folder.join("x.img.zst")).unwrap();
    let short = folder.join("short.img.zst");
    fs::write(&short, &packed[..packed.len() / 2]).unwrap();
    assert!(complaint(&short).contains("damaged or cut off"));

    let file = File::options().read(true).write(true).open(&image).unwrap();
    file.set_len(100 * MIB).unwrap();
    assert!(complaint(&image).contains("is cut off: partition 2"));
}

#[test]
fn a_changed_byte_in_a_file_of_the_slot_is_found() {
    let directory = TempDir::new().unwrap();
    let image = build(directory.path(), PartitionTable::Mbr, Compression::None);
    inspect(&image).unwrap();
    let whole = fs::read(&image).unwrap();
    let at = whole.windows(4096).position(|w| w == [7; 4096]).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[8], at as u64 + 1000).unwrap();
    let text = complaint(&image);
    assert!(text.contains("system.squashfs has the SHA-256"), "{text}");
}

#[test]
fn a_disk_without_a_manifest_is_not_ours() {
    let directory = TempDir::new().unwrap();
    let image = directory.path().join("other.img");
    let layout = Layout::new(PartitionTable::Mbr, "0123", 64 * MIB).unwrap();
    let out = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&image)
        .unwrap();
    disk::write(&layout, 1_700_000_000, &Files::new(), &Files::new(), &out).unwrap();
    assert!(complaint(&image).contains("is not an image of Rubus"));
}
