//! Whether the watchdog takes requests: a flag, and a lock file for those who
//! look at the filesystem (`HEALTHCHECK`, `fwatchdog -run-healthcheck`).

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Where the lock file is: `.lock` in `$TMPDIR`, or in `/tmp`.
pub fn lock_path() -> PathBuf {
    std::env::temp_dir().join(".lock")
}

/// The health of a watchdog.
#[derive(Debug)]
pub struct Health {
    accepting: AtomicBool,
    lock: PathBuf,
}

impl Health {
    /// A watchdog that takes no requests yet.
    pub fn new(lock: PathBuf) -> Self {
        Self {
            accepting: AtomicBool::new(false),
            lock,
        }
    }

    /// The lock file.
    pub fn lock(&self) -> &Path {
        &self.lock
    }

    /// Says that requests are taken.
    pub fn accept(&self) {
        self.accepting.store(true, Ordering::Relaxed);
    }

    /// Makes the lock file, for owner and group.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_lock(&self) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o660)
            .open(&self.lock)?
            .set_permissions(fs::Permissions::from_mode(0o660))
    }

    /// Says that no further requests should come, and takes the lock away.
    pub fn stop(&self) {
        self.accepting.store(false, Ordering::Relaxed);
        if let Err(error) = fs::remove_file(&self.lock)
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = self.lock.display();
            crate::log::line(format_args!("cannot remove {path}: {error}"));
        }
    }

    /// Whether requests are taken, and the lock is there.
    pub fn is_healthy(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) && self.lock.exists()
    }
}
