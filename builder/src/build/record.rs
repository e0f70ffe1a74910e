//! Nothing changed, nothing redone: what the last build into a folder was made
//! from, and what it wrote.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A digest of everything that an image is made from.
#[derive(Debug, Default)]
pub struct Inputs {
    digest: Sha256,
}

impl Inputs {
    /// Adds something under a name, so that moving bytes from one input to
    /// another is a change.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.digest.update((part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
    }

    /// Adds a file, or a folder with everything below it.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn add_path(&mut self, name: &str, path: &Path) -> Result<()> {
        self.walk(name, path)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// The digest in hexadecimal.
    pub fn finish(self) -> String {
        format!("{:x}", self.digest.finalize())
    }

    fn walk(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        if meta.is_symlink() {
            let target = fs::read_link(path)?;
            self.add(name, target.as_os_str().as_encoded_bytes());
        } else if meta.is_dir() {
            let mut entries: Vec<PathBuf> = fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            entries.sort();
            for entry in entries {
                let file = entry.file_name().unwrap_or_default().to_string_lossy();
                self.walk(&format!("{name}/{file}"), &entry)?;
            }
        } else {
            let executable = if meta.mode() & 0o100 == 0 { "" } else { "+x" };
            self.add(&format!("{name}{executable}"), &fs::read(path)?);
        }
        Ok(())
    }
}

/// What a build was made from and what it wrote.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    inputs: String,
    outputs: Vec<Output>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    name: String,
    size: u64,
    modified_ns: i64,
}

impl Record {
    /// Notes the files that a build has just written into a folder.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn of(inputs: &str, folder: &Path, files: &[String]) -> Result<Self> {
        let outputs = files
            .iter()
            .map(|name| output(folder, name).with_context(|| format!("{name} is gone")))
            .collect::<Result<_>>()?;
        Ok(Self {
            inputs: inputs.to_owned(),
            outputs,
        })
    }

    /// Whether a folder still holds what a build from these inputs wrote.
    pub fn is_current(&self, inputs: &str, folder: &Path) -> bool {
        self.inputs == inputs
            && self
                .outputs
                .iter()
                .all(|noted| output(folder, &noted.name).is_ok_and(|found| found == *noted))
    }

    /// The record of a board in a folder, if there is one.
    pub fn read(folder: &Path, board: &str) -> Option<Self> {
        let bytes = fs::read(path(folder, board)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps the record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path, board: &str) -> Result<()> {
        let path = path(folder, board);
        let partial = path.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(self)?)
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn path(folder: &Path, board: &str) -> PathBuf {
    folder.join(format!(".rubus-{board}.json"))
}

fn output(folder: &Path, name: &str) -> io::Result<Output> {
    let meta = fs::metadata(folder.join(name))?;
    Ok(Output {
        name: name.to_owned(),
        size: meta.len(),
        modified_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(folder: &Path) -> String {
        let mut inputs = Inputs::default();
        inputs.add_path("x", folder).unwrap();
        inputs.finish()
    }

    #[test]
    fn any_change_of_content_name_or_permission_is_a_change() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let first = digest(folder.path());
        assert_eq!(first, digest(folder.path()));
        fs::write(&file, "2").unwrap();
        let second = digest(folder.path());
        assert_ne!(first, second);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(second, digest(folder.path()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let third = digest(folder.path());
        assert_ne!(second, third);
        fs::rename(&file, folder.path().join("b")).unwrap();
        assert_ne!(third, digest(folder.path()));
    }

    #[test]
    fn a_record_is_current_until_an_output_changes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("image"), "1").unwrap();
        let files = ["image".to_owned()];
        Record::of("inputs", folder.path(), &files)
            .unwrap()
            .write(folder.path(), "b")
            .unwrap();
        let record = Record::read(folder.path(), "b").unwrap();
        assert!(record.is_current("inputs", folder.path()));
        assert!(!record.is_current("others", folder.path()));
        fs::write(folder.path().join("image"), "22").unwrap();
        assert!(!record.is_current("inputs", folder.path()));
        fs::remove_file(folder.path().join("image")).unwrap();
        assert!(!record.is_current("inputs", folder.path()));
    }
}
