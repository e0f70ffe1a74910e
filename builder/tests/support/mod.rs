//! What the tests of this folder share.

pub(crate) mod mutate;
pub(crate) mod packages;
