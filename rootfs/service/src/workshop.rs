//! Folders of a node in which bundles are made and unmade: of services and of
//! variants that were added.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file in such a folder: who makes or removes something there holds its
/// lock.
pub const LOCK: &str = ".lock";

/// What lies in such a folder and is no bundle: one that is being made or
/// removed. To who holds the lock it is what a power cut left.
pub fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name != LOCK && name.as_encoded_bytes().starts_with(b".")
        })
        .map(|entry| entry.path())
        .collect()
}
