//! Unpacking a root filesystem that somebody else made: nothing it names is
//! followed out of its folder, it brings no devices and no privileges, and it
//! has bounds.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tar::{Archive, Entry, EntryType};

/// More files than any image has that a board has room for.
const MOST_ENTRIES: u64 = 200_000;
/// Deeper than any folder of one.
const DEEPEST: usize = 64;
/// What is left free on the data partition.
const SPARE: u64 = 256 << 20;
/// In an image's layer: this file is gone, or all others of its folder are.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Whose files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// All of them root's.
    Root,
    /// As the archive says: the programs run as these users.
    Kept,
}

/// How much may still be unpacked, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    entries: u64,
    bytes: u64,
    owners: Owners,
}

impl Budget {
    /// What the filesystem that holds `folder` has room for, and no more than
    /// `most` bytes.
    pub(crate) fn of(folder: &Path, most: u64, owners: Owners) -> Result<Self> {
        let stat = rustix::fs::statvfs(folder)
            .with_context(|| format!("cannot ask for the space on {}", folder.display()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Self {
            entries: MOST_ENTRIES,
            bytes: free.saturating_sub(SPARE).min(most),
            owners,
        })
    }

    fn take(&mut self, bytes: u64) -> Result<()> {
        let enough = self.entries > 0 && bytes <= self.bytes;
        if !enough {
            bail!("it is too large: there is no room for it, or it is no root filesystem");
        }
        self.entries -= 1;
        self.bytes -= bytes;
        Ok(())
    }
}

/// Unpacks a root filesystem, or one layer of an image over those before it.
pub(super) fn unpack(
    archive: impl Read,
    root: &Path,
    budget: &mut Budget,
    is_layer: bool,
) -> Result<()> {
    let mut archive = Archive::new(archive);
    for entry in archive.entries().context("it cannot be read")? {
        // What the library says quotes from the archive.
        let mut entry = entry.map_err(|_| anyhow!("it is damaged or cut off"))?;
        let name = entry
            .path()
            .context("it holds a name that is none")?
            .into_owned();
        let place = |what: &str| format!("{what} {}", name.display());
        let path = relative(&name).with_context(|| place("it holds the name"))?;
        let Some(path) = path else { continue };
        budget.take(entry.size())?;
        one(&mut entry, root, &path, is_layer, budget.owners)
            .with_context(|| place("cannot unpack"))?;
    }
    Ok(())
}

/// A name in an archive as a path below its root; none is the root itself.
fn relative(name: &Path) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("it leads out of its folder"),
        }
    }
    if path.components().count() > DEEPEST {
        bail!("it is nested too deeply");
    }
    Ok((path != Path::new("")).then_some(path))
}

fn one(
    entry: &mut Entry<'_, impl Read>,
    root: &Path,
    path: &Path,
    is_layer: bool,
    owners: Owners,
) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let inside = make_folders(root, folder)?;
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    if is_layer && let Some(hidden) = name.to_str().and_then(|it| it.strip_prefix(WHITEOUT)) {
        if name == OPAQUE {
            for entry in fs::read_dir(&inside)? {
                remove(&entry?.path())?;
            }
        } else if !matches!(hidden, "" | "." | "..") {
            remove(&inside.join(hidden))?;
        }
        return Ok(());
    }
    let target = inside.join(name);
    let owner = match owners {
        Owners::Root => None,
        Owners::Kept => Some(owner(entry)?),
    };
    // Privileges of set-user-id programs end here.
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
    match entry.header().entry_type() {
        EntryType::Directory => {
            if !fs::symlink_metadata(&target).is_ok_and(|it| it.is_dir()) {
                remove(&target)?;
                fs::create_dir(&target)?;
            }
            give(&target, owner)?;
            fs::set_permissions(&target, Permissions::from_mode(mode | 0o700))?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            remove(&target)?;
            let mut file = create(&target, mode)?;
            io::copy(entry, &mut file)?;
            give(&target, owner)?;
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.context("it is a link to nothing")?;
            remove(&target)?;
            // It may lead anywhere: it is followed only by programs whose root
            // this is.
            symlink(link, &target)?;
            give(&target, owner)?;
        }
        EntryType::Link => {
            let link = entry.link_name()?.context("it is a link to nothing")?;
            let link = relative(&link)?.context("it is a link to the root")?;
            let other = find(root, &link)?;
            if !fs::symlink_metadata(&other).is_ok_and(|it| it.is_file()) {
                bail!("it is a link to {}, which is no file", link.display());
            }
            remove(&target)?;
            fs::hard_link(other, &target)?;
        }
        // Devices are the node's to give; pipes and sockets are made by whoever
        // uses them.
        _ => {}
    }
    Ok(())
}

/// User and group of an entry.
fn owner(entry: &Entry<'_, impl Read>) -> Result<(u32, u32)> {
    let number = |id: io::Result<u64>| {
        let id = id.ok().and_then(|id| u32::try_from(id).ok());
        // The largest means "nobody is given".
        id.filter(|id| *id != u32::MAX)
            .context("it belongs to nobody that there can be")
    };
    Ok((number(entry.header().uid())?, number(entry.header().gid())?))
}

/// Gives a file to a user, and follows no link.
fn give(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match owner {
        Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// A path below the root, none of whose folders is a link.
pub(crate) fn find(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut found = root.to_owned();
    let folder = path.parent().unwrap_or(Path::new(""));
    for part in folder.components() {
        found.push(part);
        if !fs::symlink_metadata(&found).is_ok_and(|it| it.is_dir()) {
            bail!("{} is no folder", part.as_os_str().display());
        }
    }
    Ok(found.join(path.file_name().unwrap_or_default()))
}

/// Makes the folders of a path below the root. A link on the way is refused:
/// following it could lead out.
pub(crate) fn make_folders(root: &Path, folder: &Path) -> Result<PathBuf> {
    let mut made = root.to_owned();
    for part in folder.components() {
        made.push(part);
        match fs::symlink_metadata(&made) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => bail!(
                "{} is no folder, but something is to lie in it",
                part.as_os_str().display()
            ),
            Err(_) => fs::create_dir(&made)?,
        }
    }
    Ok(made)
}

/// Makes a file that was not there.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// Writes a file in place of whatever was there.
pub(crate) fn replace(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let path = Path::new(path.trim_start_matches('/'));
    let folder = make_folders(root, path.parent().unwrap_or(Path::new("")))?;
    let target = folder.join(path.file_name().unwrap_or_default());
    remove(&target)?;
    Ok(create(&target, mode)?.write_all(content)?)
}

/// Removes what is there, if anything is, and follows no link.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
