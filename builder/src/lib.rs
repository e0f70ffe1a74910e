//! Builds, runs and inspects Rubus images.

pub mod image;
pub mod tree;
