//! Compose files: services of the user's own that an engine runs.
//!
//! A file is read into a [`Project`], in the subset of the Compose
//! specification that makes sense on a node; what is not supported is an error
//! that names it. From a project follows what the engine is asked for
//! ([`request`]), and from that and what the engine has already what is to be
//! done ([`plan`]). Nothing here talks to an engine.
//!
//! Sources: <https://github.com/compose-spec/compose-spec/blob/main/spec.md>,
//! and the API of the Docker engine, version 1.41.

mod access;
mod interpolate;
pub mod plan;
mod project;
mod read;
pub mod request;
mod values;
mod yaml;

pub use project::{Condition, Health, Mount, MountSource, Port, Project, Restart, Service, Volume};
pub use read::{KEYS, Name};

/// What is wrong with a compose file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}{}: {message}", place(*line), quoted(key))]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// The key, with dots between the levels; empty for the whole file.
    pub key: String,
    /// What is wrong, and the way out.
    pub message: String,
}

fn place(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

fn quoted(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!(": `{key}`")
    }
}
