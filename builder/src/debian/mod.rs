//! Debian: where packages come from, which are needed, and what is in them.

pub mod release;
pub mod signature;
pub mod sources;
pub mod version;
