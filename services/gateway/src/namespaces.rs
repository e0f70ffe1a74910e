//! The namespaces of functions. The default one is always there; others are in
//! a file, since nothing of an engine stands for one that is empty.

use std::{collections::BTreeMap, path::Path};

use crate::{
    kept::Kept,
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
    all: Kept<All>,
}

impl Namespaces {
    /// Reads the namespaces of a gateway with this state.
    pub fn load(default: &str, state: &Path) -> Self {
        Self {
            default: default.to_owned(),
            all: Kept::load(&state.join(FILE)),
        }
    }

    /// The one that is meant where none is named.
    pub fn default(&self) -> &str {
        &self.default
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        name == self.default || self.all.look(|all| all.contains_key(name))
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.all.look(|all| all.keys().cloned().collect());
        if let Err(place) = names.binary_search(&self.default) {
            names.insert(place, self.default.clone());
        }
        names
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, name: &str) -> Result<Namespace> {
        let known = self.all.look(|all| all.get(name).cloned());
        let default = || {
            (name == self.default).then(|| Namespace {
                name: name.to_owned(),
                ..Namespace::default()
            })
        };
        known.or_else(default).ok_or(Error::NotFound)
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
        if self.contains(&namespace.name) {
            return Err(Error::Exists);
        }
        self.put(namespace)
    }

    /// Replaces labels and annotations of one.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else when it cannot be written.
    pub fn update(&self, namespace: Namespace) -> Result<()> {
        if !self.contains(&namespace.name) {
            return Err(Error::NotFound);
        }
        self.put(namespace)
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
        self.all
            .change(|all| all.remove(name).map(drop).ok_or(Error::NotFound))
    }

    fn put(&self, namespace: Namespace) -> Result<()> {
        self.all.change(|all| {
            all.insert(namespace.name.clone(), namespace);
            Ok(())
        })
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
}
