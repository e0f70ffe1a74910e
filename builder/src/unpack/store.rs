//! Unpacked archives in the cache: one file with all contents, and an index.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tempfile::NamedTempFile;

use super::{Dialect, Filter};
use crate::{
    cache::Cache,
    digest::Digest,
    tree::{CacheFile, Content, Kind, Node, Tree},
};

/// Changes whenever the index does, or what unpacking means.
const FORMAT: u32 = 1;

/// How much is written at once.
const BUFFER: usize = 256 * 1024;

/// An entry of an archive, in the archive's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    Directory,
    File {
        offset: u64,
        len: u64,
        sha256: Digest,
    },
    Symlink(String),
    /// Layers: what is below is gone.
    Whiteout,
    /// Layers: whatever lower layers have in this folder is gone.
    Opaque,
}

#[derive(Serialize, Deserialize)]
struct Index {
    /// Length of the file with the contents.
    data: u64,
    entries: Vec<Entry>,
}

impl Index {
    /// Whether every content lies in the file.
    fn is_sound(&self) -> bool {
        self.entries.iter().all(|entry| match entry.kind {
            EntryKind::File { offset, len, .. } => {
                offset.checked_add(len).is_some_and(|end| end <= self.data)
            }
            _ => true,
        })
    }
}

/// An unpacked archive.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) entries: Vec<Entry>,
    file: Arc<CacheFile>,
}

impl Unpacked {
    /// The node that an entry stands for, if it is one.
    pub(crate) fn node(&self, entry: &Entry) -> Option<Node> {
        let kind = match &entry.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
            EntryKind::File { len: 0, .. } => Kind::File(Vec::new().into()),
            EntryKind::File { offset, len, .. } => Kind::File(Content::Slice {
                file: Arc::clone(&self.file),
                offset: *offset,
                len: *len,
            }),
            EntryKind::Whiteout | EntryKind::Opaque => return None,
        };
        Some(Node {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            kind,
        })
    }

    /// A tree of all entries, each of which may be there only once.
    pub(crate) fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        for entry in &self.entries {
            let Some(node) = self.node(entry) else {
                continue;
            };
            if let Some(known) = tree.get(&entry.path) {
                ensure!(
                    known.is_directory() && node.is_directory(),
                    "{:?} is in it twice",
                    entry.path
                );
            }
            tree.insert(&entry.path, node)?;
        }
        Ok(tree)
    }
}

/// Unpacks a tar archive, or finds it unpacked by an earlier run.
///
/// `check` sees the result before it is kept.
pub(crate) fn unpack_cached<'a>(
    cache: &Cache,
    sha256: &Digest,
    dialect: Dialect,
    filter: &Filter,
    open: impl FnOnce() -> Result<Box<dyn Read + 'a>>,
    check: impl FnOnce(&Unpacked) -> Result<()>,
) -> Result<Unpacked> {
    let key = format!("{FORMAT} {dialect:?} {sha256}\n{}", filter.id());
    let key = Digest::of(key.as_bytes());
    let data = cache.tree_path(&key, "data");
    let index = cache.tree_path(&key, "index");
    if let Some(entries) = load(&index, &data) {
        return Ok(Unpacked {
            entries,
            file: CacheFile::new(data),
        });
    }
    let mut sink = Sink::new(cache.temporary()?);
    let entries = super::tar::read(open()?, dialect, filter, &mut sink)?;
    let (file, length) = sink.finish()?;
    let unpacked = Unpacked {
        entries,
        file: CacheFile::new(data.clone()),
    };
    check(&unpacked)?;
    let contents = Index {
        data: length,
        entries: unpacked.entries,
    };
    let mut index_file = cache.temporary()?;
    let writing = || "cannot write to the cache";
    index_file
        .write_all(&postcard::to_stdvec(&contents)?)
        .context(writing())?;
    // The index last: it says that the other is complete.
    cache.publish(file, &data)?;
    cache.publish(index_file, &index)?;
    Ok(Unpacked {
        entries: contents.entries,
        file: unpacked.file,
    })
}

/// Reads an index whose contents are there.
fn load(index: &std::path::Path, data: &std::path::Path) -> Option<Vec<Entry>> {
    let bytes = fs::read(index).ok()?;
    let index: Index = postcard::from_bytes(&bytes).ok()?;
    let complete = fs::metadata(data).ok()?.len() == index.data && index.is_sound();
    complete.then_some(index.entries)
}

/// Takes the contents of files, one after the other.
pub(crate) struct Sink {
    file: NamedTempFile,
    buffer: Vec<u8>,
    filled: usize,
    written: u64,
}

impl Sink {
    fn new(file: NamedTempFile) -> Self {
        Self {
            file,
            buffer: vec![0; BUFFER],
            filled: 0,
            written: 0,
        }
    }

    /// Appends a file of known length; returns what its entry says about it.
    pub(crate) fn append(&mut self, mut content: impl Read, len: u64) -> io::Result<EntryKind> {
        let offset = self.written + self.filled as u64;
        let mut hasher = sha2::Sha256::new();
        let mut left = len;
        while left > 0 {
            if self.filled == self.buffer.len() {
                self.flush()?;
            }
            let free = &mut self.buffer[self.filled..];
            let wanted = free.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = content.read(&mut free[..wanted])?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it is truncated",
                ));
            }
            hasher.update(&free[..count]);
            self.filled += count;
            left -= count as u64;
        }
        Ok(EntryKind::File {
            offset,
            len,
            sha256: Digest::from(hasher.finalize()),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let file: &mut File = self.file.as_file_mut();
        file.write_all(&self.buffer[..self.filled])
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot write to the cache: {error}"))
            })?;
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(NamedTempFile, u64)> {
        self.flush()?;
        Ok((self.file, self.written))
    }
}
