//! Small images for tests.

use std::path::{Path, PathBuf};

use rubus::image::{
    disk::{self, Layout, PartitionTable},
    fat::Files,
    output::{Compression, Outputs},
};

/// The size of each of the two partitions.
pub(crate) const SIZE: u64 = 64 << 20;

/// Writes `x.img`, and its compressed form, with the given slot into a folder.
pub(crate) fn pack(
    folder: &Path,
    table: PartitionTable,
    slot: &Files,
    compression: Compression,
) -> PathBuf {
    let layout = Layout::new(table, "0123", SIZE).unwrap();
    let mut outputs = Outputs::open(folder, "x").unwrap();
    let image = outputs.image().unwrap();
    let ranges = disk::write(&layout, 1_700_000_000, &Files::new(), slot, &image).unwrap();
    outputs
        .pack(&image, &ranges, compression, 1, &mut |_| {})
        .unwrap();
    outputs.commit().unwrap();
    folder.join("x.img")
}
