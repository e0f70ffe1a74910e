//! Builds, runs and inspects Rubus images.

pub mod functions;
pub mod tree;
