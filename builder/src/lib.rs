//! Builds, runs and inspects Rubus images.

pub mod board;
pub mod kernel;
pub mod cache;
pub mod debian;
pub mod digest;
pub mod fetch;
pub mod image;
pub mod tree;
