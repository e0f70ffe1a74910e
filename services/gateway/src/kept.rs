//! A value that is kept in a file of JSON: read once, written before it counts.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    files,
    provider::{Error, Result},
};

/// A value and its file.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    path: PathBuf,
    value: Mutex<T>,
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned> Kept<T> {
    /// Reads the value. A damaged file is put aside and told of: the gateway
    /// goes on without it.
    pub(crate) fn load(path: &Path) -> Self {
        let value = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let aside = path.with_extension("damaged");
                let _ = fs::rename(path, &aside);
                eprintln!(
                    "gateway: {} is damaged: {error}; it is now {}, and what it held is gone",
                    path.display(),
                    aside.display()
                );
                T::default()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    eprintln!("gateway: cannot read {}: {error}", path.display());
                }
                T::default()
            }
        };
        Self {
            path: path.to_owned(),
            value: Mutex::new(value),
        }
    }

    /// Looks at the value.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value())
    }

    /// Changes the value, in the file first. What is refused or cannot be
    /// written changes nothing.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> Result<()>) -> Result<()> {
        let mut value = self.value();
        let mut changed = value.clone();
        change(&mut changed)?;
        if changed == *value {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("cannot write {}: {error}", self.path.display()))
        };
        let text = serde_json::to_vec(&changed).map_err(|error| failed(&error))?;
        files::replace(&self.path, &text, 0o600).map_err(|error| failed(&error))?;
        *value = changed;
        Ok(())
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = Kept<Vec<u32>>;

    fn push(numbers: &Numbers, number: u32) -> Result<()> {
        numbers.change(|all| {
            all.push(number);
            Ok(())
        })
    }

    #[test]
    fn a_value_lasts_and_a_refusal_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/numbers.json");
        let numbers = Numbers::load(&path);
        push(&numbers, 1).unwrap();
        let refused = numbers.change(|all| {
            all.clear();
            Err(Error::NotFound)
        });
        assert_eq!(refused, Err(Error::NotFound));
        push(&numbers, 2).unwrap();
        assert_eq!(numbers.look(Vec::clone), [1, 2]);
        assert_eq!(Numbers::load(&path).look(Vec::clone), [1, 2]);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        fs::write(&path, "[1").unwrap();
        assert_eq!(Numbers::load(&path).look(Vec::len), 0);
        let aside = folder.path().join("numbers.damaged");
        assert_eq!(fs::read(aside).unwrap(), b"[1");
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let numbers = Numbers::load(Path::new("/proc/nowhere/numbers.json"));
        let result = push(&numbers, 1);
        assert!(matches!(result, Err(Error::Failed(_))), "{result:?}");
        assert_eq!(numbers.look(Vec::len), 0);
    }
}
