//! Copies of the project that tests change or build elsewhere.

use std::{
    cell::Cell,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{must, project, scratch};

thread_local! {
    /// Whether this thread has a copy: it would wait for itself to drop it.
    static HAS_ONE: Cell<bool> = const { Cell::new(false) };
}

/// A copy of the project in a folder of its own, with what is not committed
/// yet. It goes away when this is dropped. There is one at a time for each
/// umask, always in the same place and with the times of the project, so that
/// cargo compiles its programs once and not in every test.
#[derive(Debug)]
pub struct Checkout {
    folder: PathBuf,
    _lock: File,
}

impl Checkout {
    /// Copies the project; whoever is not its owner may do with the copy what
    /// `umask` leaves.
    ///
    /// # Panics
    /// When the project is no git checkout, the disk is full, or this thread has
    /// a copy already.
    pub fn new(umask: &str) -> Self {
        assert!(!HAS_ONE.replace(true), "this test has a checkout already");
        let all = scratch().join("checkouts");
        fs::create_dir_all(&all).expect("the target folder is writable");
        let lock = File::create(all.join(format!("{umask}.lock"))).expect("it is writable");
        lock.lock().expect("the file can be locked");
        let folder = all.join(umask);
        // A test that was killed left it.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("it is writable");
        let copy = format!(
            "set -e; umask {umask}
            git ls-files -z --cached --others --exclude-standard > \"$0/.files\"
            tar --create --null --files-from \"$0/.files\" --ignore-failed-read |
                tar --extract --no-same-owner --no-same-permissions --directory \"$0\"
            rm \"$0/.files\""
        );
        must(
            Command::new("sh")
                .args(["-c", &copy])
                .arg(&folder)
                .current_dir(project()),
        );
        Self {
            folder,
            _lock: lock,
        }
    }

    /// Its top folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Replaces text in a file, at its first place.
    ///
    /// # Panics
    /// When the file has no such text.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).expect("the file is there");
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replacen(from, to, 1)).expect("the copy is writable");
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        HAS_ONE.set(false);
        // The next one does it where this fails.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
