//! Leaving the initramfs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::SYSTEM;
use crate::mounts;
use crate::steps::Outcome;

/// The program that goes on.
pub(super) const INIT: &str = "/usr/sbin/init";

/// What goes along.
const MOUNTS: &[&str] = &["/dev", "/proc", "/sys", "/run"];

/// Makes the system root `/` and frees the memory of the initramfs.
pub(super) fn into_system() -> Outcome {
    for folder in MOUNTS {
        mounts::relocate(folder, &format!("{SYSTEM}{folder}"))?;
    }
    let root = fs::symlink_metadata("/").context("cannot look at the initramfs")?;
    // Whatever stays behind only costs memory.
    let _ = remove_content(Path::new("/"), root.dev());

    chdir(SYSTEM).context("cannot enter the system root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("cannot move the system root to /")?;
    chroot(".").context("cannot make the system root /")?;
    chdir("/").context("cannot enter the system root")?;
    Ok(None)
}

/// Removes what is in a folder, as far as it lies on the same filesystem.
fn remove_content(folder: &Path, device: u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.dev() != device {
            continue;
        }
        if metadata.is_dir() {
            remove_content(&path, device)?;
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
