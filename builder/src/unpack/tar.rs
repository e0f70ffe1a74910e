//! Reads tar archives as strictly as packages and layers allow.
//!
//! The `tar` crate reads the blocks; names and sizes that span entries (GNU long
//! names, pax records) are put together here, where they are bounded.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
};

use anyhow::{Context, Result, bail, ensure};
use tar::{Archive, EntryType, PaxExtensions};

use super::{
    Bounded, Filter, MAX_BYTES, MAX_ENTRIES,
    store::{Entry, EntryKind, Sink},
};

/// Longest path or link target, as in Linux.
const MAX_PATH: u64 = 4096;

/// Longest pax header; layers keep extended attributes there.
const MAX_PAX: u64 = 1 << 20;

/// Top folders that Debian has merged into `/usr`.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What an archive is, which decides how some of its entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A Debian package: what it has in `/bin` and the like goes to `/usr`.
    Package,
    /// A layer of an OCI image: some names remove what lower layers have.
    Layer,
}

/// What the entries before an entry say about it.
#[derive(Default)]
struct Announced {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Reads an archive. The contents of kept files go into the sink.
pub(super) fn read(
    archive: impl Read,
    dialect: Dialect,
    filter: &Filter,
    sink: &mut Sink,
) -> Result<Vec<Entry>> {
    let mut archive = Archive::new(Bounded {
        inner: archive,
        left: MAX_BYTES,
    });
    let mut reader = Reader {
        dialect,
        filter,
        sink,
        entries: Vec::new(),
        files: HashMap::new(),
        dropped: HashSet::new(),
    };
    let mut announced = Announced::default();
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        ensure!(
            count < MAX_ENTRIES,
            "it has more than {MAX_ENTRIES} entries"
        );
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName => announced.path = Some(text(&mut entry)?),
            EntryType::GNULongLink => announced.link = Some(text(&mut entry)?),
            EntryType::XHeader => announced.read_pax(&mut entry)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let announced = std::mem::take(&mut announced);
                let path = announced
                    .path
                    .clone()
                    .unwrap_or_else(|| entry.path_bytes().into_owned());
                reader
                    .add(&path, &announced, &mut entry)
                    .with_context(|| format!("entry {:?}", String::from_utf8_lossy(&path)))?;
            }
        }
    }
    Ok(reader.entries)
}

/// Reads the content of an entry that holds a name.
fn text(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let mut bytes = bounded(entry, MAX_PATH)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn bounded(entry: &mut tar::Entry<'_, impl Read>, limit: u64) -> Result<Vec<u8>> {
    let size = entry.size();
    ensure!(size <= limit, "it has a header of {size} bytes");
    let mut bytes = Vec::with_capacity(size as usize);
    entry.read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == size, "it is truncated");
    Ok(bytes)
}

impl Announced {
    fn read_pax(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        let bytes = bounded(entry, MAX_PAX)?;
        for record in PaxExtensions::new(&bytes) {
            let record = record?;
            let number = || -> Result<u32> { Ok(record.value()?.parse()?) };
            match record.key() {
                Ok("path") => self.path = Some(record.value_bytes().to_vec()),
                Ok("linkpath") => self.link = Some(record.value_bytes().to_vec()),
                Ok("uid") => self.uid = Some(number()?),
                Ok("gid") => self.gid = Some(number()?),
                // It is there for files over 8 GiB, and none may be that long.
                Ok("size") => bail!("it has a size in a pax header"),
                _ => {}
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    dialect: Dialect,
    filter: &'a Filter,
    sink: &'a mut Sink,
    entries: Vec<Entry>,
    /// Where files are among the entries, for hard links.
    files: HashMap<String, usize>,
    dropped: HashSet<String>,
}

impl Reader<'_> {
    fn add(
        &mut self,
        path: &[u8],
        announced: &Announced,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<()> {
        let original = relative(path)?;
        if original.is_empty() {
            return Ok(());
        }
        let header = entry.header().clone();
        let id = |announced: Option<u32>, header: u64| match announced {
            Some(id) => Ok(id),
            None => u32::try_from(header).context("its owner is impossible"),
        };
        let mut new = Entry {
            path: original.clone(),
            // What is above these bits is the type, which the tar has elsewhere.
            mode: (header.mode()? & 0o7777) as u16,
            uid: id(announced.uid, header.uid()?)?,
            gid: id(announced.gid, header.gid()?)?,
            kind: EntryKind::Directory,
        };
        let is_link = header.entry_type() == EntryType::Symlink;
        if self.dialect == Dialect::Package {
            // A package that makes the links themselves (base-files) still may.
            let merged = merged(&original);
            if !(is_link && MERGED.contains(&original.as_str())) {
                new.path = merged;
            }
        } else if let Some(kind) = whiteout(&mut new.path)? {
            new.kind = kind;
            // aufs keeps notes of its own under such names.
            if !new.path.is_empty() && !new.path.contains(WHITEOUT) {
                self.entries.push(new);
            }
            return Ok(());
        }
        let target = || -> Result<Vec<u8>> {
            let target = match &announced.link {
                Some(target) => target.clone(),
                None => entry
                    .link_name_bytes()
                    .context("it is a link to nothing")?
                    .into_owned(),
            };
            ensure!(!target.is_empty(), "it is a link to nothing");
            Ok(target)
        };
        if !self.filter.keeps(&new.path) {
            self.dropped.insert(new.path);
            return Ok(());
        }
        new.kind = match header.entry_type() {
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => {
                let target = utf8(&target()?)?.to_owned();
                EntryKind::Symlink(if new.path == original {
                    target
                } else {
                    from_root(&original, target)
                })
            }
            EntryType::Link => {
                let target = relative(&target()?)?;
                let target = match self.dialect {
                    Dialect::Package => merged(&target),
                    Dialect::Layer => target,
                };
                match self.files.get(&target) {
                    Some(at) => self.entries[*at].kind.clone(),
                    None if self.dropped.contains(&target) => {
                        bail!("it is a hard link to {target:?}, which is filtered out")
                    }
                    None => bail!("it is a hard link to {target:?}, which is not before it"),
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                ensure!(size <= MAX_BYTES, "it claims to be {size} bytes long");
                self.sink.append(entry, size)?
            }
            EntryType::Char | EntryType::Block => bail!("it is a device, which no image may hold"),
            EntryType::Fifo => bail!("it is a named pipe, which no image may hold"),
            other => bail!(
                "it is of the unknown kind {:?}",
                char::from(other.as_byte())
            ),
        };
        if let EntryKind::File { .. } = new.kind {
            self.files.insert(new.path.clone(), self.entries.len());
        }
        self.entries.push(new);
        Ok(())
    }
}

const WHITEOUT: &str = ".wh.";

/// Recognises the names that remove what lower layers have, and turns the path
/// into that of what is removed.
fn whiteout(path: &mut String) -> Result<Option<EntryKind>> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(hidden) = name.strip_prefix(WHITEOUT) else {
        return Ok(None);
    };
    ensure!(
        !matches!(hidden, "" | "." | ".."),
        "it removes what has no name"
    );
    let (kind, target) = match hidden {
        ".wh..opq" => (EntryKind::Opaque, folder.to_owned()),
        _ if folder.is_empty() => (EntryKind::Whiteout, hidden.to_owned()),
        _ => (EntryKind::Whiteout, format!("{folder}/{hidden}")),
    };
    *path = target;
    Ok(Some(kind))
}

/// A path below the root, without `.` and doubled slashes; empty for the root.
fn relative(path: &[u8]) -> Result<String> {
    let path = utf8(path)?;
    ensure!(!path.starts_with('/'), "it has an absolute path");
    ensure!(path.len() as u64 <= MAX_PATH, "its path is too long");
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => bail!("it climbs out of its folder"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).context("its name is not UTF-8")?;
    ensure!(!text.contains('\0'), "its name has a zero byte");
    Ok(text)
}

/// Where a path is once the top folders are merged into `/usr`.
fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or(path);
    if MERGED.contains(&top) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

/// The target of a link that moves one folder down: where it climbs, it has to
/// start from the root, as it did from its old place.
fn from_root(path: &str, target: String) -> String {
    if target.starts_with('/') || !target.split('/').any(|part| part == "..") {
        return target;
    }
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                at.pop();
            }
            part => at.push(part),
        }
    }
    format!("/{}", at.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_folders_move_below_usr_and_others_stay() {
        for (path, expected) in [
            ("bin", "usr/bin"),
            ("lib/modules/6.12", "usr/lib/modules/6.12"),
            ("lib64/ld.so", "usr/lib64/ld.so"),
            ("libexec/x", "libexec/x"),
            ("usr/bin/x", "usr/bin/x"),
            ("etc/bin/x", "etc/bin/x"),
        ] {
            assert_eq!(merged(path), expected);
        }
    }

    #[test]
    fn a_moved_link_still_means_the_same() {
        for (path, target, expected) in [
            ("lib/a/b.so", "c.so", "c.so"),
            ("lib/a/b.so", "/x", "/x"),
            ("lib/a/b.so", "../../usr/lib/c.so", "/usr/lib/c.so"),
            ("lib/b.so", "../etc/./x", "/etc/x"),
            ("bin/b", "../../../x", "/x"),
        ] {
            assert_eq!(from_root(path, target.into()), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_relative_and_plain() {
        assert_eq!(relative(b"./a//b/./c/").unwrap(), "a/b/c");
        assert_eq!(relative(b"./").unwrap(), "");
        for bad in [&b"/a"[..], b"a/../b", b"..", b"a\0b", b"\xff"] {
            assert!(relative(bad).is_err(), "{bad:?}");
        }
        assert!(relative(&[b'a'; 5000]).is_err());
    }

    #[test]
    fn names_of_removed_things_are_recognised() {
        let read = |path: &str| {
            let mut path = path.to_owned();
            whiteout(&mut path).unwrap().map(|kind| (kind, path))
        };
        let gone = |path: &str| Some((EntryKind::Whiteout, path.to_owned()));
        assert_eq!(read("etc/.wh.passwd"), gone("etc/passwd"));
        assert_eq!(read(".wh.etc"), gone("etc"));
        assert_eq!(
            read("etc/.wh..wh..opq"),
            Some((EntryKind::Opaque, "etc".to_owned()))
        );
        assert_eq!(read("etc/wh.passwd"), None);
    }
}
