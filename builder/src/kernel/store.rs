//! Keeps a prepared kernel in the cache: `KEY.data`, the parts end to end, and
//! `KEY.json`, which says where each of them is. The record is written last
//! and under its final name only when all data is on disk, so that a build
//! that is broken off leaves nothing that looks whole.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::Kernel;
use crate::{
    board::{Board, Pattern},
    cache::Cache,
    digest::Digest,
    tree::{CacheFile, Content, Node, Tree},
};

/// Changes whenever what is made of the same packages changes.
const FORMAT: u32 = 2;

/// Where a part of the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    offset: u64,
    len: u64,
}

/// What the data holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) release: String,
    pub(super) image: Part,
    /// Device trees by file name.
    pub(super) dtbs: BTreeMap<String, Part>,
    /// Modules and tables by path below the folder of the release.
    pub(super) files: BTreeMap<String, Part>,
    /// The modules of the initramfs in load order, by the same paths.
    pub(super) initramfs: Vec<String>,
    pub(super) early: String,
}

impl Record {
    /// The kernel that it describes.
    pub(super) fn kernel(&self, data: &Arc<CacheFile>) -> Result<Kernel> {
        let content = |part: &Part| Content::Slice {
            file: Arc::clone(data),
            offset: part.offset,
            len: part.len,
        };
        let file = |part: &Part| Node::file(0o644, content(part));

        let mut modules = Tree::new();
        for (path, part) in &self.files {
            let path = format!("usr/lib/modules/{}/{path}", self.release);
            modules.insert(&path, file(part))?;
        }
        let mut initramfs_modules = Tree::new();
        let mut order = String::new();
        for path in &self.initramfs {
            let name = path.rsplit('/').next().unwrap_or(path);
            let part = self
                .files
                .get(path)
                .with_context(|| format!("the cache has no module {path}"))?;
            initramfs_modules.insert(&format!("modules/{name}"), file(part))?;
            order.push_str(name);
            order.push('\n');
        }
        initramfs_modules.insert("modules/order", Node::file(0o644, order))?;
        Ok(Kernel {
            release: self.release.clone(),
            image: content(&self.image),
            dtbs: self
                .dtbs
                .iter()
                .map(|(name, part)| (name.clone(), content(part)))
                .collect(),
            modules,
            initramfs_modules,
            early: self.early.clone(),
        })
    }

    /// Whether every part lies within data of this length.
    fn fits(&self, length: u64) -> bool {
        self.files
            .values()
            .chain(self.dtbs.values())
            .chain([&self.image])
            .all(|part| {
                part.offset
                    .checked_add(part.len)
                    .is_some_and(|end| end <= length)
            })
    }
}

/// Appends parts to the data; usable from several threads.
pub(super) struct Writer {
    file: Mutex<(BufWriter<NamedTempFile>, u64)>,
}

impl Writer {
    /// Appends one part.
    pub(super) fn add(&self, bytes: &[u8]) -> Result<Part> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, end) = &mut *file;
        out.write_all(bytes)?;
        let part = Part {
            offset: *end,
            len: bytes.len() as u64,
        };
        *end += part.len;
        Ok(part)
    }

    fn finish(self) -> Result<NamedTempFile> {
        let (out, _) = self
            .file
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let file = out.into_inner()?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}

/// Names what is made of these packages for this board: everything that
/// changes the result changes the name.
pub(super) fn key(board: &Board, packages: &str) -> String {
    let texts = |patterns: &[Pattern]| -> Vec<String> {
        patterns.iter().map(|one| one.text.clone()).collect()
    };
    let modules = &board.modules;
    let inputs = serde_json::json!([
        FORMAT,
        packages,
        texts(&modules.keep),
        texts(&modules.initramfs),
        texts(&modules.early),
        board.kernel.dtbs,
    ]);
    Digest::of(inputs.to_string().as_bytes()).to_string()
}

fn paths(cache: &Cache, key: &str) -> (PathBuf, PathBuf) {
    let kernels = cache.kernels();
    (
        kernels.join(format!("{key}.json")),
        kernels.join(format!("{key}.data")),
    )
}

/// What the cache has; nothing when it is missing or not whole.
pub(super) fn load(cache: &Cache, key: &str) -> Option<(Record, Arc<CacheFile>)> {
    let (record_path, data_path) = paths(cache, key);
    let record: Record = serde_json::from_slice(&fs::read(record_path).ok()?).ok()?;
    let length = fs::metadata(&data_path).ok()?.len();
    record
        .fits(length)
        .then(|| (record, CacheFile::new(data_path)))
}

/// Makes data and record and puts both into the cache. Two builds may run at
/// once: what they write is the same.
pub(super) fn save(
    cache: &Cache,
    key: &str,
    make: impl FnOnce(&Writer) -> Result<Record>,
) -> Result<(Record, Arc<CacheFile>)> {
    let (record_path, data_path) = paths(cache, key);
    let writer = Writer {
        file: Mutex::new((BufWriter::with_capacity(1 << 20, cache.temporary()?), 0)),
    };
    let record = make(&writer)?;
    cache.publish(writer.finish()?, &data_path)?;
    let mut list = cache.temporary()?;
    list.write_all(&serde_json::to_vec(&record)?)
        .with_context(|| format!("cannot write {}", list.path().display()))?;
    cache.publish(list, &record_path)?;
    Ok((record, CacheFile::new(data_path)))
}
