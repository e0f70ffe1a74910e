//! What people and programs are told of the queue.

use serde::Serialize;

use super::State;

/// What `/system/queue` tells.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// Requests that wait.
    depth: usize,
    /// Requests that are being called.
    inflight: usize,
    /// Requests that were answered, with the answer on its way to a callback.
    callbacks: usize,
    /// What all of them take of the disk.
    bytes: u64,
    pub(crate) functions: Vec<FunctionLoad>,
    pub(crate) dead: Vec<DeadLetter>,
}

/// The messages of one function.
#[derive(Debug, Serialize)]
pub(crate) struct FunctionLoad {
    pub(crate) name: String,
    pub(crate) depth: usize,
    pub(crate) inflight: usize,
}

/// A message that was given up.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetter {
    pub(super) id: String,
    function: String,
    pub(super) reason: String,
    attempts: u32,
    time: String,
}

impl Overview {
    pub(super) fn of(state: &State) -> Self {
        let functions: Vec<_> = state
            .schedule
            .loads()
            .into_iter()
            .map(|load| FunctionLoad {
                name: load.function.to_string(),
                depth: load.depth,
                inflight: load.inflight,
            })
            .collect();
        let depth = functions.iter().map(|function| function.depth).sum();
        let inflight = functions.iter().map(|function| function.inflight).sum();
        let dead = state.dead.values().map(|dead| DeadLetter {
            id: dead.id.clone(),
            function: dead.function.clone(),
            reason: dead.why.reason.clone(),
            attempts: dead.why.attempts,
            time: dead.why.time.clone(),
        });
        Self {
            depth,
            inflight,
            callbacks: state.stored.len().saturating_sub(depth + inflight),
            bytes: state.bytes,
            functions,
            dead: dead.collect(),
        }
    }
}
