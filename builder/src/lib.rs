//! Builds, runs and inspects Rubus images.

pub mod cache;
pub mod debian;
pub mod digest;
pub mod fetch;
pub mod lock;
pub mod oci;
pub mod tree;
pub mod unpack;
