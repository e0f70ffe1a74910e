//! Debian: where packages come from, which are needed, and what is in them.

pub mod archive;
pub mod deb;
pub mod packages;
mod relation;
pub mod release;
pub mod resolve;
pub mod signature;
pub mod sources;
pub mod version;
