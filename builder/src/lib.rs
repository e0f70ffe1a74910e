//! Builds, runs and inspects Rubus images.

pub mod board;
pub mod kernel;
pub mod tree;
