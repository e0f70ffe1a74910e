//! `.deb` files: an `ar` archive with a compressed tar archive inside.
//!
//! Only the files are taken. What maintainer scripts would do is done by those
//! who compose an image, without running any of them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    cache::Cache,
    digest::Digest,
    fetch::Progress,
    tree::Tree,
    unpack::{Dialect, Filter, decompress, unpack_cached},
};

/// Lengths of what `ar` puts before its members.
const AR_MAGIC: u64 = 8;
const AR_HEADER: u64 = 60;

/// What comes with a package about it is never longer, unpacked: lists of hashes
/// of all its files are the longest part.
const MAX_CONTROL: u64 = 16 << 20;

/// More decoders at once could take more memory than the builder may: one of
/// them needs up to 65 MiB.
const MAX_DECODERS: usize = 4;

/// A package to unpack.
#[derive(Clone, Debug)]
pub struct Deb {
    /// What people call it.
    pub name: String,
    /// The file; its hash has been checked.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: Digest,
    /// Its length.
    pub size: u64,
    /// What of it is kept.
    pub filter: Filter,
}

/// Unpacks a package, or finds it unpacked by an earlier run.
///
/// # Errors
/// When it is not a package, or holds what no package may.
pub fn unpack(deb: &Deb, cache: &Cache) -> Result<Tree> {
    let mut tree = None;
    let unpacked = unpack_cached(
        cache,
        &deb.sha256,
        Dialect::Package,
        &deb.filter,
        || data_member(&deb.path),
        |unpacked| {
            tree = Some(unpacked.tree()?);
            Ok(())
        },
    );
    let tree = match tree {
        Some(tree) => unpacked.map(|_| tree),
        None => unpacked.and_then(|unpacked| unpacked.tree()),
    };
    tree.with_context(|| format!("cannot unpack {} ({})", deb.name, deb.path.display()))
}

/// Unpacks packages, several at once; returns their trees in order.
///
/// # Errors
/// The first failure.
pub fn unpack_all(
    debs: &[Deb],
    cache: &Cache,
    parallel: usize,
    progress: &dyn Progress,
) -> Result<Vec<Tree>> {
    progress.start(debs.len(), debs.iter().map(|deb| deb.size).sum());
    // The longest first, so that none of them is left over at the end.
    let mut order: Vec<usize> = (0..debs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(debs[*at].size));
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Vec<Mutex<Option<Result<Tree>>>> = debs.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, MAX_DECODERS).min(debs.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    let deb = &debs[at];
                    progress.begin(&deb.name);
                    let result = unpack(deb, cache);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    } else {
                        progress.advance(deb.size as i64);
                        progress.done(&deb.name);
                    }
                    if let Ok(mut slot) = results[at].lock() {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let mut trees = Vec::with_capacity(debs.len());
    let mut skipped = None;
    for (deb, result) in debs.iter().zip(results) {
        match result.into_inner().ok().flatten() {
            Some(result) => trees.push(result?),
            // Another one has failed, before or after this one.
            None => skipped = Some(&deb.name),
        }
    }
    match skipped {
        None => Ok(trees),
        Some(name) => Err(anyhow!("{name} was not unpacked")),
    }
}

/// What a package says of itself: the text of its `control` file.
///
/// # Errors
/// When it is not a package, or has no such file.
pub fn control(path: &Path) -> Result<String> {
    Ok(Control::read(path)?.fields)
}

/// What comes with a package about it.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// The text of its `control` file.
    pub fields: String,
    /// The other files, such as `conffiles` and `postinst`, by their names.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Control {
    /// Reads it from a package.
    ///
    /// # Errors
    /// When it is not a package, or does not say anything of itself.
    pub fn read(path: &Path) -> Result<Self> {
        Self::unpack(path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn unpack(path: &Path) -> Result<Self> {
        let archive = member(path, "control.tar")?;
        let mut archive = ::tar::Archive::new(archive.take(MAX_CONTROL));
        let mut control = Self::default();
        for entry in archive.entries()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            // Their names become names of files; Debian has no others.
            let plain = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if !plain || !entry.header().entry_type().is_file() {
                continue;
            }
            let mut content = Vec::new();
            entry.take(MAX_CONTROL).read_to_end(&mut content)?;
            if name == "control" {
                control.fields =
                    String::from_utf8(content).context("its control file is no text")?;
            } else {
                control.files.insert(name, content);
            }
        }
        ensure!(!control.fields.is_empty(), "it has no control file");
        Ok(control)
    }
}

/// Opens the files of a package.
fn data_member(path: &Path) -> Result<Box<dyn Read>> {
    member(path, "data.tar")
}

/// Opens the tar archive of a package that has a name and then an ending.
fn member(path: &Path, name: &str) -> Result<Box<dyn Read>> {
    let member = find_member(path, name)?;
    let mut file = File::open(path)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(member.offset))?;
    let reader = BufReader::with_capacity(64 * 1024, file.take(member.length));
    decompress(&member.compression, reader)
}

struct Member {
    compression: String,
    offset: u64,
    length: u64,
}

/// Finds the one member of a name.
fn find_member(path: &Path, wanted: &str) -> Result<Member> {
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    let mut archive = ar::Archive::new(BufReader::new(file));
    let mut at = AR_MAGIC;
    let mut count = 0;
    let mut found = None;
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.context("it is not an ar archive")?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let length = entry.header().size();
        let offset = at + AR_HEADER;
        // The size comes first, as everything else relies on it.
        let end = offset.checked_add(length);
        ensure!(
            end.is_some_and(|end| end <= total),
            "its member {name:?} claims to be {length} bytes long: the file is truncated"
        );
        at = offset + length + length % 2;
        if count == 0 {
            ensure!(name == "debian-binary", "it is not a Debian package");
            let mut version = String::new();
            (&mut entry).take(16).read_to_string(&mut version)?;
            ensure!(
                version.starts_with("2."),
                "it is in the unknown format {version:?}"
            );
        }
        count += 1;
        if let Some(suffix) = name.strip_prefix(wanted) {
            ensure!(found.is_none(), "it has two members {wanted}");
            found = Some(Member {
                compression: suffix.trim_start_matches('.').to_owned(),
                offset,
                length,
            });
        }
    }
    match found {
        Some(member) => Ok(member),
        None if count == 0 => bail!("it is not a Debian package"),
        None => bail!("it has no member {wanted}: it is truncated"),
    }
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
