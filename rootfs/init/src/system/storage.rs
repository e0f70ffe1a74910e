//! Writable places of the system root.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use rubus_config::paths;

use crate::mounts::{self, NO_SUID_DEV, NO_SUID_DEV_EXEC, Virtual};
use crate::steps::Outcome;

/// Memory, bounded: a tmpfs takes what is in it and no more.
const MEMORY: &[Virtual] = &[
    memory("/etc", NO_SUID_DEV, "mode=0755,size=8m"),
    memory("/tmp", NO_SUID_DEV, "mode=1777,size=25%"),
    memory("/var/log", NO_SUID_DEV_EXEC, "mode=0755,size=16m"),
    memory("/var/tmp", NO_SUID_DEV, "mode=1777,size=25%"),
    memory("/media", NO_SUID_DEV, "mode=0755,size=1m"),
    memory("/dev/shm", NO_SUID_DEV, "mode=1777,size=25%"),
    Virtual {
        kind: "devpts",
        target: "/dev/pts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        // Group 5 is tty in Debian.
        options: "gid=5,mode=0620,ptmxmode=0666",
    },
    Virtual {
        kind: "mqueue",
        target: "/dev/mqueue",
        flags: NO_SUID_DEV_EXEC,
        options: "",
    },
];

const fn memory(target: &'static str, flags: MsFlags, options: &'static str) -> Virtual {
    Virtual {
        kind: "tmpfs",
        target,
        flags,
        options,
    }
}

/// What programs expect below `/dev` beside the devices.
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Folders of the data partition and where else they are seen.
const SHARED: &[(&str, &str)] = &[("rubus", paths::STATE), ("home", "/home")];

pub(super) fn mount_memory() -> Outcome {
    for filesystem in MEMORY {
        filesystem.mount()?;
    }
    for (path, target) in DEVICE_LINKS {
        symlink(target, path).with_context(|| format!("cannot link {path} to {target}"))?;
    }
    Ok(None)
}

/// Shows the folders of the data partition where they belong. All mounts are
/// shared from then on: a folder means the same in every service that sees it.
pub(super) fn share_data() -> Outcome {
    for (folder, target) in SHARED {
        let source = format!("{}/{folder}", paths::DATA);
        make_data_folder(&source)?;
        mounts::bind(&source, target)?;
    }
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
        None::<&str>,
    )
    .context("cannot make the mounts shared")?;
    Ok(None)
}

fn make_data_folder(path: &str) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        return Ok(());
    }
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the folder {path}"))
}
