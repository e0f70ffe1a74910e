//! Disk images, as standard tools see them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::tools::must;

/// The partition table of a disk image, in the words of `sfdisk`.
#[derive(Clone, Debug)]
pub struct Table {
    /// `gpt` or `dos`.
    pub label: String,
    /// The partitions, in order.
    pub partitions: Vec<Partition>,
    image: PathBuf,
}

/// A partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

impl Table {
    /// Reads the table of a raw image.
    ///
    /// # Panics
    /// When `sfdisk` does not understand it.
    pub fn of(image: &Path) -> Self {
        let text = must(Command::new("sfdisk").arg("--json").arg(image));
        let json: Value = serde_json::from_str(&text).expect("sfdisk prints JSON");
        let table = &json["partitiontable"];
        let sector = table["sectorsize"].as_u64().unwrap_or(512);
        let bytes = |value: &Value| value.as_u64().expect("a number of sectors") * sector;
        let partitions = table["partitions"]
            .as_array()
            .expect("a list of partitions");
        Self {
            label: table["label"].as_str().unwrap_or_default().to_owned(),
            partitions: partitions
                .iter()
                .map(|partition| Partition {
                    start: bytes(&partition["start"]),
                    size: bytes(&partition["size"]),
                })
                .collect(),
            image: image.to_owned(),
        }
    }

    /// Copies a partition, by its number from 1, into a file.
    ///
    /// # Panics
    /// When there is none, or the disk is full.
    pub fn extract(&self, number: usize, to: &Path) {
        let Partition { start, size } = self.partitions[number - 1];
        must(
            Command::new("dd")
                .arg(format!("if={}", self.image.display()))
                .arg(format!("of={}", to.display()))
                .args([format!("skip={start}"), format!("count={size}")])
                .args(["bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse"])
                .arg("status=none"),
        );
    }
}

/// The names in the top folder of a FAT filesystem, in order.
///
/// # Panics
/// When it is none.
pub fn fat_files(filesystem: &Path) -> Vec<String> {
    let text = must(
        Command::new("mdir")
            .args(["-b", "-i"])
            .arg(filesystem)
            .arg("::"),
    );
    let mut names: Vec<String> = text
        .lines()
        .map(|line| line.trim_start_matches("::/").to_owned())
        .collect();
    names.sort();
    names
}

/// Writes a file into the first partition of an image, as a person does who
/// has the card in a computer.
///
/// # Panics
/// When it does not fit.
pub fn write_to_card(image: &Path, name: &str, content: &str) {
    let start = Table::of(image).partitions[0].start;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), content).expect("the temporary folder is writable");
    must(
        Command::new("mcopy")
            .args(["-o", "-i"])
            .arg(format!("{}@@{start}", image.display()))
            .arg(file.path())
            .arg(format!("::{name}")),
    );
}

/// Copies a file out of a FAT filesystem.
///
/// # Panics
/// When it is not there.
pub fn fat_copy(filesystem: &Path, name: &str, to: &Path) {
    must(
        Command::new("mcopy")
            .args(["-n", "-o", "-i"])
            .arg(filesystem)
            .arg(format!("::{name}"))
            .arg(to),
    );
}

/// The disk of a machine, as a raw image. Clusters that belong to nothing are
/// what a QEMU leaves that was killed: that is how the plug is pulled here.
///
/// # Panics
/// When QEMU did not leave a sound one.
pub fn raw(state: &Path, to: &Path) {
    must(
        Command::new("qemu-img")
            .args(["check", "-q", "-r", "leaks"])
            .arg(state),
    );
    must(
        Command::new("qemu-img")
            .args(["convert", "-O", "raw"])
            .args([state, to]),
    );
}
