//! The namespaces of functions. The default one is always there; others are in
//! a file, since nothing of an engine stands for one that is empty.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    files,
    model::{self, Namespace},
    provider::{Error, Result},
};

/// The file in the gateway's state.
const FILE: &str = "namespaces.json";

type All = BTreeMap<String, Namespace>;

/// What is known of namespaces.
#[derive(Debug)]
pub struct Namespaces {
    default: String,
    path: PathBuf,
    all: Mutex<All>,
}

impl Namespaces {
    /// Reads the namespaces of a gateway with this state. A damaged file is put
    /// aside and told of: functions go on being called without it.
    pub fn load(default: &str, state: &Path) -> Self {
        let path = state.join(FILE);
        let mut all = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let aside = path.with_extension("damaged");
                let _ = fs::rename(&path, &aside);
                eprintln!(
                    "gateway: {} is damaged: {error}; it is now {}, and namespaces have to be made anew",
                    path.display(),
                    aside.display()
                );
                All::new()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    eprintln!("gateway: cannot read {}: {error}", path.display());
                }
                All::new()
            }
        };
        all.entry(default.to_owned()).or_insert_with(|| Namespace {
            name: default.to_owned(),
            ..Namespace::default()
        });
        Self {
            default: default.to_owned(),
            path,
            all: Mutex::new(all),
        }
    }

    /// The one that is meant where none is named.
    pub fn default(&self) -> &str {
        &self.default
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.all().contains_key(name)
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.all().keys().cloned().collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, name: &str) -> Result<Namespace> {
        self.all().get(name).cloned().ok_or(Error::NotFound)
    }

    /// Makes one.
    ///
    /// # Errors
    /// [`Error::Exists`]; else when its name cannot be one, or it cannot be
    /// written.
    pub fn create(&self, namespace: Namespace) -> Result<()> {
        if !model::is_name(&namespace.name) {
            return Err(Error::Invalid(format!(
                "name: \"{}\" cannot be the name of a namespace: use at most 63 of a-z, 0-9 and \"-\", with a letter or digit at both ends",
                namespace.name
            )));
        }
        self.change(|all| {
            if all.contains_key(&namespace.name) {
                return Err(Error::Exists);
            }
            all.insert(namespace.name.clone(), namespace);
            Ok(())
        })
    }

    /// Replaces labels and annotations of one.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else when it cannot be written.
    pub fn update(&self, namespace: Namespace) -> Result<()> {
        self.change(|all| {
            let known = all.get_mut(&namespace.name).ok_or(Error::NotFound)?;
            *known = namespace;
            Ok(())
        })
    }

    /// Forgets one. Whether it has functions is for the caller to look at.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else when it is the default one, or cannot be
    /// written.
    pub fn remove(&self, name: &str) -> Result<()> {
        if name == self.default {
            return Err(Error::Invalid(format!(
                "{name} is the namespace of functions that name none; it stays"
            )));
        }
        self.change(|all| all.remove(name).map(drop).ok_or(Error::NotFound))
    }

    /// Changes them, in the file first.
    fn change(&self, change: impl FnOnce(&mut All) -> Result<()>) -> Result<()> {
        let mut all = self.all();
        let mut changed = all.clone();
        change(&mut changed)?;
        let failed = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("cannot write {}: {error}", self.path.display()))
        };
        let text = serde_json::to_vec(&changed).map_err(|error| failed(&error))?;
        files::replace(&self.path, &text, 0o600).map_err(|error| failed(&error))?;
        *all = changed;
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace {
            name: name.to_owned(),
            ..Namespace::default()
        }
    }

    #[test]
    fn namespaces_last() {
        let state = tempfile::tempdir().unwrap();
        let namespaces = Namespaces::load("fn", state.path());
        assert_eq!(namespaces.names(), ["fn"]);
        namespaces.create(named("dev")).unwrap();
        assert_eq!(namespaces.create(named("dev")), Err(Error::Exists));
        let labels = Some(model::Map::from([("openfaas".to_owned(), "1".to_owned())]));
        let with = Namespace {
            labels,
            ..named("dev")
        };
        namespaces.update(with.clone()).unwrap();
        assert_eq!(namespaces.update(named("none")), Err(Error::NotFound));

        let again = Namespaces::load("fn", state.path());
        assert_eq!(again.names(), ["dev", "fn"]);
        assert_eq!(again.get("dev"), Ok(with));
        again.remove("dev").unwrap();
        assert_eq!(again.remove("dev"), Err(Error::NotFound));
        assert!(matches!(again.remove("fn"), Err(Error::Invalid(_))));
        assert!(matches!(again.create(named("A b")), Err(Error::Invalid(_))));
        assert_eq!(Namespaces::load("fn", state.path()).names(), ["fn"]);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "[1").unwrap();
        assert_eq!(Namespaces::load("fn", state.path()).names(), ["fn"]);
        let aside = state.path().join("namespaces.damaged");
        assert_eq!(fs::read(aside).unwrap(), b"[1");
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let namespaces = Namespaces::load("fn", Path::new("/proc/nowhere"));
        let result = namespaces.create(named("dev"));
        assert!(matches!(result, Err(Error::Failed(_))), "{result:?}");
        assert!(!namespaces.contains("dev"));
    }
}
