//! What the tests of the gateway share.

#![allow(dead_code, reason = "every test program uses a part of it")]

pub(crate) mod client;
pub(crate) mod memory;
pub(crate) mod queue;

use gateway::model::{FunctionDeployment, FunctionId};

/// The namespace of the tests.
pub(crate) const NAMESPACE: &str = "openfaas-fn";

pub(crate) fn id(name: &str) -> FunctionId {
    FunctionId::new(name, NAMESPACE)
}

pub(crate) fn deployment(name: &str, image: &str) -> FunctionDeployment {
    FunctionDeployment {
        service: name.to_owned(),
        image: image.to_owned(),
        ..FunctionDeployment::default()
    }
}
