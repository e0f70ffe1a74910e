//! Copies of the project that tests change or build elsewhere.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::tools::{must, project};

/// A copy of the project in a folder of its own, with what is not committed
/// yet. It goes away when this is dropped.
#[derive(Debug)]
pub struct Checkout(TempDir);

impl Checkout {
    /// Copies the project; whoever is not its owner may do with the copy what
    /// `umask` leaves.
    ///
    /// # Panics
    /// When the project is no git checkout, or the disk is full.
    pub fn new(umask: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = format!(
            "set -e; umask {umask}
            git ls-files -z --cached --others --exclude-standard > \"$0/.files\"
            tar --create --null --files-from \"$0/.files\" --ignore-failed-read |
                tar --extract --no-same-owner --no-same-permissions --touch --directory \"$0\"
            rm \"$0/.files\""
        );
        must(
            Command::new("sh")
                .args(["-c", &copy])
                .arg(folder.path())
                .current_dir(project()),
        );
        Self(folder)
    }

    /// Its top folder.
    pub fn path(&self) -> &Path {
        self.0.path()
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
