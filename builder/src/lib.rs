//! Builds, runs and inspects Rubus images.

pub mod tree;
