//! Files of settings that survive a power cut at any moment: what is read
//! afterwards is what was written before or what was to be written, never a
//! mixture. The version before the last is kept, and read should the last one
//! turn out to be damaged.

mod disk;
#[cfg(test)]
mod tests;

use std::io;

pub use disk::{Disk, Folder};

/// The last line of every file: a file without it was cut off.
const END: &str = "# end\n";

/// A file of settings and the version before it.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
    name: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The text; empty when there is no file.
    pub text: String,
    /// The name of the file that it is from.
    pub file: String,
    /// What is wrong with the last version, when this is the one before it.
    pub damage: Option<String>,
}

impl<D: Disk> Store<D> {
    /// The file of this name.
    pub fn new(disk: D, name: &str) -> Self {
        Self {
            disk,
            name: name.to_owned(),
        }
    }

    /// Reads the last version that is whole.
    ///
    /// # Errors
    /// When there are versions and none can be read.
    pub fn read(&self) -> io::Result<Stored> {
        let last = self.read_whole(&self.name);
        if let Ok(Some(text)) = last {
            return Ok(self.stored(&self.name, text, None));
        }
        let previous = self.previous();
        match (last, self.read_whole(&previous)) {
            (Ok(_), Ok(None)) => Ok(self.stored(&self.name, String::new(), None)),
            (Ok(_), Ok(Some(text))) => {
                let damage = format!("{} is gone; using {previous}", self.name);
                Ok(self.stored(&previous, text, Some(damage)))
            }
            (Err(error), Ok(Some(text))) => {
                let damage = format!("{} {error}; using {previous}", self.name);
                Ok(self.stored(&previous, text, Some(damage)))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Writes a new version. When this returns, it is on the card; when it
    /// fails, the old one is what will be read.
    ///
    /// # Errors
    /// When the card is full, or cannot be written.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        let new = format!("{}.new", self.name);
        let new_previous = format!("{}.previous.new", self.name);
        // Left by a power cut; a rename replaces nothing that is linked twice.
        for name in [&new, &new_previous] {
            self.disk.remove(name)?;
        }
        let line = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        self.disk
            .write(&new, format!("{text}{line}{END}").as_bytes())?;
        self.disk.sync(&new)?;
        // A damaged version is not worth keeping over a whole one.
        if let Ok(Some(_)) = self.read_whole(&self.name) {
            self.disk.link(&self.name, &new_previous)?;
            self.disk.rename(&new_previous, &self.previous())?;
        }
        self.disk.rename(&new, &self.name)?;
        self.disk.sync_folder()
    }

    fn previous(&self) -> String {
        format!("{}.previous", self.name)
    }

    fn stored(&self, file: &str, text: String, damage: Option<String>) -> Stored {
        Stored {
            text,
            file: self.disk.path(file),
            damage,
        }
    }

    /// The text of a file; none when there is no such file.
    fn read_whole(&self, name: &str) -> io::Result<Option<String>> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let Some(bytes) = self.disk.read(name)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged("is no text"))?;
        if text.contains('\0') {
            return Err(damaged("is no text"));
        }
        let text = text
            .strip_suffix(END)
            .filter(|text| text.is_empty() || text.ends_with('\n'))
            .ok_or_else(|| damaged("is cut off: its last line is not \"# end\""))?;
        Ok(Some(text.to_owned()))
    }
}
