//! The steps by which the queue changes its files, each of them the last one
//! before a power cut.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What changes files.
pub(super) trait Disk: Debug + Send + Sync + 'static {
    /// Makes an empty file, for the owner only.
    fn create(&self, path: &Path) -> io::Result<()>;
    /// Adds to the end of a file.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the content of a file is stored.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns when the names in a folder are stored.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug)]
pub(super) struct Files;

impl Disk for Files {
    fn create(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(path).map(drop)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(path)?.write_all(bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// A disk that stops at a step, and what it looks like afterwards.
#[cfg(test)]
pub(super) mod faulty {
    use super::*;
    use std::{
        collections::HashMap,
        path::PathBuf,
        sync::{Arc, Mutex},
    };

    /// How a disk fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::queue) enum Fault {
        /// Nothing happens any more, from a step on.
        Stop,
        /// There is no room: one step that writes fails, the rest works.
        Full,
    }

    /// What was done and is lost in a power cut.
    #[derive(Debug)]
    enum Volatile {
        Created(PathBuf),
        Renamed(PathBuf, PathBuf),
        Removed(PathBuf, Vec<u8>),
    }

    #[derive(Debug, Default)]
    struct State {
        steps: usize,
        /// How much of a file is stored.
        stored: HashMap<PathBuf, u64>,
        names: Vec<Volatile>,
    }

    /// Real files behind a count of steps.
    #[derive(Clone, Debug)]
    pub(in crate::queue) struct Faulty {
        fault: Fault,
        at: usize,
        state: Arc<Mutex<State>>,
    }

    impl Faulty {
        pub(in crate::queue) fn new(fault: Fault, at: usize) -> Self {
            Self {
                fault,
                at,
                state: Arc::default(),
            }
        }

        /// Whether the step was reached at which it fails.
        pub(in crate::queue) fn failed(&self) -> bool {
            self.state.lock().unwrap().steps > self.at
        }

        fn step(&self, writes: bool) -> io::Result<()> {
            if self.fault == Fault::Full && !writes {
                return Ok(());
            }
            let mut state = self.state.lock().unwrap();
            state.steps += 1;
            let step = state.steps - 1;
            match self.fault {
                Fault::Stop if step >= self.at => Err(io::Error::other("stopped")),
                Fault::Full if step == self.at => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        }

        /// Undoes everything that was not stored.
        pub(in crate::queue) fn cut_power(&self) {
            let mut state = self.state.lock().unwrap();
            while let Some(change) = state.names.pop() {
                match change {
                    Volatile::Created(path) => {
                        let _ = fs::remove_file(path);
                    }
                    Volatile::Renamed(from, to) => {
                        let _ = fs::rename(&to, &from);
                        if let Some(length) = state.stored.remove(&to) {
                            state.stored.insert(from, length);
                        }
                    }
                    Volatile::Removed(path, content) => fs::write(path, content).unwrap(),
                }
            }
            for (path, length) in &state.stored {
                if let Ok(file) = OpenOptions::new().write(true).open(path) {
                    file.set_len(*length).unwrap();
                }
            }
        }
    }

    impl Disk for Faulty {
        fn create(&self, path: &Path) -> io::Result<()> {
            self.step(true)?;
            Files.create(path)?;
            let mut state = self.state.lock().unwrap();
            state.stored.insert(path.to_owned(), 0);
            state.names.push(Volatile::Created(path.to_owned()));
            Ok(())
        }

        fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            if let Err(error) = self.step(true) {
                // A disk that fills up takes a part.
                Files.append(path, &bytes[..bytes.len() / 2])?;
                return Err(error);
            }
            Files.append(path, bytes)
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            self.step(true)?;
            let length = fs::metadata(path)?.len();
            let mut state = self.state.lock().unwrap();
            state.stored.insert(path.to_owned(), length);
            Ok(())
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step(true)?;
            Files.rename(from, to)?;
            let mut state = self.state.lock().unwrap();
            if let Some(length) = state.stored.remove(from) {
                state.stored.insert(to.to_owned(), length);
            }
            let change = Volatile::Renamed(from.to_owned(), to.to_owned());
            state.names.push(change);
            Ok(())
        }

        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            self.step(true)?;
            let mut state = self.state.lock().unwrap();
            // A name that was stored brings what it was before along.
            let inside = |path: &PathBuf| path.parent() == Some(folder);
            if let Some(last) = state.names.iter().rposition(|change| match change {
                Volatile::Created(path) | Volatile::Removed(path, _) => inside(path),
                Volatile::Renamed(_, to) => inside(to),
            }) {
                state.names.drain(..=last);
            }
            Ok(())
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step(false)?;
            let content = fs::read(path)?;
            Files.remove(path)?;
            let mut state = self.state.lock().unwrap();
            state.stored.remove(path);
            let change = Volatile::Removed(path.to_owned(), content);
            state.names.push(change);
            Ok(())
        }
    }
}
