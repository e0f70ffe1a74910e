//! Builds, runs and inspects Rubus images.

pub mod image;
pub mod inspect;
pub mod manifest;
pub mod qemu;
pub mod sbom;
pub mod tree;
