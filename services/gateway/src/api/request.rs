//! What requests to `/system` have in common.

use serde::{Deserialize, de::DeserializeOwned};

use super::Gateway;
use crate::provider::{Error, Provider, Result};

/// The namespace, which clients put into the query or into the body.
#[derive(Debug, Deserialize)]
pub(super) struct Namespaced {
    pub(super) namespace: Option<String>,
}

/// Reads a body of JSON.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::Invalid(format!("cannot read the request: {error}")))
}

impl<P: Provider> Gateway<P> {
    /// The first namespace that is named.
    pub(super) fn namespace_of(&self, named: &[&Option<String>]) -> String {
        named
            .iter()
            .find_map(|name| name.as_deref().filter(|name| !name.is_empty()))
            .unwrap_or(self.namespaces.default())
            .to_owned()
    }

    /// The first namespace that is named, if there is such a one.
    pub(super) fn known_namespace(&self, named: &[&Option<String>]) -> Result<String> {
        let namespace = self.namespace_of(named);
        if !self.namespaces.contains(&namespace) {
            return Err(Error::Invalid("namespace not valid".to_owned()));
        }
        Ok(namespace)
    }
}
