//! Opens files of a folder, and of no other.

use std::{fs::File, io, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

/// Reading, and without waiting, so that a FIFO in the folder does no harm.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens what lies below `folder`. The kernel sees to it that no link leads out
/// of it; nothing when there is no such file, or it is not to be had.
pub(super) fn open(folder: &File, path: &str) -> io::Result<Option<File>> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        let opened = match openat2(folder, path, FLAGS, Mode::empty(), within) {
            // Something was renamed meanwhile.
            Err(Errno::AGAIN) => continue,
            // A kernel, or an emulation of one, that is older than the call.
            Err(Errno::NOSYS | Errno::PERM) => step_by_step(folder, path),
            opened => opened,
        };
        return match opened {
            Ok(file) => Ok(Some(file.into())),
            // No such file, a link that leads out, or into a circle, a name that no
            // file can have, or one that is not for everybody.
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::ACCESS,
            ) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
}

/// Opens one folder after the other, and follows no links at all.
fn step_by_step(folder: &File, path: &str) -> Result<OwnedFd, Errno> {
    let mut at = folder.try_clone().map_err(|_| Errno::MFILE)?.into();
    for part in path.split('/') {
        at = openat(&at, part, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_help_of_the_kernel_no_link_is_followed() {
        let folder = std::env::temp_dir().join(format!("fwatchdog-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a")).unwrap();
        std::fs::write(folder.join("a/file"), "here").unwrap();
        std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("file", folder.join("a/link")).unwrap();
        let root = File::open(&folder).unwrap();
        let opened = |path| step_by_step(&root, path).map(drop);
        assert_eq!(opened("a/file"), Ok(()));
        assert_eq!(opened("."), Ok(()));
        assert_eq!(opened("a/none"), Err(Errno::NOENT));
        assert_eq!(opened("a/link"), Err(Errno::LOOP));
        assert!(opened("link/file").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
