//! Mounting, with errors that say what was to be mounted where.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A filesystem that the kernel makes itself.
pub(crate) struct Virtual {
    /// Its type.
    pub(crate) kind: &'static str,
    /// Where it belongs.
    pub(crate) target: &'static str,
    /// `nosuid`, `nodev`, `noexec`.
    pub(crate) flags: MsFlags,
    /// Its own options.
    pub(crate) options: &'static str,
}

/// What a folder of data needs at most.
pub(crate) const NO_SUID_DEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
/// The same for what is not to be executed either.
pub(crate) const NO_SUID_DEV_EXEC: MsFlags = NO_SUID_DEV.union(MsFlags::MS_NOEXEC);

impl Virtual {
    /// Mounts it, making the folder when there is none.
    pub(crate) fn mount(&self) -> Result<()> {
        make_folder(self.target)?;
        mount(
            Some(self.kind),
            self.target,
            Some(self.kind),
            self.flags,
            Some(self.options),
        )
        .with_context(|| format!("cannot mount {} on {}", self.kind, self.target))
    }
}

/// Makes a mount point where the root filesystem lets us.
pub(crate) fn make_folder(path: &str) -> Result<()> {
    if Path::new(path).is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {path}"))
}

/// Mounts a device.
pub(crate) fn device(
    source: &str,
    target: &str,
    kind: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> io::Result<()> {
    mount(Some(source), target, Some(kind), flags, options).map_err(io::Error::from)
}

/// Makes `source` visible at `target` as well.
pub(crate) fn bind(source: &str, target: &str) -> Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("cannot bind {source} to {target}"))
}

/// Moves a mount.
pub(crate) fn relocate(source: &str, target: &str) -> Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_MOVE,
        None::<&str>,
    )
    .with_context(|| format!("cannot move the mount {source} to {target}"))
}

/// Unmounts for good, or from view when it is still in use.
pub(crate) fn detach(target: &str) {
    if umount2(target, MntFlags::empty()).is_err() {
        let _ = umount2(target, MntFlags::MNT_DETACH);
    }
}
