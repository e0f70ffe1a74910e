//! The few things that a store asks of a filesystem.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// A folder, as a store needs it. Names are those of files in it.
pub trait Disk {
    /// How messages name a file.
    fn path(&self, name: &str) -> String;
    /// The content of a file; none when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes a file that was not there, for its owner only.
    ///
    /// # Errors
    /// When it cannot be written, or is there.
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Waits until the content of a file is on the card.
    ///
    /// # Errors
    /// When it may not be.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file a second name.
    ///
    /// # Errors
    /// When the filesystem refuses.
    fn link(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Renames a file, in place of another of that name.
    ///
    /// # Errors
    /// When the filesystem refuses.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// When the filesystem refuses.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Waits until the names in the folder are on the card.
    ///
    /// # Errors
    /// When they may not be.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// A folder of the filesystem. It is made when the first file is written.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Disk for Folder {
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if !self.0.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.0)?;
            if let Some(parent) = self.0.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.0.join(name))?;
        file.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.0.join(name))?.sync_all()
    }

    fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.0.join(from), self.0.join(to))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}
