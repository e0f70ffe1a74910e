//! Builds, runs and inspects Rubus images.

pub mod board;
pub mod build;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod config;
pub mod debian;
pub mod digest;
pub mod fetch;
pub mod functions;
pub mod image;
pub mod inspect;
pub mod kernel;
pub mod lock;
pub mod manifest;
pub mod oci;
pub mod programs;
pub mod project;
pub mod qemu;
#[cfg(test)]
mod reference;
pub mod sbom;
pub mod services;
pub mod sources;
mod toml_file;
pub mod tree;
pub mod ui;
pub mod unpack;
